//! Who sends: the provider token, signed with a key of the team
//! (developer.apple.com/documentation/usernotifications/establishing-a-token-based-connection-to-apns).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use parking_lot::Mutex;
use rcgen::KeyPair;
use ring::signature::ECDSA_P256_SHA256_FIXED;

use crate::gateways::jwt::Jwt;
use crate::gateways::protocol::Request;

/// The id of the key.
pub(crate) const KEY_ID: &str = "SIMKEY1234";
/// The team that owns it.
pub(crate) const TEAM_ID: &str = "SIMTEAM123";
/// How old a token may be, and by how much clocks may differ, in seconds.
const AGE_S_MAX: i64 = 3_600;
const CLOCKS_DIFFER_S_MAX: i64 = 60;
/// How long a connection must keep a token before it shows another one. Apple allows one update in this time; here
/// the first token counts as one.
const KEPT_MIN: Duration = Duration::from_secs(20 * 60);
/// Tokens whose signature was checked and is remembered.
const CHECKED_MAX: usize = 1_000;

/// A key of the team, and the tokens that were signed with it.
pub(crate) struct Provider {
    key: KeyPair,
    /// When each token was made, in seconds since 1970.
    checked: Mutex<HashMap<String, i64>>,
}

impl Provider {
    /// A new key.
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self { key: KeyPair::generate().context("make the key of the team")?, checked: Mutex::default() })
    }

    /// The file that a server is given, `AuthKey_ID.p8`.
    pub(crate) fn file(&self) -> String {
        self.key.serialize_pem()
    }

    /// Checks the token of a request. Answers the reason of a refusal.
    pub(super) fn check(&self, request: &Request) -> Result<(), &'static str> {
        let shown = request.header("authorization").ok_or("MissingProviderToken")?;
        let (scheme, token) = shown.split_once(' ').ok_or("InvalidProviderToken")?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err("InvalidProviderToken");
        }
        let (made, now) = (self.made(token).ok_or("InvalidProviderToken")?, request.at.timestamp());
        if made > now + CLOCKS_DIFFER_S_MAX {
            return Err("InvalidProviderToken");
        }
        if now - made > AGE_S_MAX {
            return Err("ExpiredProviderToken");
        }
        let mut credential = request.connection.credential.lock();
        match &*credential {
            Some((kept, _)) if kept == token => {}
            Some((_, since)) if since.elapsed() < KEPT_MIN => return Err("TooManyProviderTokenUpdates"),
            _ => *credential = Some((token.to_owned(), Instant::now())),
        }
        Ok(())
    }

    /// When a token was made; none when it wasn't made by the team.
    fn made(&self, token: &str) -> Option<i64> {
        if let Some(made) = self.checked.lock().get(token) {
            return Some(*made);
        }
        let jwt = Jwt::parse(token)?;
        let ours = jwt.key_id() == Some(KEY_ID) && jwt.text("iss") == Some(TEAM_ID);
        let key = self.key.public_key_raw();
        let made =
            jwt.seconds("iat").filter(|_| ours && jwt.is_signed("ES256", &ECDSA_P256_SHA256_FIXED, key))?;
        let mut checked = self.checked.lock();
        if checked.len() >= CHECKED_MAX {
            checked.clear();
        }
        checked.insert(token.to_owned(), made);
        Some(made)
    }
}
