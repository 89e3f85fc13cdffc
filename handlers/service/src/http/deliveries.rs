//! Deliveries: what became of each notification, and a live stream of those for live receivers.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::Event;
use serde::Deserialize;
use statecast_state::{Change, DeviceId, Position, Push, TenantId};
use statecast_store::outbox::{PushFilter, PushRow, PushState};
use statecast_store::{Store, StoreError};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::auth::{Caller, Rules};
use super::extract::Query;
use super::live::{Events, READ_MAX, Teller, ended, event, follow};
use super::problem::Problem;
use super::{Http, Page, page_after, page_size};

pub(super) fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(live))
}

/// Which deliveries.
#[derive(Deserialize, IntoParams)]
struct Which {
    /// Only those in this state: `waiting`, `delivered` or `dead`.
    #[param(value_type = Option<String>)]
    state: Option<PushState>,
    /// Only those about this device.
    device: Option<String>,
    /// Items at most; 1 to 1,000, 100 where nothing is said.
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists notifications and what became of them, newest first. Each has what was told, the receiver, `state`
/// (`waiting`, `delivered` or `dead`), `attempt`, `due_at`, `status`, `error` and `done_at`.
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
    let teller = Notifications { store: http.store, tenant: caller.tenant.clone(), receiver };
    let end = ended(http.stop, http.gate, caller);
    follow(http.flow.feed().clone(), &headers, end, teller)
}

struct Notifications {
    store: Store,
    tenant: TenantId,
    receiver: Option<Uuid>,
}

impl Notifications {
    fn told(&self, push: &Push) -> Option<Event> {
        let wanted = self.receiver.is_none_or(|receiver| receiver == push.receiver);
        wanted.then(|| event("notification", push.position, push))
    }
}

impl Teller for Notifications {
    fn tell(&mut self, change: &Change) -> Vec<Event> {
        if change.key.tenant != self.tenant {
            return Vec::new();
        }
        change.pushes.iter().filter_map(|push| self.told(push)).collect()
    }

    async fn past(
        &mut self,
        after: Position,
        upto: Position,
    ) -> Result<Option<(Vec<Event>, Position)>, StoreError> {
        let pushes = self.store.live_pushes(&self.tenant, after, upto, READ_MAX).await?;
        let reached = pushes.last().filter(|_| pushes.len() >= READ_MAX).map_or(upto, |push| push.position);
        Ok(Some((pushes.iter().filter_map(|push| self.told(push)).collect(), reached)))
    }
}
