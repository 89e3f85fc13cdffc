//! One gateway: a channel, what it is told to do wrong, and what came.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use parking_lot::Mutex;
use rand::Rng;
use serde_json::{Map, Value};

use super::book::{Book, Listed, Received, Summary};
use super::faults::{Fault, Script};
use super::protocol::{Protocol, Refusal, Request, Seen};

/// Longest that an answer is held back.
const DELAY_MAX: Duration = Duration::from_secs(120);

/// A channel that works, or does wrong what it is told to.
pub(crate) struct Gateway {
    protocol: Arc<dyn Protocol>,
    latency: Latency,
    script: Mutex<Script>,
    book: Mutex<Book>,
}

/// How long an answer takes when nothing is wrong: anything between the two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Latency {
    /// At least.
    pub(crate) min: Duration,
    /// At most.
    pub(crate) max: Duration,
}

impl Gateway {
    /// A gateway to which nothing has come yet.
    pub(super) fn new(protocol: Arc<dyn Protocol>, latency: Latency) -> Self {
        Self { protocol, latency, script: Mutex::default(), book: Mutex::default() }
    }

    /// Reads a request, does wrong what it is told to, writes down what came, and answers; none: the connection
    /// breaks off.
    pub(super) async fn answer(&self, request: Request) -> Option<Response> {
        let mut seen = Seen::default();
        let read = self.protocol.read(&request, &mut seen);
        // What is wrong in itself is refused for that, and uses no fault up.
        let fault = if read.is_ok() { self.script.lock().next(&seen.registration) } else { None };
        tokio::time::sleep(self.delay(fault.as_ref())).await;
        let refusal = match (read, &fault) {
            (Err(refusal), _) => Some(refusal),
            (Ok(()), Some(fault)) => self.told(fault),
            (Ok(()), None) => None,
        };
        let mut answer = match &refusal {
            Some(refusal) => self.protocol.refuse(refusal, &seen),
            None => self.protocol.accept(&seen),
        };
        let reset = fault.as_ref().is_some_and(|fault| fault.reset);
        if let Some(fault) = &fault {
            disturb(&mut answer, fault);
        }
        let received = Received {
            id: seen.id,
            registration: seen.registration,
            received_at: request.at,
            answered: if reset { 0 } else { answer.status().as_u16() },
            error: refusal.map(|refusal| format!("{} {}", refusal.error, refusal.text).trim().to_owned()),
            collapse: seen.collapse,
            title: seen.title,
            headers: seen.headers,
            payload: seen.payload,
        };
        self.book.lock().note(received, fault.is_some());
        (!reset).then_some(answer)
    }

    fn delay(&self, fault: Option<&Fault>) -> Duration {
        let told = fault.map_or(0, |fault| fault.delay_ms);
        let usual = match self.latency {
            Latency { min, max } if min < max => rand::rng().random_range(min..=max),
            Latency { min, .. } => min,
        };
        (usual + Duration::from_millis(told)).min(DELAY_MAX)
    }

    /// The refusal that a fault asks for; none when it is only slow, breaks off or talks nonsense.
    fn told(&self, fault: &Fault) -> Option<Refusal> {
        let errors = self.protocol.errors();
        let named = fault.error.as_ref().and_then(|error| errors.iter().find(|(name, _)| name == error));
        let status = fault.status.or(named.map(|(_, status)| *status))?;
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status.is_success() {
            return None;
        }
        let usual = errors.iter().find(|(_, of)| *of == status.as_u16()).map_or("", |(name, _)| name);
        let error = fault.error.as_deref().unwrap_or(usual);
        Some(Refusal::new(status, error, "the gateway was told to say so"))
    }

    /// Does this wrong from now on.
    ///
    /// # Errors
    /// A sentence for people, when the channel has no such error.
    pub(super) fn fail(&self, fault: Fault) -> Result<(), String> {
        let errors = self.protocol.errors();
        match &fault.error {
            Some(error) if fault.status.is_none() && !errors.iter().any(|(name, _)| name == error) => {
                let known: Vec<&str> = errors.iter().map(|(name, _)| *name).collect();
                Err(format!("{error} is no error of this channel; it has {}", known.join(", ")))
            }
            _ => self.script.lock().set(fault),
        }
    }

    /// Makes a phone; see [`Protocol::register`].
    pub(crate) fn register(&self, wish: &Map<String, Value>) -> Result<Value, String> {
        self.protocol.register(wish)
    }

    /// Removes the app from a phone; see [`Protocol::unregister`].
    pub(super) fn unregister(&self, registration: &str) -> bool {
        self.protocol.unregister(registration)
    }

    /// How many came.
    pub(crate) fn summary(&self) -> Summary {
        self.book.lock().summary()
    }

    /// What came last, newest first: for one phone, or for all.
    pub(crate) fn last(&self, registration: Option<&str>, limit: usize) -> Vec<Listed> {
        self.book.lock().last(registration, limit)
    }
}

/// Puts into an answer what the fault says about it.
fn disturb(answer: &mut Response, fault: &Fault) {
    if let Some(seconds) = fault.retry_after_s {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(body) = &fault.body {
        *answer.body_mut() = Body::from(body.clone());
        answer.headers_mut().remove(header::CONTENT_LENGTH);
    }
}
