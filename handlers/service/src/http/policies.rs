//! Policies: which topics may be published to and subscribed to, by name.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use statecast_state::TenantId;
use statecast_store::PolicyRow;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::auth::{Admin, Caller, Operate};
use super::extract::{Json, Path};
use super::problem::Problem;
use super::{Http, Page};
use crate::access::policies::absent;
use crate::access::policy::{self, Policy, built_in};

/// Policies of a tenant at most.
const POLICIES_MAX: usize = 1_000;

pub(super) fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(read, put, remove))
}

/// Patterns of topics: MQTT filters in which `{device}` stands for the device that asks. What none allows is denied. A
/// wildcard on the first level doesn't stand for `devices` and `changes`, nor for what begins with `$`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Form {
    /// Topics that may be published to, wills included.
    publish: Vec<String>,
    /// Topics that may be subscribed to and received. A filter is allowed when one pattern allows all that it matches.
    subscribe: Vec<String>,
}

/// A policy.
#[derive(Serialize, ToSchema)]
struct Shown {
    /// Its name.
    name: String,
    /// Topics that may be published to, wills included.
    publish: Vec<String>,
    /// Topics that may be subscribed to and received.
    subscribe: Vec<String>,
    /// It is what holds where nothing was saved.
    built_in: bool,
}

impl Shown {
    fn of(row: PolicyRow, built_in: bool) -> Self {
        Self { name: row.name, publish: row.publish, subscribe: row.subscribe, built_in }
    }
}

/// Lists policies. `default` holds for devices that name none, `apps` for keys that name none.
#[utoipa::path(get, path = "/v1/policies", responses((status = 200, body = Page<Shown>)), tag = "access")]
async fn list(State(http): State<Http>, caller: Caller<Operate>) -> Result<axum::Json<Page<Shown>>, Problem> {
    let saved = http.store.policies(Some(&caller.tenant)).await?;
    let mut items: Vec<Shown> = [policy::APPS, policy::DEVICES]
        .into_iter()
        .filter(|name| saved.iter().all(|row| row.name != *name))
        .map(|name| Shown::of(absent(&caller.tenant, name), true))
        .collect();
    items.extend(saved.into_iter().map(|row| Shown::of(row, false)));
    Ok(axum::Json(Page { items, next_cursor: String::new() }))
}

/// Reads a policy.
#[utoipa::path(get, path = "/v1/policies/{name}", params(("name" = String, Path)), responses((status = 200, body = Shown), (status = 404, body = Problem)), tag = "access")]
async fn read(
    State(http): State<Http>,
    caller: Caller<Operate>,
    Path(name): Path<String>,
) -> Result<axum::Json<Shown>, Problem> {
    let (row, built_in) = find(&http, &caller.tenant, &name).await?;
    Ok(axum::Json(Shown::of(row, built_in)))
}

/// Creates or replaces a policy. It holds at once, for who is connected too.
#[utoipa::path(put, path = "/v1/policies/{name}", params(("name" = String, Path)), request_body = Form, responses((status = 200, body = Shown), (status = 400, body = Problem)), tag = "access")]
async fn put(
    State(http): State<Http>,
    caller: Caller<Admin>,
    Path(name): Path<String>,
    Json(form): Json<Form>,
) -> Result<axum::Json<Shown>, Problem> {
    if !policy::is_name(&name) {
        return Err(Problem::bad_request("the name of a policy has 1 to 64 of A-Z a-z 0-9 . _ -"));
    }
    let row = PolicyRow { tenant: caller.tenant, name, publish: form.publish, subscribe: form.subscribe };
    Policy::parse(&row).map_err(|bad| Problem::bad_request(bad.to_string()))?;
    let saved = http.store.policies(Some(&row.tenant)).await?;
    if saved.len() >= POLICIES_MAX && saved.iter().all(|known| known.name != row.name) {
        return Err(Problem::bad_request(format!("a tenant has at most {POLICIES_MAX} policies")));
    }
    http.gate.policies.save(&row).await?;
    Ok(axum::Json(Shown::of(row, false)))
}

/// Removes a policy that no device and no key names. `default` and `apps` are then again what is built in.
#[utoipa::path(delete, path = "/v1/policies/{name}", params(("name" = String, Path)), responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)), tag = "access")]
async fn remove(
    State(http): State<Http>,
    caller: Caller<Admin>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let stays = built_in(&mut absent(&caller.tenant, &name));
    if !stays && http.store.policy_is_used(&caller.tenant, &name).await? {
        return Err(Problem::conflict(format!("devices or keys name the policy {name}")));
    }
    let removed = http.gate.policies.remove(&caller.tenant, &name).await?;
    removed.then_some(StatusCode::NO_CONTENT).ok_or_else(|| unknown(&name))
}

/// The policy of this name, and whether it is built in.
///
/// # Errors
/// `Problem` when there is none.
pub(super) async fn find(http: &Http, tenant: &TenantId, name: &str) -> Result<(PolicyRow, bool), Problem> {
    if let Some(row) = http.store.policy(tenant, name).await? {
        return Ok((row, false));
    }
    let mut row = absent(tenant, name);
    if built_in(&mut row) { Ok((row, true)) } else { Err(unknown(name)) }
}

fn unknown(name: &str) -> Problem {
    Problem::not_found(format!("no policy {name}"))
}
