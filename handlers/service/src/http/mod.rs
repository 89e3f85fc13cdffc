//! The HTTP interface: JSON in, JSON out, errors as problems, live streams as server-sent events.
//!
//! - [`problem`], errors as RFC 9457 has them; `threads`, who answers, and `gates`, how much at a time
//! - `body`, `auth`, `extract`: what the request says, and who calls
//! - `credentials`, `policies`, `keys`: who is let in, and what they may do
//! - `devices`, `history`, `search` with its `hints`, `figures` and twins as `shown`, `complete`, `export` (also as `csv`), `live`
//!   with its `clock`, `changes`: the devices, what they were, found, and as it happens
//! - `requests`: what became of what devices should be
//! - `queries`: queries under a name, with their counts
//! - `rehearse`: what a rule would have done
//! - `rules`, `people`, `receivers` with their `receiver_form`: who is to be told of what; `me`, the same for the app of
//!   one person
//! - `deliveries` by `channels`, `told`, `explain`: what became of it, live, and why
//! - `alarms`: what people are to take note of, and their answer; `actor`, who may give it
//! - `operations`: refused payloads, usage, health, metrics
//! - `console`: the pages for people
//! - `mqtt`: MQTT over WebSocket

pub mod problem;
mod threads;
mod body;
mod auth;
mod extract;
mod credentials;
mod policies;
mod keys;
mod devices;
mod history;
mod hints;
mod search;
mod shown;
mod figures;
mod complete;
mod export;
mod csv;
mod gates;
mod live;
mod clock;
mod changes;
mod requests;
mod queries;
mod rehearse;
mod rules;
mod people;
mod receivers;
mod receiver_form;
mod me;
mod actor;
mod deliveries;
mod told;
mod explain;
mod alarms;
mod channels;
mod operations;
mod console;
mod mqtt;

use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::from_fn_with_state;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use statecast_broker::Broker;
use statecast_flow::Flow;
use statecast_push::{Reach, Statuses};
use statecast_search::Search;
use statecast_state::document::{self, Limits};
use statecast_state::{Document, Position};
use statecast_store::Store;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::access::Gate;
use crate::rulebook::Rulebook;
use crate::source::Truth;
use crate::tallies::Tallies;
use crate::tickets::Tickets;
pub use gates::Gates;
use problem::Problem;
pub use shown::Shown;
pub use threads::Threads;

/// Items of a page at most.
const LIMIT_MAX: usize = 1_000;

/// What the handlers of requests share. Each of them gets one, so it is as cheap to clone as can be.
#[derive(Clone)]
pub struct Http(Arc<Parts>);

impl Http {
    /// Of these parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for Http {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// What there is for the handlers of requests.
pub struct Parts {
    /// The way in for everything that changes a twin.
    pub flow: Flow,
    /// The database, for reads.
    pub store: Store,
    /// The search index.
    pub search: Search,
    /// What the index is made from, to verify it.
    pub truth: Arc<Truth>,
    /// Where the feed began when the process started: an index that is not there yet answers from the past.
    pub began_at: Position,
    /// The MQTT side.
    pub broker: Broker,
    /// Counts of saved queries.
    pub tallies: Arc<Tallies>,
    /// Rules and receivers.
    pub rulebook: Arc<Rulebook>,
    /// Reads the tickets that come with pushes.
    pub tickets: Arc<Tickets>,
    /// Wakes the dispatcher of pushes.
    pub wake_pushes: Arc<Notify>,
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
    /// Who is let in.
    pub gate: Arc<Gate>,
    /// Which addresses receivers may have.
    pub reach: Arc<Reach>,
    /// How the channels stand.
    pub push_statuses: Statuses,
    /// What takes much waits here, or is refused.
    pub gates: Gates,
    /// Twins as searches show them.
    pub shown: Shown,
    /// Live streams end when this is cancelled.
    pub stop: CancellationToken,
}

/// A page of a list.
#[derive(Serialize, ToSchema)]
pub struct Page<T> {
    /// The items.
    items: Vec<T>,
    /// Give it as `cursor` to get the next page; empty on the last.
    next_cursor: String,
}

impl<T> Page<T> {
    fn of(items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Self {
        let full = items.len() >= limit;
        let next_cursor = items.last().filter(|_| full).map(cursor).unwrap_or_default();
        Self { items, next_cursor }
    }
}

/// How many items a page is to have; 100 where nothing is said.
fn page_size(asked: Option<usize>) -> usize {
    asked.unwrap_or(100).clamp(1, LIMIT_MAX)
}

/// Where the page before ended; none on the first, which has no cursor or an empty one.
fn page_after<T>(cursor: Option<&str>, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Problem> {
    let read = |cursor| read(cursor).ok_or_else(|| Problem::bad_request("no such cursor"));
    cursor.filter(|cursor| !cursor.is_empty()).map(read).transpose()
}

/// All routes, and their description.
pub fn router(http: Http, body_bytes_max: usize) -> Router {
    let (router, api) = api().split_for_parts();
    router
        .merge(console::routes(api))
        .merge(mqtt::routes())
        .fallback(async || Problem::not_found("no such path; /openapi.json has all that exist"))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        // `body` has the limit.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(body_bytes_max, body::limited))
        .with_state(http)
}

/// The description of the API as OpenAPI.
pub fn openapi() -> OpenApi {
    api().into_openapi()
}

fn api() -> OpenApiRouter<Http> {
    let info = utoipa::openapi::InfoBuilder::new()
        .title("Statecast")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Device state: in over MQTT, durable, searchable, and told to who needs to know."))
        .build();
    OpenApiRouter::with_openapi(utoipa::openapi::OpenApiBuilder::new().info(info).build())
        .merge(devices::routes())
        .merge(credentials::routes())
        .merge(policies::routes())
        .merge(keys::routes())
        .merge(history::routes())
        .merge(search::routes())
        .merge(complete::routes())
        .merge(export::routes())
        .merge(changes::routes())
        .merge(requests::routes())
        .merge(queries::routes())
        .merge(rehearse::routes())
        .merge(rules::routes())
        .merge(people::routes())
        .merge(receivers::routes())
        .merge(me::routes())
        .merge(deliveries::routes())
        .merge(explain::routes())
        .merge(alarms::routes())
        .merge(channels::routes())
        .merge(operations::routes())
}

/// The header that tells where in the feed a write stands.
fn position_header(position: Position) -> [(HeaderName, HeaderValue); 1] {
    [(HeaderName::from_static("statecast-position"), HeaderValue::from(position.0))]
}

/// Reads a body that must be a JSON object within the limits.
fn document(body: &[u8], limits: &Limits) -> Result<Document, Problem> {
    Ok(document::parse(body, limits)?)
}

/// The limits of documents, for one that was already parsed as part of a body.
fn check_document(document: &Document, limits: &Limits) -> Result<(), Problem> {
    Ok(document::check(document, limits)?)
}
