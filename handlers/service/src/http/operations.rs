//! For those who run the service: refused payloads, usage, the index, health, metrics.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::prelude::{BASE64_STANDARD, Engine};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use statecast_search::Verified;
use statecast_state::{TenantId, Timestamp};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::auth::{Caller, Operate};
use super::devices::Paging;
use super::extract::Query;
use super::problem::Problem;
use super::{Http, Page, page_after, page_size};

/// How long the database may take to answer before it counts as away.
const PING_MAX: Duration = Duration::from_secs(2);

/// How long a comparison waits for the first index.
const INDEX_WAIT_MAX: Duration = Duration::from_secs(5);

pub(super) fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new()
        .routes(routes!(dead_letters))
        .routes(routes!(usage))
        .routes(routes!(index))
        .routes(routes!(verify))
        .routes(routes!(rebuild))
        .routes(routes!(livez))
        .routes(routes!(readyz))
        .routes(routes!(metrics))
}

/// A payload that could not be applied.
#[derive(Serialize, ToSchema)]
struct DeadLetter {
    /// Which.
    id: Uuid,
    /// Whose, if the topic named a device.
    device: Option<String>,
    /// Where it was published.
    topic: String,
    /// What was published, if it is text.
    payload: Option<String>,
    /// What was published, in base64, if it isn't.
    payload_base64: Option<String>,
    /// Why it could not be applied.
    reason: String,
    /// When it was received.
    #[schema(value_type = String)]
    received_at: Timestamp,
}

/// Lists refused payloads, newest first.
#[utoipa::path(get, path = "/v1/dead-letters", params(Paging), responses((status = 200, body = Page<DeadLetter>)), tag = "operations")]
async fn dead_letters(
    State(http): State<Http>,
    caller: Caller<Operate>,
    Query(paging): Query<Paging>,
) -> Result<axum::Json<Page<DeadLetter>>, Problem> {
    let before = page_after(paging.cursor.as_deref(), |cursor| cursor.parse().ok())?;
    let limit = page_size(paging.limit);
    let rows = http.store.dead_letters(&caller.tenant, before, limit).await?;
    let items = rows
        .into_iter()
        .map(|row| {
            let letter = row.letter;
            let text = std::str::from_utf8(&letter.payload).ok().map(str::to_owned);
            let base64 = text.is_none().then(|| BASE64_STANDARD.encode(&letter.payload));
            DeadLetter {
                id: row.id,
                device: letter.device,
                topic: letter.topic,
                payload: text,
                payload_base64: base64,
                reason: letter.reason,
                received_at: letter.received_at,
            }
        })
        .collect();
    Ok(axum::Json(Page::of(items, limit, |letter: &DeadLetter| letter.id.to_string())))
}

/// Which time.
#[derive(Deserialize, IntoParams)]
struct Span {
    /// From this time on (RFC 3339).
    #[param(value_type = Option<String>)]
    from: Option<Timestamp>,
    /// Before this time (RFC 3339).
    #[param(value_type = Option<String>)]
    to: Option<Timestamp>,
}

/// What the handlers cost, by handler and hour: invocations, wall time, and what it would be billed at 1 ms and at
/// 100 ms. Written every 10 s.
#[utoipa::path(get, path = "/v1/usage", params(Span), responses((status = 200, body = Page<Object>)), tag = "operations")]
async fn usage(
    State(http): State<Http>,
    caller: Caller<Operate>,
    Query(span): Query<Span>,
) -> Result<Response, Problem> {
    let from = span.from.unwrap_or(Timestamp::from_micros(0));
    let to = span.to.unwrap_or(Timestamp::from_micros(i64::MAX));
    let rows = http.store.usage(&caller.tenant, from, to).await?;
    let items: Vec<_> = rows
        .iter()
        .map(|row| {
            json!({
                "handler": row.handler, "hour": row.bucket, "invocations": row.invocations, "failed": row.failed,
                "wall_us": row.wall_us, "billed_1ms": row.billed_1ms, "billed_100ms": row.billed_100ms,
            })
        })
        .collect();
    Ok(axum::Json(json!({ "items": items, "next_cursor": "" })).into_response())
}

/// The index: `position` up to which searches see all changes (none while there is no complete index), `documents`,
/// `segments`; `building`, how far a new one is, while one is built; `checked`, the last comparison of all of it with
/// the table: when, up to which position, and what was found.
#[utoipa::path(get, path = "/v1/index", responses((status = 200, body = Object)), tag = "operations")]
async fn index(State(http): State<Http>, caller: Caller<Operate>) -> Result<axum::Json<Value>, Problem> {
    of_the_default_tenant(&caller)?;
    let status = http.search.status();
    Ok(axum::Json(json!({
        "position": status.position, "documents": status.documents, "segments": status.segments,
        "building": status.building.map(|building| json!({ "done": building.done, "total": building.total })),
        "checked": status.checked.map(|checked| {
            let mut found = comparison(&checked.found);
            found["at"] = json!(checked.at);
            found["position"] = json!(checked.position);
            found
        }),
    })))
}

/// Compares the index with the table, and repairs what differs.
#[utoipa::path(post, path = "/v1/index/verify", responses((status = 200, body = Object)), tag = "operations")]
async fn verify(State(http): State<Http>, caller: Caller<Operate>) -> Result<Response, Problem> {
    of_the_default_tenant(&caller)?;
    http.search.complete(INDEX_WAIT_MAX).await?;
    let verified = http.search.verify(&*http.truth, |_| std::future::ready(())).await;
    let verified = verified.map_err(|error| Problem::unavailable(error.to_string()))?;
    Ok(axum::Json(comparison(&verified)).into_response())
}

fn comparison(found: &Verified) -> Value {
    json!({
        "checked": found.checked, "missing": found.missing, "extra": found.extra,
        "different": found.different, "repaired": found.repaired,
    })
}

/// Makes the index anew from the table. Answers when it is done.
#[utoipa::path(post, path = "/v1/index/rebuild", responses((status = 204)), tag = "operations")]
async fn rebuild(State(http): State<Http>, caller: Caller<Operate>) -> Result<StatusCode, Problem> {
    of_the_default_tenant(&caller)?;
    http.search.rebuild().await.map_err(|error| Problem::unavailable(error.to_string()))?;
    Ok(StatusCode::NO_CONTENT)
}

/// There is one index for all tenants, so it is for whoever runs the service.
fn of_the_default_tenant(caller: &Caller<Operate>) -> Result<(), Problem> {
    if caller.tenant == TenantId::default() {
        return Ok(());
    }
    Err(Problem::forbidden("the index is for keys of the tenant `default`"))
}

/// The process lives.
#[utoipa::path(get, path = "/livez", responses((status = 200)), tag = "operations")]
async fn livez() -> &'static str {
    "ok\n"
}

/// The process does its work: the database answers, and the index follows.
#[utoipa::path(get, path = "/readyz", responses((status = 200), (status = 503)), tag = "operations")]
async fn readyz(State(http): State<Http>) -> Response {
    // A database that hangs isn't there.
    let database = matches!(tokio::time::timeout(PING_MAX, http.store.ping()).await, Ok(Ok(())));
    let index = http.search.status().position >= Some(http.began_at);
    let accepting = !http.stop.is_cancelled();
    let ready = database && index && accepting;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({ "ready": ready, "database": database, "index": index, "accepting": accepting });
    (status, axum::Json(body)).into_response()
}

/// Metrics for Prometheus.
#[utoipa::path(get, path = "/metrics", responses((status = 200, description = "text/plain")), tag = "operations")]
async fn metrics(State(http): State<Http>) -> String {
    metrics::gauge!("statecast_devices_active").set(http.flow.active() as f64);
    http.metrics.render()
}
