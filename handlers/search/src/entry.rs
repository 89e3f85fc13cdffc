//! A twin as it is written into the index.

use serde_json::Value;
use statecast_state::query::fields::{visit_properties, visit_texts};
use statecast_state::query::{QUERY_BYTES_MAX, text};
use statecast_state::{DeviceKey, Twin};
use tantivy::TantivyDocument;
use tantivy::schema::OwnedValue;

use crate::facts::Scope;
use crate::property;
use crate::schema::{self, Fields};

/// The document of a twin.
pub(crate) fn document(fields: &Fields, key: &DeviceKey, twin: &Twin) -> TantivyDocument {
    let mut document = TantivyDocument::default();
    document.add_bytes(fields.key, &schema::key_bytes(key));
    document.add_bytes(fields.tenant, key.tenant.as_str().as_bytes());
    document.add_text(fields.id, key.device.as_str());
    document.add_u64(fields.version, twin.version);
    if let Some(seen) = twin.received_at {
        document.add_i64(fields.seen, seen.as_micros());
    }
    let scope = Scope::of(&key.tenant);
    visit_texts(twin, &mut |text| document.add_text(fields.words, scope.words(text)));

    document.add_bytes(fields.facts, &scope.string(property::ID, &text::fold(key.device.as_str())));
    document.add_bytes(fields.facts, &scope.boolean(property::ONLINE, twin.presence.online));
    // A name comes once for each of its values.
    let mut columns = vec![(property::ONLINE.to_owned(), OwnedValue::Bool(twin.presence.online))];
    for (root, properties) in property::ROOTS.into_iter().zip([&twin.reported, &twin.desired, &twin.tags]) {
        visit_properties(properties, &mut |path, value| {
            // No query can name it.
            if path.len() > QUERY_BYTES_MAX {
                return;
            }
            let name = property::below(root, path);
            document.add_bytes(fields.facts, &scope.exists(&name));
            if let Some(fact) = scope.value(&name, value) {
                document.add_bytes(fields.facts, &fact);
            }
            if let Some(value) = column_value(value) {
                columns.push((name, value));
            }
        });
    }
    document.add_field_value(fields.values, &OwnedValue::Object(columns));
    document
}

/// A single value as it stands in a column; nothing for objects, arrays and null.
fn column_value(value: &Value) -> Option<OwnedValue> {
    match value {
        Value::Bool(value) => Some(OwnedValue::Bool(*value)),
        // Whole numbers make smaller columns; where they meet others all become doubles.
        Value::Number(value) => match value.as_i64() {
            Some(whole) => Some(OwnedValue::I64(whole)),
            None => value.as_f64().map(OwnedValue::F64),
        },
        Value::String(value) => Some(OwnedValue::Str(text::start(value))),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
