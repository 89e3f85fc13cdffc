//! Names, parsed at the door: who owns a `TenantId` or a `DeviceId` knows that it is valid.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest device id, in bytes.
pub const DEVICE_ID_BYTES_MAX: usize = 128;
/// Longest tenant id, in bytes.
pub const TENANT_ID_BYTES_MAX: usize = 63;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadName {
    /// Neither empty nor longer than the limit is allowed.
    #[error("{what} must have 1 to {max} characters, not {len}")]
    Length {
        /// Which name.
        what: &'static str,
        /// The limit in bytes.
        max: usize,
        /// What was given.
        len: usize,
    },
    /// A character that may not stand in the name.
    #[error("{what} may hold {allowed}, not {found:?}")]
    Character {
        /// Which name.
        what: &'static str,
        /// What may stand there, in words.
        allowed: &'static str,
        /// The first character that may not.
        found: char,
    },
}

pub(crate) fn check(
    what: &'static str,
    text: &str,
    max: usize,
    allowed: &'static str,
    ok: fn(char) -> bool,
) -> Result<Arc<str>, BadName> {
    if text.is_empty() || text.len() > max {
        return Err(BadName::Length { what, max, len: text.len() });
    }
    match text.chars().find(|c| !ok(*c)) {
        Some(found) => Err(BadName::Character { what, allowed, found }),
        None => Ok(text.into()),
    }
}

/// A device id: 1-128 characters of `A-Z a-z 0-9 . _ : -`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct DeviceId(Arc<str>);

impl DeviceId {
    /// Checks and takes a device id.
    ///
    /// # Errors
    /// `BadName` when it is empty, too long, or holds another character.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-');
        check("a device id", text, DEVICE_ID_BYTES_MAX, "A-Z a-z 0-9 . _ : -", ok).map(Self)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A tenant id: 1-63 characters of `a-z 0-9 -`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct TenantId(Arc<str>);

impl TenantId {
    /// Checks and takes a tenant id.
    ///
    /// # Errors
    /// `BadName` when it is empty, too long, or holds another character.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        check("a tenant", text, TENANT_ID_BYTES_MAX, "a-z 0-9 -", ok).map(Self)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The tenant where nothing says otherwise: `default`.
impl Default for TenantId {
    fn default() -> Self {
        Self("default".into())
    }
}

macro_rules! name_traits {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(text: String) -> Result<Self, BadName> {
                Self::parse(&text)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
name_traits!(DeviceId);
name_traits!(TenantId);

/// Which twin: tenant first, as in every key of the database.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceKey {
    /// Whose device.
    pub tenant: TenantId,
    /// Which device.
    pub device: DeviceId,
}

impl DeviceKey {
    /// Puts a key together.
    pub fn new(tenant: TenantId, device: DeviceId) -> Self {
        Self { tenant, device }
    }
}

impl fmt::Display for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.device)
    }
}

/// A place in the change feed: a number that the owner of the database gives each change before it is sent
/// there. Unique and rising, with gaps; below 2^53, so that JSON readers keep it exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_ids_are_checked() {
        assert_eq!(DeviceId::parse("a.B_9:-").map(|d| d.to_string()), Ok("a.B_9:-".into()));
        assert_eq!(
            DeviceId::parse("a/b"),
            Err(BadName::Character { what: "a device id", allowed: "A-Z a-z 0-9 . _ : -", found: '/' })
        );
        assert!(DeviceId::parse("").is_err());
        assert!(DeviceId::parse(&"x".repeat(128)).is_ok());
        assert!(DeviceId::parse(&"x".repeat(129)).is_err());
        assert!(DeviceId::parse("é").is_err());
    }

    #[test]
    fn tenants_are_checked() {
        assert!(TenantId::parse("acme-2").is_ok());
        assert!(TenantId::parse("Acme").is_err());
    }
}
