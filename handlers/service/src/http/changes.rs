//! The live feed: every committed change, or what enters, leaves and changes within a query.

use std::time::SystemTime;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::Event;
use serde::{Deserialize, Serialize};
use statecast_state::query::Query as Search;
use statecast_state::{Change, DeviceId, Position, TenantId, Twin};
use statecast_store::{Store, StoreError};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Http;
use super::auth::{Caller, Read};
use super::extract::Query;
use super::history::Entry;
use super::live::{Events, READ_MAX, Teller, ended, event, follow};
use super::problem::Problem;

pub(super) fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new().routes(routes!(changes))
}

/// What to follow.
#[derive(Deserialize, IntoParams)]
struct Asked {
    /// A query; with one, events are `enter`, `leave` and `change`. Without, every change is a `change`.
    q: Option<String>,
}

/// Follows committed changes from now on, or from after `Last-Event-ID`. A `reset` event says that changes were
/// missed because they are too long ago: read the present state, then go on.
#[utoipa::path(get, path = "/v1/changes", params(Asked), responses((status = 200, description = "text/event-stream")), tag = "search")]
async fn changes(
    State(http): State<Http>,
    caller: Caller<Read>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Events, Problem> {
    let query = asked.q.as_deref().filter(|q| !q.trim().is_empty()).map(Search::parse).transpose()?;
    let teller = Changes { store: http.store, tenant: caller.tenant.clone(), query };
    let end = ended(http.stop, http.gate, caller);
    follow(http.flow.feed().clone(), &headers, end, teller)
}

struct Changes {
    store: Store,
    tenant: TenantId,
    query: Option<Search>,
}

/// What an event carries.
#[derive(Serialize)]
struct Told<'a> {
    device: &'a DeviceId,
    #[serde(flatten)]
    entry: Entry,
    #[serde(skip_serializing_if = "Option::is_none")]
    twin: Option<&'a Twin>,
}

impl Changes {
    /// What the change is to the query; none when it isn't its business.
    fn name(&self, change: &Change) -> Option<&'static str> {
        let Some(query) = &self.query else { return Some("change") };
        let now = SystemTime::now().into();
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
    fn tell(&self, change: &Change) -> Vec<Event> {
        if change.key.tenant != self.tenant {
            return Vec::new();
        }
        let Some(name) = self.name(change) else { return Vec::new() };
        let twin = self.query.is_some().then_some(change.after.as_deref()).flatten();
        let told = Told { device: &change.key.device, entry: Entry::of(change), twin };
        vec![event(name, change.position, &told)]
    }

    async fn past(
        &self,
        after: Position,
        upto: Position,
    ) -> Result<Option<(Vec<Event>, Position)>, StoreError> {
        // The history has changes, not twins: what entered or left a query can't be told from it.
        if self.query.is_some() || self.store.feed_floor().await? > after {
            return Ok(None);
        }
        let rows = self.store.feed(after, upto, READ_MAX).await?;
        let reached = rows.last().filter(|_| rows.len() >= READ_MAX).map_or(upto, |row| row.row.position);
        let events = rows
            .into_iter()
            .filter(|row| row.key.tenant == self.tenant)
            .map(|row| {
                let (device, position) = (row.key.device.clone(), row.row.position);
                let told = Told { device: &device, entry: Entry::from(row.row), twin: None };
                event("change", position, &told)
            })
            .collect();
        Ok(Some((events, reached)))
    }
}
