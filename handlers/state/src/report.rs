//! What someone asks of a twin. A delivery from MQTT, a call over HTTP and a connection that opens or closes
//! all become a `Report` and pass through the mailbox of the device.

use serde_json::Value;
use sha2::{Digest, Sha256};
use thiserror::Error;
use uuid::Uuid;

use crate::alarm::Stale;
use crate::document::{self, Limits};
use crate::request::Asked;
use crate::rule::Wish;
use crate::{DeviceKey, Document, Presence, Timestamp};

/// Longest idempotency key (`_id`), in bytes.
pub const MESSAGE_ID_BYTES_MAX: usize = 64;
/// Longest reason with which a device refuses its desired state, in bytes.
pub const REASON_BYTES_MAX: usize = 1_024;

/// One request to change one twin.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Whose twin.
    pub key: DeviceKey,
    /// What is asked.
    pub body: Body,
    /// The time that the device gave (`_at`), not yet judged.
    pub device_time: Option<Timestamp>,
    /// The idempotency key (`_id`): applied once while it is remembered.
    pub message: Option<MessageId>,
    /// When it was received.
    pub received_at: Timestamp,
}

impl Report {
    /// Reads the payload of a state topic: a merge patch of `reported`, from which the reserved keys `_at`
    /// (device time) and `_id` (idempotency key) are taken out. Any other name is a property.
    ///
    /// # Errors
    /// As [`document::parse`]; `Refusal::Payload` when `_at` isn't a time, or `_id` neither a text of 1 to 64
    /// bytes nor a whole number.
    pub fn from_state_payload(
        key: DeviceKey,
        payload: &[u8],
        received_at: Timestamp,
        limits: &Limits,
    ) -> Result<Self, Refusal> {
        let mut patch = document::parse(payload, limits)?;
        let device_time = patch.remove("_at").map(|value| device_time(&value)).transpose()?;
        let message = patch.remove("_id").map(|value| message_id(&value)).transpose()?;
        Ok(Self { key, body: Body::State(patch), device_time, message, received_at })
    }

    /// Reads what a device says when it refuses its desired state: `{"version":n,"reason":"text"}`. The
    /// reason may be left out; other names mean nothing yet.
    ///
    /// # Errors
    /// As [`document::parse`]; `Refusal::Payload` when there is no version, or the reason isn't a text;
    /// `Refusal::TooLarge` when the reason is longer than [`REASON_BYTES_MAX`].
    pub fn from_rejected_payload(
        key: DeviceKey,
        payload: &[u8],
        received_at: Timestamp,
        limits: &Limits,
    ) -> Result<Self, Refusal> {
        let mut document = document::parse(payload, limits)?;
        let version = document.get("version").and_then(Value::as_u64).ok_or_else(|| {
            Refusal::Payload("version should be the version of desired that is refused".into())
        })?;
        let reason = match document.remove("reason") {
            None => String::new(),
            Some(Value::String(text)) if text.len() <= REASON_BYTES_MAX => text,
            Some(Value::String(text)) => {
                return Err(Refusal::TooLarge(format!(
                    "reason has {} bytes, and {REASON_BYTES_MAX} are allowed",
                    text.len()
                )));
            }
            Some(_) => return Err(Refusal::Payload("reason should be a text".into())),
        };
        Ok(Self {
            key,
            body: Body::Rejected { version, reason },
            device_time: None,
            message: None,
            received_at,
        })
    }
}

fn device_time(value: &Value) -> Result<Timestamp, Refusal> {
    Timestamp::from_json(value).ok_or_else(|| {
        Refusal::Payload(
            "_at should be a time as in RFC 3339, or a number of seconds, milliseconds, microseconds or \
             nanoseconds since 1970"
                .into(),
        )
    })
}

fn message_id(value: &Value) -> Result<MessageId, Refusal> {
    match value {
        Value::String(text) if (1..=MESSAGE_ID_BYTES_MAX).contains(&text.len()) => Ok(MessageId::of(text)),
        Value::Number(number) if !number.is_f64() => Ok(MessageId::of(&number.to_string())),
        _ => Err(Refusal::Payload(format!(
            "_id should be a text of 1 to {MESSAGE_ID_BYTES_MAX} bytes, or a whole number of at most 64 bits"
        ))),
    }
}

/// What is asked of a twin.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// The device reported: a merge patch of `reported`.
    State(Document),
    /// Someone sets what the device should be: a merge patch of `desired`, and the version it rests on.
    Desired {
        /// The merge patch.
        patch: Document,
        /// Refused when the twin has another version.
        if_version: Option<u64>,
        /// Who asks, and until when.
        asked: Asked,
    },
    /// The device acknowledged that it was told what it should be.
    Received {
        /// The version that it was told with.
        version: u64,
    },
    /// It is time to look whether the time of a request for desired state is up.
    Overdue,
    /// The device refuses what it should be.
    Rejected {
        /// The version that it refuses.
        version: u64,
        /// Why, in its words.
        reason: String,
    },
    /// Someone changes the tags: a merge patch of `tags`, and the version it rests on.
    Tags {
        /// The merge patch.
        patch: Document,
        /// Refused when the twin has another version.
        if_version: Option<u64>,
    },
    /// A connection opened, or the last one closed.
    Presence(Presence),
    /// It is time to look at the alarms of the device.
    Due,
    /// A rule is new, has changed or is gone: what does it say of the device as it is?
    Review(Uuid),
    /// Somebody does something to an alarm of the device.
    Alarm {
        /// Which alarm.
        id: Uuid,
        /// What they ask.
        wish: Wish,
        /// Who they are.
        by: String,
        /// What they say about it.
        note: String,
    },
    /// Someone registers the device, with these tags as a merge patch.
    Register {
        /// The merge patch.
        tags: Document,
    },
    /// Someone removes the device.
    Remove,
}

/// The idempotency key of a message: a hash of 64 bits, the same in every version of Statecast. A collision
/// within what one device sends in a day has a chance of about one in 10^13.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageId(pub u64);

impl MessageId {
    /// The first 8 bytes of the SHA-256 of the key as text, big endian.
    pub fn of(text: &str) -> Self {
        let hash = Sha256::digest(text.as_bytes());
        Self(hash.iter().take(8).fold(0, |id, byte| id << 8 | u64::from(*byte)))
    }
}

/// Why a report can't be applied. A refused message from a device is acknowledged and kept as a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The payload isn't what it should be; the text says where and why.
    #[error("{0}")]
    Payload(String),
    /// A document, or the twin that would result, is over a limit; the text says which.
    #[error("{0}")]
    TooLarge(String),
    /// The device isn't registered.
    #[error("no device {0}")]
    UnknownDevice(String),
    /// The twin has another version than the request rests on.
    #[error("the twin has version {current}, not {expected}")]
    Version {
        /// What the request rests on.
        expected: u64,
        /// What the twin has.
        current: u64,
    },
    /// The device has as many requests open as it may.
    #[error("the device has {0} requests whose outcome is still to come, and no more may wait")]
    Requests(usize),
    /// The database refuses the row for what is in it.
    #[error("the database refused it: {0}")]
    Poison(String),
    /// A handler failed on it, more than once.
    #[error("the handler {0} failed on it")]
    Handler(&'static str),
    /// The device has no such alarm.
    #[error("no alarm {0}")]
    UnknownAlarm(Uuid),
    /// What somebody saw of an alarm is over.
    #[error(transparent)]
    StaleAlarm(#[from] Stale),
    /// Other writers were quicker too many times.
    #[error("the twin changed under it too often")]
    Contended,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{DeviceId, TenantId};
    use serde_json::json;

    fn key() -> DeviceKey {
        DeviceKey::new(TenantId::default(), DeviceId::parse("d").unwrap())
    }

    fn state(payload: &str) -> Result<Report, Refusal> {
        Report::from_state_payload(key(), payload.as_bytes(), Timestamp::from_micros(5), &Limits::default())
    }

    fn rejected(payload: &str) -> Result<Body, Refusal> {
        let at = Timestamp::from_micros(5);
        Report::from_rejected_payload(key(), payload.as_bytes(), at, &Limits::default()).map(|r| r.body)
    }

    #[test]
    fn reserved_keys_are_taken_out() {
        let report = state(r#"{"_at":1700000000,"_id":"m1","_x":1,"a":{"_at":2},"b":null}"#).unwrap();
        let Body::State(patch) = report.body else { panic!("{:?}", report.body) };
        assert_eq!(Value::Object(patch), json!({"_x":1,"a":{"_at":2},"b":null}));
        assert_eq!(report.device_time, Timestamp::parse("2023-11-14T22:13:20Z"));
        assert_eq!(report.message, Some(MessageId::of("m1")));
        assert_eq!(report.received_at, Timestamp::from_micros(5));

        let report = state("{}").unwrap();
        assert_eq!((report.device_time, report.message), (None, None));
    }

    #[test]
    fn a_wrong_reserved_key_is_refused() {
        for at in ["null", "\"yesterday\"", "true", "[]"] {
            let refusal = state(&format!("{{\"_at\":{at}}}")).unwrap_err();
            assert!(refusal.to_string().starts_with("_at should be"), "{refusal}");
        }
        let long = format!("\"{}\"", "x".repeat(65));
        for id in ["null", "\"\"", "1.5", "99999999999999999999999", "{}", &long] {
            let refusal = state(&format!("{{\"_id\":{id}}}")).unwrap_err();
            assert!(refusal.to_string().starts_with("_id should be"), "{refusal}");
        }
        assert!(state(&format!("{{\"_id\":\"{}\"}}", "x".repeat(64))).is_ok());
    }

    #[test]
    fn message_ids_never_change_between_versions() {
        // The first 8 bytes of `printf abc | sha256sum`.
        assert_eq!(MessageId::of("abc"), MessageId(0xba78_16bf_8f01_cfea));
        assert_eq!(state(r#"{"_id":-17}"#).unwrap().message, Some(MessageId::of("-17")));
    }

    #[test]
    fn a_device_says_why_it_refuses() {
        let body = |reason: &str| Body::Rejected { version: 7, reason: reason.into() };
        assert_eq!(rejected(r#"{"version":7,"reason":"too hot"}"#), Ok(body("too hot")));
        assert_eq!(rejected(r#"{"version":7}"#), Ok(body("")));
        assert!(rejected(r#"{"reason":"too hot"}"#).unwrap_err().to_string().starts_with("version should"));
        assert!(rejected(r#"{"version":-1}"#).is_err());
        assert_eq!(
            rejected(r#"{"version":7,"reason":1}"#),
            Err(Refusal::Payload("reason should be a text".into()))
        );
        let long = format!(r#"{{"version":7,"reason":"{}"}}"#, "x".repeat(REASON_BYTES_MAX + 1));
        assert!(matches!(rejected(&long), Err(Refusal::TooLarge(_))));
    }
}
