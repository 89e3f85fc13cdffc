//! Receivers: where notifications go.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::prelude::{BASE64_STANDARD, Engine};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use statecast_push::check_url;
use statecast_state::rule::{Receiver, ReceiverKind};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::auth::{Caller, Rules};
use super::extract::{Json, Path};
use super::problem::Problem;
use super::{Http, Page, people};

pub(super) fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(read, change, remove))
}

/// A receiver, without what the service adds.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Form {
    /// For people.
    name: String,
    /// `webhook` or `live`.
    kind: FormKind,
    /// Where a webhook is posted.
    url: Option<String>,
    /// Whose it is, by id; nobody's without.
    person: Option<String>,
    /// Whether it is told anything; setting it to true enables one that was disabled.
    #[serde(default = "yes")]
    enabled: bool,
}

#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum FormKind {
    Webhook,
    Live,
}

fn yes() -> bool {
    true
}

impl Form {
    /// The receiver; `known` is how it is reached so far: a webhook keeps its secret.
    pub(super) fn receiver(
        self,
        http: &Http,
        id: Uuid,
        known: Option<ReceiverKind>,
    ) -> Result<Receiver, Problem> {
        let secret = || match known {
            Some(ReceiverKind::Webhook { secret, .. }) => secret,
            _ => new_secret(),
        };
        let kind = match (self.kind, self.url) {
            (FormKind::Webhook, Some(url)) => {
                check_url(&url, http.allow_private_addresses)
                    .map_err(|bad| Problem::bad_request(bad.to_string()))?;
                ReceiverKind::Webhook { url, secret: secret() }
            }
            (FormKind::Webhook, None) => return Err(Problem::bad_request("a webhook needs a `url`")),
            (FormKind::Live, None) => ReceiverKind::Live,
            (FormKind::Live, Some(_)) => return Err(Problem::bad_request("a live receiver has no `url`")),
        };
        Ok(Receiver {
            id,
            name: self.name,
            kind,
            enabled: self.enabled,
            disabled_reason: None,
            person: self.person,
        })
    }
}

/// A secret as Standard Webhooks wants it.
fn new_secret() -> String {
    format!("whsec_{}", BASE64_STANDARD.encode(rand::random::<[u8; 32]>()))
}

/// What is shown of a receiver: its secret only when it was just made.
pub(super) fn shown(receiver: &Receiver, with_secret: bool) -> Value {
    let mut shown = json!({
        "id": receiver.id, "name": receiver.name, "enabled": receiver.enabled,
        "disabled_reason": receiver.disabled_reason, "person": receiver.person,
    });
    match &receiver.kind {
        ReceiverKind::Webhook { url, secret } => {
            shown["kind"] = json!(FormKind::Webhook);
            shown["url"] = json!(url);
            if with_secret {
                shown["secret"] = json!(secret);
            }
        }
        ReceiverKind::Live => shown["kind"] = json!(FormKind::Live),
    }
    shown
}

/// Lists receivers.
#[utoipa::path(get, path = "/v1/receivers", responses((status = 200, body = Page<Object>)), tag = "rules")]
async fn list(State(http): State<Http>, caller: Caller<Rules>) -> Result<axum::Json<Page<Value>>, Problem> {
    let receivers = http.store.receivers(&caller.tenant).await?;
    let items = receivers.iter().map(|receiver| shown(receiver, false)).collect();
    Ok(axum::Json(Page { items, next_cursor: String::new() }))
}

/// Creates a receiver. The answer holds the secret of a webhook, this once.
#[utoipa::path(post, path = "/v1/receivers", request_body = Form, responses((status = 201, body = Object), (status = 400, body = Problem)), tag = "rules")]
async fn create(
    State(http): State<Http>,
    caller: Caller<Rules>,
    Json(form): Json<Form>,
) -> Result<Response, Problem> {
    let receiver = form.receiver(&http, Uuid::now_v7(), None)?;
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

/// Replaces a receiver; a webhook keeps its secret.
#[utoipa::path(put, path = "/v1/receivers/{id}", params(("id" = Uuid, Path)), request_body = Form, responses((status = 200, body = Object), (status = 404, body = Problem)), tag = "rules")]
async fn change(
    State(http): State<Http>,
    caller: Caller<Rules>,
    Path(id): Path<Uuid>,
    Json(form): Json<Form>,
) -> Result<axum::Json<Value>, Problem> {
    let known = find(&http, &caller, id).await?;
    let receiver = form.receiver(&http, id, Some(known.kind))?;
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
