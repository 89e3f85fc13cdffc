//! Channels: how each stands, and the key that browsers subscribe with.

use axum::extract::State;
use serde_json::{Value, json};
use statecast_push::Status;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::auth::{Caller, Operate};
use super::problem::Problem;
use super::{Http, Page};

pub(super) fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(web_push_key))
}

/// Lists how the ways to people stand: `state` is `ok`, `resting` or `unconfigured`; of one that rests also `rest`
/// (`failing`, `refused` when our credentials are, `quota`), the `reason`, `since` when, and `until` when it isn't asked.
/// Of webhooks, ntfy servers and push services only origins that rest.
#[utoipa::path(get, path = "/v1/push/channels", responses((status = 200, body = Page<Object>)), tag = "operations")]
async fn list(State(http): State<Http>, caller: Caller<Operate>) -> axum::Json<Page<Status>> {
    axum::Json(Page { items: http.push_statuses.of(&caller.tenant), next_cursor: String::new() })
}

/// The key that browsers subscribe with (`applicationServerKey`), as `key`, in base64url. It is public.
#[utoipa::path(get, path = "/v1/push/web-key", responses((status = 200, body = Object), (status = 404, body = Problem)), tag = "operations")]
async fn web_push_key(State(http): State<Http>) -> Result<axum::Json<Value>, Problem> {
    let key = http.push_statuses.web_push_key();
    key.map(|key| axum::Json(json!({ "key": key })))
        .ok_or_else(|| Problem::not_found("web push isn't configured"))
}
