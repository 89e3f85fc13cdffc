//! Devices: list, read, register, remove; what they should be, and tags.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use statecast_flow::Applied;
use statecast_state::{Body, DeviceId, DeviceKey, Document, Report, Timestamp, Twin};
use statecast_store::CredentialsChange;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::actor::Actor;
use super::auth::{Caller, Devices, Read, Write};
use super::extract::{Device, Json, Path, Payload, Query, if_match};
use super::problem::Problem;
use super::requests::{Asking, REQUEST};
use super::{Http, Page, page_after, page_size, position_header};
use crate::access;

pub(super) fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(read, register, remove))
        .routes(routes!(report))
        .routes(routes!(set_desired))
        .routes(routes!(set_tags))
}

/// Which page of a list.
#[derive(Deserialize, IntoParams)]
pub(super) struct Paging {
    /// Items at most; 1 to 1,000, 100 where nothing is said.
    pub limit: Option<usize>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// Lists devices by id.
#[utoipa::path(get, path = "/v1/devices", params(Paging), responses((status = 200, body = Page<Object>)), tag = "devices")]
async fn list(
    State(http): State<Http>,
    caller: Caller<Read>,
    Query(paging): Query<Paging>,
) -> Result<axum::Json<Page<Twin>>, Problem> {
    let after = page_after(paging.cursor.as_deref(), |cursor| DeviceId::parse(cursor).ok())?;
    let limit = page_size(paging.limit);
    let items = http.store.list(&caller.tenant, after.as_ref(), limit).await?;
    Ok(axum::Json(Page::of(items, limit, |twin| twin.device.to_string())))
}

/// Reads the twin of a device. `ETag` is its version.
#[utoipa::path(get, path = "/v1/devices/{id}", params(("id" = String, Path)), responses((status = 200, body = Object), (status = 404, body = Problem)), tag = "devices")]
async fn read(State(http): State<Http>, Device { key, .. }: Device<Read>) -> Result<Response, Problem> {
    let twin = http.store.twin(&key).await?.ok_or_else(|| unknown(&key))?;
    Ok(twin_response(StatusCode::OK, &twin))
}

/// What registers a device.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Registration {
    /// Merged into the tags.
    #[serde(default)]
    #[schema(value_type = Object)]
    tags: Document,
    /// Makes a new token; one that it had is no longer accepted, and its connections end.
    #[serde(default)]
    new_token: bool,
}

/// A registered device.
#[derive(Serialize, ToSchema)]
struct Registered {
    /// Its id.
    #[schema(value_type = String)]
    device: DeviceId,
    /// The version of its twin.
    version: u64,
    /// The password with which it connects. Shown only now.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

/// Registers a device, or merges tags into those of a known one. Answers its token when it is made: for a device without
/// any credential, or if asked.
#[utoipa::path(put, path = "/v1/devices/{id}", params(("id" = String, Path)), request_body = Registration, responses((status = 201, body = Registered), (status = 200, body = Registered)), tag = "devices")]
async fn register(
    State(http): State<Http>,
    Device { key, .. }: Device<Devices>,
    Json(registration): Json<Registration>,
) -> Result<Response, Problem> {
    super::check_document(&registration.tags, http.flow.limits())?;
    let applied = submit(&http, &key, Body::Register { tags: registration.tags }).await?;
    // After the commit: should we die between the two, the next call finds no token and makes one.
    let known = http.store.credentials(std::slice::from_ref(&key)).await?.pop().flatten().unwrap_or_default();
    let token = if registration.new_token || !known.let_in() {
        let token = access::new_token();
        let token_hash = Some(Some(access::hash(token.as_bytes())));
        let change = CredentialsChange { token: token_hash, ..Default::default() };
        // Somebody may just have removed it.
        http.store.change_credentials(&key, &change).await?.then_some(token)
    } else {
        None
    };
    let status = if applied.before.is_none() { StatusCode::CREATED } else { StatusCode::OK };
    let version = applied.twin.as_ref().map_or(0, |twin| twin.version);
    let registered = Registered { device: key.device, version, token };
    Ok((status, position_header(applied.position), axum::Json(registered)).into_response())
}

/// Removes a device with all that belongs to it: twin, history, token, deliveries.
#[utoipa::path(delete, path = "/v1/devices/{id}", params(("id" = String, Path)), responses((status = 204), (status = 404, body = Problem)), tag = "devices")]
async fn remove(State(http): State<Http>, Device { key, .. }: Device<Devices>) -> Result<Response, Problem> {
    let applied = submit(&http, &key, Body::Remove).await?;
    http.broker.forget(key.tenant.as_str(), key.device.as_str()).await;
    Ok((StatusCode::NO_CONTENT, position_header(applied.position)).into_response())
}

/// Reports state for a device, as its MQTT topic does. Answers after the commit.
#[utoipa::path(post, path = "/v1/devices/{id}/state", params(("id" = String, Path)), request_body = Object, responses((status = 200, body = Object), (status = 400, body = Problem)), tag = "devices")]
async fn report(
    State(http): State<Http>,
    Device { key, .. }: Device<Write>,
    Payload(body): Payload,
) -> Result<Response, Problem> {
    let report = Report::from_state_payload(key, &body, now(), http.flow.limits())?;
    answer(http.flow.submit(report).await.ok_or_else(Problem::stopping)??)
}

/// Sets what a device should be: a merge patch. The header `Statecast-Request` names the request that was made of it:
/// `/v1/requests/{id}` tells whether the device did it. Also with the key of a person who was told of an alarm of the
/// device, and with the ticket that came with a push.
#[utoipa::path(patch, path = "/v1/devices/{id}/desired", params(("id" = String, Path), Asking), request_body = Object, responses((status = 200, body = Object), (status = 409, body = Problem), (status = 412, body = Problem)), tag = "devices")]
async fn set_desired(
    State(http): State<Http>,
    actor: Actor<Write>,
    Path(id): Path<String>,
    Query(asking): Query<Asking>,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Result<Response, Problem> {
    let device = DeviceId::parse(&id).map_err(|bad| Problem::bad_request(bad.to_string()))?;
    actor.may_device(&http, &device).await?;
    let key = DeviceKey::new(actor.tenant().clone(), device);
    let patch = super::document(&body, http.flow.limits())?;
    let asked = asking.asked(actor.by(), actor.person().map(str::to_owned), now())?;
    let request = HeaderValue::from_str(&asked.id.to_string());
    let body = Body::Desired { patch, if_version: if_match(&headers)?, asked };
    let mut response = answer(submit(&http, &key, body).await?)?;
    response.headers_mut().extend(request.ok().map(|id| (REQUEST, id)));
    Ok(response)
}

/// Changes the tags of a device: a merge patch.
#[utoipa::path(patch, path = "/v1/devices/{id}/tags", params(("id" = String, Path)), request_body = Object, responses((status = 200, body = Object), (status = 412, body = Problem)), tag = "devices")]
async fn set_tags(
    State(http): State<Http>,
    Device { key, .. }: Device<Write>,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Result<Response, Problem> {
    let patch = super::document(&body, http.flow.limits())?;
    answer(submit(&http, &key, Body::Tags { patch, if_version: if_match(&headers)? }).await?)
}

fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}

pub(super) fn unknown(key: &DeviceKey) -> Problem {
    Problem::not_found(format!("no device {}", key.device))
}

async fn submit(http: &Http, key: &DeviceKey, body: Body) -> Result<Applied, Problem> {
    let report = Report { key: key.clone(), body, device_time: None, message: None, received_at: now() };
    Ok(http.flow.submit(report).await.ok_or_else(Problem::stopping)??)
}

fn answer(applied: Applied) -> Result<Response, Problem> {
    let twin = applied.twin.ok_or_else(Problem::stopping)?;
    let mut response = twin_response(StatusCode::OK, &twin);
    let [(name, value)] = position_header(applied.position);
    response.headers_mut().insert(name, value);
    Ok(response)
}

fn twin_response(status: StatusCode, twin: &Twin) -> Response {
    let mut response = (status, axum::Json(twin)).into_response();
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", twin.version)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}
