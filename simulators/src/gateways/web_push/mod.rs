//! A push service of a browser (RFC 8030), with the browser behind it: it makes subscriptions, and reads what was
//! encrypted for them (RFC 8291). What a real service couldn't know, because it can't read messages, is refused too.

use std::collections::HashMap;

use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::protocol::{PHONES_MAX, Protocol, Refusal, Request, Seen, wished};

mod cipher;
mod vapid;

use cipher::Keys;
use vapid::{Stranger, Vapid};

/// Largest body, in bytes: what every push service must take (RFC 8030, 7.2).
const BODY_BYTES_MAX: usize = 4_096;
/// Longest topic, in bytes (RFC 8030, 5.4).
const TOPIC_BYTES_MAX: usize = 32;
/// What `Urgency` may be (RFC 8030, 5.3).
const URGENCIES: [&str; 4] = ["very-low", "low", "normal", "high"];
/// Headers that are kept with what came.
const KEPT: [&str; 3] = ["ttl", "urgency", "topic"];
/// Services name few errors; the names are for whoever tells them to fail.
const ERRORS: &[(&str, u16)] = &[
    ("bad request", 400),
    ("unauthorized", 401),
    ("forbidden", 403),
    ("unknown", 404),
    ("gone", 410),
    ("too large", 413),
    ("too many requests", 429),
    ("internal error", 500),
    ("unavailable", 503),
];

/// The service: its subscriptions.
pub(super) struct WebPush {
    origin: String,
    vapid: Vapid,
    subscriptions: Mutex<HashMap<String, Subscription>>,
}

/// What a page got when it subscribed; none of it once the person took the permission back.
enum Subscription {
    Open {
        keys: Box<Keys>,
        /// The only key that may send to it, in base64url; empty: all may.
        sender: String,
    },
    Gone,
}

impl WebPush {
    /// A service at this origin.
    pub(super) fn new(origin: String) -> Self {
        Self { vapid: Vapid::new(origin.clone()), origin, subscriptions: Mutex::default() }
    }
}

impl Protocol for WebPush {
    fn errors(&self) -> &'static [(&'static str, u16)] {
        ERRORS
    }

    fn read(&self, request: &Request, seen: &mut Seen) -> Result<(), Refusal> {
        let refuse = |status, text: &str| Err(Refusal::new(status, "", text));
        let Some(id) = request.path.strip_prefix("/push/") else {
            return refuse(StatusCode::NOT_FOUND, "no such subscription");
        };
        id.clone_into(&mut seen.registration);
        seen.collapse = request.header("topic").map(str::to_owned);
        seen.keep(request, &KEPT);
        if request.method != Method::POST {
            return refuse(StatusCode::METHOD_NOT_ALLOWED, "a message is posted");
        }
        check_headers(request).or_else(|text| refuse(StatusCode::BAD_REQUEST, text))?;
        if request.body.len() > BODY_BYTES_MAX {
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, "a message has at most 4,096 bytes");
        }
        let sender = match self.vapid.sender(request.header("authorization"), request.at.timestamp()) {
            Ok(sender) => sender,
            Err(Stranger::Unnamed) => return refuse(StatusCode::UNAUTHORIZED, "say who you are (RFC 8292)"),
            Err(Stranger::Wrong(text)) => return refuse(StatusCode::FORBIDDEN, text),
        };
        let said = match self.subscriptions.lock().get(id) {
            None => return refuse(StatusCode::NOT_FOUND, "no such subscription"),
            Some(Subscription::Gone) => return refuse(StatusCode::GONE, "the subscription ended"),
            Some(Subscription::Open { sender: only, .. }) if !only.is_empty() && *only != sender => {
                return refuse(StatusCode::FORBIDDEN, "k isn't the key that the page subscribed with");
            }
            Some(Subscription::Open { .. }) if request.body.is_empty() => Ok(Vec::new()),
            Some(Subscription::Open { keys, .. }) => keys.decrypt(&request.body),
        };
        let said = said.map_err(|text| Refusal::new(StatusCode::BAD_REQUEST, "", text))?;
        let text = || Value::String(String::from_utf8_lossy(&said).into_owned());
        seen.payload = serde_json::from_slice(&said).unwrap_or_else(|_| text());
        seen.title = seen.payload.get("title").and_then(Value::as_str).map(str::to_owned);
        seen.id = super::message_id(Some(&seen.payload), &said);
        Ok(())
    }

    fn accept(&self, seen: &Seen) -> Response {
        let location = format!("{}/message/{}", self.origin, super::new_uuid());
        let ttl = seen.headers.get("ttl").and_then(Value::as_str).unwrap_or("0").to_owned();
        (StatusCode::CREATED, [(header::LOCATION.as_str(), location), ("ttl", ttl)]).into_response()
    }

    fn refuse(&self, refusal: &Refusal, _: &Seen) -> Response {
        let text = if refusal.error.is_empty() { &refusal.text } else { &refusal.error };
        (refusal.status, text.clone()).into_response()
    }

    /// A subscription; `sender` is the application server key that the page subscribed with.
    fn register(&self, wish: &Map<String, Value>) -> Result<Value, String> {
        let (keys, id) = (Box::new(Keys::new()), super::new_uuid());
        let mut subscriptions = self.subscriptions.lock();
        if subscriptions.len() >= PHONES_MAX {
            return Err(format!("there are {PHONES_MAX} subscriptions already"));
        }
        let made = json!({
            "registration": id, "endpoint": format!("{}/push/{id}", self.origin),
            "p256dh": keys.p256dh(), "auth": keys.auth(),
        });
        let sender = wished(wish, "sender", "").trim_end_matches('=').to_owned();
        subscriptions.insert(id, Subscription::Open { keys, sender });
        Ok(made)
    }

    fn unregister(&self, registration: &str) -> bool {
        let mut subscriptions = self.subscriptions.lock();
        let Some(subscription) = subscriptions.get_mut(registration) else { return false };
        *subscription = Subscription::Gone;
        true
    }
}

fn check_headers(request: &Request) -> Result<(), &'static str> {
    let ttl = request.header("ttl").ok_or("TTL is missing")?;
    if ttl.parse::<u32>().is_err() {
        return Err("TTL isn't a number of seconds");
    }
    if request.header("urgency").is_some_and(|urgency| !URGENCIES.contains(&urgency)) {
        return Err("there is no such Urgency");
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_topic = |topic: &str| (1..=TOPIC_BYTES_MAX).contains(&topic.len()) && topic.bytes().all(allowed);
    if request.header("topic").is_some_and(|topic| !is_topic(topic)) {
        return Err("Topic isn't 1 to 32 characters of base64url");
    }
    if !request.body.is_empty() && request.header("content-encoding") != Some("aes128gcm") {
        return Err("Content-Encoding is aes128gcm");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::trial::{post, with};
    use super::*;

    #[test]
    fn headers_are_checked() {
        let message = || with(with(post("/push/x", "x"), "ttl", "60"), "content-encoding", "aes128gcm");
        assert_eq!(check_headers(&message()), Ok(()));
        assert_eq!(check_headers(&with(message(), "topic", &"x".repeat(32))), Ok(()));
        for (name, wrong) in [
            ("ttl", "soon"),
            ("ttl", "-1"),
            ("urgency", "critical"),
            ("topic", &"x".repeat(33)),
            ("topic", "a b"),
            ("topic", ""),
            ("content-encoding", "aesgcm"),
        ] {
            assert!(check_headers(&with(message(), name, wrong)).is_err(), "{name}: {wrong}");
        }
        assert_eq!(check_headers(&post("/push/x", "")), Err("TTL is missing"));
    }
}
