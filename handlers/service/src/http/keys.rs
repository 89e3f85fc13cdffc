//! API keys: made, listed, revoked.

use std::time::SystemTime;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use statecast_state::Timestamp;
use statecast_store::{ApiKey, NewKey};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::auth::{Admin, Caller};
use super::extract::{Json, Path};
use super::problem::Problem;
use super::{Http, Page};
use super::{people, policies};
use crate::access::{Scope, hash, new_key};

/// Keys of a tenant at most.
const KEYS_MAX: usize = 10_000;
/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 200;

pub(super) fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(revoke))
}

/// An API key to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Form {
    /// What people call it.
    name: String,
    /// What it is good for; `admin` has all.
    scopes: Vec<Scope>,
    /// The policy that says what it may do over MQTT; without one, `apps`.
    policy: Option<String>,
    /// The person whose app has it: with the scope `receive`, and only then.
    person: Option<String>,
    /// From when on it is worthless (RFC 3339); never if it isn't said.
    #[schema(value_type = Option<String>)]
    expires_at: Option<Timestamp>,
}

/// A key that was made.
#[derive(Serialize, ToSchema)]
struct Made {
    /// The key itself. Shown only now.
    key: String,
    /// What is known of it.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    known: ApiKey,
}

/// Lists API keys, oldest first, without their secrets. `last_used_at` is true to the hour.
#[utoipa::path(get, path = "/v1/keys", responses((status = 200, body = Page<Object>)), tag = "access")]
async fn list(State(http): State<Http>, caller: Caller<Admin>) -> Result<axum::Json<Page<ApiKey>>, Problem> {
    let items = http.store.keys(&caller.tenant).await?;
    Ok(axum::Json(Page { items, next_cursor: String::new() }))
}

/// Makes an API key and answers it, this once.
#[utoipa::path(post, path = "/v1/keys", request_body = Form, responses((status = 201, body = Made), (status = 400, body = Problem)), tag = "access")]
async fn create(
    State(http): State<Http>,
    caller: Caller<Admin>,
    Json(form): Json<Form>,
) -> Result<Response, Problem> {
    let fits = !form.name.trim().is_empty() && form.name.len() <= NAME_BYTES_MAX && !form.name.contains('\0');
    if !fits {
        return Err(Problem::bad_request(format!("a name has 1 to {NAME_BYTES_MAX} bytes")));
    }
    if form.scopes.is_empty() {
        return Err(Problem::bad_request("a key without a scope is good for nothing"));
    }
    if form.scopes.contains(&Scope::Receive) != form.person.is_some() {
        return Err(Problem::bad_request("the scope `receive` and a `person` belong together"));
    }
    if let Some(person) = &form.person {
        http.store.person(&caller.tenant, person).await?.ok_or_else(|| people::unknown(person))?;
    }
    if form.expires_at.is_some_and(|at| at <= SystemTime::now().into()) {
        return Err(Problem::bad_request("expires_at has passed"));
    }
    if let Some(name) = &form.policy {
        policies::find(&http, &caller.tenant, name).await?;
    }
    if http.store.keys(&caller.tenant).await?.len() >= KEYS_MAX {
        return Err(Problem::bad_request(format!("a tenant has at most {KEYS_MAX} keys")));
    }
    let scopes = form.scopes.iter().map(|scope| scope.name().to_owned()).collect();
    let new = NewKey {
        name: form.name,
        scopes,
        policy: form.policy,
        person: form.person,
        expires_at: form.expires_at,
    };
    let key = new_key();
    let known = http.store.create_key(&caller.tenant, &new, &hash(key.as_bytes())).await?;
    Ok((StatusCode::CREATED, axum::Json(Made { key, known })).into_response())
}

/// Revokes an API key: requests with it are refused from now on, and its connections end.
#[utoipa::path(delete, path = "/v1/keys/{id}", params(("id" = Uuid, Path)), responses((status = 204), (status = 404, body = Problem)), tag = "access")]
async fn revoke(
    State(http): State<Http>,
    caller: Caller<Admin>,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    let revoked = http.store.revoke_key(&caller.tenant, id).await?;
    revoked.then_some(StatusCode::NO_CONTENT).ok_or_else(|| Problem::not_found(format!("no key {id}")))
}
