//! A person by the app of its own: what it is told by, and how it wants to be told. Nobody else can be seen from here.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use statecast_state::person::{Person, PersonPatch};
use statecast_state::{Document, TenantId};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::{Builder, Uuid};

use super::Http;
use super::auth::Me;
use super::extract::{Json, Path};
use super::live::{Events, ended, follow};
use super::people::{checked, save, unknown, with_receivers};
use super::problem::Problem;
use super::receiver_form::{Form, shown};
use super::told::{Told, Whose};

/// Receivers of a person at most.
const RECEIVERS_MAX: usize = 20;
/// Longest name of a receiver, in bytes.
const NAME_BYTES_MAX: usize = 128;

pub(super) fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new()
        .routes(routes!(read, change))
        .routes(routes!(put_receiver, remove_receiver))
        .routes(routes!(live))
}

async fn find(http: &Http, me: &Me) -> Result<Person, Problem> {
    http.store.person(me.tenant(), &me.person).await?.ok_or_else(|| unknown(&me.person))
}

/// Who I am, how I want to be told, and what by.
#[utoipa::path(get, path = "/v1/me", responses((status = 200, body = Object), (status = 403, body = Problem)), tag = "people")]
async fn read(State(http): State<Http>, me: Me) -> Result<axum::Json<Value>, Problem> {
    let person = find(&http, &me).await?;
    Ok(axum::Json(with_receivers(&http, me.tenant(), &person).await?))
}

/// Changes how I want to be told: any of `language`, `time_zone`, `quiet`, `hold_critical`, `least_severity`, `mutes`,
/// each as a whole.
#[utoipa::path(patch, path = "/v1/me", request_body = Object, responses((status = 200, body = Object), (status = 400, body = Problem)), tag = "people")]
async fn change(
    State(http): State<Http>,
    me: Me,
    Json(patch): Json<PersonPatch>,
) -> Result<axum::Json<Value>, Problem> {
    let mut person = find(&http, &me).await?;
    patch.apply(&mut person.form);
    let person = checked(person.id, person.form)?;
    save(&http, me.tenant(), &person).await?;
    Ok(axum::Json(with_receivers(&http, me.tenant(), &person).await?))
}

/// Registers what I am told by under a name of the app's choice, such as `phone`, or refreshes it: the same again
/// changes nothing, and one that was disabled is enabled. As for `/v1/receivers`, without the name; not `mqtt`.
#[utoipa::path(put, path = "/v1/me/receivers/{name}", params(("name" = String, Path)), request_body = Object, responses((status = 200, body = Object), (status = 201, body = Object), (status = 400, body = Problem)), tag = "people")]
async fn put_receiver(
    State(http): State<Http>,
    me: Me,
    Path(name): Path<String>,
    Json(mut form): Json<Document>,
) -> Result<Response, Problem> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(char::is_control) {
        return Err(Problem::bad_request(format!("a name has 1 to {NAME_BYTES_MAX} bytes")));
    }
    let own = ["name", "person", "enabled"].into_iter().find(|own| form.contains_key(*own));
    if let Some(own) = own {
        return Err(Problem::bad_request(format!("`{own}` is not said here")));
    }
    if form.get("kind") == Some(&json!("mqtt")) {
        return Err(Problem::bad_request("what is published over MQTT is set up by who runs the service"));
    }
    let id = receiver_id(me.tenant(), &me.person, &name);
    form.insert("name".into(), name.into());
    form.insert("person".into(), me.person.as_str().into());
    let form: Form =
        serde_json::from_value(form.into()).map_err(|bad| Problem::bad_request(bad.to_string()))?;

    let mine = http.store.receivers_of(me.tenant(), &me.person).await?;
    let known = mine.iter().find(|receiver| receiver.id == id);
    if known.is_none() && mine.len() >= RECEIVERS_MAX {
        return Err(Problem::bad_request(format!("a person has at most {RECEIVERS_MAX} receivers")));
    }
    let receiver = form.receiver(&http.reach, id, known.map(|known| known.kind.clone()))?;
    if known != Some(&receiver) {
        http.rulebook.save_receiver(me.tenant(), &receiver).await?;
    }
    let status = if known.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, axum::Json(shown(&receiver, known.is_none()))).into_response())
}

/// Removes what I am told by, with what waits for it.
#[utoipa::path(delete, path = "/v1/me/receivers/{name}", params(("name" = String, Path)), responses((status = 204), (status = 404, body = Problem)), tag = "people")]
async fn remove_receiver(
    State(http): State<Http>,
    me: Me,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = receiver_id(me.tenant(), &me.person, &name);
    let removed = http.rulebook.remove_receiver(me.tenant(), id).await?;
    removed.then_some(StatusCode::NO_CONTENT).ok_or_else(|| Problem::not_found(format!("no receiver {name}")))
}

/// Follows what my live receivers are told, from now on or from after `Last-Event-ID`: events `notification`. Confirm
/// each with `POST /v1/deliveries/{id}/received`: without that within 3 s the other receivers are told too.
#[utoipa::path(get, path = "/v1/me/live", responses((status = 200, description = "text/event-stream")), tag = "people")]
async fn live(State(http): State<Http>, me: Me, headers: HeaderMap) -> Result<Events, Problem> {
    let told = Told::new(&http, me.tenant().clone(), Whose::Person(me.person.clone()));
    let end = ended(http.clone(), me.into_caller());
    follow(http.flow.feed().clone(), &headers, end, told)
}

/// The same for the same name: who registers again replaces, and nobody's else.
fn receiver_id(tenant: &TenantId, person: &str, name: &str) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(b"statecast receiver 1\0");
    // None of them can hold a zero byte.
    for part in [tenant.as_str(), person, name] {
        hash.update(part);
        hash.update([0]);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}
