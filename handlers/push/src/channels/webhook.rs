//! One attempt over HTTP, as Standard Webhooks 1.0.0 says: an id that is the same in all attempts, the time of the
//! attempt, a signature over both and the body.

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Client, StatusCode};
use serde_json::Value;
use standardwebhooks::{
    HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook as Signer,
};

use super::Letter;
use crate::fit::fit;
use crate::http::{Reply, ask};
use crate::outbox::Claimed;
use crate::policy::{Answer, Blame, clean, now};
use crate::target::{check_secret, parse_url};

/// Largest body of a webhook, in bytes (Standard Webhooks, "Payload size": below 20 kB).
const BODY_BYTES_MAX: usize = 20_000;

/// The channel for receivers of kind webhook.
pub(crate) struct Webhook {
    client: Client,
    allow_private: bool,
}

/// The payload as it is.
pub(super) fn letter(row: &Claimed) -> Result<Letter, String> {
    Ok(Letter::new(row, fit(&row.push.payload, BODY_BYTES_MAX, Value::clone)?))
}

impl Webhook {
    pub(super) fn new(client: Client, allow_private: bool) -> Self {
        Self { client, allow_private }
    }

    pub(super) async fn send(&self, letter: &Letter, url: &str, secret: &str) -> Answer {
        let url = match parse_url(url, self.allow_private) {
            Ok(url) => url,
            Err(error) => return Answer::Impossible { error: clean(error.to_string().as_bytes()) },
        };
        let id = letter.id.to_string();
        let seconds = now().as_micros() / 1_000_000;
        let signature = match sign(secret, &id, seconds, &letter.body) {
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
        match ask(request).await {
            Ok(reply) => judge(&reply),
            Err(answer) => answer,
        }
    }
}

fn sign(secret: &str, id: &str, seconds: i64, body: &[u8]) -> Result<String, String> {
    check_secret(secret).map_err(|error| error.to_string())?;
    let signer = Signer::new(secret).map_err(|error| error.to_string())?;
    signer.sign(id, seconds, body).map_err(|error| error.to_string())
}

/// As Standard Webhooks wants it: 2xx is yes, 410 is never again, and a receiver that says 429, 502, 503 or 504 is to
/// be asked less.
fn judge(reply: &Reply) -> Answer {
    match reply.status {
        StatusCode::GONE => Answer::Gone { error: reply.error() },
        // It is one receiver that says so, not a provider for many.
        StatusCode::TOO_MANY_REQUESTS => reply.failed(Blame::Provider),
        _ => reply.judge(),
    }
}
