//! Webhooks (Standard Webhooks 1.0): `POST` to any path, signed with a secret that the receiver knows.

use std::collections::HashMap;

use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use standardwebhooks::Webhook;

use super::protocol::{PHONES_MAX, Protocol, Refusal, Request, Seen, wished};

/// Largest webhook, in bytes: the standard asks senders to stay below 20 kB.
const WEBHOOK_BYTES_MAX: usize = 20_000;

/// Receivers of webhooks. A registration is a path without its first slash; its signatures are checked once its secret
/// is known. The empty one stands for all that have no secret of their own.
pub(super) struct Webhooks {
    /// Where this gateway is.
    origin: String,
    secrets: Mutex<HashMap<String, Vec<Webhook>>>,
}

impl Webhooks {
    /// Receivers at this origin.
    pub(super) fn new(origin: String) -> Self {
        Self { origin, secrets: Mutex::default() }
    }
}

impl Protocol for Webhooks {
    fn errors(&self) -> &'static [(&'static str, u16)] {
        &[]
    }

    fn read(&self, request: &Request, seen: &mut Seen) -> Result<(), Refusal> {
        let refuse = |status, text: &str| Err(Refusal::new(status, "", text));
        seen.registration = request.path.trim_start_matches('/').to_owned();
        seen.keep(request, &["webhook-timestamp"]);
        seen.payload = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        seen.title = seen.payload.get("title").and_then(Value::as_str).map(str::to_owned);
        let Some(id) = request.header("webhook-id") else {
            return refuse(StatusCode::BAD_REQUEST, "a webhook has a webhook-id");
        };
        id.clone_into(&mut seen.id);
        if request.method != Method::POST {
            return refuse(StatusCode::METHOD_NOT_ALLOWED, "a webhook is posted");
        }
        if !request.is_of("application/json") || seen.payload.is_null() {
            return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a webhook is JSON");
        }
        if request.body.len() > WEBHOOK_BYTES_MAX {
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, "a webhook has at most 20 kB");
        }
        let secrets = self.secrets.lock();
        match secrets.get(&seen.registration).or_else(|| secrets.get("")) {
            Some(known) if !known.iter().any(|key| key.verify(&request.body, &request.headers).is_ok()) => {
                refuse(StatusCode::UNAUTHORIZED, "its signature is wrong, or older than five minutes")
            }
            _ => Ok(()),
        }
    }

    fn accept(&self, _: &Seen) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }

    fn refuse(&self, refusal: &Refusal, _: &Seen) -> Response {
        (refusal.status, refusal.text.clone()).into_response()
    }

    /// A receiver; its `secret` (`whsec_...`) may be told later, and another one beside it.
    fn register(&self, wish: &Map<String, Value>) -> Result<Value, String> {
        let name = wished(wish, "registration", &format!("hook-{:08x}", rand::random::<u32>()));
        let secret = wished(wish, "secret", "");
        let mut secrets = self.secrets.lock();
        if secrets.len() >= PHONES_MAX {
            return Err(format!("there are {PHONES_MAX} receivers already"));
        }
        if !secret.is_empty() {
            let key = Webhook::new(&secret).map_err(|error| format!("the secret can't be read: {error}"))?;
            secrets.entry(name.clone()).or_default().push(key);
        }
        Ok(json!({ "registration": name, "url": format!("{}/{name}", self.origin) }))
    }

    fn unregister(&self, registration: &str) -> bool {
        self.secrets.lock().remove(registration).is_some()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::SystemTime;

    use axum::http::HeaderMap;
    use chrono::{DateTime, Utc};

    use super::*;

    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    fn webhook(path: &str, signed_with: &str) -> Request {
        let body = r#"{"title":"battery low"}"#;
        let at: DateTime<Utc> = SystemTime::now().into();
        let signature =
            Webhook::new(signed_with).unwrap().sign("a", at.timestamp(), body.as_bytes()).unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("webhook-id", "a"),
            ("webhook-timestamp", &at.timestamp().to_string()),
            ("webhook-signature", &signature),
            ("content-type", "application/json"),
        ] {
            headers.insert(name.parse::<axum::http::HeaderName>().unwrap(), value.parse().unwrap());
        }
        Request {
            method: Method::POST,
            path: path.into(),
            headers,
            body: body.into(),
            at,
            connection: Default::default(),
        }
    }

    #[test]
    fn signatures_are_checked_once_the_secret_is_known() {
        let hooks = Webhooks::new("http://here".into());
        let made = hooks.register(&Map::new()).unwrap();
        let name = made["registration"].as_str().unwrap();
        assert_eq!(made["url"], format!("http://here/{name}"));
        let path = format!("/{name}");
        let other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let read = |secret| {
            let mut seen = Seen::default();
            hooks.read(&webhook(&path, secret), &mut seen).map(|()| seen)
        };
        assert_eq!(read(other).unwrap().id, "a");
        let secret = json!({ "registration": name, "secret": SECRET });
        hooks.register(secret.as_object().unwrap()).unwrap();
        assert_eq!(read(SECRET).unwrap().title.as_deref(), Some("battery low"));
        assert_eq!(read(other).unwrap_err().status, StatusCode::UNAUTHORIZED);
    }
}
