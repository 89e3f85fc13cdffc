//! Search: the query language over the index, and reading one's own writes.

use std::time::{Duration, SystemTime};

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use statecast_search::facets::{FACET_STATISTICS_MAX, FACETS_MAX};
use statecast_search::histogram::HISTOGRAMS_MAX;
use statecast_search::statistics::STATISTICS_MAX;
use statecast_search::{Question, SearchError};
use statecast_state::query::{Histogram, Query as Search, Sort, list};
use statecast_state::{Position, Twin};
use tracing::warn;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Http;
use super::auth::Caller;
use super::extract::Query;
use super::figures;
use super::problem::Problem;

/// How long a search waits for the index to reach `after`.
const AFTER_WAIT_MAX: Duration = Duration::from_secs(5);
/// Devices of a page at most.
const PAGE_MAX: usize = 200;

pub(super) fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new().routes(routes!(search))
}

/// What to search for.
#[derive(Deserialize, IntoParams)]
struct Asked {
    /// A query, e.g. `battery:<20 -site:lab`; empty for all devices.
    #[serde(default)]
    q: String,
    /// Fields to sort by, `-` before a field for descending, e.g. `-battery,id`; or `relevance`, the best match of
    /// the words first. Numbers come before strings, these before false and true, and what a device doesn't have
    /// last.
    #[serde(default)]
    sort: String,
    /// Devices at most; 1 to 200, 20 where nothing is said.
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// A position that the answer must include, or `now` for everything that is acknowledged: wait for it, at most
    /// 5 s.
    #[serde(default)]
    after: String,
    /// Fields whose values are to be counted, at most 8, with commas between.
    #[serde(default)]
    facets: String,
    /// Fields to be summed up for each value of each facet, at most 4, e.g. `battery`.
    #[serde(default)]
    facet_stats: String,
    /// Fields to be summed up: count, smallest, largest, mean, percentiles, different values; at most 8.
    #[serde(default)]
    stats: String,
    /// Fields to be counted by intervals, at most 8, each with the width of a bucket or without, e.g.
    /// `battery:10,seen:1h,temperature`. Of time it is a number and one of `s m h d w`.
    #[serde(default)]
    histograms: String,
}

/// What was found.
#[derive(Serialize, ToSchema)]
struct Answer {
    /// Devices that match.
    total: usize,
    /// The twins of this page.
    #[schema(value_type = Vec<Object>)]
    items: Vec<Twin>,
    /// Give it as `cursor` to get the next page; empty on the last.
    next_cursor: String,
    /// For each field asked for: its values with the number of devices that match, most first.
    #[schema(value_type = Object)]
    facets: Map<String, Value>,
    /// For each field asked for: what its values come to in all devices that match, exactly.
    #[schema(value_type = Object)]
    stats: Map<String, Value>,
    /// For each field asked for: how many values are in each bucket, from the first to the last that isn't empty.
    #[schema(value_type = Object)]
    histograms: Map<String, Value>,
    /// The position up to which the index was.
    #[schema(value_type = u64)]
    position: Position,
}

/// Finds devices.
#[utoipa::path(get, path = "/v1/search", params(Asked), responses((status = 200, body = Answer), (status = 400, body = Problem), (status = 503, body = Problem)), tag = "search")]
async fn search(
    State(http): State<Http>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> Result<axum::Json<Answer>, Problem> {
    let query = Search::parse(&asked.q)?;
    let sort = Sort::parse(&asked.sort)?;
    let facets = list::fields(&asked.facets, FACETS_MAX)?;
    let facet_stats = list::fields(&asked.facet_stats, FACET_STATISTICS_MAX)?;
    let stats = list::fields(&asked.stats, STATISTICS_MAX)?;
    let histograms = Histogram::parse(&asked.histograms, HISTOGRAMS_MAX)?;
    let limit = asked.limit.unwrap_or(20).clamp(1, PAGE_MAX);
    if let Some(after) = after(&asked.after, http.flow.horizon())? {
        http.search.wait(after, AFTER_WAIT_MAX).await.map_err(|late| {
            Problem::unavailable(format!("the index has not yet reached position {after}: {late}"))
        })?;
    }
    let (index, tenant) = (http.search.clone(), caller.tenant.clone());
    let figures_of = stats.clone();
    let facet_figures_of = facet_stats.clone();
    // Its own thread, because a query over a whole fleet takes milliseconds.
    let found = tokio::task::spawn_blocking(move || {
        let question = Question {
            sort: &sort,
            limit,
            cursor: asked.cursor.as_deref().filter(|cursor| !cursor.is_empty()),
            facets: &facets,
            facet_stats: &facet_stats,
            stats: &stats,
            histograms: &histograms,
            ..Question::new(&tenant, &query, SystemTime::now().into())
        };
        index.search(&question)
    })
    .await
    .map_err(|_| Problem::unavailable("the search failed"))??;
    let twins = http.store.by_ids(&caller.tenant, &found.ids).await?;
    Ok(axum::Json(Answer {
        total: found.total,
        // One that was removed since the index saw it is left out.
        items: twins.into_iter().flatten().collect(),
        next_cursor: found.next_cursor.unwrap_or_default(),
        facets: found.facets.iter().map(|facet| figures::facet(facet, &facet_figures_of)).collect(),
        stats: figures::named(&figures_of, &found.stats),
        histograms: found.histograms.iter().map(figures::histogram).collect(),
        position: found.position,
    }))
}

/// The position to wait for.
fn after(text: &str, horizon: Position) -> Result<Option<Position>, Problem> {
    match text {
        "" => Ok(None),
        "now" => Ok(Some(horizon)),
        _ => match text.parse() {
            Ok(position) => Ok(Some(Position(position))),
            Err(_) => Err(Problem::bad_request("`after` takes a position, or `now`")),
        },
    }
}

impl From<SearchError> for Problem {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::Cursor | SearchError::Refused(_) => Self::bad_request(error.to_string()),
            SearchError::InUse(_) | SearchError::Io(_) | SearchError::Index(_) => {
                warn!(error = format!("{:#}", anyhow::Error::from(error)), "a search failed");
                Self::unavailable("the search failed")
            }
        }
    }
}
