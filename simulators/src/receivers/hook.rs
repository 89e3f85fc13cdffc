//! The HTTP side of a receiver: webhooks in, the list out.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::{DateTime, SecondsFormat, Utc};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use standardwebhooks::Webhook;

use super::book::{Book, Received, Summary};
use super::faults::Faults;

/// Largest webhook that is read, in bytes; the standard asks senders to stay below 20 kB.
const WEBHOOK_BYTES_MAX: usize = 64 * 1024;
/// Longest that an answer is held back.
const DELAY_MAX: Duration = Duration::from_secs(120);
/// Webhooks that are listed when nobody says how many.
const LISTED: usize = 100;

/// One receiver of webhooks: what it trusts, what it was told to do wrong, and what came.
#[derive(Default)]
pub(crate) struct Receiver {
    trusted: Mutex<Vec<Webhook>>,
    faults: Mutex<Faults>,
    book: Mutex<Book>,
}

impl Receiver {
    /// A receiver that has received nothing.
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Checks signatures from now on, with this secret (`whsec_...`) or any other that was given.
    pub(crate) fn trust(&self, secret: &str) -> anyhow::Result<()> {
        let webhook = Webhook::new(secret).context("read the secret of the webhook")?;
        self.trusted.lock().push(webhook);
        Ok(())
    }

    /// Answers the next webhooks this way.
    pub(crate) fn fail(&self, faults: Faults) {
        *self.faults.lock() = faults;
    }

    /// How many came.
    pub(crate) fn summary(&self) -> Summary {
        self.book.lock().summary()
    }

    /// Whether the signature is right; none when no secret is known.
    fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Option<bool> {
        let trusted = self.trusted.lock();
        (!trusted.is_empty()).then(|| trusted.iter().any(|webhook| webhook.verify(body, headers).is_ok()))
    }
}

/// The routes of a receiver.
pub(crate) fn router(receiver: Arc<Receiver>) -> Router {
    Router::new()
        .route("/received", get(list))
        .route("/fail", post(fail))
        .fallback(receive)
        .layer(DefaultBodyLimit::max(WEBHOOK_BYTES_MAX))
        .with_state(receiver)
}

async fn receive(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> Response {
    let Some(id) = headers.get("webhook-id").and_then(|id| id.to_str().ok()).map(str::to_owned) else {
        return (StatusCode::BAD_REQUEST, "a webhook has a webhook-id").into_response();
    };
    let verified = receiver.verify(&headers, &body);
    let fault = receiver.faults.lock().next();
    if let Some(fault) = &fault {
        tokio::time::sleep(Duration::from_millis(fault.delay_ms).min(DELAY_MAX)).await;
    }
    let told = fault.as_ref().and_then(|fault| fault.status);
    let answered = match (verified, told) {
        (Some(false), _) => StatusCode::UNAUTHORIZED,
        (_, Some(status)) => StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        _ => StatusCode::NO_CONTENT,
    };
    let received = Received {
        id,
        received_at: DateTime::<Utc>::from(SystemTime::now()).to_rfc3339_opts(SecondsFormat::Millis, true),
        verified,
        answered: answered.as_u16(),
        payload: serde_json::from_slice(&body).unwrap_or(Value::Null),
    };
    receiver.book.lock().note(received, told.is_some());
    match fault.and_then(|fault| fault.retry_after_s) {
        Some(seconds) => (answered, [(header::RETRY_AFTER, seconds.to_string())]).into_response(),
        None => answered.into_response(),
    }
}

#[derive(Deserialize)]
struct ListQuery {
    limit: Option<usize>,
}

async fn list(State(receiver): State<Arc<Receiver>>, Query(query): Query<ListQuery>) -> Json<Value> {
    let book = receiver.book.lock();
    Json(json!({ "summary": book.summary(), "items": book.last(query.limit.unwrap_or(LISTED)) }))
}

async fn fail(State(receiver): State<Arc<Receiver>>, Json(faults): Json<Faults>) -> StatusCode {
    receiver.fail(faults);
    StatusCode::NO_CONTENT
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio_util::sync::CancellationToken;

    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    async fn send(url: &str, id: &str, signed_with: &str) -> StatusCode {
        let body = r#"{"title":"battery low"}"#;
        let now = DateTime::<Utc>::from(SystemTime::now()).timestamp();
        let signature = Webhook::new(signed_with).unwrap().sign(id, now, body.as_bytes()).unwrap();
        let call = reqwest::Client::new()
            .post(format!("{url}/hook"))
            .header("webhook-id", id)
            .header("webhook-timestamp", now)
            .header("webhook-signature", signature)
            .body(body);
        call.send().await.unwrap().status()
    }

    #[tokio::test]
    async fn signatures_are_checked_and_failures_told() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let receiver = Receiver::new();
        receiver.trust(SECRET).unwrap();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(super::super::serve(listener, Arc::clone(&receiver), stop.clone()));

        assert_eq!(send(&url, "a", SECRET).await, StatusCode::NO_CONTENT);
        assert_eq!(send(&url, "b", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").await, StatusCode::UNAUTHORIZED);
        let told = json!({"status": 503, "times": 1, "retry_after_s": 2});
        let client = reqwest::Client::new();
        client.post(format!("{url}/fail")).json(&told).send().await.unwrap().error_for_status().unwrap();
        assert_eq!(send(&url, "c", SECRET).await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(send(&url, "c", SECRET).await, StatusCode::NO_CONTENT);

        let listed: Value =
            client.get(format!("{url}/received?limit=2")).send().await.unwrap().json().await.unwrap();
        assert_eq!(listed["summary"]["total"], 4);
        assert_eq!(listed["summary"]["bad_signatures"], 1);
        assert_eq!(listed["summary"]["failed_on_purpose"], 1);
        assert_eq!(listed["items"].as_array().unwrap().len(), 2);
        assert_eq!(listed["items"][0]["attempts"], 2);
        stop.cancel();
        serving.await.unwrap().unwrap();
    }
}
