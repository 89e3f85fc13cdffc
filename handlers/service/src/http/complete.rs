//! Completion of a query that is being written, from what the fleet of the caller really reports.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use statecast_search::{Kind, KnownField, Search, SearchError};
use statecast_state::TenantId;
use statecast_state::query::cursor::{self, Place, Wanted};
use statecast_state::query::{Field, QUERY_BYTES_MAX};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Http;
use super::auth::Caller;
use super::extract::Query;
use super::problem::Problem;

/// Completions that are told at most, and words among them where fields could stand, too.
const ITEMS_MAX: usize = 12;
const WORDS_MAX: usize = 5;
/// Fields that every device has.
const BUILT_IN: [(Field, Kind); 3] =
    [(Field::Id, Kind::Text), (Field::Online, Kind::Truth), (Field::Seen, Kind::Time)];
/// What is often asked of times.
const TIMES: [&str; 5] = [">-1h", "<-1h", ">-1d", "<-1d", "<-1w"];

pub(super) fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new().routes(routes!(complete))
}

/// A query that is being written.
#[derive(Deserialize, IntoParams)]
struct Asked {
    /// The query so far.
    #[serde(default)]
    q: String,
    /// The column of the character before which the cursor stands, from 1; behind the last where nothing is said.
    cursor: Option<usize>,
}

/// What could stand at the cursor.
#[derive(Serialize, ToSchema)]
struct Completions {
    /// The column of the first character that a completion replaces, from 1.
    from: usize,
    /// The column behind the last that it replaces.
    to: usize,
    /// The completions, the likeliest first, at most 12.
    items: Vec<Completion>,
}

/// A completion.
#[derive(Serialize, ToSchema)]
struct Completion {
    /// What to write; for a field with the colon behind it, for a value with the quotes that it needs. Words and strings
    /// are in lower case, as case doesn't count.
    text: String,
    /// `field`, `value` or `word`.
    kind: &'static str,
    /// What kinds of values a field has: `number`, `text`, `boolean`, `time`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    types: Vec<&'static str>,
    /// How many devices have it; none for what every device may be asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    devices: Option<usize>,
}

/// Completes a query at the cursor: fields, values or words, with the number of devices that have them.
#[utoipa::path(get, path = "/v1/search/complete", params(Asked), responses((status = 200, body = Completions), (status = 400, body = Problem)), tag = "search")]
async fn complete(
    State(http): State<Http>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> Result<Json<Completions>, Problem> {
    if asked.q.len() > QUERY_BYTES_MAX {
        return Err(Problem::bad_request(format!("a query may have at most {QUERY_BYTES_MAX} bytes")));
    }
    let Place { from, to, wanted } = Place::at(&asked.q, asked.cursor.unwrap_or(usize::MAX));
    let items = tokio::task::spawn_blocking(move || items(&http.search, &caller.tenant, wanted))
        .await
        .map_err(|_| Problem::unavailable("the completion failed"))??;
    Ok(Json(Completions { from, to, items }))
}

fn items(search: &Search, tenant: &TenantId, wanted: Wanted) -> Result<Vec<Completion>, SearchError> {
    let mut items = match wanted {
        Wanted::FieldOrWord(start) => {
            let built_in = BUILT_IN.into_iter().filter(|(field, _)| field.to_string().starts_with(&start));
            let mut items: Vec<_> = built_in
                .map(|(field, kind)| Completion {
                    text: format!("{field}:"),
                    kind: "field",
                    types: vec![kind.as_str()],
                    devices: None,
                })
                .collect();
            let known = search.fields(tenant, &start, ITEMS_MAX)?;
            // What has no single value can't be compared with one.
            let known = known.into_iter().filter(|known| !known.kinds.is_empty());
            items.extend(known.map(|known| field(&known, ":")).take(ITEMS_MAX - WORDS_MAX - items.len()));
            if !start.is_empty() {
                items.extend(search.words(tenant, &start, ITEMS_MAX)?.into_iter().map(word));
            }
            items
        }
        Wanted::Field(start) => {
            search.fields(tenant, &start, ITEMS_MAX)?.iter().map(|known| field(known, "")).collect()
        }
        Wanted::Value(Field::Seen, start) => {
            let times = TIMES.into_iter().filter(|time| time.starts_with(&start));
            times.map(|time| value(time.to_owned(), None)).collect()
        }
        Wanted::Value(of, start) => {
            let found = search.values(tenant, &of, &start, ITEMS_MAX)?;
            found.into_iter().map(|(found, devices)| value(written(&of, &found), Some(devices))).collect()
        }
        Wanted::Nothing => Vec::new(),
    };
    items.truncate(ITEMS_MAX);
    Ok(items)
}

fn field(known: &KnownField, end: &str) -> Completion {
    let types = known.kinds.iter().map(|kind| kind.as_str()).collect();
    Completion { text: format!("{}{end}", known.field), kind: "field", types, devices: Some(known.devices) }
}

fn word((text, devices): (String, usize)) -> Completion {
    Completion { text, kind: "word", types: Vec::new(), devices: Some(devices) }
}

fn value(text: String, devices: Option<usize>) -> Completion {
    Completion { text, kind: "value", types: Vec::new(), devices }
}

/// A value as a query writes it behind the colon.
fn written(field: &Field, value: &Value) -> String {
    match value.as_str() {
        Some(text) => {
            let whole = cursor::equals(field.clone(), text).to_string();
            whole.strip_prefix(&format!("{field}:")).unwrap_or(&whole).to_owned()
        }
        None => value.to_string(),
    }
}
