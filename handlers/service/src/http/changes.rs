//! The live feed: every committed change, or what enters, leaves and changes within a query.

use std::time::SystemTime;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::Event;
use serde::{Deserialize, Serialize};
use serde_json::json;
use statecast_state::alarm::Event as AlarmEvent;
use statecast_state::query::{Query as Search, Walk};
use statecast_state::{Change, DeviceId, Kind, Position, TenantId, Timestamp, Twin};
use statecast_store::{Store, StoreError};
use tokio::sync::Semaphore;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Http;
use super::auth::{Caller, Read};
use super::clock::Clock;
use super::extract::Query;
use super::history::Entry;
use super::live::{Events, Past, READ_MAX, Teller, ended, event, follow};
use super::problem::Problem;
use super::search;

/// Who follows a query and comes back is told what happened meanwhile, up to so many changes of the tenant.
const REWIND_MAX: usize = 20_000;
/// Devices read at a time for who wants to see first what there is.
const SCAN_MAX: usize = 500;
/// Most devices that may come into a query, or leave it, by time alone: each is remembered.
const CLOCK_DEVICES_MAX: usize = 100_000;
/// How many may look back at once: each holds up to [`REWIND_MAX`] changes for a moment.
static LOOKING_BACK: Semaphore = Semaphore::const_new(2);

pub(super) fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new().routes(routes!(changes))
}

/// What to follow.
#[derive(Deserialize, IntoParams)]
struct Asked {
    /// A query; with one, events are `enter`, `leave` and `change`. Without, every change is a `change`.
    q: Option<String>,
    /// Begin with what there is: an `enter` for each device that matches, and then `ready`. What changes meanwhile is told
    /// in between; before `ready` nothing has an `id:`, so that who comes back earlier begins anew. Again after a `reset`.
    /// Only with a query.
    #[serde(default)]
    snapshot: bool,
}

/// Follows committed changes from now on, or from after `Last-Event-ID`. What a change did to alarms of the device
/// stands in `alarms`. An `id:` without an event says how far the stream is: at the beginning, and every second while
/// there are changes that it doesn't tell.
///
/// With a query, each change of a device that matched before or matches after it is one event. A `reset` event says
/// that changes were missed because they are too long ago or too many: read the present state, then go on. Events
/// after a resumption may have a twin without `reported_at`, which history doesn't keep; and a device that was
/// removed meanwhile leaves, whether or not it had entered.
///
/// A query with a time relative to now begins with what there is even if not asked to, and can't be resumed: `reset`
/// comes first. Devices enter and leave it by the passing of time; such an event has no `position`. At most 100,000 devices
/// may do so.
#[utoipa::path(get, path = "/v1/changes", params(Asked), responses((status = 200, description = "text/event-stream"), (status = 400, body = Problem)), tag = "search")]
async fn changes(
    State(http): State<Http>,
    caller: Caller<Read>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Events, Problem> {
    let query = asked.q.as_deref().filter(|q| !q.trim().is_empty()).map(Search::parse).transpose()?;
    if asked.snapshot && query.is_none() {
        return Err(Problem::bad_request("a snapshot needs a query: `*` finds every device"));
    }
    let clock = query.as_ref().filter(|query| query.needs().time).map(|_| Clock::default());
    if let (Some(query), Some(_)) = (&query, &clock) {
        let remembered = search::total(&http, &caller.tenant, query.ever()).await?;
        if remembered > CLOCK_DEVICES_MAX {
            return Err(Problem::bad_request(format!(
                "by time alone {remembered} devices could enter or leave; at most {CLOCK_DEVICES_MAX} can be followed"
            )));
        }
    }
    let shows = asked.snapshot || clock.is_some();
    let tenant = caller.tenant.clone();
    let teller = Changes { store: http.store.clone(), tenant, query, shows, walk: Walk::default(), clock };
    let end = ended(http.clone(), caller);
    follow(http.flow.feed().clone(), &headers, end, teller)
}

struct Changes {
    store: Store,
    tenant: TenantId,
    query: Option<Search>,
    /// The client is first shown what there is.
    shows: bool,
    /// How far it was shown that.
    walk: Walk,
    /// Where the query has a time relative to now.
    clock: Option<Clock>,
}

/// What an event carries.
#[derive(Serialize)]
struct Told<'a> {
    device: &'a DeviceId,
    #[serde(flatten)]
    entry: Entry,
    #[serde(skip_serializing_if = "Option::is_none")]
    twin: Option<&'a Twin>,
    /// What happened to alarms of the device; left out when nothing did, and of changes that are read from history.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    alarms: &'a [AlarmEvent],
}

impl Changes {
    /// What the change is to the query; none when it isn't its business.
    fn name(&mut self, change: &Change) -> Option<&'static str> {
        let Some(query) = &self.query else { return Some("change") };
        let now = SystemTime::now().into();
        if let Some(clock) = &mut self.clock {
            return clock.saw(query, &change.key.device, change.after.as_deref(), now);
        }
        if (change.kind, &change.before) == (Kind::Removed, &None) {
            // Its history went with it: whether it matched isn't known any more.
            return Some("leave");
        }
        let was = change.before.as_deref().is_some_and(|twin| query.matches(twin, now));
        let is = change.after.as_deref().is_some_and(|twin| query.matches(twin, now));
        match (was, is) {
            (false, true) => Some("enter"),
            (true, false) => Some("leave"),
            (true, true) => Some("change"),
            (false, false) => None,
        }
    }
}

impl Teller for Changes {
    fn begin(&mut self) -> bool {
        if self.shows {
            self.walk = Walk::begin();
            self.clock = self.clock.take().map(|_| Clock::default());
        }
        self.shows
    }

    async fn present(&mut self, told: Position) -> Result<(Vec<Event>, bool), StoreError> {
        let (Some(after), Some(query)) = (self.walk.next(), &self.query) else {
            return Ok((Vec::new(), true));
        };
        let page = self.store.census(&self.tenant, after, told, SCAN_MAX).await?;
        for (device, last) in &page.removed {
            self.walk.saw(device, *last, told);
        }
        let now = SystemTime::now().into();
        let mut events = Vec::new();
        for (last, twin) in &page.members {
            self.walk.saw(&twin.device, *last, told);
            if let Some(clock) = &mut self.clock {
                clock.saw(query, &twin.device, Some(twin), now);
            }
            if query.matches(twin, now) {
                events.push(event("enter", &json!({ "device": twin.device, "twin": twin })));
            }
        }
        let last = page.members.into_iter().nth(SCAN_MAX - 1);
        self.walk.reached(last.map(|(_, twin)| twin.device));
        Ok((events, self.walk.next().is_none()))
    }

    fn tell(&mut self, change: &Change) -> Vec<Event> {
        if change.key.tenant != self.tenant || !self.walk.is_news(change) {
            return Vec::new();
        }
        let Some(name) = self.name(change) else { return Vec::new() };
        let twin = self.query.is_some().then_some(change.after.as_deref()).flatten();
        let told =
            Told { device: &change.key.device, entry: Entry::of(change), twin, alarms: &change.events };
        vec![event(name, &told)]
    }

    fn resumes(&self) -> bool {
        self.clock.is_none()
    }

    fn due(&self) -> Option<Timestamp> {
        self.clock.as_ref()?.due()
    }

    async fn pass(&mut self) -> Result<Vec<Event>, StoreError> {
        let (Some(clock), Some(query)) = (&mut self.clock, &self.query) else { return Ok(Vec::new()) };
        let now: Timestamp = SystemTime::now().into();
        let devices = clock.turned(now, SCAN_MAX);
        let twins = self.store.by_ids(&self.tenant, &devices).await?;
        let mut events = Vec::new();
        for (device, twin) in devices.iter().zip(&twins) {
            if let Some(name @ ("enter" | "leave")) = clock.saw(query, device, twin.as_ref(), now) {
                events.push(event(name, &json!({ "device": device, "at": now, "twin": twin })));
            }
        }
        Ok(events)
    }

    async fn past(&mut self, after: Position, upto: Position) -> Result<Past, StoreError> {
        if self.clock.is_some() {
            return Ok(None);
        }
        if self.query.is_some() {
            let _turn = LOOKING_BACK.acquire().await;
            let changes = self.store.rewind(&self.tenant, after, upto, REWIND_MAX).await?;
            let Some(changes) = changes else { return Ok(None) };
            let told = changes
                .iter()
                .flat_map(|change| self.tell(change).into_iter().map(|event| (change.position, event)));
            return Ok(Some((told.collect(), upto)));
        }
        let rows = self.store.feed(after, upto, READ_MAX).await?;
        // Asked last: what was dropped by then may be missing.
        if self.store.feed_floor().await? > after {
            return Ok(None);
        }
        let reached = rows.last().filter(|_| rows.len() >= READ_MAX).map_or(upto, |row| row.row.position);
        let own = rows.into_iter().filter(|row| row.key.tenant == self.tenant);
        let told = own.map(|row| {
            let (device, position) = (row.key.device.clone(), row.row.position);
            let told = Told { device: &device, entry: Entry::from(row.row), twin: None, alarms: &[] };
            (position, event("change", &told))
        });
        Ok(Some((told.collect(), reached)))
    }
}
