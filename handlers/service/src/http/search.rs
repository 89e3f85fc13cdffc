//! Search: the query language over the index, and reading one's own writes.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use statecast_search::facets::{FACET_STATISTICS_MAX, FACETS_MAX};
use statecast_search::histogram::HISTOGRAMS_MAX;
use statecast_search::statistics::STATISTICS_MAX;
use statecast_search::{Question, SearchError};
use statecast_state::query::{Histogram, Query as Search, Sort, SortKey, list};
use statecast_state::{DeviceId, Position, TenantId, Timestamp, Twin};
use statecast_store::StoreError;
use tracing::warn;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Http;
use super::auth::{Caller, Read};
use super::extract::Query;
use super::figures;
use super::hints::{self, Hint};
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
    /// `next_cursor` of the page before. While devices change, one that matches all the time and whose values of the sort
    /// keys stay as they are is on exactly one page.
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
    /// Tell what in each device of the page made it match.
    #[serde(default)]
    highlight: bool,
}

/// What was found.
#[derive(Serialize, ToSchema)]
struct Answer {
    /// Devices that match.
    total: usize,
    /// The twins of this page.
    #[schema(value_type = Vec<Object>)]
    items: Vec<Arc<RawValue>>,
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
    /// Where asked for, for each item the values that made it match, as the item is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    highlights: Option<Vec<Vec<Highlight>>>,
    /// Where nothing matches: what was perhaps meant. It isn't searched for.
    #[serde(skip_serializing_if = "Option::is_none")]
    did_you_mean: Option<DidYouMean>,
    /// The query as a sentence: how it was understood.
    sentence: String,
    /// What is probably not meant, although the query was understood.
    hints: Vec<Hint>,
    /// The position up to which the index was.
    #[schema(value_type = u64)]
    position: Position,
}

/// A value that made a device match.
#[derive(Serialize, ToSchema)]
struct Highlight {
    /// Where it is in the item, as a JSON Pointer (RFC 6901), e.g. `/reported/name`.
    at: String,
    /// Which characters of the string, from the first to behind the last, in Unicode code points from 0; empty for what
    /// isn't a string.
    ranges: Vec<[usize; 2]>,
}

/// A query that finds something, and is nearly the one that was asked.
#[derive(Serialize, ToSchema)]
struct DidYouMean {
    /// The whole query, corrected.
    query: String,
    /// How many devices it finds.
    total: usize,
    /// What was corrected in it.
    corrections: Vec<Correction>,
}

/// A word, or the text of a field, that no device has.
#[derive(Serialize, ToSchema)]
struct Correction {
    /// What stands in the query, in lower case.
    was: String,
    /// The nearest that devices have.
    instead: String,
    /// How many devices have it.
    devices: usize,
}

/// Finds devices. Total, facets, statistics and histograms are of one moment of the index; the items are as they are now.
#[utoipa::path(get, path = "/v1/search", params(Asked), responses((status = 200, body = Answer), (status = 400, body = Problem), (status = 503, body = Problem)), tag = "search")]
async fn search(
    State(http): State<Http>,
    caller: Caller<Read>,
    Query(asked): Query<Asked>,
) -> Result<axum::Json<Answer>, Problem> {
    let query = Search::parse(&asked.q)?;
    let sort = Sort::parse(&asked.sort).map_err(Problem::in_parameter("sort"))?;
    let fields = |parameter, text: &str, fields_max| {
        list::fields(text, fields_max).map_err(Problem::in_parameter(parameter))
    };
    let facets = fields("facets", &asked.facets, FACETS_MAX)?;
    let facet_stats = fields("facet_stats", &asked.facet_stats, FACET_STATISTICS_MAX)?;
    let stats = fields("stats", &asked.stats, STATISTICS_MAX)?;
    let histograms =
        Histogram::parse(&asked.histograms, HISTOGRAMS_MAX).map_err(Problem::in_parameter("histograms"))?;
    let limit = asked.limit.unwrap_or(20).clamp(1, PAGE_MAX);
    wait(&http, &asked.after).await?;
    let plain = stats.is_empty() && histograms.is_empty() && facet_stats.is_empty();
    let permit = if plain { http.gates.search().await? } else { http.gates.figures().await? };
    let sentence = query.sentence();
    let (index, tenant) = (http.search.clone(), caller.tenant.clone());
    let now = SystemTime::now().into();
    // Its own thread, because a query over a whole fleet takes milliseconds.
    let (found, hints, meant, highlight, stats, facet_stats, query) =
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let cursor = asked.cursor.as_deref().filter(|cursor| !cursor.is_empty());
            let question = Question {
                sort: &sort,
                limit,
                cursor,
                facets: &facets,
                facet_stats: &facet_stats,
                stats: &stats,
                histograms: &histograms,
                ..Question::new(&tenant, &query, now)
            };
            let found = index.search(&question)?;
            let nothing = found.total == 0 && cursor.is_none();
            let meant = if nothing { index.did_you_mean(&question)? } else { None };
            let mut hints = hints::of_query(&index, &tenant, &query);
            let lists: [(_, &str, Vec<_>); 5] = [
                ("sort", &asked.sort, sort.iter().map(SortKey::field).collect()),
                ("facets", &asked.facets, facets.iter().map(Some).collect()),
                ("facet_stats", &asked.facet_stats, facet_stats.iter().map(Some).collect()),
                ("stats", &asked.stats, stats.iter().map(Some).collect()),
                ("histograms", &asked.histograms, histograms.iter().map(|one| Some(&one.field)).collect()),
            ];
            for (parameter, text, fields) in lists {
                hints.extend(hints::of_list(&index, &tenant, (parameter, text), fields.into_iter()));
            }
            Ok::<_, SearchError>((found, hints, meant, asked.highlight, stats, facet_stats, query))
        })
        .await
        .map_err(|_| Problem::unavailable("the search failed"))??;
    // One that was removed since the index saw it is left out.
    let items = twins(&http, &caller.tenant, &found.ids).await?;
    let shown = items.iter().map(|twin| http.shown.json(twin)).collect::<Result<_, _>>();
    let highlights = if highlight {
        let highlighted = tokio::task::spawn_blocking(move || {
            items.iter().map(|twin: &Arc<Twin>| highlights(&query, twin, now)).collect()
        });
        Some(highlighted.await.map_err(|_| Problem::unavailable("the search failed"))?)
    } else {
        None
    };
    Ok(axum::Json(Answer {
        total: found.total,
        items: shown.map_err(|_| Problem::unavailable("the search failed"))?,
        next_cursor: found.next_cursor.unwrap_or_default(),
        facets: found.facets.iter().map(|facet| figures::facet(facet, &facet_stats)).collect(),
        stats: figures::named(&stats, &found.stats),
        histograms: found.histograms.iter().map(figures::histogram).collect(),
        sentence,
        hints,
        highlights,
        did_you_mean: meant.map(DidYouMean::from),
        position: found.position,
    }))
}

fn highlights(query: &Search, twin: &Twin, now: Timestamp) -> Vec<Highlight> {
    let found = query.highlights(twin, now).into_iter();
    found.map(|highlight| Highlight { at: highlight.at, ranges: highlight.ranges }).collect()
}

impl From<statecast_search::DidYouMean> for DidYouMean {
    fn from(meant: statecast_search::DidYouMean) -> Self {
        let corrections = meant.corrections.into_iter().map(|correction| Correction {
            was: correction.was,
            instead: correction.instead,
            devices: correction.devices,
        });
        Self { query: meant.query, total: meant.total, corrections: corrections.collect() }
    }
}

/// How many devices a query finds now.
pub(super) async fn total(http: &Http, tenant: &TenantId, query: Search) -> Result<usize, Problem> {
    http.search.complete(AFTER_WAIT_MAX).await?;
    let permit = http.gates.search().await?;
    let (index, tenant) = (http.search.clone(), tenant.clone());
    let found = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        index.search(&Question::new(&tenant, &query, SystemTime::now().into()))
    });
    Ok(found.await.map_err(|_| Problem::unavailable("the search failed"))??.total)
}

/// Waits until there is an index, and for it to reach the position that `after` names, if it names one.
pub(super) async fn wait(http: &Http, text: &str) -> Result<(), Problem> {
    http.search.complete(AFTER_WAIT_MAX).await?;
    let Some(after) = after(text, http.flow.horizon())? else { return Ok(()) };
    http.search.wait(after, AFTER_WAIT_MAX).await.map_err(|late| {
        Problem::unavailable(format!("the index has not yet reached position {after}: {late}"))
    })
}

/// The twins of these devices, without those that don't exist any more. What isn't kept in memory is read.
async fn twins(http: &Http, tenant: &TenantId, ids: &[DeviceId]) -> Result<Vec<Arc<Twin>>, StoreError> {
    let mut twins = http.flow.kept(tenant, ids);
    let missing = ids.iter().zip(&twins).filter(|(_, twin)| twin.is_none());
    let missing: Vec<DeviceId> = missing.map(|(id, _)| id.clone()).collect();
    if !missing.is_empty() {
        let read = http.store.by_ids(tenant, &missing).await?;
        for (place, twin) in twins.iter_mut().filter(|place| place.is_none()).zip(read) {
            *place = twin.map(Arc::new);
        }
    }
    Ok(twins.into_iter().flatten().collect())
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
            SearchError::Incomplete(_) => Self::unavailable(error.to_string()),
            SearchError::Cursor | SearchError::Refused(_) => Self::bad_request(error.to_string()),
            SearchError::InUse(_) | SearchError::Io(_) | SearchError::Index(_) => {
                warn!(error = format!("{:#}", anyhow::Error::from(error)), "a search failed");
                Self::unavailable("the search failed")
            }
        }
    }
}
