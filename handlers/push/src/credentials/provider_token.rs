//! The token that shows Apple who we are (Apple, "Establishing a token-based connection to APNs"): signed anew when it
//! is 50 minutes old. One that is older than an hour is refused, and so is who makes them more often than every 20
//! minutes.

use std::path::Path;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use statecast_state::Timestamp;

use super::jwt::Key;

/// The age at which a token is replaced.
const RENEW: Duration = Duration::from_secs(50 * 60);
/// The age from which a token may be replaced when it was refused.
const RENEW_SOONEST: Duration = Duration::from_secs(20 * 60);

/// Our key with Apple.
pub(crate) struct ProviderToken {
    key: Key,
    key_id: String,
    team_id: String,
    made: Mutex<Option<(String, Timestamp)>>,
}

impl ProviderToken {
    /// Reads the key: the `.p8` file of Apple's.
    pub(crate) fn read(path: &Path, key_id: &str, team_id: &str) -> anyhow::Result<Self> {
        Ok(Self::new(Key::read_es256(path)?, key_id, team_id))
    }

    fn new(key: Key, key_id: &str, team_id: &str) -> Self {
        Self { key, key_id: key_id.to_owned(), team_id: team_id.to_owned(), made: Mutex::new(None) }
    }

    /// Which key of which team.
    pub(crate) fn name(&self) -> String {
        format!("key {} of team {}", self.key_id, self.team_id)
    }

    /// The token of this time.
    pub(crate) fn at(&self, now: Timestamp) -> anyhow::Result<String> {
        let mut made = self.made.lock();
        if let Some((token, at)) = &*made
            && !is_older(*at, RENEW, now)
        {
            return Ok(token.clone());
        }
        let claims = json!({ "iss": self.team_id, "iat": now.as_micros() / 1_000_000 });
        let token = self.key.sign(Some(&self.key_id), &claims)?;
        *made = Some((token.clone(), now));
        Ok(token)
    }

    /// The token was refused as too old. Whether it was worth trying another: not while this one is so young that it is
    /// the clocks that differ.
    pub(crate) fn renew(&self, now: Timestamp) -> bool {
        let mut made = self.made.lock();
        let old = made.as_ref().is_some_and(|(_, at)| is_older(*at, RENEW_SOONEST, now));
        if old {
            *made = None;
        }
        old
    }
}

fn is_older(at: Timestamp, age: Duration, now: Timestamp) -> bool {
    let micros = now.micros_since(at);
    // A clock that was set back makes it old too: it would be from the future.
    micros < 0 || u128::from(micros.unsigned_abs()) >= age.as_micros()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::jwt::tests::claims;
    use super::*;

    #[test]
    fn a_token_is_used_for_50_minutes() {
        let token =
            ProviderToken::new(Key::es256(Key::new_es256().unwrap().as_bytes()).unwrap(), "KEY", "TEAM");
        let at = |minutes: i64| Timestamp::from_micros(minutes * 60_000_000);
        let first = token.at(at(100)).unwrap();
        assert_eq!(claims(&first), json!({ "iss": "TEAM", "iat": 6_000 }));
        assert_eq!(token.at(at(149)).unwrap(), first);
        assert!(!token.renew(at(119)), "Apple refuses who makes them too often");
        assert_eq!(token.at(at(119)).unwrap(), first);
        assert_ne!(token.at(at(150)).unwrap(), first);
        assert!(token.renew(at(170)));
        assert_eq!(claims(&token.at(at(170)).unwrap())["iat"], 170 * 60);
        assert_eq!(claims(&token.at(at(169)).unwrap())["iat"], 169 * 60, "the clock was set back");
    }
}
