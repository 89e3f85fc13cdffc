//! Saved queries: a query under a name, and how many devices it finds.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use serde::Serialize;
use serde_json::json;
use statecast_flow::Feed;
use statecast_state::query::{SavedQuery, SavedQueryForm};
use statecast_state::{Position, TenantId};
use tracing::warn;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::auth::{Caller, Read, Rules};
use super::extract::{Json, Path};
use super::live::{Events, HEARTBEAT, ended, event};
use super::problem::Problem;
use super::{Http, Page};
use crate::tallies::Tallies;

/// Saved queries of a tenant at most.
const QUERIES_MAX: usize = 1_000;
/// Who follows counts is told at most so often.
const TELL_PERIOD: Duration = Duration::from_millis(250);

pub(super) fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(live))
        .routes(routes!(read, change, remove))
}

/// A saved query, and how many devices it finds.
#[derive(Serialize, ToSchema)]
struct Counted {
    /// Names it.
    id: Uuid,
    /// For people.
    name: String,
    /// The query.
    query: String,
    /// How many devices it finds as of `position`; null where it has a time relative to now: search for it.
    count: Option<u64>,
    /// As of which position the count is exact.
    #[schema(value_type = u64)]
    position: Position,
}

impl Counted {
    fn of((saved, count): (SavedQuery, Option<u64>), position: Position) -> Self {
        let SavedQuery { id, name, query } = saved;
        Self { id, name, query, count, position }
    }
}

fn checked(form: SavedQueryForm, id: Uuid) -> Result<SavedQuery, Problem> {
    form.checked(id).map_err(|error| Problem::bad_request(error.to_string()))
}

/// Lists saved queries, oldest first, each with the number of devices that it finds now.
#[utoipa::path(get, path = "/v1/queries", responses((status = 200, body = Page<Counted>)), tag = "search")]
async fn list(State(http): State<Http>, caller: Caller<Read>) -> Result<axum::Json<Page<Counted>>, Problem> {
    let counts = http.tallies.counts(&caller.tenant).await?;
    let items = counts.items.into_iter().map(|item| Counted::of(item, counts.position)).collect();
    Ok(axum::Json(Page { items, next_cursor: String::new() }))
}

/// Saves a query.
#[utoipa::path(post, path = "/v1/queries", request_body = Object, responses((status = 201, body = Object), (status = 400, body = Problem)), tag = "search")]
async fn create(
    State(http): State<Http>,
    caller: Caller<Rules>,
    Json(form): Json<SavedQueryForm>,
) -> Result<Response, Problem> {
    let saved = checked(form, Uuid::now_v7())?;
    if http.store.queries(&caller.tenant).await?.len() >= QUERIES_MAX {
        return Err(Problem::bad_request(format!("a tenant has at most {QUERIES_MAX} saved queries")));
    }
    http.store.put_query(&caller.tenant, &saved).await?;
    http.tallies.forget(&caller.tenant);
    Ok((StatusCode::CREATED, axum::Json(saved)).into_response())
}

/// Reads a saved query, with the number of devices that it finds now.
#[utoipa::path(get, path = "/v1/queries/{id}", params(("id" = Uuid, Path)), responses((status = 200, body = Counted), (status = 404, body = Problem)), tag = "search")]
async fn read(
    State(http): State<Http>,
    caller: Caller<Read>,
    Path(id): Path<Uuid>,
) -> Result<axum::Json<Counted>, Problem> {
    let counts = http.tallies.counts(&caller.tenant).await?;
    let found = counts.items.into_iter().find(|(saved, _)| saved.id == id);
    found.map(|item| axum::Json(Counted::of(item, counts.position))).ok_or_else(|| unknown(id))
}

/// Replaces a saved query.
#[utoipa::path(put, path = "/v1/queries/{id}", params(("id" = Uuid, Path)), request_body = Object, responses((status = 200, body = Object), (status = 404, body = Problem)), tag = "search")]
async fn change(
    State(http): State<Http>,
    caller: Caller<Rules>,
    Path(id): Path<Uuid>,
    Json(form): Json<SavedQueryForm>,
) -> Result<axum::Json<SavedQuery>, Problem> {
    let saved = checked(form, id)?;
    let known = http.store.queries(&caller.tenant).await?;
    known.iter().find(|known| known.id == id).ok_or_else(|| unknown(id))?;
    http.store.put_query(&caller.tenant, &saved).await?;
    http.tallies.forget(&caller.tenant);
    Ok(axum::Json(saved))
}

/// Removes a saved query.
#[utoipa::path(delete, path = "/v1/queries/{id}", params(("id" = Uuid, Path)), responses((status = 204), (status = 404, body = Problem)), tag = "search")]
async fn remove(
    State(http): State<Http>,
    caller: Caller<Rules>,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    let removed = http.store.delete_query(&caller.tenant, id).await?;
    http.tallies.forget(&caller.tenant);
    removed.then_some(StatusCode::NO_CONTENT).ok_or_else(|| unknown(id))
}

/// Follows the counts of all saved queries: a `count` event with `{id, count}` for each at first, and then whenever one
/// changes, at most four times a second. `id:` is the position as of which it is exact.
#[utoipa::path(get, path = "/v1/queries/live", responses((status = 200, description = "text/event-stream")), tag = "search")]
async fn live(State(http): State<Http>, caller: Caller<Read>) -> Events {
    let (tallies, feed) = (http.tallies.clone(), http.flow.feed().clone());
    let follower = Follower { tallies, feed, tenant: caller.tenant.clone(), told: HashMap::new(), at: None };
    let end = ended(http, caller);
    let rounds = stream::unfold(follower, async |mut follower| {
        let events = follower.next().await?;
        Some((stream::iter(events.into_iter().map(Ok::<_, Infallible>)), follower))
    });
    Sse::new(rounds.flatten().take_until(end).boxed()).keep_alive(KeepAlive::new().interval(HEARTBEAT))
}

struct Follower {
    tallies: Arc<Tallies>,
    feed: Feed,
    tenant: TenantId,
    /// What the client was told last.
    told: HashMap<Uuid, Option<u64>>,
    /// As of when.
    at: Option<Position>,
}

impl Follower {
    /// What changed since the last time; none when the client is better off coming again.
    async fn next(&mut self) -> Option<Vec<axum::response::sse::Event>> {
        if let Some(at) = self.at {
            tokio::time::sleep(TELL_PERIOD).await;
            self.feed.wait_after(at).await;
        }
        let counts = match self.tallies.counts(&self.tenant).await {
            Ok(counts) => counts,
            Err(error) => {
                warn!(%error, "counts of saved queries could not be followed");
                return None;
            }
        };
        self.at = Some(counts.position);
        let now: HashMap<Uuid, Option<u64>> =
            counts.items.iter().map(|(saved, count)| (saved.id, *count)).collect();
        let others = now.iter().filter(|(id, count)| self.told.get(*id) != Some(*count));
        let events = others
            .map(|(id, count)| {
                let told = event("count", &json!({ "id": id, "count": count }));
                told.id(counts.position.to_string())
            })
            .collect();
        self.told = now;
        Some(events)
    }
}

fn unknown(id: Uuid) -> Problem {
    Problem::not_found(format!("no saved query {id}"))
}
