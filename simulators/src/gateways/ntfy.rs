//! ntfy (docs.ntfy.sh/publish, "Publish as JSON"): a message is posted as JSON to the root, with the token of the
//! account that owns the topic. Stricter than the original: fields that it would ignore are refused.

use std::collections::HashMap;

use axum::Json;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use rand::distr::{Alphanumeric, SampleString};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::protocol::{PHONES_MAX, Protocol, Refusal, Request, Seen, wished};

/// Longest message, in bytes; a longer one becomes an attachment, which isn't allowed here.
const MESSAGE_BYTES_MAX: usize = 4_096;
/// Largest body with JSON, in bytes: twice as much.
const BODY_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;
/// Most actions of a message.
const ACTIONS_MAX: usize = 3;

/// Its errors: a code, of which the first three digits are the status.
const ERRORS: &[(&str, u16)] = &[
    ("40017", 400),
    ("40007", 400),
    ("40009", 400),
    ("40018", 400),
    ("40101", 401),
    ("40301", 403),
    ("40401", 404),
    ("41301", 413),
    ("41303", 413),
    ("42901", 429),
    ("42908", 429),
    ("50001", 500),
    ("50701", 507),
];

/// Topics, each with the token that may publish to it; an empty one lets all publish.
#[derive(Default)]
pub(super) struct Ntfy {
    origin: String,
    topics: Mutex<HashMap<String, String>>,
}

/// A message as it is published.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "what isn't looked at must still be of its type")]
struct Message {
    topic: String,
    message: Option<String>,
    title: Option<String>,
    tags: Option<Vec<String>>,
    priority: Option<u8>,
    actions: Option<Vec<Action>>,
    click: Option<String>,
    icon: Option<String>,
    markdown: Option<bool>,
    delay: Option<String>,
    sequence_id: Option<String>,
}

/// A button.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "what isn't looked at must still be of its type")]
struct Action {
    action: String,
    label: String,
    url: Option<String>,
    method: Option<String>,
    headers: Option<HashMap<String, String>>,
    body: Option<String>,
    clear: Option<bool>,
}

impl Ntfy {
    /// A server at this origin.
    pub(super) fn new(origin: String) -> Self {
        Self { origin, topics: Mutex::default() }
    }

    fn may_publish(&self, topic: &str, request: &Request) -> Result<(), Refusal> {
        let shown = request.header("authorization");
        let token = shown.and_then(|shown| shown.strip_prefix("Bearer ")).unwrap_or_default();
        let topics = self.topics.lock();
        if shown.is_some() && !topics.values().any(|known| known == token && !token.is_empty()) {
            return Err(refusal("40101", "unauthorized"));
        }
        match topics.get(topic) {
            Some(owner) if !owner.is_empty() && owner != token => Err(refusal("40301", "forbidden")),
            _ => Ok(()),
        }
    }
}

impl Protocol for Ntfy {
    fn errors(&self) -> &'static [(&'static str, u16)] {
        ERRORS
    }

    fn read(&self, request: &Request, seen: &mut Seen) -> Result<(), Refusal> {
        if request.path != "/" || (request.method != Method::POST && request.method != Method::PUT) {
            return Err(refusal("40401", "page not found"));
        }
        if request.body.len() > BODY_BYTES_MAX {
            return Err(refusal("41303", "JSON body too large"));
        }
        let not_json = |error: serde_json::Error| refusal("40017", &format!("not message JSON: {error}"));
        seen.payload = serde_json::from_slice(&request.body).map_err(not_json)?;
        let message: Message = serde_json::from_slice(&request.body).map_err(not_json)?;
        message.topic.clone_into(&mut seen.registration);
        seen.title = message.title;
        seen.collapse = message.sequence_id;
        seen.id = super::digest(&request.body);
        if !is_topic(&message.topic) {
            return Err(refusal("40009", "invalid request: topic invalid"));
        }
        self.may_publish(&message.topic, request)?;
        if message.priority.is_some_and(|priority| !(1..=5).contains(&priority)) {
            return Err(refusal("40007", "invalid priority parameter"));
        }
        if message.message.is_some_and(|text| text.len() > MESSAGE_BYTES_MAX) {
            return Err(refusal("41301", "attachment too large, or bandwidth limit reached"));
        }
        let actions = message.actions.unwrap_or_default();
        if actions.len() > ACTIONS_MAX {
            return Err(refusal("40018", "invalid request: actions invalid, only 3 actions allowed"));
        }
        actions.iter().try_for_each(check_action)
    }

    fn accept(&self, seen: &Seen) -> Response {
        let at = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let mut answer = json!({
            "id": Alphanumeric.sample_string(&mut rand::rng(), 12),
            "time": at.unwrap_or_default().as_secs(),
            "event": "message",
        });
        if let (Some(answer), Some(message)) = (answer.as_object_mut(), seen.payload.as_object()) {
            answer.extend(message.clone());
        }
        Json(answer).into_response()
    }

    fn refuse(&self, refusal: &Refusal, _: &Seen) -> Response {
        let code: u32 =
            refusal.error.parse().unwrap_or_else(|_| u32::from(refusal.status.as_u16()) * 100 + 1);
        let body = json!({ "code": code, "http": refusal.status.as_u16(), "error": refusal.text });
        (refusal.status, Json(body)).into_response()
    }

    /// A topic; with `"protected": true` only its own token may publish to it.
    fn register(&self, wish: &Map<String, Value>) -> Result<Value, String> {
        let random = |length| Alphanumeric.sample_string(&mut rand::rng(), length);
        let topic = wished(wish, "topic", &random(16));
        if !is_topic(&topic) {
            return Err(format!("{topic:?} isn't a topic: 1 to 64 of A-Z a-z 0-9 _ -"));
        }
        let protected = wish.get("protected").and_then(Value::as_bool) == Some(true);
        let token = if protected { format!("tk_{}", random(29).to_lowercase()) } else { String::new() };
        let mut topics = self.topics.lock();
        if topics.len() >= PHONES_MAX {
            return Err(format!("there are {PHONES_MAX} topics already"));
        }
        let mut made = json!({ "registration": topic, "url": format!("{}/{topic}", self.origin) });
        if protected {
            made["token"] = json!(token);
        }
        topics.insert(topic, token);
        Ok(made)
    }

    fn unregister(&self, registration: &str) -> bool {
        self.topics.lock().remove(registration).is_some()
    }
}

fn is_topic(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}

fn check_action(action: &Action) -> Result<(), Refusal> {
    let wrong = match action.action.as_str() {
        _ if action.label.is_empty() => "parameter 'label' is required",
        "view" | "http" if action.url.as_deref().unwrap_or_default().is_empty() => {
            "parameter 'url' is required for this action"
        }
        "http" if action.body.is_some() && matches!(action.method.as_deref(), Some("GET" | "HEAD")) => {
            "parameter 'body' cannot be set with this method"
        }
        "view" | "http" | "broadcast" => return Ok(()),
        _ => "unknown action",
    };
    Err(refusal("40018", &format!("invalid request: actions invalid, {wrong}")))
}

fn refusal(code: &str, text: &str) -> Refusal {
    let status = ERRORS.iter().find(|(name, _)| *name == code).map_or(400, |(_, status)| *status);
    Refusal::new(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST), code, text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::trial::{post, with};
    use super::*;

    #[test]
    fn what_ntfy_would_refuse_is_refused() {
        let ntfy = Ntfy::new("http://here".into());
        let wish = json!({ "topic": "alarms", "protected": true });
        let made = ntfy.register(wish.as_object().unwrap()).unwrap();
        let token = format!("Bearer {}", made["token"].as_str().unwrap());
        let publish = |body: Value, token: &str| {
            let request = with(post("/", body.to_string()), "authorization", token);
            ntfy.read(&request, &mut Seen::default()).map_err(|refusal| refusal.error)
        };
        let ack = json!({ "action": "http", "label": "Acknowledge", "url": "https://x/ack", "clear": true });
        let good =
            json!({ "topic": "alarms", "title": "t", "message": "m", "priority": 5, "actions": [ack] });
        publish(good, &token).unwrap();
        for (code, body) in [
            ("40017", json!({ "message": "no topic" })),
            ("40017", json!({ "topic": "alarms", "sound": "x" })),
            ("40009", json!({ "topic": "a b" })),
            ("40007", json!({ "topic": "alarms", "priority": 6 })),
            ("41301", json!({ "topic": "alarms", "message": "x".repeat(4_097) })),
            ("41303", json!({ "topic": "alarms", "message": "x".repeat(9_000) })),
            ("40018", json!({ "topic": "alarms", "actions": [{ "action": "view", "label": "x" }] })),
            ("40018", json!({ "topic": "alarms", "actions": [ack, ack, ack, ack] })),
        ] {
            assert_eq!(publish(body, &token).unwrap_err(), code);
        }
        assert_eq!(publish(json!({ "topic": "alarms" }), "Bearer tk_wrong").unwrap_err(), "40101");
        let other = ntfy.register(json!({ "protected": true }).as_object().unwrap()).unwrap();
        let other = format!("Bearer {}", other["token"].as_str().unwrap());
        assert_eq!(publish(json!({ "topic": "alarms" }), &other).unwrap_err(), "40301");
    }
}
