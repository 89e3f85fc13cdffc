//! What an API key is good for.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One thing that an API key may be good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// See devices, their history and changes; search; over MQTT, subscribe.
    Read,
    /// Report state, set desired state and tags; over MQTT, publish.
    Write,
    /// Register and remove devices, and say what they show to be let in.
    Devices,
    /// Rules, receivers, and what became of notifications.
    Rules,
    /// The app of one person: what this person is told by, and what it was told. A key with it belongs to a person.
    Receive,
    /// Dead letters, usage, the index; see policies.
    Operate,
    /// All of these, and keys and policies.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Read, Self::Write, Self::Devices, Self::Rules, Self::Receive, Self::Operate, Self::Admin];

    /// Its name, as in JSON and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Devices => "devices",
            Self::Rules => "rules",
            Self::Receive => "receive",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

/// The scopes of a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// What the database names. A name that this version doesn't know is worth nothing.
    pub fn named(names: &[String]) -> Self {
        let known = Scope::ALL.into_iter().filter(|scope| names.iter().any(|name| name == scope.name()));
        Self(known.fold(0, |bits, scope| bits | 1 << scope as u8))
    }

    /// Is the scope among them, or implied?
    pub fn have(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8 | 1 << Scope::Admin as u8) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_and_admin_has_all() {
        let scopes =
            |names: &[&str]| Scopes::named(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        let read = scopes(&["read", "something new"]);
        assert!(Scope::ALL.into_iter().all(|scope| read.have(scope) == (scope == Scope::Read)));
        assert!(Scope::ALL.into_iter().all(|scope| scopes(&["admin"]).have(scope)));
        assert!(!Scope::ALL.into_iter().any(|scope| scopes(&[]).have(scope)));
    }
}
