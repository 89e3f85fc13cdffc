//! The terms that say what is true of a twin: what a query asks for is looked up, or scanned, among them.
//!
//! | term | says |
//! |---|---|
//! | name, 0, `e` | there is such a property |
//! | name, 0, `s`, text | a value is this string, folded to lower case |
//! | name, 0, `n`, 8 bytes | a value is this number, as a double |
//! | name, 0, `b`, `0` or `1` | a value is false or true |
//!
//! A name ([`crate::property`]) holds no zero, and every part has a bound: a path that is longer than a query
//! can't be asked for, and longer strings are equal to nothing ([`WHOLE_BYTES_MAX`]).

use serde_json::Value;
use statecast_state::query::text::{self, WHOLE_BYTES_MAX};

/// The property exists.
pub(crate) fn exists(name: &str) -> Vec<u8> {
    fact(name, b'e', b"")
}

/// What the terms of all strings of a property begin with.
pub(crate) fn strings(name: &str) -> Vec<u8> {
    fact(name, b's', b"")
}

/// A value is this string, which is folded already.
pub(crate) fn string(name: &str, folded: &str) -> Vec<u8> {
    fact(name, b's', folded.as_bytes())
}

/// A value is this number.
pub(crate) fn number(name: &str, number: f64) -> Vec<u8> {
    // There are two zeros, and they are equal.
    let number = if number == 0.0 { 0.0 } else { number };
    fact(name, b'n', &number.to_be_bytes())
}

/// A value is true, or false.
pub(crate) fn boolean(name: &str, boolean: bool) -> Vec<u8> {
    fact(name, b'b', if boolean { b"1" } else { b"0" })
}

/// What a value says; nothing for those that can't be asked for.
pub(crate) fn value(name: &str, value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(value) if value.len() <= WHOLE_BYTES_MAX => Some(string(name, &text::fold(value))),
        Value::Number(value) => value.as_f64().map(|value| number(name, value)),
        Value::Bool(value) => Some(boolean(name, *value)),
        _ => None,
    }
}

fn fact(name: &str, kind: u8, rest: &[u8]) -> Vec<u8> {
    [name.as_bytes(), &[0, kind], rest].concat()
}
