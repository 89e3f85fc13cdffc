//! Web Push (RFC 8030): a sealed message to the endpoint of a subscription, with our token for its origin. Browsers, and
//! UnifiedPush on Android.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Client, StatusCode};
use serde_json::Value;
use sha2::{Digest, Sha256};
use statecast_state::Timestamp;

use super::Letter;
use super::seal::seal;
use crate::check::{point, secret};
use crate::credentials::vapid::Vapid;
use crate::fit::fit;
use crate::http::{Reply, ask};
use crate::message::{Message, Urgency, seconds_until};
use crate::outbox::Claimed;
use crate::policy::{Answer, Blame, clean, now};
use crate::settings::WebPushSettings;
use crate::target::parse_url;

/// Largest message before it is sealed, in bytes: with what that adds it stays below the 2,744 that Mozilla's bridge
/// to Android takes; others take 4,096 (RFC 8030, 7.2).
const PLAINTEXT_BYTES_MAX: usize = 2_600;
/// Longest time that a push service keeps a message, in seconds: Mozilla's 30 days.
const TTL_S_MAX: i64 = 30 * 24 * 3_600;
/// Characters of a topic at most (RFC 8030, 5.4).
const TOPIC_CHARS_MAX: usize = 32;

/// The channel for receivers of kind web_push.
pub(crate) struct WebPush {
    pub(crate) vapid: Vapid,
    client: Client,
    allow_private: bool,
}

/// The payload as it is, not yet sealed.
pub(super) fn letter(row: &Claimed, now: Timestamp) -> Result<Letter, String> {
    let body = fit(&row.push.payload, PLAINTEXT_BYTES_MAX, Value::clone)?;
    let mut letter = Letter::new(row, body);
    let told = Message::of(&row.push);
    let urgency = match told.urgency() {
        _ if told.is_silent() => "low",
        Urgency::Low => "low",
        Urgency::Normal => "normal",
        Urgency::High => "high",
    };
    let ttl = seconds_until(row.push.deadline, now).min(TTL_S_MAX);
    letter.headers.insert(HeaderName::from_static("ttl"), ttl.into());
    letter.headers.insert(HeaderName::from_static("urgency"), HeaderValue::from_static(urgency));
    if let Some(collapse) = told.collapse() {
        let topic = HeaderValue::from_str(&topic(collapse)).map_err(|error| error.to_string())?;
        letter.headers.insert(HeaderName::from_static("topic"), topic);
    }
    Ok(letter)
}

/// A name for what replaces each other, that tells a push service nothing.
fn topic(collapse: &str) -> String {
    let mut name = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(collapse));
    name.truncate(TOPIC_CHARS_MAX);
    name
}

impl WebPush {
    pub(super) fn open(
        settings: &WebPushSettings,
        client: Client,
        allow_private: bool,
    ) -> anyhow::Result<Self> {
        let vapid = Vapid::read(&settings.key, &settings.subject)?;
        Ok(Self { vapid, client, allow_private })
    }

    pub(super) async fn send(&self, letter: &Letter, endpoint: &str, p256dh: &str, auth: &str) -> Answer {
        let impossible = |error: &str| Answer::Impossible { error: clean(error.as_bytes()) };
        let url = match parse_url(endpoint, self.allow_private) {
            Ok(url) => url,
            Err(error) => return impossible(&error.to_string()),
        };
        let keys = point(p256dh).zip(secret(auth));
        let Some(sealed) = keys.and_then(|(key, secret)| seal(&key, &secret, &letter.body)) else {
            return Answer::Gone { error: "the keys of the subscription aren't any".to_owned() };
        };
        let authorization = match self.vapid.authorization(&url.origin().ascii_serialization(), now()) {
            Ok(authorization) => authorization,
            Err(error) => return Answer::Refused { error: error.to_string(), sure: true },
        };
        let request = self
            .client
            .post(url)
            .headers(letter.headers.clone())
            .header(AUTHORIZATION, authorization)
            .header(CONTENT_ENCODING, HeaderValue::from_static("aes128gcm"))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))
            .body(sealed);
        match ask(request).await {
            Ok(reply) => judge(&reply),
            Err(answer) => answer,
        }
    }
}

/// What push services mean (RFC 8030, 5 and 7.3; RFC 8292, 4.2).
fn judge(reply: &Reply) -> Answer {
    let error = || reply.error();
    match reply.status {
        StatusCode::NOT_FOUND | StatusCode::GONE => Answer::Gone { error: error() },
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Answer::Impossible { error: error() },
        // Our key, or a subscription that was made for another key: several in a row will tell.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Answer::Refused { error: error(), sure: false },
        // Limits are those of the endpoint.
        StatusCode::TOO_MANY_REQUESTS => reply.failed(Blame::Push),
        // ntfy: nobody has subscribed to this UnifiedPush endpoint at present.
        StatusCode::INSUFFICIENT_STORAGE => reply.failed(Blame::Push),
        _ => reply.judge(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use reqwest::header::HeaderMap;

    #[test]
    fn a_topic_is_short_and_says_nothing() {
        let name = topic("0b7e1c1e-3a7f-8000-8000-000000000001");
        assert_eq!(name.len(), TOPIC_CHARS_MAX);
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        assert_ne!(name, topic("another"));
    }

    #[test]
    fn each_status_means_what_the_rfc_says() {
        let judged = |status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            judge(&Reply { status, headers: HeaderMap::new(), body: b"why".to_vec() })
        };
        assert_eq!(judged(201), Answer::Accepted { status: 201 });
        assert!(matches!(judged(404), Answer::Gone { error } if error == "404 Not Found: why"));
        assert!(matches!(judged(410), Answer::Gone { .. }));
        assert!(matches!(judged(413), Answer::Impossible { .. }));
        assert!(matches!(judged(403), Answer::Refused { sure: false, .. }));
        assert!(matches!(judged(429), Answer::Failed { blame: Blame::Push, .. }));
        assert!(matches!(judged(507), Answer::Failed { blame: Blame::Push, .. }));
        assert!(matches!(judged(503), Answer::Failed { blame: Blame::Provider, .. }));
    }
}
