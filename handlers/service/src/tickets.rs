//! Tickets: what a push carries so that its buttons work without a key. A ticket is good for one alarm and the device
//! that this is about, in the name of the person who was told, until it expires.
//!
//! It is signed, not stored: HMAC-SHA256 with a secret of the installation, compared in constant time. Whoever has it
//! can use it, as with any link in a message, so it is never logged, and it is in no row of the database.

use anyhow::{Context, Result};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use ring::hmac;
use statecast_state::{DeviceId, Push, TenantId, Timestamp};
use statecast_store::Store;
use uuid::Uuid;

/// What a ticket begins with, so that people and scanners know one when they see it.
const PREFIX: &str = "sct_";
/// The name of the secret.
const SECRET: &str = "tickets";
/// What is signed begins with this: no signature of anything else is one of a ticket.
const DOMAIN: &[u8] = b"statecast ticket 1\0";
/// How long a ticket is good after the deadline of its push, in microseconds: a day.
const AFTER_DEADLINE_US: i64 = 24 * 3_600 * 1_000_000;
/// Bytes of a signature.
const SIGNATURE_BYTES: usize = 32;
/// Longest ticket, in characters: its names are short.
const TICKET_CHARS_MAX: usize = 600;

/// What a ticket says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Whose.
    pub tenant: TenantId,
    /// The alarm that it is good for.
    pub alarm: Uuid,
    /// The device that this alarm is about.
    pub device: DeviceId,
    /// Who was told; none when the receiver belongs to nobody.
    pub person: Option<String>,
    /// From then on it is worthless.
    pub expires_at: Timestamp,
}

/// Signs tickets, and reads them.
pub struct Tickets(hmac::Key);

impl Tickets {
    /// With the secret of this installation.
    ///
    /// # Errors
    /// When the database can't be used.
    pub async fn open(store: &Store) -> Result<Self> {
        let secret = store.secret(SECRET).await.context("read the secret that signs tickets")?;
        Ok(Self::with(&secret))
    }

    fn with(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The ticket for a push; none when that is about no alarm.
    pub fn issue(&self, tenant: &TenantId, push: &Push) -> Option<String> {
        let ticket = Ticket {
            tenant: tenant.clone(),
            alarm: push.alarm?,
            device: push.device.clone(),
            person: push.person.clone(),
            expires_at: push.deadline.plus_micros(AFTER_DEADLINE_US),
        };
        let mut bytes = ticket.write();
        bytes.extend_from_slice(self.sign(&bytes).as_ref());
        Some(format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// What a ticket says that we signed; none for any other text, and when it has expired.
    pub fn read(&self, text: &str, now: Timestamp) -> Option<Ticket> {
        let text = text.strip_prefix(PREFIX).filter(|text| text.len() <= TICKET_CHARS_MAX)?;
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let (said, signature) = bytes.split_at_checked(bytes.len().checked_sub(SIGNATURE_BYTES)?)?;
        hmac::verify(&self.0, &[DOMAIN, said].concat(), signature).ok()?;
        Ticket::parse(said).filter(|ticket| now < ticket.expires_at)
    }

    fn sign(&self, said: &[u8]) -> hmac::Tag {
        hmac::sign(&self.0, &[DOMAIN, said].concat())
    }
}

/// Whether a text means to be a ticket, and not a key.
pub fn is_ticket(text: &str) -> bool {
    text.starts_with(PREFIX)
}

impl Ticket {
    /// Expiry, alarm, and three names with a zero byte between them, which none can hold.
    fn write(&self) -> Vec<u8> {
        let names = [self.tenant.as_str(), self.device.as_str(), self.person.as_deref().unwrap_or_default()];
        let mut bytes = self.expires_at.as_micros().to_be_bytes().to_vec();
        bytes.extend_from_slice(self.alarm.as_bytes());
        bytes.extend_from_slice(names.join("\0").as_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (expiry, rest) = bytes.split_first_chunk::<8>()?;
        let (alarm, names) = rest.split_first_chunk::<16>()?;
        let mut names = std::str::from_utf8(names).ok()?.split('\0');
        let (tenant, device, person) = (names.next()?, names.next()?, names.next()?);
        Some(Self {
            tenant: TenantId::parse(tenant).ok()?,
            alarm: Uuid::from_bytes(*alarm),
            device: DeviceId::parse(device).ok()?,
            person: Some(person.to_owned()).filter(|person| !person.is_empty()),
            expires_at: Timestamp::from_micros(i64::from_be_bytes(*expiry)),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn push(person: Option<&str>) -> Push {
        serde_json::from_value(json!({
            "id": Uuid::from_u128(1), "rule": Uuid::from_u128(2), "receiver": Uuid::from_u128(3), "device": "pump-1",
            "position": 0, "payload": {}, "created_at": "2026-11-23T00:00:00Z", "deadline": "2026-11-24T00:00:00Z",
            "due_at": "2026-11-23T00:00:00Z", "kind": "alarm", "alarm": Uuid::from_u128(4), "alarm_version": 1,
            "step": 0, "person": person, "severity": "major", "urgent": false,
        }))
        .unwrap()
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn a_ticket_says_what_it_is_good_for_until_it_expires() {
        let tickets = Tickets::with(b"one");
        let text = tickets.issue(&TenantId::default(), &push(Some("anna"))).unwrap();
        assert!(is_ticket(&text) && text.len() < 160, "{}", text.len());
        let ticket = tickets.read(&text, at("2026-11-24T23:59:59Z")).unwrap();
        assert_eq!((ticket.alarm, ticket.device.as_str()), (Uuid::from_u128(4), "pump-1"));
        assert_eq!((ticket.person.as_deref(), ticket.tenant), (Some("anna"), TenantId::default()));
        assert_eq!(tickets.read(&text, at("2026-11-25T00:00:00Z")), None);
        let nobodys = tickets.issue(&TenantId::default(), &push(None)).unwrap();
        assert_eq!(tickets.read(&nobodys, at("2026-11-24T00:00:00Z")).unwrap().person, None);
        assert!(tickets.issue(&TenantId::default(), &Push { alarm: None, ..push(None) }).is_none());
    }

    #[test]
    fn only_what_we_signed_counts() {
        let now = at("2026-11-24T00:00:00Z");
        let (ours, other) = (Tickets::with(b"one"), Tickets::with(b"two"));
        let text = other.issue(&TenantId::default(), &push(None)).unwrap();
        assert_eq!(ours.read(&text, now), None);
        for wrong in ["", "sct_", "sct_AAAA", "sc_0000", "sct_!", &format!("sct_{}", "A".repeat(10_000))] {
            assert_eq!(ours.read(wrong, now), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn not_a_bit_can_be_changed(byte in 0..100_usize, bit in 0..8) {
            let tickets = Tickets::with(b"one");
            let text = tickets.issue(&TenantId::default(), &push(Some("anna"))).unwrap();
            let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX).unwrap()).unwrap();
            let byte = byte % bytes.len();
            bytes[byte] ^= 1_u8 << bit;
            let forged = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes));
            prop_assert_eq!(tickets.read(&forged, at("2026-11-24T00:00:00Z")), None);
        }
    }
}
