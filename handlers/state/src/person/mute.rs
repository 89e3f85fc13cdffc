//! What a person doesn't want to hear of.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::PersonError;
use crate::{DeviceId, Query, Timestamp, Twin};

/// Alarms that aren't told to a person: those for which everything holds that is said here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mute {
    /// The twin matches this query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// They are of this rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Uuid>,
    /// They are about this device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    /// It is before this moment; without it, for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// A mute that was checked.
#[derive(Debug, Clone)]
pub struct Muted {
    mute: Mute,
    query: Option<Query>,
}

impl Muted {
    /// Checks the mute number `n` of a person.
    ///
    /// # Errors
    /// `PersonError` when its query isn't one, or it says nothing.
    pub fn new(n: usize, mute: &Mute) -> Result<Self, PersonError> {
        if mute.query.is_none() && mute.rule.is_none() && mute.device.is_none() {
            return Err(PersonError::Mute(n));
        }
        let query = mute.query.as_deref().map(Query::parse).transpose();
        let query = query.map_err(|error| PersonError::MuteQuery(n, error))?;
        Ok(Self { mute: mute.clone(), query })
    }

    /// The mute as it was written.
    pub fn mute(&self) -> &Mute {
        &self.mute
    }

    /// Whether it keeps an alarm of this rule about this device from the person.
    pub fn holds(&self, rule: Uuid, twin: &Twin, now: Timestamp) -> bool {
        let Mute { rule: of, device, until, .. } = &self.mute;
        until.is_none_or(|until| now < until)
            && of.is_none_or(|of| of == rule)
            && device.as_ref().is_none_or(|device| *device == twin.device)
            && self.query.as_ref().is_none_or(|query| query.matches(twin, now))
    }
}

/// What a mute is about, for people.
impl std::fmt::Display for Mute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.device.as_ref().map(|device| format!("device {device}")));
        parts.extend(self.rule.map(|rule| format!("rule {rule}")));
        parts.extend(self.query.as_ref().map(|query| format!("devices that match {query}")));
        f.write_str(&parts.join(", "))?;
        self.until.map_or(Ok(()), |until| write!(f, ", until {until}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    fn holds(mute: Value) -> bool {
        let mute = Muted::new(0, &serde_json::from_value(mute).unwrap()).unwrap();
        let mut twin = Twin::new(DeviceId::parse("pump").unwrap());
        twin.tags = serde_json::from_value(json!({"site":"lab"})).unwrap();
        mute.holds(Uuid::from_u128(1), &twin, Timestamp::from_micros(0))
    }

    #[test]
    fn everything_that_is_said_must_hold() {
        let (mine, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert!(holds(json!({"query":"tags.site:lab"})) && !holds(json!({"query":"tags.site:roof"})));
        assert!(holds(json!({"rule":mine})) && !holds(json!({"rule":other})));
        assert!(holds(json!({"device":"pump"})) && !holds(json!({"device":"fan"})));
        assert!(holds(json!({"device":"pump","rule":mine,"query":"tags.site:lab"})));
        assert!(!holds(json!({"device":"pump","rule":other,"query":"tags.site:lab"})));
    }

    #[test]
    fn it_says_what_it_is_about() {
        let mute: Mute =
            serde_json::from_value(json!({"device":"a","query":"x:1","until":"2026-01-01T00:00:00Z"}))
                .unwrap();
        assert_eq!(mute.to_string(), "device a, devices that match x:1, until 2026-01-01T00:00:00Z");
    }
}
