//! Search: the query language over the index, and reading one's own writes.

use std::time::{Duration, SystemTime};

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use statecast_search::{FacetCounts, Search as Index, SearchError};
use statecast_state::query::{Field, Query as Search, Sort};
use statecast_state::{Position, TenantId, Twin};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Http;
use super::auth::Caller;
use super::extract::Query;
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
    /// Fields to sort by, `-` before a field for descending, e.g. `-battery,id`.
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
    /// Fields whose values are to be counted, at most 4, with commas between.
    #[serde(default)]
    facets: String,
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
    /// The query as a sentence: how it was understood.
    sentence: String,
    /// What is probably not meant, although the query was understood.
    hints: Vec<Hint>,
    /// The position up to which the index was.
    #[schema(value_type = u64)]
    position: Position,
}

/// Something in the query that is perhaps not meant.
#[derive(Serialize, ToSchema)]
struct Hint {
    /// Where: the column, from 1.
    column: usize,
    /// What is odd, e.g. `no device has batery`.
    text: String,
    /// What could be written instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    suggestion: Option<String>,
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
    let facets: Vec<Field> = Sort::parse(&asked.facets)?.into_iter().map(|key| key.field).collect();
    let limit = asked.limit.unwrap_or(20).clamp(1, PAGE_MAX);
    if let Some(after) = after(&asked.after, http.flow.horizon())? {
        http.search.wait(after, AFTER_WAIT_MAX).await.map_err(|late| {
            Problem::unavailable(format!("the index has not yet reached position {after}: {late}"))
        })?;
    }
    let sentence = query.sentence();
    http.search.complete(AFTER_WAIT_MAX).await?;
    let (index, tenant) = (http.search.clone(), caller.tenant.clone());
    // Its own thread, because a query over a whole fleet takes milliseconds.
    let (found, hints) = tokio::task::spawn_blocking(move || {
        let now = SystemTime::now().into();
        let cursor = asked.cursor.as_deref().filter(|cursor| !cursor.is_empty());
        let found = index.search(&tenant, &query, &sort, limit, cursor, &facets, now)?;
        Ok::<_, SearchError>((found, hints(&index, &tenant, &query)))
    })
    .await
    .map_err(|_| Problem::unavailable("the search failed"))??;
    let twins = http.store.by_ids(&caller.tenant, &found.ids).await?;
    Ok(axum::Json(Answer {
        total: found.total,
        // One that was removed since the index saw it is left out.
        items: twins.into_iter().flatten().collect(),
        next_cursor: found.next_cursor.unwrap_or_default(),
        facets: found.facets.iter().map(counts).collect(),
        sentence,
        hints,
        position: found.position,
    }))
}

/// What a person should look at, by what the devices of the tenant have. Where the index can't say, nothing is odd.
fn hints(index: &Index, tenant: &TenantId, query: &Search) -> Vec<Hint> {
    let exists = |field: &Field| index.has_field(tenant, field).unwrap_or(true);
    let all = || index.properties(tenant).unwrap_or_default();
    let hints = query.hints(exists, all);
    hints
        .into_iter()
        .map(|hint| Hint { column: hint.column, text: hint.text, suggestion: hint.suggestion })
        .collect()
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

/// The values of a field, most frequent first, and how many more there are.
fn counts(facet: &FacetCounts) -> (String, Value) {
    let values: Vec<_> =
        facet.values.iter().map(|(value, count)| json!({ "value": value, "count": count })).collect();
    (facet.field.to_string(), json!({ "values": values, "more": facet.more }))
}
