//! Access to Google with a service account (RFC 7523): a signed assertion is exchanged for a token that lasts about an
//! hour. The token is kept and renewed early; who needs one while it is fetched waits for the same one, or takes the
//! old one while that is good.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use parking_lot::RwLock;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use serde_json::json;
use statecast_state::Timestamp;
use tokio::sync::Mutex;

use super::jwt::Key;
use crate::http::ask;
use crate::message::seconds_until;
use crate::policy::{Answer, Blame, later, now};

/// What the token is good for.
const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
/// How long an assertion is good, in seconds (Google: an hour at most).
const ASSERTION_S: i64 = 3_600;
/// A token with less left is renewed, in seconds.
const RENEW_S: i64 = 300;
/// A token with less left isn't used, in seconds.
const LEAST_S: i64 = 30;

/// The file that Google gives out for a service account, as far as we need it.
#[derive(Deserialize)]
struct File {
    project_id: String,
    client_email: String,
    private_key: String,
    #[serde(default)]
    private_key_id: Option<String>,
    #[serde(default = "google")]
    token_uri: String,
}

fn google() -> String {
    "https://oauth2.googleapis.com/token".to_owned()
}

/// A service account.
pub(crate) struct Account {
    /// Whose apps it may write to.
    pub(crate) project: String,
    /// Its name.
    pub(crate) email: String,
    key: Key,
    key_id: Option<String>,
    token_uri: String,
    client: Client,
    kept: RwLock<Option<Token>>,
    /// Held by who fetches one.
    fetching: Mutex<()>,
}

#[derive(Clone)]
struct Token {
    text: String,
    until: Timestamp,
}

/// What the token endpoint answers.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: u32,
}

impl Account {
    /// Reads the file.
    pub(crate) fn read(path: &Path, client: Client) -> anyhow::Result<Self> {
        let place = || format!("use the service account in {}", path.display());
        let text = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        let file: File = serde_json::from_slice(&text).with_context(place)?;
        let key = Key::rs256(file.private_key.as_bytes()).with_context(place)?;
        let simple = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.');
        ensure!(file.project_id.chars().all(simple), "{}: `project_id` isn't one", path.display());
        Ok(Self {
            project: file.project_id,
            email: file.client_email,
            key,
            key_id: file.private_key_id,
            token_uri: file.token_uri,
            client,
            kept: RwLock::new(None),
            fetching: Mutex::new(()),
        })
    }

    /// A token, or what to make of the push when there is none.
    pub(crate) async fn token(&self) -> Result<String, Answer> {
        let left = |token: &Token| seconds_until(token.until, now());
        let usable = || self.kept.read().clone().filter(|token| left(token) > LEAST_S);
        let fresh = || usable().filter(|token| left(token) > RENEW_S);
        if let Some(token) = fresh() {
            return Ok(token.text);
        }
        let _turn = match (self.fetching.try_lock(), usable()) {
            (Ok(turn), _) => turn,
            (Err(_), Some(token)) => return Ok(token.text),
            (Err(_), None) => self.fetching.lock().await,
        };
        // Perhaps somebody else was here just before.
        if let Some(token) = fresh() {
            return Ok(token.text);
        }
        match self.fetch().await {
            Ok(token) => {
                *self.kept.write() = Some(token.clone());
                Ok(token.text)
            }
            Err(answer) => usable().map(|token| token.text).ok_or(answer),
        }
    }

    /// This token was refused: the next call fetches another.
    pub(crate) fn forget(&self, text: &str) {
        let mut kept = self.kept.write();
        if kept.as_ref().is_some_and(|token| token.text == text) {
            *kept = None;
        }
    }

    async fn fetch(&self) -> Result<Token, Answer> {
        let asked_at = now();
        let seconds = asked_at.as_micros() / 1_000_000;
        let claims = json!({ "iss": self.email, "scope": SCOPE, "aud": self.token_uri, "iat": seconds,
            "exp": seconds + ASSERTION_S });
        let refused =
            |error: String| Answer::Refused { error: format!("no access token: {error}"), sure: true };
        let assertion = self.key.sign(self.key_id.as_deref(), &claims);
        let assertion = assertion.map_err(|error| refused(error.to_string()))?;
        let form =
            format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}");
        let request = self
            .client
            .post(&self.token_uri)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))
            .body(form);
        let reply = ask(request).await?;
        match reply.status {
            status if status.is_success() => {}
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(refused(reply.error()));
            }
            _ => return Err(reply.failed(Blame::Provider)),
        }
        let granted: Granted = serde_json::from_slice(&reply.body).map_err(|_| Answer::Failed {
            // Not its text: there may be half a token in it.
            error: format!(
                "no access token: {} with {} bytes that aren't one",
                reply.status,
                reply.body.len()
            ),
            not_before: None,
            blame: Blame::Provider,
        })?;
        let lasts = Duration::from_secs(granted.expires_in.into());
        Ok(Token { text: granted.access_token, until: later(asked_at, lasts) })
    }
}
