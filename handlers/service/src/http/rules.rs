//! Rules: who is to be told when a device enters or leaves a query, or is absent.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use statecast_state::rule::{CompiledRule, Rule, RuleForm};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::auth::{Caller, Rules};
use super::extract::{Json, Path};
use super::hints::{Hinted, hinted};
use super::problem::Problem;
use super::{Http, Page};

/// Rules of a tenant at most.
const RULES_MAX: usize = 10_000;
pub(super) fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(read, change, remove))
}

/// The rule, if it would work.
fn checked(form: RuleForm, id: Uuid) -> Result<Rule, Problem> {
    let rule = form.into_rule(id);
    CompiledRule::new(rule.clone()).map_err(|error| Problem::bad_request(error.to_string()))?;
    Ok(rule)
}

/// Lists rules.
#[utoipa::path(get, path = "/v1/rules", responses((status = 200, body = Page<Object>)), tag = "rules")]
async fn list(State(http): State<Http>, caller: Caller<Rules>) -> Result<axum::Json<Page<Rule>>, Problem> {
    let items = http.store.rules(&caller.tenant).await?;
    Ok(axum::Json(Page { items, next_cursor: String::new() }))
}

/// Creates a rule. `hints` say what in its query is perhaps not meant, such as a property that no device has.
#[utoipa::path(post, path = "/v1/rules", request_body = Object, responses((status = 201, body = Object), (status = 400, body = Problem)), tag = "rules")]
async fn create(
    State(http): State<Http>,
    caller: Caller<Rules>,
    Json(form): Json<RuleForm>,
) -> Result<Response, Problem> {
    let rule = checked(form, Uuid::now_v7())?;
    if http.store.rules(&caller.tenant).await?.len() >= RULES_MAX {
        return Err(Problem::bad_request(format!("a tenant has at most {RULES_MAX} rules")));
    }
    http.rulebook.save_rule(&caller.tenant, &rule).await?;
    let rule = hinted(&http, &caller.tenant, rule, |rule| &rule.form.query).await;
    Ok((StatusCode::CREATED, axum::Json(rule)).into_response())
}

/// Reads a rule.
#[utoipa::path(get, path = "/v1/rules/{id}", params(("id" = Uuid, Path)), responses((status = 200, body = Object), (status = 404, body = Problem)), tag = "rules")]
async fn read(
    State(http): State<Http>,
    caller: Caller<Rules>,
    Path(id): Path<Uuid>,
) -> Result<axum::Json<Rule>, Problem> {
    let rule = http.store.rule(&caller.tenant, id).await?;
    rule.map(axum::Json).ok_or_else(|| unknown(id))
}

/// Replaces a rule.
#[utoipa::path(put, path = "/v1/rules/{id}", params(("id" = Uuid, Path)), request_body = Object, responses((status = 200, body = Object), (status = 404, body = Problem)), tag = "rules")]
async fn change(
    State(http): State<Http>,
    caller: Caller<Rules>,
    Path(id): Path<Uuid>,
    Json(form): Json<RuleForm>,
) -> Result<axum::Json<Hinted<Rule>>, Problem> {
    let rule = checked(form, id)?;
    http.store.rule(&caller.tenant, id).await?.ok_or_else(|| unknown(id))?;
    http.rulebook.save_rule(&caller.tenant, &rule).await?;
    Ok(axum::Json(hinted(&http, &caller.tenant, rule, |rule| &rule.form.query).await))
}

/// Removes a rule.
#[utoipa::path(delete, path = "/v1/rules/{id}", params(("id" = Uuid, Path)), responses((status = 204), (status = 404, body = Problem)), tag = "rules")]
async fn remove(
    State(http): State<Http>,
    caller: Caller<Rules>,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    let removed = http.rulebook.remove_rule(&caller.tenant, id).await?;
    removed.then_some(StatusCode::NO_CONTENT).ok_or_else(|| unknown(id))
}

fn unknown(id: Uuid) -> Problem {
    Problem::not_found(format!("no rule {id}"))
}
