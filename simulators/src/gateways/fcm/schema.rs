//! Checks a message against the schema that Google publishes for it (the discovery document of FCM, whose part that
//! matters here is `schema.json`), and by the rules that its text adds.

use std::sync::LazyLock;

use serde_json::{Map, Value};

/// The schemas, by name: the properties of each. `revision` beside them is Google's.
static SCHEMAS: LazyLock<Map<String, Value>> =
    LazyLock::new(|| serde_json::from_str(include_str!("schema.json")).expect("it is ours, and tested"));

/// Longest life of a message, in seconds: four weeks.
const TTL_S_MAX: f64 = 2_419_200.0;
/// Largest message, in bytes: all that an app gets, without whom it is for.
const MESSAGE_BYTES_MAX: usize = 4_096;
/// Fields that say whom a message is for.
const TARGETS: [&str; 4] = ["fid", "token", "topic", "condition"];
/// Keys of `data` that are Google's own, and what such keys begin with.
const RESERVED: [&str; 3] = ["from", "message_type", "collapse_key"];
const RESERVED_BEGINNINGS: [&str; 2] = ["google.", "gcm."];

/// Why a message is refused.
#[derive(Debug, PartialEq)]
pub(super) enum Wrong {
    /// It isn't of the published shape: the field, and what is wrong with it.
    Shape(String, String),
    /// It is, and can't be sent.
    Message(String),
}

/// Checks a whole request.
pub(super) fn check(request: &Value) -> Result<(), Wrong> {
    named("SendMessageRequest", request, "")?;
    let message = field(request, "message").ok_or_else(|| Wrong::Message("Message is empty".into()))?;
    let targets: Vec<_> = TARGETS.into_iter().filter(|target| field(message, target).is_some()).collect();
    if targets.len() != 1 {
        let text = "Exactly one of fid, token, topic or condition is required";
        return Err(Wrong::Message(format!("{text}, not {targets:?}")));
    }
    if field(message, "android").is_some() && field(message, "androidV2").is_some() {
        return Err(Wrong::Message("android and androidV2 exclude each other".into()));
    }
    let data = field(message, "data").and_then(Value::as_object);
    for key in data.into_iter().flat_map(Map::keys) {
        let own = RESERVED.contains(&key.as_str())
            || RESERVED_BEGINNINGS.iter().any(|beginning| key.starts_with(beginning));
        if own {
            return Err(Wrong::Message(format!("Invalid data payload key: {key}")));
        }
    }
    let content = message.as_object().map(|message| {
        message.iter().filter(|(name, _)| !TARGETS.contains(&name.as_str())).collect::<Vec<_>>()
    });
    let bytes: usize =
        content.into_iter().flatten().map(|(name, value)| name.len() + value.to_string().len() + 4).sum();
    if bytes > MESSAGE_BYTES_MAX {
        return Err(Wrong::Message(format!("Message is too big: {bytes} of {MESSAGE_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// A field under either of its names: `collapseKey` or `collapse_key`.
pub(super) fn field<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let found = object.as_object()?.iter().find(|(key, _)| camel_case(key) == name);
    found.map(|(_, value)| value)
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let mut text = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        text.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        text.push_str(letters.as_str());
    }
    text
}

/// Checks an object by the schema of this name.
fn named(schema: &str, value: &Value, path: &str) -> Result<(), Wrong> {
    let properties = SCHEMAS.get(schema).and_then(Value::as_object).expect("the schemas are complete");
    let Some(object) = value.as_object() else {
        return Err(wrong(path, format!("Proto field is not a {schema}, cannot start list or value")));
    };
    for (name, value) in object {
        let Some(property) = properties.get(&camel_case(name)) else {
            let text = format!("Unknown name \"{name}\" at '{path}': Cannot find field.");
            return Err(wrong(path, text));
        };
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        typed(property, value, &path)?;
    }
    Ok(())
}

/// Checks a value by what the schema says of its field.
fn typed(property: &Value, value: &Value, path: &str) -> Result<(), Wrong> {
    let says = |name: &str| property.get(name).and_then(Value::as_str);
    if let Some(schema) = says("$ref") {
        return named(schema, value, path);
    }
    let fits = match says("type").unwrap_or_default() {
        "string" => value.as_str().is_some_and(|text| is_of_format(text, says("format"))),
        "boolean" => value.is_boolean(),
        "integer" => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
        "number" => value.is_number(),
        "array" => {
            let item = property.get("items").unwrap_or(&Value::Null);
            let mut values = value.as_array().into_iter().flatten();
            values.try_for_each(|value| typed(item, value, path))?;
            value.is_array()
        }
        "object" => {
            let item = property.get("additionalProperties").unwrap_or(&Value::Null);
            let values = value.as_object().into_iter().flatten();
            for (name, value) in values {
                typed(item, value, &format!("{path}.{name}"))?;
            }
            value.is_object()
        }
        // `any`
        _ => true,
    };
    let known = property.get("enum").and_then(Value::as_array).is_none_or(|names| names.contains(value));
    if fits && known {
        return Ok(());
    }
    let text = format!("Invalid value at '{path}' ({}), {value}", says("type").unwrap_or_default());
    Err(wrong(path, text))
}

fn is_of_format(text: &str, format: Option<&str>) -> bool {
    match format {
        Some("google-duration") => {
            let seconds = text.strip_suffix('s').and_then(|number| number.parse::<f64>().ok());
            seconds.is_some_and(|seconds| (0.0..=TTL_S_MAX).contains(&seconds))
        }
        Some("google-datetime") => chrono::DateTime::parse_from_rfc3339(text).is_ok(),
        _ => true,
    }
}

fn wrong(path: &str, text: String) -> Wrong {
    Wrong::Shape(path.to_owned(), text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_schema_that_is_named_is_there() {
        fn names(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(object) => object.iter().for_each(|(key, value)| match value {
                    Value::String(name) if key == "$ref" => found.push(name.clone()),
                    _ => names(value, found),
                }),
                Value::Array(array) => array.iter().for_each(|value| names(value, found)),
                _ => {}
            }
        }
        let mut found = vec!["SendMessageRequest".to_owned()];
        SCHEMAS.values().for_each(|schema| names(schema, &mut found));
        assert!(found.len() > 10 && found.iter().all(|name| SCHEMAS[name].is_object()), "{found:?}");
    }

    #[test]
    fn what_google_would_refuse_is_refused() {
        let with = |name: &str, value: Value| {
            let mut message = json!({ "token": "t", "notification": { "title": "t", "body": "b" } });
            message[name] = value;
            check(&json!({ "message": message }))
        };
        for (name, good) in [
            ("data", json!({ "a": "b" })),
            ("android", json!({ "ttl": "3.5s", "collapse_key": "k", "notification": { "tag": "t" } })),
            ("android", json!({ "priority": "HIGH", "notification": { "notificationCount": 3 } })),
            ("apns", json!({ "headers": { "apns-priority": "10" }, "payload": { "aps": { "badge": 1 } } })),
        ] {
            assert_eq!(with(name, good), Ok(()));
        }
        for (name, bad) in [
            ("data", json!({ "a": 1 })),
            ("title", json!("x")),
            ("notification", json!({ "titel": "x" })),
            ("notification", json!("x")),
            ("android", json!({ "ttl": "3" })),
            ("android", json!({ "ttl": "2419201s" })),
            ("android", json!({ "priority": "VERY" })),
            ("android", json!({ "notification": { "notificationCount": 3.5 } })),
            ("android", json!({ "notification": { "eventTime": "now" } })),
        ] {
            assert!(matches!(with(name, bad.clone()), Err(Wrong::Shape(..))), "{name} {bad}");
        }
        for (name, bad) in [
            ("data", json!({ "from": "x" })),
            ("data", json!({ "google.x": "x" })),
            ("data", json!({ "x": "x".repeat(4_096) })),
            ("fid", json!("beside a token")),
        ] {
            assert!(matches!(with(name, bad.clone()), Err(Wrong::Message(_))), "{name} {bad}");
        }
        assert!(check(&json!({})).is_err() && check(&json!([])).is_err());
    }
}
