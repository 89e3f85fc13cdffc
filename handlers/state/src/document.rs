//! JSON objects with limits: how deep, how large, and what PostgreSQL can't store.
//!
//! Everything that becomes part of a twin passes through [`parse`] (or [`check`], when somebody else has read
//! the JSON). Behind it a document is known to fit into `jsonb`: no `\u0000` in names or texts, no lone
//! surrogates, no number that a double can't hold.

use std::io;

use serde_json::Value;

use crate::{Refusal, Twin};

/// A JSON object.
pub type Document = serde_json::Map<String, Value>;

/// How large things may be. Every limit is inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Levels of objects and arrays; a flat object has one.
    pub depth_max: usize,
    /// One payload as it was sent, in bytes.
    pub payload_bytes_max: usize,
    /// `reported`, `desired` and `tags` of one twin together, in bytes of JSON.
    pub twin_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth_max: 8, payload_bytes_max: 256 * 1024, twin_bytes_max: 64 * 1024 }
    }
}

impl Limits {
    /// Checks that a twin isn't larger than it may be.
    ///
    /// # Errors
    /// `Refusal::TooLarge`, with both figures.
    pub fn check_twin(&self, twin: &Twin) -> Result<(), Refusal> {
        let bytes = size_of(&twin.reported) + size_of(&twin.desired) + size_of(&twin.tags);
        if bytes > self.twin_bytes_max {
            return Err(Refusal::TooLarge(format!(
                "the twin would have {bytes} bytes, and {} are allowed",
                self.twin_bytes_max
            )));
        }
        Ok(())
    }
}

/// Reads a JSON object. Where a name stands twice in an object, the last one counts.
///
/// # Errors
/// `Refusal::TooLarge` when the payload has too many bytes or levels; `Refusal::Payload` when it isn't a JSON
/// object, with line and column, or holds what can't be stored.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Document, Refusal> {
    if bytes.len() > limits.payload_bytes_max {
        return Err(Refusal::TooLarge(format!(
            "the payload has {} bytes, and {} are allowed",
            bytes.len(),
            limits.payload_bytes_max
        )));
    }
    if bytes.trim_ascii().is_empty() {
        return Err(Refusal::Payload("the payload is empty; it should be a JSON object".into()));
    }
    let value: Value = serde_json::from_slice(bytes).map_err(|error| {
        let error = error.to_string();
        // The reader has a limit of its own, far above ours, and stops there.
        if error.starts_with("recursion limit") { too_deep(limits) } else { not_json(&error) }
    })?;
    let Value::Object(document) = value else {
        let found = kind(&value);
        return Err(Refusal::Payload(format!("the payload is {found}; it should be a JSON object")));
    };
    check(&document, limits)?;
    Ok(document)
}

/// Checks a document that somebody else has read: its depth, and that it can be stored.
///
/// # Errors
/// As [`parse`].
pub fn check(document: &Document, limits: &Limits) -> Result<(), Refusal> {
    check_object(document, 1, limits)
}

/// Bytes of the document when it is written as JSON.
pub fn size_of(document: &Document) -> usize {
    let mut counter = Counter(0);
    match serde_json::to_writer(&mut counter, document) {
        Ok(()) => counter.0,
        Err(_) => usize::MAX,
    }
}

fn check_object(object: &Document, depth: usize, limits: &Limits) -> Result<(), Refusal> {
    if depth > limits.depth_max {
        return Err(too_deep(limits));
    }
    for (name, value) in object {
        check_text(name, "a property name")?;
        check_value(value, depth, limits)
            .map_err(|refusal| if depth == 1 { at_property(name, refusal) } else { refusal })?;
    }
    Ok(())
}

fn check_value(value: &Value, depth: usize, limits: &Limits) -> Result<(), Refusal> {
    match value {
        Value::Object(inner) => check_object(inner, depth + 1, limits),
        Value::Array(_) if depth + 1 > limits.depth_max => Err(too_deep(limits)),
        Value::Array(items) => items.iter().try_for_each(|item| check_value(item, depth + 1, limits)),
        Value::String(text) => check_text(text, "a text"),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn check_text(text: &str, what: &str) -> Result<(), Refusal> {
    if text.contains('\0') {
        return Err(Refusal::Payload(format!("{what} holds the character \\u0000, which can't be stored")));
    }
    Ok(())
}

/// Adds the property at the top, which is enough to find the place in what a device sends.
fn at_property(name: &str, refusal: Refusal) -> Refusal {
    let name: String = name.chars().take(64).collect();
    match refusal {
        Refusal::Payload(text) => Refusal::Payload(format!("{text} (in {name:?})")),
        Refusal::TooLarge(text) => Refusal::TooLarge(format!("{text} (in {name:?})")),
        other => other,
    }
}

fn too_deep(limits: &Limits) -> Refusal {
    Refusal::TooLarge(format!(
        "objects and arrays are nested deeper than the {} levels allowed",
        limits.depth_max
    ))
}

fn not_json(error: &str) -> Refusal {
    Refusal::Payload(format!("the payload isn't JSON: {error}"))
}

/// What a value is, in words.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Counts what is written to it.
struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::DeviceId;

    fn refused(payload: impl AsRef<[u8]>) -> String {
        parse(payload.as_ref(), &Limits::default()).unwrap_err().to_string()
    }

    #[test]
    fn only_objects_are_taken() {
        assert_eq!(parse(br#" {"a":1,"a":2} "#, &Limits::default()).unwrap()["a"], 2);
        assert_eq!(refused("[1]"), "the payload is an array; it should be a JSON object");
        assert_eq!(refused("21.5"), "the payload is a number; it should be a JSON object");
        assert_eq!(refused(" \n"), "the payload is empty; it should be a JSON object");
        assert_eq!(refused("{\n\"a\": }"), "the payload isn't JSON: expected value at line 2 column 6");
        assert!(refused("{} {}").contains("trailing characters at line 1 column 4"));
    }

    #[test]
    fn what_cannot_be_stored_is_refused() {
        assert_eq!(
            refused(r#"{"door":["a\u0000"]}"#),
            "a text holds the character \\u0000, which can't be stored (in \"door\")"
        );
        assert!(refused(r#"{"x":{"a\u0000b":1}}"#).starts_with("a property name holds"));
        assert!(refused(r#"{"a":"\ud800"}"#).contains("line 1 column"), "a lone surrogate");
        assert!(refused(r#"{"a":"\udc00x"}"#).contains("line 1 column"), "a lone surrogate");
        assert!(refused(r#"{"a":1e999}"#).contains("number out of range"));
        assert!(refused(r#"{"a":NaN}"#).contains("line 1 column"));
        assert!(refused(b"{\"a\":\"\xff\"}").contains("line 1 column"), "not UTF-8");
        assert!(parse("{\"é\":\"\\ud83d\\ude00\"}".as_bytes(), &Limits::default()).is_ok());
    }

    #[test]
    fn depth_counts_objects_and_arrays() {
        let nested = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
        assert!(parse(nested(8).as_bytes(), &Limits::default()).is_ok());
        assert!(refused(nested(9)).contains("deeper than the 8 levels"));
        assert!(refused(nested(5_000)).contains("deeper than the 8 levels"));
        assert!(parse(br#"{"a":[[[[[[[]]]]]]]}"#, &Limits::default()).is_ok());
        assert!(refused(r#"{"a":[[[[[[[[]]]]]]]]}"#).contains("deeper"));
    }

    #[test]
    fn sizes_are_counted_as_json() {
        let document = parse("{ \"a\" : \"é\\n\", \"b\": [1, 2.5] }".as_bytes(), &Limits::default()).unwrap();
        assert_eq!(size_of(&document), serde_json::to_vec(&document).unwrap().len());

        let limits = Limits { payload_bytes_max: 8, twin_bytes_max: 12, ..Limits::default() };
        assert_eq!(
            parse(br#"{"a":123}"#, &limits),
            Err(Refusal::TooLarge("the payload has 9 bytes, and 8 are allowed".into()))
        );

        let mut twin = Twin::new(DeviceId::parse("d").unwrap());
        twin.reported = parse(br#"{"a":12}"#, &limits).unwrap();
        assert_eq!(limits.check_twin(&twin), Ok(()), "8 + 2 + 2 bytes");
        twin.tags.insert("b".into(), true.into());
        assert_eq!(
            limits.check_twin(&twin),
            Err(Refusal::TooLarge("the twin would have 20 bytes, and 12 are allowed".into()))
        );
    }
}
