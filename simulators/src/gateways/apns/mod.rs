//! The Apple Push Notification service: `POST /3/device/TOKEN` over HTTP/2 and TLS
//! (developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns).

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::protocol::{PHONES_MAX, Protocol, Refusal, Request, Seen, wished};

mod headers;
mod provider;

pub(super) use provider::{KEY_ID, Provider, TEAM_ID};

/// The app whose phones can be reached.
pub(super) const TOPIC: &str = "com.example.statecast";

/// Its reasons
/// (developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns).
const REASONS: &[(&str, u16)] = &[
    ("BadCollapseId", 400),
    ("BadDeviceToken", 400),
    ("BadExpirationDate", 400),
    ("BadMessageId", 400),
    ("BadPriority", 400),
    ("BadTopic", 400),
    ("DeviceTokenNotForTopic", 400),
    ("DuplicateHeaders", 400),
    ("IdleTimeout", 400),
    ("InvalidPushType", 400),
    ("MissingDeviceToken", 400),
    ("MissingTopic", 400),
    ("PayloadEmpty", 400),
    ("TopicDisallowed", 400),
    ("Forbidden", 403),
    ("BadCertificate", 403),
    ("BadCertificateEnvironment", 403),
    ("ExpiredProviderToken", 403),
    ("InvalidProviderToken", 403),
    ("MissingProviderToken", 403),
    ("UnrelatedKeyIdInToken", 403),
    ("BadEnvironmentKeyIdInToken", 403),
    ("BadPath", 404),
    ("MethodNotAllowed", 405),
    ("Unregistered", 410),
    ("ExpiredToken", 410),
    ("PayloadTooLarge", 413),
    ("TooManyRequests", 429),
    ("TooManyProviderTokenUpdates", 429),
    ("InternalServerError", 500),
    ("ServiceUnavailable", 503),
    ("Shutdown", 503),
];
/// Headers that are kept with what came.
const KEPT: [&str; 4] = ["apns-topic", "apns-push-type", "apns-priority", "apns-expiration"];

/// One environment of the service: production, or the sandbox.
pub(super) struct Apns {
    environment: &'static str,
    provider: Arc<Provider>,
    phones: Mutex<HashMap<String, Phone>>,
}

/// An app on a phone.
struct Phone {
    topic: String,
    removed_at: Option<DateTime<Utc>>,
}

impl Apns {
    /// An environment whose senders are this provider.
    pub(super) fn new(environment: &'static str, provider: Arc<Provider>) -> Self {
        Self { environment, provider, phones: Mutex::default() }
    }

    fn check(&self, request: &Request, seen: &Seen) -> Result<(), &'static str> {
        if request.method != Method::POST {
            return Err("MethodNotAllowed");
        }
        if !request.path.starts_with("/3/device") {
            return Err("BadPath");
        }
        self.provider.check(request)?;
        headers::check(request, Some(&seen.payload))?;
        let topic = request.header("apns-topic").ok_or("MissingTopic")?;
        let token = seen.registration.as_str();
        if token.is_empty() {
            return Err("MissingDeviceToken");
        }
        let phones = self.phones.lock();
        match phones.get(token) {
            None => Err("BadDeviceToken"),
            Some(phone) if phone.topic != topic => Err("DeviceTokenNotForTopic"),
            Some(Phone { removed_at: Some(_), .. }) => Err("Unregistered"),
            Some(_) => Ok(()),
        }
    }
}

impl Protocol for Apns {
    fn errors(&self) -> &'static [(&'static str, u16)] {
        REASONS
    }

    fn read(&self, request: &Request, seen: &mut Seen) -> Result<(), Refusal> {
        let token = request.path.strip_prefix("/3/device/").unwrap_or_default();
        token.to_ascii_lowercase().clone_into(&mut seen.registration);
        seen.id = request.header("apns-id").map_or_else(super::new_uuid, str::to_owned);
        seen.collapse = request.header("apns-collapse-id").map(str::to_owned);
        seen.keep(request, &KEPT);
        seen.payload = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        let alert = seen.payload.pointer("/aps/alert");
        let title = alert.and_then(|alert| alert.get("title").unwrap_or(alert).as_str());
        seen.title = title.map(str::to_owned);
        self.check(request, seen).map_err(|reason| {
            let status = REASONS.iter().find(|(name, _)| *name == reason).map_or(400, |(_, status)| *status);
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
            Refusal::new(status, reason, "")
        })
    }

    fn accept(&self, seen: &Seen) -> Response {
        with_id(StatusCode::OK.into_response(), seen)
    }

    fn refuse(&self, refusal: &Refusal, seen: &Seen) -> Response {
        let mut body = json!({ "reason": refusal.error });
        if refusal.status == StatusCode::GONE {
            let phones = self.phones.lock();
            let removed = phones.get(&seen.registration).and_then(|phone| phone.removed_at);
            let at = removed.unwrap_or_else(|| std::time::SystemTime::now().into());
            body["timestamp"] = json!(at.timestamp_millis());
        }
        with_id((refusal.status, Json(body)).into_response(), seen)
    }

    /// A phone with an app; `topic` is its bundle id.
    fn register(&self, wish: &Map<String, Value>) -> Result<Value, String> {
        let token: String = rand::random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect();
        let topic = wished(wish, "topic", TOPIC);
        let mut phones = self.phones.lock();
        if phones.len() >= PHONES_MAX {
            return Err(format!("there are {PHONES_MAX} phones already"));
        }
        phones.insert(token.clone(), Phone { topic: topic.clone(), removed_at: None });
        let environment = self.environment;
        Ok(json!({ "registration": token, "token": token, "environment": environment, "topic": topic }))
    }

    fn unregister(&self, registration: &str) -> bool {
        let mut phones = self.phones.lock();
        let Some(phone) = phones.get_mut(registration) else { return false };
        phone.removed_at = Some(std::time::SystemTime::now().into());
        true
    }
}

/// Every answer names the message that it is for.
fn with_id(mut answer: Response, seen: &Seen) -> Response {
    if let Ok(id) = HeaderValue::from_str(&seen.id) {
        answer.headers_mut().insert("apns-id", id);
    }
    answer
}

#[cfg(test)]
mod tests;
