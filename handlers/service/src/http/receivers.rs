//! Receivers: where notifications go.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use statecast_state::rule::Receiver;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::auth::{Caller, Rules};
use super::extract::{Json, Path};
use super::problem::Problem;
use super::receiver_form::{Form, shown};
use super::{Http, Page, people};

pub(super) fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(read, change, remove))
}

/// Lists receivers.
#[utoipa::path(get, path = "/v1/receivers", responses((status = 200, body = Page<Object>)), tag = "rules")]
async fn list(State(http): State<Http>, caller: Caller<Rules>) -> Result<axum::Json<Page<Value>>, Problem> {
    let receivers = http.store.receivers(&caller.tenant).await?;
    let items = receivers.iter().map(|receiver| shown(receiver, false)).collect();
    Ok(axum::Json(Page { items, next_cursor: String::new() }))
}

/// Creates a receiver: `webhook`, `live`, `fcm`, `apns`, `web_push`, `ntfy` or `mqtt`. The answer holds the secret of
/// a webhook, this once; what else lets one write to a receiver is never shown.
#[utoipa::path(post, path = "/v1/receivers", request_body = Form, responses((status = 201, body = Object), (status = 400, body = Problem)), tag = "rules")]
async fn create(
    State(http): State<Http>,
    caller: Caller<Rules>,
    Json(form): Json<Form>,
) -> Result<Response, Problem> {
    let receiver = form.receiver(&http.reach, Uuid::now_v7(), None)?;
    of_somebody(&http, &caller, &receiver).await?;
    http.rulebook.save_receiver(&caller.tenant, &receiver).await?;
    Ok((StatusCode::CREATED, axum::Json(shown(&receiver, true))).into_response())
}

/// Reads a receiver.
#[utoipa::path(get, path = "/v1/receivers/{id}", params(("id" = Uuid, Path)), responses((status = 200, body = Object), (status = 404, body = Problem)), tag = "rules")]
async fn read(
    State(http): State<Http>,
    caller: Caller<Rules>,
    Path(id): Path<Uuid>,
) -> Result<axum::Json<Value>, Problem> {
    Ok(axum::Json(shown(&find(&http, &caller, id).await?, false)))
}

/// Replaces a receiver. What is never shown of it may be left out, and stays as it was.
#[utoipa::path(put, path = "/v1/receivers/{id}", params(("id" = Uuid, Path)), request_body = Form, responses((status = 200, body = Object), (status = 404, body = Problem)), tag = "rules")]
async fn change(
    State(http): State<Http>,
    caller: Caller<Rules>,
    Path(id): Path<Uuid>,
    Json(form): Json<Form>,
) -> Result<axum::Json<Value>, Problem> {
    let known = find(&http, &caller, id).await?;
    let receiver = form.receiver(&http.reach, id, Some(known.kind))?;
    of_somebody(&http, &caller, &receiver).await?;
    http.rulebook.save_receiver(&caller.tenant, &receiver).await?;
    Ok(axum::Json(shown(&receiver, false)))
}

/// Removes a receiver, with what was to be delivered to it.
#[utoipa::path(delete, path = "/v1/receivers/{id}", params(("id" = Uuid, Path)), responses((status = 204), (status = 404, body = Problem)), tag = "rules")]
async fn remove(
    State(http): State<Http>,
    caller: Caller<Rules>,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    let removed = http.rulebook.remove_receiver(&caller.tenant, id).await?;
    removed.then_some(StatusCode::NO_CONTENT).ok_or_else(|| unknown(id))
}

async fn find(http: &Http, caller: &Caller<Rules>, id: Uuid) -> Result<Receiver, Problem> {
    http.store.receiver(&caller.tenant, id).await?.ok_or_else(|| unknown(id))
}

/// A receiver that is said to be a person's must be that of one who exists.
async fn of_somebody(http: &Http, caller: &Caller<Rules>, receiver: &Receiver) -> Result<(), Problem> {
    if let Some(id) = &receiver.person {
        http.store.person(&caller.tenant, id).await?.ok_or_else(|| people::unknown(id))?;
    }
    Ok(())
}

fn unknown(id: Uuid) -> Problem {
    Problem::not_found(format!("no receiver {id}"))
}
