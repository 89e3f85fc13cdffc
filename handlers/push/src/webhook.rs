//! One attempt over HTTP, as Standard Webhooks 1.0.0 says: an id that is the same in all attempts, the time
//! of the attempt, a signature over both and the body. Redirects aren't followed, no proxy is used (it would
//! resolve the name for us, unchecked), and little of the answer is read.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, redirect};
use rustls::crypto::{CryptoProvider, ring};
use serde_json::Value;
use standardwebhooks::{
    HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook as Signer,
};
use uuid::Uuid;

use crate::Settings;
use crate::policy::{Answer, clean, now, retry_after};
use crate::target::{Resolver, check_secret, parse_url};

/// Largest body of a webhook, in bytes (Standard Webhooks, "Payload size": below 20 kB).
pub(crate) const BODY_BYTES_MAX: usize = 20_000;
/// Bytes of an answer that are read; a connection whose answer is longer is closed, not used again.
const ANSWER_BYTES_MAX: usize = 4_096;
/// Longest time to wait for the body of an answer: its head has said what counts.
const ANSWER_BODY_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest time for resolving the name, TCP and TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is kept for the next push.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The channel for receivers of kind webhook.
pub(crate) struct Webhook {
    client: Client,
    allow_private: bool,
    attempt_timeout: Duration,
}

/// What one attempt needs.
pub(crate) struct Letter {
    /// The id of the push.
    pub(crate) id: Uuid,
    /// Where to.
    pub(crate) url: String,
    /// What signs it. Never logged.
    pub(crate) secret: String,
    /// What [`body`] made.
    pub(crate) body: Bytes,
}

/// The body of a webhook: the payload as it is. Rules make it small enough; one that isn't would be refused
/// by many receivers.
pub(crate) fn body(payload: &Value) -> Result<Bytes, String> {
    let text = payload.to_string();
    if text.len() > BODY_BYTES_MAX {
        return Err(format!("the payload has {} bytes, and may have {BODY_BYTES_MAX}", text.len()));
    }
    Ok(text.into())
}

impl Webhook {
    /// Prepares the client: TLS by ring, unless the process chose another provider; the system's roots.
    pub(crate) fn new(settings: &Settings) -> anyhow::Result<Self> {
        if CryptoProvider::get_default().is_none() {
            // An error means that another thread was quicker, which is as good.
            let _ = ring::default_provider().install_default();
        }
        let client = Client::builder()
            .user_agent(concat!("statecast/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .dns_resolver(Arc::new(Resolver { allow_private: settings.reach.private }))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(settings.attempt_timeout)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(settings.sends_per_receiver_max)
            .build()
            .context("prepare the HTTP client for webhooks")?;
        Ok(Self { client, allow_private: settings.reach.private, attempt_timeout: settings.attempt_timeout })
    }

    /// Makes one attempt.
    pub(crate) async fn send(&self, letter: &Letter) -> Answer {
        let url = match parse_url(&letter.url, self.allow_private) {
            Ok(url) => url,
            Err(error) => return Answer::Impossible { error: clean(error.to_string().as_bytes()) },
        };
        let id = letter.id.to_string();
        let seconds = now().as_micros() / 1_000_000;
        let signature = match sign(&letter.secret, &id, seconds, &letter.body) {
            Ok(signature) => signature,
            Err(error) => return Answer::Impossible { error },
        };
        let request = self
            .client
            .post(url)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(HEADER_WEBHOOK_ID, id)
            .header(HEADER_WEBHOOK_TIMESTAMP, seconds)
            .header(HEADER_WEBHOOK_SIGNATURE, signature)
            .body(letter.body.clone());
        match request.send().await {
            Ok(response) => judge(response).await,
            Err(error) => self.no_answer(error),
        }
    }

    fn no_answer(&self, error: reqwest::Error) -> Answer {
        let text = if error.is_timeout() {
            let what = if error.is_connect() { "no connection" } else { "no answer" };
            format!("{what} in time (an attempt may take {} s)", self.attempt_timeout.as_secs_f32())
        } else {
            // Without the URL, which may have a secret in its path.
            let error = error.without_url();
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(inner) = cause {
                text = format!("{text}: {inner}");
                cause = inner.source();
            }
            text
        };
        Answer::Failed { error: clean(text.as_bytes()), not_before: None, pressed: true }
    }
}

fn sign(secret: &str, id: &str, seconds: i64, body: &[u8]) -> Result<String, String> {
    check_secret(secret).map_err(|error| error.to_string())?;
    let signer = Signer::new(secret).map_err(|error| error.to_string())?;
    signer.sign(id, seconds, body).map_err(|error| error.to_string())
}

async fn judge(response: Response) -> Answer {
    let status = response.status();
    let not_before = match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| retry_after(value, now())),
        _ => None,
    };
    let text = clean(&read_some(response).await);
    if status.is_success() {
        return Answer::Accepted { status: status.as_u16() };
    }
    let error = if text.is_empty() { status.to_string() } else { format!("{status}: {text}") };
    if status == StatusCode::GONE {
        return Answer::Gone { error };
    }
    let pressed = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    Answer::Failed { error, not_before, pressed }
}

/// The first bytes of the answer. What goes wrong here doesn't matter any more.
async fn read_some(mut response: Response) -> Vec<u8> {
    let mut read = Vec::new();
    let reading = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            let room = ANSWER_BYTES_MAX - read.len();
            read.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
            if read.len() >= ANSWER_BYTES_MAX {
                break;
            }
        }
    };
    // On timeout, what was read by then is kept.
    let _ = tokio::time::timeout(ANSWER_BODY_TIMEOUT, reading).await;
    read
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn a_body_too_large_is_refused() {
        let small = json!({"title": "x".repeat(BODY_BYTES_MAX - 12)});
        assert_eq!(body(&small).unwrap(), small.to_string());
        assert_eq!(small.to_string().len(), BODY_BYTES_MAX);
        assert!(body(&json!({"title": "x".repeat(BODY_BYTES_MAX - 11)})).is_err());
    }

    #[tokio::test]
    async fn a_name_for_a_private_address_is_never_connected_to() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let webhook = Webhook::new(&Settings::default()).unwrap();
        // Past the check of the URL, as a name of the public internet would be.
        let error = webhook.client.get(format!("http://localhost:{port}/")).send().await.unwrap_err();
        let Answer::Failed { error, .. } = webhook.no_answer(error) else { panic!("it must fail") };
        assert!(error.contains("not on the public internet"), "{error}");
        assert!(futures::FutureExt::now_or_never(listener.accept()).is_none());
    }
}
