//! Requests for desired state: what became of them.

use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderName;
use serde::Deserialize;
use statecast_flow::{Feed, Read as Fed};
use statecast_state::request::{Asked, Requested};
use statecast_state::rule::Span;
use statecast_state::{Position, Timestamp};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::actor::Actor;
use super::auth::Read;
use super::extract::{Device, Path, Query};
use super::problem::Problem;
use super::{Http, Page, page_after, page_size};

/// The header that names the request that was made.
pub(super) const REQUEST: HeaderName = HeaderName::from_static("statecast-request");
/// How long a device has where nothing is said.
const TIMEOUT: Span = Span::from_secs(3_600);
/// The shortest and the longest time that it can be given.
const TIMEOUT_MIN: Span = Span::from_secs(1);
const TIMEOUT_MAX: Span = Span::from_secs(28 * 24 * 3_600);
/// Longest wait for an outcome.
const WAIT_MAX: Span = Span::from_secs(60);
/// Those who wait at a time.
static WAITING: Semaphore = Semaphore::const_new(1_000);
/// Changes read from the feed at a time.
const READ_MAX: usize = 512;

pub(super) fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new().routes(routes!(read)).routes(routes!(list))
}

/// For how long a request is good.
#[derive(Deserialize, IntoParams)]
pub(super) struct Asking {
    /// How long the device has to do it, like `10m`; 1 s to 4 weeks, an hour where nothing is said.
    #[param(value_type = Option<String>)]
    timeout: Option<Span>,
}

impl Asking {
    /// What comes with the patch. A person is told the outcome.
    pub(super) fn asked(&self, by: String, person: Option<String>, now: Timestamp) -> Result<Asked, Problem> {
        let timeout = self.timeout.unwrap_or(TIMEOUT);
        if !(TIMEOUT_MIN..=TIMEOUT_MAX).contains(&timeout) {
            return Err(Problem::bad_request(format!("timeout must be {TIMEOUT_MIN} to {TIMEOUT_MAX}")));
        }
        let deadline = now.plus_micros(timeout.as_micros());
        Ok(Asked { id: Uuid::now_v7(), by, person, deadline })
    }
}

/// For how long to wait.
#[derive(Deserialize, IntoParams)]
struct Waiting {
    /// Answer when the outcome is known, or after this time, like `30s`; at most a minute.
    #[param(value_type = Option<String>)]
    wait: Option<Span>,
}

/// Reads a request: `requested`, `sent`, and then `applied`, `rejected`, `timed_out` or `superseded`. Also with the key
/// of a person who was told of an alarm of the device, and with the ticket that came with a push.
#[utoipa::path(get, path = "/v1/requests/{id}", params(("id" = Uuid, Path), Waiting), responses((status = 200, body = Object), (status = 403, body = Problem), (status = 404, body = Problem)), tag = "devices")]
async fn read(
    State(http): State<Http>,
    actor: Actor<Read>,
    Path(id): Path<Uuid>,
    Query(Waiting { wait }): Query<Waiting>,
) -> Result<axum::Json<Requested>, Problem> {
    let wait = wait.unwrap_or(Span::from_secs(0));
    if wait > WAIT_MAX {
        return Err(Problem::bad_request(format!("wait must be at most {WAIT_MAX}")));
    }
    let wait = Duration::from_micros(wait.as_micros().unsigned_abs());
    let _place = WAITING.try_acquire().map_err(|_| Problem::unavailable("too many wait for an outcome"))?;
    let (feed, until) = (http.flow.feed(), Instant::now() + wait);
    loop {
        let at = feed.watermark();
        let found = http.store.request(actor.tenant(), id).await?;
        let request = found.ok_or_else(|| Problem::not_found(format!("no request {id}")))?;
        actor.may_device(&http, &request.device).await?;
        let is_over = !request.state.is_open() || Instant::now() >= until || http.stop.is_cancelled();
        if is_over {
            return Ok(axum::Json(request));
        }
        tokio::select! {
            () = changed(feed, at, id) => {}
            () = tokio::time::sleep_until(until) => {}
            () = http.stop.cancelled() => {}
        }
    }
}

/// Returns when something became of the request after this position, or may have.
async fn changed(feed: &Feed, mut after: Position, id: Uuid) {
    loop {
        feed.wait_after(after).await;
        match feed.read(after, READ_MAX) {
            Fed::Changes(changes, upto) => {
                if changes.iter().any(|change| change.requests.iter().any(|one| one.id == id)) {
                    return;
                }
                after = upto;
            }
            Fed::Behind(_) => return,
        }
    }
}

/// Which requests of a device.
#[derive(Deserialize, IntoParams)]
struct Which {
    /// Only those whose outcome is still to come.
    #[serde(default)]
    open: bool,
    /// Items at most; 1 to 1,000, 100 where nothing is said.
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists the requests of a device, newest first.
#[utoipa::path(get, path = "/v1/devices/{id}/requests", params(("id" = String, Path), Which), responses((status = 200, body = Page<Object>)), tag = "devices")]
async fn list(
    State(http): State<Http>,
    Device { key, .. }: Device<Read>,
    Query(which): Query<Which>,
) -> Result<axum::Json<Page<Requested>>, Problem> {
    let before = page_after(which.cursor.as_deref(), |cursor| cursor.parse::<Uuid>().ok())?;
    let limit = page_size(which.limit);
    let items = http.store.requests(&key, which.open, before, limit).await?;
    Ok(axum::Json(Page::of(items, limit, |request| request.id.to_string())))
}
