//! The live feed: every committed change, or what enters, leaves and changes within a query.

use std::collections::HashMap;
use std::time::SystemTime;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::Event;
use serde::{Deserialize, Serialize};
use serde_json::json;
use statecast_state::alarm::Event as AlarmEvent;
use statecast_state::query::Query as Search;
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
use super::live::{Events, READ_MAX, Teller, ended, event, follow};
use super::problem::Problem;

/// Who follows a query and comes back is told what happened meanwhile, up to so many changes of the tenant.
const REWIND_MAX: usize = 20_000;
/// Devices read at a time for who wants to see first what there is.
const SCAN_MAX: usize = 500;
/// Most devices of a tenant whose query with a time relative to now can be followed: each is remembered.
const CLOCK_DEVICES_MAX: u64 = 100_000;
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
    /// Begin with what there is: an `enter` for each device that matches, without an `id:`, and then `ready`.
    /// Again after a `reset`. Only with a query.
    #[serde(default)]
    snapshot: bool,
}

/// Follows committed changes from now on, or from after `Last-Event-ID`. What a change did to alarms of the device
/// stands in `alarms`.
///
/// With a query, each change of a device that matched before or matches after it is one event. A `reset` event says
/// that changes were missed because they are too long ago or too many: read the present state, then go on. Events
/// after a resumption may have a twin without `reported_at`, which history doesn't keep; and a device that was
/// removed meanwhile leaves, whether or not it had entered.
///
/// A query with a time relative to now begins with what there is even if not asked to, and can't be resumed: `reset`
/// comes first. Devices enter and leave it by the passing of time; such an event has no `position`.
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
    if clock.is_some() && http.store.count(Some(&caller.tenant)).await? > CLOCK_DEVICES_MAX {
        return Err(Problem::bad_request(format!(
            "a time relative to now can be followed over at most {CLOCK_DEVICES_MAX} devices"
        )));
    }
    let scan = (asked.snapshot || clock.is_some()).then(Scan::default);
    let tenant = caller.tenant.clone();
    let teller = Changes { store: http.store.clone(), tenant, query, scan, clock };
    let end = ended(http.clone(), caller);
    follow(http.flow.feed().clone(), &headers, end, teller)
}

struct Changes {
    store: Store,
    tenant: TenantId,
    query: Option<Search>,
    /// How far the client was told what there is; none when it didn't ask.
    scan: Option<Scan>,
    /// Where the query has a time relative to now.
    clock: Option<Clock>,
}

/// A walk over the devices of the tenant, while they go on changing.
#[derive(Default)]
struct Scan {
    /// The last device that was read.
    after: Option<DeviceId>,
    /// Devices that were read with changes that the feed is yet to tell, and up to where.
    ahead: HashMap<DeviceId, Position>,
    done: bool,
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

    /// Whether the client was told of the change when it was shown what there is.
    fn was_scanned(&mut self, change: &Change) -> bool {
        let Some(scan) = &mut self.scan else { return false };
        let device = &change.key.device;
        match scan.ahead.get(device) {
            Some(read) if change.position < *read => true,
            Some(read) if change.position == *read => scan.ahead.remove(device).is_some(),
            _ => false,
        }
    }
}

impl Teller for Changes {
    async fn present(&mut self, position: Position) -> Result<Option<Vec<Event>>, StoreError> {
        let (Some(scan), Some(query)) = (&mut self.scan, &self.query) else { return Ok(None) };
        if std::mem::take(&mut scan.done) {
            return Ok(None);
        }
        if scan.after.is_none() {
            scan.ahead.clear();
            self.clock = self.clock.take().map(|_| Clock::default());
        }
        let rows = self.store.members(&self.tenant, scan.after.as_ref(), SCAN_MAX).await?;
        let now = SystemTime::now().into();
        let mut events = Vec::new();
        for (last, twin) in &rows {
            if *last > position {
                scan.ahead.insert(twin.device.clone(), *last);
            }
            if let Some(clock) = &mut self.clock {
                clock.saw(query, &twin.device, Some(twin), now);
            }
            if query.matches(twin, now) {
                let data = json!({ "device": twin.device, "twin": twin }).to_string();
                events.push(Event::default().event("enter").data(data));
            }
        }
        scan.done = rows.len() < SCAN_MAX;
        if scan.done {
            events.push(event("ready", position, &json!({ "position": position })));
        }
        // From the beginning after a reset.
        scan.after = rows.into_iter().next_back().map(|(_, twin)| twin.device).filter(|_| !scan.done);
        Ok(Some(events))
    }

    fn tell(&mut self, change: &Change) -> Vec<Event> {
        if change.key.tenant != self.tenant || self.was_scanned(change) {
            return Vec::new();
        }
        let Some(name) = self.name(change) else { return Vec::new() };
        let twin = self.query.is_some().then_some(change.after.as_deref()).flatten();
        let told =
            Told { device: &change.key.device, entry: Entry::of(change), twin, alarms: &change.events };
        vec![event(name, change.position, &told)]
    }

    fn resumes(&self) -> bool {
        self.clock.is_none()
    }

    fn due(&self) -> Option<Timestamp> {
        self.clock.as_ref()?.due()
    }

    async fn pass(&mut self, position: Position) -> Result<Vec<Event>, StoreError> {
        let (Some(clock), Some(query)) = (&mut self.clock, &self.query) else { return Ok(Vec::new()) };
        let now: Timestamp = SystemTime::now().into();
        let devices = clock.turned(now, SCAN_MAX);
        let twins = self.store.by_ids(&self.tenant, &devices).await?;
        let mut events = Vec::new();
        for (device, twin) in devices.iter().zip(&twins) {
            if let Some(name @ ("enter" | "leave")) = clock.saw(query, device, twin.as_ref(), now) {
                events.push(event(name, position, &json!({ "device": device, "at": now, "twin": twin })));
            }
        }
        Ok(events)
    }

    async fn past(
        &mut self,
        after: Position,
        upto: Position,
    ) -> Result<Option<(Vec<Event>, Position)>, StoreError> {
        if self.clock.is_some() {
            return Ok(None);
        }
        if self.query.is_some() {
            let _turn = LOOKING_BACK.acquire().await;
            let changes = self.store.rewind(&self.tenant, after, upto, REWIND_MAX).await?;
            return Ok(
                changes.map(|changes| (changes.iter().flat_map(|change| self.tell(change)).collect(), upto))
            );
        }
        let rows = self.store.feed(after, upto, READ_MAX).await?;
        // Asked last: what was dropped by then may be missing.
        if self.store.feed_floor().await? > after {
            return Ok(None);
        }
        let reached = rows.last().filter(|_| rows.len() >= READ_MAX).map_or(upto, |row| row.row.position);
        let events = rows
            .into_iter()
            .filter(|row| row.key.tenant == self.tenant)
            .map(|row| {
                let (device, position) = (row.key.device.clone(), row.row.position);
                let told = Told { device: &device, entry: Entry::from(row.row), twin: None, alarms: &[] };
                event("change", position, &told)
            })
            .collect();
        Ok(Some((events, reached)))
    }
}
