//! People: who can be told, in which language, and when they don't want to be.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use statecast_state::TenantId;
use statecast_state::person::{CompiledPerson, Person, PersonForm};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::auth::{Caller, Rules};
use super::devices::Paging;
use super::extract::{Json, Path, Query};
use super::problem::Problem;
use super::receiver_form::shown;
use super::{Http, Page, page_size};

/// People of a tenant at most.
const PEOPLE_MAX: usize = 10_000;

pub(super) fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(read, put, remove))
}

/// The person, if it can be one.
pub(super) fn checked(id: String, form: PersonForm) -> Result<Person, Problem> {
    let person = Person { id, form };
    CompiledPerson::new(person.clone()).map_err(|error| Problem::bad_request(error.to_string()))?;
    Ok(person)
}

/// Saves a person, and has the rules know; true when it is new.
pub(super) async fn save(http: &Http, tenant: &TenantId, person: &Person) -> Result<bool, Problem> {
    let saved = http.rulebook.save_person(tenant, person, PEOPLE_MAX).await?;
    saved.ok_or_else(|| Problem::bad_request(format!("a tenant has at most {PEOPLE_MAX} people")))
}

/// A person with what it is told by.
pub(super) async fn with_receivers(
    http: &Http,
    tenant: &TenantId,
    person: &Person,
) -> Result<Value, Problem> {
    let receivers = http.store.receivers_of(tenant, &person.id).await?;
    let mut told = json!(person);
    told["receivers"] = receivers.iter().map(|receiver| shown(receiver, false)).collect();
    Ok(told)
}

/// Lists people by id.
#[utoipa::path(get, path = "/v1/people", params(Paging), responses((status = 200, body = Page<Object>)), tag = "people")]
async fn list(
    State(http): State<Http>,
    caller: Caller<Rules>,
    Query(paging): Query<Paging>,
) -> Result<axum::Json<Page<Person>>, Problem> {
    let limit = page_size(paging.limit);
    let items =
        http.store.people(&caller.tenant, paging.cursor.as_deref().unwrap_or_default(), limit).await?;
    Ok(axum::Json(Page::of(items, limit, |person| person.id.clone())))
}

/// Reads a person, with its receivers.
#[utoipa::path(get, path = "/v1/people/{id}", params(("id" = String, Path)), responses((status = 200, body = Object), (status = 404, body = Problem)), tag = "people")]
async fn read(
    State(http): State<Http>,
    caller: Caller<Rules>,
    Path(id): Path<String>,
) -> Result<axum::Json<Value>, Problem> {
    let person = http.store.person(&caller.tenant, &id).await?.ok_or_else(|| unknown(&id))?;
    Ok(axum::Json(with_receivers(&http, &caller.tenant, &person).await?))
}

/// Makes a person, or replaces it: `name`, `language` (`en`, `de-AT`), `time_zone` (`Europe/Berlin`), `quiet`
/// (`[{"days":["mon"],"from":"22:00","to":"07:00"}]`, every day without `days`), `hold_critical` (quiet hours hold what
/// is critical too), `least_severity`, `mutes` (`[{"query","rule","device","until"}]`), `tags` (what audiences ask for).
#[utoipa::path(put, path = "/v1/people/{id}", params(("id" = String, Path)), request_body = Object, responses((status = 200, body = Object), (status = 201, body = Object), (status = 400, body = Problem)), tag = "people")]
async fn put(
    State(http): State<Http>,
    caller: Caller<Rules>,
    Path(id): Path<String>,
    Json(form): Json<PersonForm>,
) -> Result<Response, Problem> {
    let person = checked(id, form)?;
    let is_new = save(&http, &caller.tenant, &person).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, axum::Json(person)).into_response())
}

/// Removes a person with its receivers and the keys of its apps. What waits for them is given up.
#[utoipa::path(delete, path = "/v1/people/{id}", params(("id" = String, Path)), responses((status = 204), (status = 404, body = Problem)), tag = "people")]
async fn remove(
    State(http): State<Http>,
    caller: Caller<Rules>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let removed = http.rulebook.remove_person(&caller.tenant, &id).await?;
    removed.then_some(StatusCode::NO_CONTENT).ok_or_else(|| unknown(&id))
}

pub(super) fn unknown(id: &str) -> Problem {
    Problem::not_found(format!("no person {id}"))
}
