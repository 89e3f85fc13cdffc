//! The hash of what a publish said.

use std::fmt::{self, Write};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::device::Document;

/// Keys at the top of a state message that aren't part of what it says.
const RESERVED: [&str; 2] = ["_id", "_at"];

/// The first 64 bits of a SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hash(pub(crate) u64);

impl Hash {
    /// Reads 16 hexadecimal digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() == 16 { u64::from_str_radix(text, 16).ok().map(Self) } else { None }
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The hash of a merge patch without its reserved keys, over canonical JSON: names sorted, no spaces, a
/// number without a fraction written as an integer. Two patches that mean the same have the same hash.
pub(crate) fn of_patch(patch: &Document) -> Hash {
    let mut text = String::with_capacity(256);
    let said = patch.iter().filter(|(name, _)| !RESERVED.contains(&name.as_str()));
    write_object(&mut text, said);
    let digest = Sha256::digest(text.as_bytes());
    Hash(digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn write_object<'a>(text: &mut String, entries: impl Iterator<Item = (&'a String, &'a Value)>) {
    let mut entries: Vec<_> = entries.collect();
    entries.sort_unstable_by_key(|(name, _)| *name);
    text.push('{');
    for (index, (name, value)) in entries.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        write_string(text, name);
        text.push(':');
        write_value(text, value);
    }
    text.push('}');
}

fn write_value(text: &mut String, value: &Value) {
    match value {
        Value::Object(object) => write_object(text, object.iter()),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_value(text, item);
            }
            text.push(']');
        }
        Value::Number(number) => match number.as_f64() {
            // Up to 2^53 a double holds an integer exactly, and JSON doesn't tell 21.0 from 21.
            Some(float) if !number.is_i64() && !number.is_u64() => {
                let _ = write!(text, "{float}");
            }
            _ => {
                let _ = write!(text, "{number}");
            }
        },
        Value::String(string) => write_string(text, string),
        other => {
            let _ = write!(text, "{other}");
        }
    }
}

fn write_string(text: &mut String, string: &str) {
    let _ = write!(text, "{}", Value::from(string));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn hash(json: &str) -> Hash {
        of_patch(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn the_same_said_otherwise_has_the_same_hash() {
        let one = hash(r#"{"_id":"x-1","_at":1,"seq":1,"t":21.0,"o":{"b":null,"a":[1,2.5]}}"#);
        let other = hash(r#"{ "o":{"a":[1,2.50], "b":null}, "t":21, "seq":1.0 }"#);
        assert_eq!(one, other);
        assert_eq!(Hash::parse(&one.to_string()), Some(one));
    }

    #[test]
    fn something_else_has_another_hash() {
        let one = hash(r#"{"seq":1,"t":21.0,"s":"1"}"#);
        for other in [
            r#"{"seq":1,"t":21.1,"s":"1"}"#,
            r#"{"seq":1,"t":21.0,"s":1}"#,
            r#"{"seq":1,"t":21.0,"s":null}"#,
            r#"{"seq":1,"t":21.0}"#,
            r#"{"seq":1,"t":21.0,"s":"1","_id":"x","x":{"_id":"y"}}"#,
        ] {
            assert_ne!(one, hash(other), "{other}");
        }
    }
}
