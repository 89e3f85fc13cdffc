//! Saved queries: a query under a name, and how many devices it finds.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use serde::Serialize;
use serde_json::json;
use statecast_state::query::{SavedQuery, SavedQueryForm};
use statecast_state::{Position, Query, TenantId};
use statecast_store::StoreError;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::warn;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::auth::{Caller, Read, Rules};
use super::extract::{Json, Path};
use super::hints::{Hinted, hinted};
use super::live::{Events, HEARTBEAT, ended, event};
use super::problem::Problem;
use super::{Http, Page, search};
use crate::tallies::Counts;

/// Saved queries of a tenant at most.
const QUERIES_MAX: usize = 1_000;
/// Who follows counts is told at most so often.
const TELL_PERIOD: Duration = Duration::from_millis(250);
/// Who follows counts that time changes has them looked at this often while nothing else happens.
const TIME_PERIOD: Duration = Duration::from_secs(5);
/// How long counts may wait for commits that were begun before. They say of which position they are.
const COMMITS_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long counts may wait for the index.
const INDEX_WAIT_MAX: Duration = Duration::from_secs(5);

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
    /// How many devices it finds as of `position`. Where it has a time relative to now, as of now and no earlier a
    /// position; null while the index can't say.
    count: Option<u64>,
    /// As of which position the count is exact.
    #[schema(value_type = u64)]
    position: Position,
}

/// All saved queries of a tenant with their counts.
async fn counted(http: &Http, tenant: &TenantId) -> Result<Vec<Counted>, StoreError> {
    // What is acknowledged is counted: the feed may still wait for a commit that was begun before.
    let resolved = http.flow.feed().reached(http.flow.horizon());
    drop(timeout(COMMITS_WAIT_MAX, resolved).await);
    let Counts { items, position } = http.tallies.counts(tenant).await?;
    let item = |(saved, count)| {
        let SavedQuery { id, name, query } = saved;
        Counted { id, name, query, count, position }
    };
    let mut counted: Vec<_> = items.into_iter().map(item).collect();
    // What changes by itself is known to the index, when it has all that the others count.
    if counted.iter().any(Counted::is_relative) && http.search.wait(position, INDEX_WAIT_MAX).await.is_ok() {
        for one in counted.iter_mut().filter(|one| one.is_relative()) {
            if let Ok(query) = Query::parse(&one.query) {
                one.count = search::total(http, tenant, query).await.ok().map(|total| total as u64);
            }
        }
    }
    Ok(counted)
}

impl Counted {
    /// Whether time alone changes what it finds, so that it has no count of its own.
    fn is_relative(&self) -> bool {
        self.count.is_none()
    }
}

fn checked(form: SavedQueryForm, id: Uuid) -> Result<SavedQuery, Problem> {
    form.checked(id).map_err(|error| Problem::bad_request(error.to_string()))
}

/// Lists saved queries, oldest first, each with the number of devices that it finds now.
#[utoipa::path(get, path = "/v1/queries", responses((status = 200, body = Page<Counted>)), tag = "search")]
async fn list(State(http): State<Http>, caller: Caller<Read>) -> Result<axum::Json<Page<Counted>>, Problem> {
    let items = counted(&http, &caller.tenant).await?;
    Ok(axum::Json(Page { items, next_cursor: String::new() }))
}

/// Saves a query. `hints` say what in it is perhaps not meant, such as a property that no device has.
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
    let saved = hinted(&http, &caller.tenant, saved, |saved| &saved.query).await;
    Ok((StatusCode::CREATED, axum::Json(saved)).into_response())
}

/// Reads a saved query, with the number of devices that it finds now.
#[utoipa::path(get, path = "/v1/queries/{id}", params(("id" = Uuid, Path)), responses((status = 200, body = Counted), (status = 404, body = Problem)), tag = "search")]
async fn read(
    State(http): State<Http>,
    caller: Caller<Read>,
    Path(id): Path<Uuid>,
) -> Result<axum::Json<Counted>, Problem> {
    let found = counted(&http, &caller.tenant).await?.into_iter().find(|one| one.id == id);
    found.map(axum::Json).ok_or_else(|| unknown(id))
}

/// Replaces a saved query.
#[utoipa::path(put, path = "/v1/queries/{id}", params(("id" = Uuid, Path)), request_body = Object, responses((status = 200, body = Object), (status = 404, body = Problem)), tag = "search")]
async fn change(
    State(http): State<Http>,
    caller: Caller<Rules>,
    Path(id): Path<Uuid>,
    Json(form): Json<SavedQueryForm>,
) -> Result<axum::Json<Hinted<SavedQuery>>, Problem> {
    let saved = checked(form, id)?;
    let known = http.store.queries(&caller.tenant).await?;
    known.iter().find(|known| known.id == id).ok_or_else(|| unknown(id))?;
    http.store.put_query(&caller.tenant, &saved).await?;
    http.tallies.forget(&caller.tenant);
    Ok(axum::Json(hinted(&http, &caller.tenant, saved, |saved| &saved.query).await))
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
/// changes, at most four times a second; by time alone, within seconds. `id:` is the position as of which it is exact.
#[utoipa::path(get, path = "/v1/queries/live", responses((status = 200, description = "text/event-stream")), tag = "search")]
async fn live(State(http): State<Http>, caller: Caller<Read>) -> Events {
    let tenant = caller.tenant.clone();
    let follower = Follower { http: http.clone(), tenant, told: HashMap::new(), next: None };
    let end = ended(http, caller);
    let rounds = stream::unfold(follower, async |mut follower| {
        let events = follower.next().await?;
        Some((stream::iter(events.into_iter().map(Ok::<_, Infallible>)), follower))
    });
    Sse::new(rounds.flatten().take_until(end).boxed()).keep_alive(KeepAlive::new().interval(HEARTBEAT))
}

struct Follower {
    http: Http,
    tenant: TenantId,
    /// What the client was told last.
    told: HashMap<Uuid, Option<u64>>,
    /// After which position, or at the latest when, it is looked at again; none at first.
    next: Option<(Position, Option<Instant>)>,
}

impl Follower {
    /// What changed since the last time; none when the client is better off coming again.
    async fn next(&mut self) -> Option<Vec<Event>> {
        if let Some((after, due)) = self.next {
            sleep(TELL_PERIOD).await;
            let changed = self.http.flow.feed().wait_after(after);
            match due {
                Some(due) => drop(timeout_at(due, changed).await),
                None => changed.await,
            }
        }
        let counted = match counted(&self.http, &self.tenant).await {
            Ok(counted) => counted,
            Err(error) => {
                warn!(%error, "counts of saved queries could not be followed");
                return None;
            }
        };
        let position = counted.first().map_or(self.http.flow.feed().watermark(), |one| one.position);
        let relative = |one: &Counted| Query::parse(&one.query).is_ok_and(|query| query.needs().time);
        let due = counted.iter().any(relative).then(|| Instant::now() + TIME_PERIOD);
        self.next = Some((position, due));
        let others = counted.iter().filter(|one| self.told.get(&one.id) != Some(&one.count));
        let events = others.map(|Counted { id, count, .. }| {
            event("count", &json!({ "id": id, "count": count })).id(position.to_string())
        });
        let events = events.collect();
        self.told = counted.into_iter().map(|one| (one.id, one.count)).collect();
        Some(events)
    }
}

fn unknown(id: Uuid) -> Problem {
    Problem::not_found(format!("no saved query {id}"))
}
