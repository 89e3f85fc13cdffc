//! Firebase Cloud Messaging, HTTP v1 (firebase.google.com/docs/reference/fcm/rest): `messages:send` and the token
//! endpoint that it needs. Messages are checked against the schema that Google publishes.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Json;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use rand::distr::{Alphanumeric, SampleString};
use serde_json::{Map, Value, json};

use super::protocol::{PHONES_MAX, Protocol, Refusal, Request, Seen, wished};

mod account;
mod oauth;
mod schema;

pub(super) use account::Account;
pub(super) use oauth::{Oauth, Tokens};

use schema::{Wrong, field};

/// Its errors: the codes of `FcmError`, and two that are Google's everywhere.
const ERRORS: &[(&str, u16)] = &[
    ("INVALID_ARGUMENT", 400),
    (BAD_REQUEST, 400),
    (UNAUTHENTICATED, 401),
    ("THIRD_PARTY_AUTH_ERROR", 401),
    ("SENDER_ID_MISMATCH", 403),
    ("UNREGISTERED", 404),
    ("QUOTA_EXCEEDED", 429),
    ("INTERNAL", 500),
    ("UNAVAILABLE", 503),
];
/// The request itself is wrong: `details` hold a BadRequest instead of an FcmError.
const BAD_REQUEST: &str = "BAD_REQUEST";
/// The access token isn't good: no `details`.
const UNAUTHENTICATED: &str = "UNAUTHENTICATED";
/// Length of an installation id.
const FID_CHARACTERS: usize = 22;

/// The service: its phones, and the tokens that it accepts.
pub(super) struct Fcm {
    tokens: Arc<Tokens>,
    phones: Mutex<HashSet<String>>,
}

impl Fcm {
    /// A service that accepts these tokens.
    pub(super) fn new(tokens: Arc<Tokens>) -> Self {
        Self { tokens, phones: Mutex::default() }
    }
}

impl Protocol for Fcm {
    fn errors(&self) -> &'static [(&'static str, u16)] {
        ERRORS
    }

    fn read(&self, request: &Request, seen: &mut Seen) -> Result<(), Refusal> {
        let refuse = |status, error: &str, text: String| Err(Refusal::new(status, error, text));
        if request.path != format!("/v1/projects/{}/messages:send", account::PROJECT) {
            return refuse(StatusCode::NOT_FOUND, "", "Requested entity was not found.".into());
        }
        if request.method != Method::POST {
            return refuse(StatusCode::METHOD_NOT_ALLOWED, "", "The method is not allowed.".into());
        }
        let shown = request.header("authorization").and_then(|shown| shown.strip_prefix("Bearer "));
        if !shown.is_some_and(|token| self.tokens.is_good(token, request.at)) {
            let text = "Request had invalid authentication credentials. Expected OAuth 2 access token.";
            return refuse(StatusCode::UNAUTHORIZED, UNAUTHENTICATED, text.into());
        }
        let body: Option<Value> = serde_json::from_slice(&request.body).ok();
        let Some(body) = body.filter(|_| request.is_of("application/json")) else {
            return refuse(StatusCode::BAD_REQUEST, BAD_REQUEST, "Invalid JSON payload received.".into());
        };
        see(&body, seen);
        match schema::check(&body) {
            Ok(()) => self.reaches(&seen.registration),
            Err(Wrong::Shape(field, text)) => {
                seen.headers.insert("field".into(), field.into());
                refuse(StatusCode::BAD_REQUEST, BAD_REQUEST, text)
            }
            Err(Wrong::Message(text)) => refuse(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", text),
        }
    }

    fn accept(&self, _: &Seen) -> Response {
        let id: u64 = rand::random();
        Json(json!({ "name": format!("projects/{}/messages/0:{id:016}%{id:016x}", account::PROJECT) }))
            .into_response()
    }

    fn refuse(&self, refusal: &Refusal, seen: &Seen) -> Response {
        let details = match refusal.error.as_str() {
            "" | UNAUTHENTICATED => json!([]),
            BAD_REQUEST => json!([{
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [{ "field": seen.headers.get("field"), "description": refusal.text }],
            }]),
            code => json!([{
                "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code,
            }]),
        };
        let mut error = json!({
            "code": refusal.status.as_u16(), "message": refusal.text, "status": status_name(refusal.status),
        });
        if details != json!([]) {
            error["details"] = details;
        }
        (refusal.status, Json(json!({ "error": error }))).into_response()
    }

    /// A phone that is known by an installation id (`"form":"fid"`) or by a registration token (`"form":"token"`).
    fn register(&self, wish: &Map<String, Value>) -> Result<Value, String> {
        let random = |length| Alphanumeric.sample_string(&mut rand::rng(), length);
        // The first four bits of an installation id are 0111 (firebase.google.com/docs/projects/manage-installations).
        let fid = format!("d{}", random(FID_CHARACTERS - 1));
        let form = wished(wish, "form", "token");
        let registration = match form.as_str() {
            "fid" => fid,
            "token" => format!("{fid}:APA91b{}", random(134)),
            _ => return Err(format!("{form:?} is no form: fid or token")),
        };
        let mut phones = self.phones.lock();
        if phones.len() >= PHONES_MAX {
            return Err(format!("there are {PHONES_MAX} phones already"));
        }
        phones.insert(registration.clone());
        Ok(json!({ "registration": registration, "form": form }))
    }

    fn unregister(&self, registration: &str) -> bool {
        self.phones.lock().remove(registration)
    }
}

impl Fcm {
    fn reaches(&self, registration: &str) -> Result<(), Refusal> {
        if self.phones.lock().contains(registration) {
            return Ok(());
        }
        let id = registration.split(':').next().unwrap_or_default();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if id.len() == FID_CHARACTERS && id.bytes().all(allowed) {
            let text = "Requested entity was not found.";
            return Err(Refusal::new(StatusCode::NOT_FOUND, "UNREGISTERED", text));
        }
        let text = "The registration token is not a valid FCM registration token";
        Err(Refusal::new(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", text))
    }
}

/// Notes what a request says, right or wrong.
fn see(body: &Value, seen: &mut Seen) {
    let Some(message) = field(body, "message") else { return };
    let android = field(message, "android");
    let (notification, tray) =
        (field(message, "notification"), android.and_then(|android| field(android, "notification")));
    let (message_field, data) = (Some(message), field(message, "data"));
    let registration = text(message_field, "fid").or_else(|| text(message_field, "token"));
    registration.unwrap_or_default().clone_into(&mut seen.registration);
    let title = text(notification, "title").or_else(|| text(tray, "title")).or_else(|| text(data, "title"));
    seen.title = title.map(str::to_owned);
    let collapse = text(tray, "tag").or_else(|| text(android, "collapseKey"));
    seen.collapse = collapse.map(str::to_owned);
    // The rest may differ from one attempt to the next: the time that is left to live does.
    let content = data.or(notification).unwrap_or(message);
    seen.id = super::message_id(data, content.to_string().as_bytes());
    seen.payload = message.clone();
}

/// A field that is text.
fn text<'a>(object: Option<&'a Value>, name: &str) -> Option<&'a str> {
    object.and_then(|object| field(object, name)?.as_str())
}

/// The name of a status, as all of Google's interfaces have it.
fn status_name(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        500 => "INTERNAL",
        503 => "UNAVAILABLE",
        _ => "UNKNOWN",
    }
}
