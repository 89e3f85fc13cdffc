//! Passwords: argon2id, which takes memory and time on purpose, and so is done by few at a time.
//!
//! *Bound*: as many are worked on as there are threads for it, and as many more wait as the settings say; who comes
//! then is told that the service is busy. So a storm of wrong passwords takes no more of the machine than these
//! threads, and no time from those who connect with a token. Who has gone before its turn costs nothing.

use std::sync::Arc;

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::Semaphore;

use super::secret::is_token;

/// Shortest and longest password, in bytes.
const BYTES: std::ops::RangeInclusive<usize> = 8..=128;
/// The least that the settings may ask for, as OWASP has it: 19 MiB, 2 rounds, 1 lane.
const MEMORY_KIB_MIN: u32 = 19 * 1024;
const ROUNDS_MIN: u32 = 2;

/// How passwords are hashed. A change holds for those that are set from then on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Memory of a hash, in KiB; at least 19,456.
    pub memory_kib: u32,
    /// Rounds of a hash; at least 2.
    pub rounds: u32,
    /// Lanes of a hash; at least 1. They are worked on one after the other.
    pub lanes: u32,
    /// Passwords that are checked at one time; each takes the memory above, and a processor.
    pub threads: usize,
    /// Passwords that wait to be checked; for more the service is busy.
    pub waiting_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { memory_kib: MEMORY_KIB_MIN, rounds: ROUNDS_MIN, lanes: 1, threads: 1, waiting_max: 128 }
    }
}

impl Settings {
    /// Hashes as the settings say.
    ///
    /// # Errors
    /// Says which setting is out of its range.
    pub fn hasher(&self) -> anyhow::Result<Argon2<'static>> {
        for (key, value, least) in [
            ("memory_kib", u64::from(self.memory_kib), u64::from(MEMORY_KIB_MIN)),
            ("rounds", u64::from(self.rounds), u64::from(ROUNDS_MIN)),
            ("lanes", u64::from(self.lanes), 1),
            ("threads", self.threads as u64, 1),
        ] {
            anyhow::ensure!(value >= least, "passwords.{key} is {value}, and has to be at least {least}");
        }
        let params = Params::new(self.memory_kib, self.rounds, self.lanes, None)
            .map_err(|error| anyhow::anyhow!("passwords: {error}"))?;
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NoAnswer {
    /// Too many wait already.
    #[error("too many passwords are being checked; try again")]
    Busy,
    /// The password can't be hashed.
    #[error("the password can't be hashed")]
    Failed,
}

/// Hashes and checks passwords.
pub struct Passwords {
    hasher: Argon2<'static>,
    /// What is checked where there is no password, so that it takes as long.
    nobody: Arc<str>,
    /// One permit for each that is worked on.
    running: Arc<Semaphore>,
    /// One permit for each that is worked on or waits.
    places: Semaphore,
}

impl Passwords {
    /// As the settings say.
    ///
    /// # Errors
    /// When they are out of range.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let hasher = settings.hasher()?;
        let nobody = phc(&hasher, b"nobody").map_err(anyhow::Error::msg)?.into();
        let places = settings.threads.saturating_add(settings.waiting_max).min(Semaphore::MAX_PERMITS);
        let running = Arc::new(Semaphore::new(settings.threads.min(Semaphore::MAX_PERMITS)));
        Ok(Self { hasher, nobody, running, places: Semaphore::new(places) })
    }

    /// Hashes a password, as a PHC string with a salt of its own.
    ///
    /// # Errors
    /// When too many wait.
    pub async fn hash(&self, password: String) -> Result<String, NoAnswer> {
        let hasher = self.hasher.clone();
        self.work(move || phc(&hasher, password.as_bytes()).ok()).await?.ok_or(NoAnswer::Failed)
    }

    /// Is it this password? It takes as long where there is none.
    ///
    /// # Errors
    /// When too many wait.
    pub async fn verify(&self, password: Vec<u8>, stored: Option<&str>) -> Result<bool, NoAnswer> {
        let known = stored.is_some();
        let stored: Arc<str> = stored.map_or_else(|| Arc::clone(&self.nobody), Into::into);
        let hasher = self.hasher.clone();
        let right = self.work(move || {
            // As it was hashed then, which the string says.
            let stored = PasswordHash::new(&stored);
            stored.is_ok_and(|stored| hasher.verify_password(&password, &stored).is_ok())
        });
        Ok(right.await? && known)
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        let _place = self.places.try_acquire().map_err(|_| NoAnswer::Busy)?;
        let turn = Arc::clone(&self.running).acquire_owned().await.map_err(|_| NoAnswer::Failed)?;
        let working = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        working.await.map_err(|_| NoAnswer::Failed)
    }
}

fn phc(hasher: &Argon2<'_>, password: &[u8]) -> Result<String, argon2::password_hash::Error> {
    let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>())?;
    Ok(hasher.hash_password(password, &salt)?.to_string())
}

/// Says what is wrong with a password that somebody wants to set.
pub fn unfit(password: &str) -> Option<&'static str> {
    if !BYTES.contains(&password.len()) {
        return Some("a password has 8 to 128 bytes");
    }
    is_token(password.as_bytes()).then_some("a password hasn't the form of a token")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_one_is_right() {
        let passwords = Passwords::new(&Settings::default()).expect("settings");
        let stored = passwords.hash("correct horse".to_owned()).await.expect("a hash");
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert_eq!(passwords.verify(b"correct horse".to_vec(), Some(&stored)).await, Ok(true));
        assert_eq!(passwords.verify(b"correct house".to_vec(), Some(&stored)).await, Ok(false));
        assert_eq!(passwords.verify(b"nobody".to_vec(), None).await, Ok(false), "who has none");
        assert_eq!(passwords.verify(b"x".to_vec(), Some("not a hash")).await, Ok(false));
        let again = passwords.hash("correct horse".to_owned()).await.expect("a hash");
        assert_ne!(stored, again, "each has a salt of its own");
    }

    #[tokio::test]
    async fn when_all_places_are_taken_it_is_busy() {
        let settings = Settings { waiting_max: 1, ..Settings::default() };
        let passwords = Passwords::new(&settings).expect("settings");
        let turn = Arc::clone(&passwords.running).acquire_owned().await.expect("a turn");
        let place = passwords.places.try_acquire().expect("a place");
        let mut waits = Box::pin(passwords.verify(b"x".to_vec(), None));
        assert!(futures::poll!(waits.as_mut()).is_pending());
        assert_eq!(passwords.verify(b"x".to_vec(), None).await, Err(NoAnswer::Busy));
        drop((turn, place));
        assert_eq!(waits.await, Ok(false));
        assert_eq!(passwords.verify(b"x".to_vec(), None).await, Ok(false), "the places are free again");
    }

    #[test]
    fn settings_have_a_floor() {
        for low in [
            Settings { memory_kib: 19_455, ..Settings::default() },
            Settings { rounds: 1, ..Settings::default() },
            Settings { lanes: 0, ..Settings::default() },
            Settings { threads: 0, ..Settings::default() },
        ] {
            assert!(low.hasher().is_err(), "{low:?}");
        }
    }

    #[test]
    fn a_password_is_no_token() {
        assert!(unfit("correct horse").is_none());
        assert!(unfit("short").is_some() && unfit(&"x".repeat(129)).is_some());
        assert!(unfit(&super::super::new_token()).is_some());
    }
}
