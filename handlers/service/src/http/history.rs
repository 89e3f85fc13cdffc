//! What a device was: its history, newest first.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use statecast_state::{Change, Document, Kind, Position, Timestamp};
use statecast_store::HistoryRow;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::extract::{Device, Query};
use super::problem::Problem;
use super::{Http, Page, page_after, page_size};

pub(super) fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new().routes(routes!(history))
}

/// Which part of the history.
#[derive(Deserialize, IntoParams)]
struct Part {
    /// Received at this time or later (RFC 3339).
    #[param(value_type = Option<String>)]
    from: Option<Timestamp>,
    /// Received before this time (RFC 3339).
    #[param(value_type = Option<String>)]
    to: Option<Timestamp>,
    /// Items at most; 1 to 1,000, 100 where nothing is said.
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// One change of a device.
#[derive(Serialize, ToSchema)]
pub(super) struct Entry {
    /// Its place in the feed.
    #[schema(value_type = u64)]
    pub(super) position: Position,
    /// The version of the twin after it.
    pub(super) version: u64,
    /// What was done: `state`, `desired`, `rejected`, `tags`, `presence`, `absence`, `registered`, `removed`.
    #[schema(value_type = String)]
    pub(super) kind: Kind,
    /// When it was received.
    #[schema(value_type = String)]
    pub(super) received_at: Timestamp,
    /// The time that the device gave.
    #[schema(value_type = Option<String>)]
    pub(super) device_time: Option<Timestamp>,
    /// What was asked for.
    #[schema(value_type = Object)]
    pub(super) patch: Document,
    /// What undoes it.
    #[schema(value_type = Object)]
    pub(super) inverse: Document,
    /// A property kept a newer value.
    pub(super) stale: bool,
    /// The clock of the device is more than 5 min ahead: its time was replaced by that of receipt.
    pub(super) ahead: bool,
}

impl From<HistoryRow> for Entry {
    fn from(row: HistoryRow) -> Self {
        let HistoryRow { position, version, kind, received_at, device_time, patch, inverse, stale, ahead } =
            row;
        Self { position, version, kind, received_at, device_time, patch, inverse, stale, ahead }
    }
}

impl Entry {
    /// The entry that the history has, or will have, of a change.
    pub(super) fn of(change: &Change) -> Self {
        Self {
            position: change.position,
            version: change.version(),
            kind: change.kind,
            received_at: change.received_at,
            device_time: change.device_time,
            patch: change.patch.clone(),
            inverse: change.inverse.clone(),
            stale: change.stale,
            ahead: change.ahead,
        }
    }
}

/// Lists what was done to a device, newest first.
#[utoipa::path(get, path = "/v1/devices/{id}/history", params(("id" = String, Path), Part), responses((status = 200, body = Page<Entry>)), tag = "devices")]
async fn history(
    State(http): State<Http>,
    Device(key): Device,
    Query(part): Query<Part>,
) -> Result<axum::Json<Page<Entry>>, Problem> {
    let before = page_after(part.cursor.as_deref(), |cursor| cursor.parse().ok().map(Position))?;
    let limit = page_size(part.limit);
    let rows = http.store.history(&key, part.from, part.to, before, limit).await?;
    let items = rows.into_iter().map(Entry::from).collect();
    Ok(axum::Json(Page::of(items, limit, |entry: &Entry| entry.position.to_string())))
}
