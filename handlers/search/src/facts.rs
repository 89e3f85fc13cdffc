//! The terms that say what is true of a twin: what a query asks for is looked up, or scanned, among them.
//!
//! | term | says |
//! |---|---|
//! | tenant, 0, `e`, name | there is such a property |
//! | tenant, 0, `s`, name, 0, text | a value is this string, folded to lower case |
//! | tenant, 0, `n`, name, 0, 8 bytes | a value is this number, as a double |
//! | tenant, 0, `b`, name, 0, `0` or `1` | a value is false or true |
//! | tenant, 0, word | a text has this word; in a field of its own, with its places |
//!
//! The tenant comes first, so that whoever lists names, values or words sees those of one tenant: what others have
//! isn't filtered out, it is elsewhere. Neither a tenant nor a name ([`crate::property`]) nor a word holds a zero,
//! and every part has a bound: a path that is longer than a query can't be asked for, and longer strings are
//! equal to nothing ([`WHOLE_BYTES_MAX`]).

use serde_json::Value;
use statecast_state::TenantId;
use statecast_state::query::text::{self, WHOLE_BYTES_MAX};

/// The terms of one tenant.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    tenant: TenantId,
}

impl Scope {
    pub(crate) fn of(tenant: &TenantId) -> Self {
        Self { tenant: tenant.clone() }
    }

    /// The tenant, as each of its documents has it.
    pub(crate) fn tenant(&self) -> &[u8] {
        self.tenant.as_str().as_bytes()
    }

    /// The property exists.
    pub(crate) fn exists(&self, name: &str) -> Vec<u8> {
        self.fact(b'e', name)
    }

    /// What the terms begin with that say of a property that it exists; its name follows.
    pub(crate) fn names(&self) -> Vec<u8> {
        self.fact(b'e', "")
    }

    /// What the terms of all numbers of a property begin with; 8 bytes follow, those of a double.
    pub(crate) fn numbers(&self, name: &str) -> Vec<u8> {
        self.values(b'n', name, b"")
    }

    /// What the terms of a property that is false or true begin with.
    pub(crate) fn booleans(&self, name: &str) -> Vec<u8> {
        self.values(b'b', name, b"")
    }

    /// What the terms of all strings of a property begin with.
    pub(crate) fn strings(&self, name: &str) -> Vec<u8> {
        self.values(b's', name, b"")
    }

    /// A value is this string, which is folded already.
    pub(crate) fn string(&self, name: &str, folded: &str) -> Vec<u8> {
        self.values(b's', name, folded.as_bytes())
    }

    /// A value is this number.
    pub(crate) fn number(&self, name: &str, number: f64) -> Vec<u8> {
        // There are two zeros, and they are equal.
        let number = if number == 0.0 { 0.0 } else { number };
        self.values(b'n', name, &number.to_be_bytes())
    }

    /// A value is true, or false.
    pub(crate) fn boolean(&self, name: &str, boolean: bool) -> Vec<u8> {
        self.values(b'b', name, if boolean { b"1" } else { b"0" })
    }

    /// What a value says; nothing for those that can't be asked for.
    pub(crate) fn value(&self, name: &str, value: &Value) -> Option<Vec<u8>> {
        match value {
            Value::String(value) if value.len() <= WHOLE_BYTES_MAX => {
                Some(self.string(name, &text::fold(value)))
            }
            Value::Number(value) => value.as_f64().map(|value| self.number(name, value)),
            Value::Bool(value) => Some(self.boolean(name, *value)),
            _ => None,
        }
    }

    /// A word, the beginning of one, or a whole text that is yet to be cut into words ([`unscoped`]).
    pub(crate) fn words(&self, text: &str) -> String {
        [self.tenant.as_str(), "\0", text].concat()
    }

    fn fact(&self, kind: u8, name: &str) -> Vec<u8> {
        [self.tenant.as_str().as_bytes(), &[0, kind], name.as_bytes()].concat()
    }

    fn values(&self, kind: u8, name: &str, value: &[u8]) -> Vec<u8> {
        [self.tenant.as_str().as_bytes(), &[0, kind], name.as_bytes(), &[0], value].concat()
    }
}

/// What [`Scope::words`] put before a text, and the text.
pub(crate) fn unscoped(text: &str) -> (&str, &str) {
    text.split_at(text.find('\0').map_or(0, |end| end + 1))
}
