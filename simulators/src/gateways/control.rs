//! The other side of the gateways: what makes phones, says what went wrong, and lists what came.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Gateways;
use super::faults::Fault;

/// Messages that are listed when nobody says how many.
const LISTED: usize = 100;

/// Why a call was refused: a status, and a sentence.
type Refused = (StatusCode, String);

/// The routes of the control interface.
pub(super) fn router(gateways: Arc<Gateways>) -> Router {
    Router::new()
        .route("/", get(places))
        .route("/registrations", post(register))
        .route("/registrations/{channel}/{registration}", delete(unregister))
        .route("/received", get(received))
        .route("/fail", post(fail))
        .with_state(gateways)
}

/// Where each channel is.
async fn places(State(gateways): State<Arc<Gateways>>) -> Json<Value> {
    Json(gateways.places())
}

/// Makes a phone: `{"channel":"apns", ...}`.
async fn register(
    State(gateways): State<Arc<Gateways>>,
    Json(mut wish): Json<Map<String, Value>>,
) -> Result<(StatusCode, Json<Value>), Refused> {
    let channel = wish.remove("channel").unwrap_or_default();
    let made = gateways.gateway(channel.as_str().unwrap_or_default()).map_err(bad)?.register(&wish);
    Ok((StatusCode::CREATED, Json(made.map_err(bad)?)))
}

/// Removes the app from a phone.
async fn unregister(
    State(gateways): State<Arc<Gateways>>,
    Path((channel, registration)): Path<(String, String)>,
) -> Result<StatusCode, Refused> {
    if gateways.gateway(&channel).map_err(bad)?.unregister(&registration) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err((StatusCode::NOT_FOUND, format!("{channel} has no phone {registration}")))
    }
}

#[derive(Deserialize)]
struct Wanted {
    channel: Option<String>,
    registration: Option<String>,
    limit: Option<usize>,
}

/// What came to a channel, newest first; without one, how many came to each.
async fn received(
    State(gateways): State<Arc<Gateways>>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Value>, Refused> {
    let Some(channel) = wanted.channel else {
        return Ok(Json(json!({ "channels": gateways.summaries() })));
    };
    let gateway = gateways.gateway(&channel).map_err(bad)?;
    let items = gateway.last(wanted.registration.as_deref(), wanted.limit.unwrap_or(LISTED));
    Ok(Json(json!({ "summary": gateway.summary(), "items": items })))
}

/// A fault, and the channel that it is for.
#[derive(Deserialize)]
struct Told {
    channel: String,
    #[serde(flatten)]
    fault: Map<String, Value>,
}

/// Makes the next requests fail; without saying how, they succeed again.
async fn fail(State(gateways): State<Arc<Gateways>>, Json(told): Json<Told>) -> Result<StatusCode, Refused> {
    let fault: Fault =
        serde_json::from_value(Value::Object(told.fault)).map_err(|error| bad(error.to_string()))?;
    gateways.gateway(&told.channel).map_err(bad)?.fail(fault).map_err(bad)?;
    Ok(StatusCode::NO_CONTENT)
}

fn bad(sentence: String) -> Refused {
    (StatusCode::BAD_REQUEST, sentence)
}
