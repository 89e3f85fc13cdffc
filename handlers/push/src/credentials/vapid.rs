//! Who we are for push services (VAPID, RFC 8292): a key that subscriptions are made for, and a token for each origin,
//! good for twelve hours and made anew when one is left.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, ensure};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use serde_json::json;
use statecast_state::Timestamp;

use super::jwt::Key;

/// How long a token is good, in seconds (RFC 8292, 2: a day at most).
const LASTS_S: i64 = 12 * 3_600;
/// A token with less left is made anew, in seconds.
const LEFT_S: i64 = 3_600;
/// Origins whose tokens are kept; with more all are made anew.
const ORIGINS_MAX: usize = 1_000;

/// Our key with push services.
pub(crate) struct Vapid {
    key: Key,
    subject: String,
    public: String,
    made: Mutex<HashMap<String, (String, i64)>>,
}

impl Vapid {
    /// Reads the key. `subject` is how those who run a push service reach us: `mailto:` or `https:`.
    pub(crate) fn read(path: &Path, subject: &str) -> anyhow::Result<Self> {
        Self::new(Key::read_es256(path)?, subject)
    }

    pub(crate) fn new(key: Key, subject: &str) -> anyhow::Result<Self> {
        let address = subject.strip_prefix("mailto:").is_some_and(|mail| mail.contains('@'));
        let plain = subject.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'<' | b'>'));
        // Apple refuses all that is only nearly right.
        ensure!(
            plain && (address || subject.starts_with("https://")),
            "`subject` is like mailto:you@example.org or https://example.org, without spaces"
        );
        let public = BASE64_URL_SAFE_NO_PAD.encode(key.public());
        Ok(Self { key, subject: subject.to_owned(), public, made: Mutex::default() })
    }

    /// The public key as a browser wants it (`applicationServerKey`): 65 bytes in base64url.
    pub(crate) fn public(&self) -> &str {
        &self.public
    }

    /// The value of `Authorization` for a push service.
    pub(crate) fn authorization(&self, origin: &str, now: Timestamp) -> anyhow::Result<String> {
        let seconds = now.as_micros() / 1_000_000;
        let mut made = self.made.lock();
        if let Some((header, until)) = made.get(origin)
            && (LEFT_S..=LASTS_S).contains(&(until - seconds))
        {
            return Ok(header.clone());
        }
        let until = seconds + LASTS_S;
        let token = self.key.sign(None, &json!({ "aud": origin, "exp": until, "sub": self.subject }))?;
        let header = format!("vapid t={token}, k={}", self.public);
        if made.len() >= ORIGINS_MAX {
            made.clear();
        }
        made.insert(origin.to_owned(), (header.clone(), until));
        Ok(header)
    }
}

/// Makes a key in this file, for its owner alone to read, unless there is one.
///
/// # Errors
/// When the file can't be written.
pub fn make_web_push_key(path: &Path) -> anyhow::Result<()> {
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("make {}", path.display())),
    };
    let pem = Key::new_es256()?;
    let written = file.write_all(pem.as_bytes()).and_then(|()| file.sync_all());
    written.with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::jwt::tests::claims;
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_micros(hours * 3_600_000_000)
    }

    fn token(header: &str) -> &str {
        header.strip_prefix("vapid t=").unwrap().split(',').next().unwrap()
    }

    #[test]
    fn each_origin_has_a_token_for_half_a_day() {
        let vapid =
            Vapid::new(Key::es256(Key::new_es256().unwrap().as_bytes()).unwrap(), "mailto:me@example.org")
                .unwrap();
        let first = vapid.authorization("https://a.example", at(0)).unwrap();
        assert!(first.ends_with(&format!(", k={}", vapid.public())));
        let expected = json!({ "aud": "https://a.example", "exp": LASTS_S, "sub": "mailto:me@example.org" });
        assert_eq!(claims(token(&first)), expected);
        assert_eq!(vapid.authorization("https://a.example", at(11)).unwrap(), first);
        assert_ne!(vapid.authorization("https://b.example", at(11)).unwrap(), first);
        let next = vapid.authorization("https://a.example", at(12)).unwrap();
        assert_eq!(claims(token(&next))["exp"], 24 * 3_600);
        let back = vapid.authorization("https://a.example", at(1)).unwrap();
        assert_eq!(claims(token(&back))["exp"], 13 * 3_600, "the clock was set back");
    }

    #[test]
    fn a_subject_is_an_address() {
        let made =
            |subject| Vapid::new(Key::es256(Key::new_es256().unwrap().as_bytes()).unwrap(), subject).is_ok();
        assert!(made("mailto:me@example.org") && made("https://example.org"));
        assert!(
            !made("") && !made("me@example.org") && !made("mailto: <me@example.org>") && !made("mailto:me")
        );
    }

    #[test]
    fn a_key_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        make_web_push_key(&path).unwrap();
        let public = |path: &Path| Vapid::read(path, "mailto:me@example.org").unwrap().public().to_owned();
        let first = public(&path);
        make_web_push_key(&path).unwrap();
        assert_eq!(public(&path), first);
        let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
}
