//! Deliveries: what became of each notification, what apps say of it, and a live stream of those for live receivers.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use statecast_state::{DeviceId, Position};
use statecast_store::outbox::{PushFilter, PushRow, PushState};
use statecast_store::receipts::{Of, Receipt, Replay};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::actor::Actor;
use super::auth::{Caller, Rules};
use super::extract::{Path, Query};
use super::live::{Events, ended, follow};
use super::problem::Problem;
use super::told::{Told, Whose};
use super::{Http, Page, page_after, page_size};

pub(super) fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(live))
        .routes(routes!(receipt))
        .routes(routes!(replay))
}

/// Which deliveries.
#[derive(Deserialize, IntoParams)]
struct Which {
    /// Only those in this state: `waiting`, `delivered`, `dead`, `superseded` (its alarm has gone on), `needless` (it
    /// updates what was never told), `confirmed` (by a live receiver) or `grouped` (it went with another).
    #[param(value_type = Option<String>)]
    state: Option<PushState>,
    /// Only those about this device.
    device: Option<String>,
    /// Items at most; 1 to 1,000, 100 where nothing is said.
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists notifications and what became of them, newest first. Each has what was told, the receiver, `state`,
/// `foreseen` (the state that one that waits will have, where that is known), `attempt`, `due_at`, `status`, `error`,
/// `done_at`, `received_at` and `opened_at`, and for those that went as one `leader` and `members`.
#[utoipa::path(get, path = "/v1/deliveries", params(Which), responses((status = 200, body = Page<Object>)), tag = "rules")]
async fn list(
    State(http): State<Http>,
    caller: Caller<Rules>,
    Query(which): Query<Which>,
) -> Result<axum::Json<Page<PushRow>>, Problem> {
    let device = which.device.as_deref().map(DeviceId::parse).transpose();
    let device = device.map_err(|bad| Problem::bad_request(bad.to_string()))?;
    let before = page_after(which.cursor.as_deref(), read_cursor)?;
    let limit = page_size(which.limit);
    let filter = PushFilter { state: which.state, device: device.as_ref(), before };
    let items = http.store.deliveries(&caller.tenant, filter, limit).await?;
    Ok(axum::Json(Page::of(items, limit, |row| format!("{}.{}", row.push.position, row.push.id))))
}

fn read_cursor(text: &str) -> Option<(Position, Uuid)> {
    let (position, id) = text.split_once('.')?;
    Some((Position(position.parse().ok()?), id.parse().ok()?))
}

/// Which live receiver.
#[derive(Deserialize, IntoParams)]
struct Receiver {
    /// Its id; without one, all live receivers of the tenant.
    receiver: Option<Uuid>,
}

/// Follows notifications for live receivers, from now on or from after `Last-Event-ID`. `reset` says that some were
/// missed: read them from the list.
#[utoipa::path(get, path = "/v1/deliveries/live", params(Receiver), responses((status = 200, description = "text/event-stream")), tag = "rules")]
async fn live(
    State(http): State<Http>,
    caller: Caller<Rules>,
    Query(Receiver { receiver }): Query<Receiver>,
    headers: HeaderMap,
) -> Result<Events, Problem> {
    let whose = receiver.map_or(Whose::Anybodys, Whose::Receiver);
    let teller = Told::new(&http, caller.tenant.clone(), whose);
    let end = ended(http.clone(), caller);
    follow(http.flow.feed().clone(), &headers, end, teller)
}

/// Notes that the app got a notification (`received`), or that a person opened it (`opened`). With a key of the person,
/// or the ticket that came with it.
#[utoipa::path(post, path = "/v1/deliveries/{id}/{receipt}", params(("id" = Uuid, Path), ("receipt" = String, Path)), responses((status = 204), (status = 404, body = Problem)), tag = "rules")]
async fn receipt(
    State(http): State<Http>,
    actor: Actor<Rules>,
    Path((id, receipt)): Path<(Uuid, Receipt)>,
) -> Result<StatusCode, Problem> {
    let of = match &actor {
        Actor::App(_) => Of::default(),
        Actor::Person(_) => Of { person: actor.person(), alarm: None },
        Actor::Holder(ticket) => Of { person: actor.person(), alarm: Some(ticket.alarm) },
    };
    let known = http.store.note_receipt(actor.tenant(), id, receipt, of).await?;
    known.then_some(StatusCode::NO_CONTENT).ok_or_else(|| unknown(id))
}

/// Sends a notification again that was given up (`dead`), under its id, for as long as it had at first.
#[utoipa::path(post, path = "/v1/deliveries/{id}/replay", params(("id" = Uuid, Path)), responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)), tag = "rules")]
async fn replay(
    State(http): State<Http>,
    caller: Caller<Rules>,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    match http.store.replay_push(&caller.tenant, id).await? {
        Replay::Waits => {
            http.wake_pushes.notify_one();
            Ok(StatusCode::NO_CONTENT)
        }
        Replay::NotDead => Err(Problem::conflict("only what was given up can be sent again")),
        Replay::Unknown => Err(unknown(id)),
    }
}

fn unknown(id: Uuid) -> Problem {
    Problem::not_found(format!("no delivery {id}"))
}
