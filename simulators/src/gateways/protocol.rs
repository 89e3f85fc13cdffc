//! What every channel has in common: a request comes, is read as strictly as the real service reads it, and is
//! answered in that service's own words.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use serde_json::{Map, Value};

/// One channel: it knows the public protocol of its service and the phones that it made, and nothing else.
pub(crate) trait Protocol: Send + Sync {
    /// The names of its errors, each with the status that it comes with. Of a status the first is the usual one.
    fn errors(&self) -> &'static [(&'static str, u16)];

    /// Reads a request. What could be read is in `seen`, even of a request that is refused.
    fn read(&self, request: &Request, seen: &mut Seen) -> Result<(), Refusal>;

    /// Says yes.
    fn accept(&self, seen: &Seen) -> Response;

    /// Says no.
    fn refuse(&self, refusal: &Refusal, seen: &Seen) -> Response;

    /// Makes a phone. Answers what its app would tell to whoever wants to push, with its name as `registration`.
    ///
    /// # Errors
    /// A sentence for people, when what is wished for isn't possible.
    fn register(&self, wish: &Map<String, Value>) -> Result<Value, String>;

    /// Its app is removed from a phone. False: there is no such phone.
    fn unregister(&self, registration: &str) -> bool;
}

/// A request as it came.
pub(crate) struct Request {
    /// `POST` ...
    pub(crate) method: Method,
    /// The path, without a query.
    pub(crate) path: String,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The whole body.
    pub(crate) body: Bytes,
    /// When it came.
    pub(crate) at: DateTime<Utc>,
    /// What it came on.
    pub(crate) connection: Arc<Connection>,
}

impl Request {
    /// A header; none when it isn't there, or isn't text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether it says that its body is of this media type; parameters don't count.
    pub(crate) fn is_of(&self, media_type: &str) -> bool {
        let named = self.header("content-type").and_then(|value| value.split(';').next());
        named.is_some_and(|named| named.trim().eq_ignore_ascii_case(media_type))
    }
}

/// What is remembered of a connection.
#[derive(Default)]
pub(crate) struct Connection {
    /// The credential that was shown last, and since when.
    pub(crate) credential: Mutex<Option<(String, Instant)>>,
}

/// What was read of a request.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Which phone it is for.
    pub(crate) registration: String,
    /// Its id, the same in each attempt.
    pub(crate) id: String,
    /// What it replaces on the phone: that which has the same collapse key.
    pub(crate) collapse: Option<String>,
    /// What people read first.
    pub(crate) title: Option<String>,
    /// Headers that mean something in this protocol.
    pub(crate) headers: Map<String, Value>,
    /// What the app on the phone gets.
    pub(crate) payload: Value,
}

impl Seen {
    /// Keeps these headers of a request.
    pub(crate) fn keep(&mut self, request: &Request, names: &[&str]) {
        for name in names {
            if let Some(value) = request.header(name) {
                self.headers.insert((*name).to_owned(), value.into());
            }
        }
    }
}

/// Why a request is refused, before the service's own words are found for it.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    /// The status of the answer.
    pub(crate) status: StatusCode,
    /// The name of the error, one of [`Protocol::errors`]; empty where the protocol has no name for it.
    pub(crate) error: String,
    /// What exactly is wrong, for people.
    pub(crate) text: String,
}

impl Refusal {
    /// A refusal with a name and a sentence.
    pub(crate) fn new(status: StatusCode, error: &str, text: impl Into<String>) -> Self {
        Self { status, error: error.to_owned(), text: text.into() }
    }
}

/// Phones that one channel makes at most.
pub(super) const PHONES_MAX: usize = 200_000;

/// A text of a wish; `otherwise` where it says nothing.
pub(super) fn wished(wish: &Map<String, Value>, name: &str, otherwise: &str) -> String {
    wish.get(name).and_then(Value::as_str).unwrap_or(otherwise).to_owned()
}
