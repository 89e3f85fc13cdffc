//! A plain merge patch (RFC 7396), and its inverse.

use serde_json::Value;

use crate::Document;

/// Applies a merge patch, without times. Returns the merge patch that undoes what was done.
pub fn merge(target: &mut Document, patch: &Document) -> Document {
    let mut inverse = Document::new();
    for (name, new) in patch {
        match (new, target.get_mut(name)) {
            (Value::Object(new), Some(Value::Object(old))) => {
                let inner = merge(old, new);
                if !inner.is_empty() {
                    inverse.insert(name.clone(), Value::Object(inner));
                }
            }
            (Value::Object(new), _) => {
                let mut fresh = Document::new();
                merge(&mut fresh, new);
                let old = target.insert(name.clone(), Value::Object(fresh));
                inverse.insert(name.clone(), old.unwrap_or(Value::Null));
            }
            (Value::Null, _) => {
                if let Some(old) = target.remove(name) {
                    inverse.insert(name.clone(), old);
                }
            }
            (new, Some(old)) if new == old => {}
            (new, _) => {
                let old = target.insert(name.clone(), new.clone());
                inverse.insert(name.clone(), old.unwrap_or(Value::Null));
            }
        }
    }
    inverse
}
