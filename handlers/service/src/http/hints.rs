//! Hints: what was understood and is perhaps not meant, by what the devices of the tenant have. Where the index can't say,
//! nothing is odd.

use serde::Serialize;
use statecast_search::Search as Index;
use statecast_state::TenantId;
use statecast_state::query::{self, Field, Query, hints, list};
use utoipa::ToSchema;

use super::Http;

/// Something that is perhaps not meant.
#[derive(Serialize, ToSchema)]
pub(super) struct Hint {
    /// In which parameter of the request, where it isn't the query itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<&'static str>,
    /// Where: the column, from 1.
    column: usize,
    /// What is odd, e.g. `no device has batery`.
    text: String,
    /// What could be written instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    suggestion: Option<String>,
}

/// What was saved, with hints on its query.
#[derive(Serialize)]
pub(super) struct Hinted<T> {
    #[serde(flatten)]
    saved: T,
    /// None when nothing is odd.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<Hint>,
}

/// On a query. Blocks, for milliseconds.
pub(super) fn of_query(index: &Index, tenant: &TenantId, query: &Query) -> Vec<Hint> {
    let found = query.hints(|field| exists(index, tenant, field), || all(index, tenant));
    told(None, found)
}

/// On the parts of a list in a parameter, each with the field that it names, if it names one. Blocks, for milliseconds.
pub(super) fn of_list<'a>(
    index: &Index,
    tenant: &TenantId,
    (parameter, text): (&'static str, &str),
    fields: impl Iterator<Item = Option<&'a Field>>,
) -> Vec<Hint> {
    let named =
        list::parts(text).zip(fields).filter_map(|((column, _), field)| Some((column, field?.clone())));
    let found = hints::of_fields(named, |field| exists(index, tenant, field), || all(index, tenant));
    told(Some(parameter), found)
}

/// What was saved, with hints on its query.
pub(super) async fn hinted<T>(
    http: &Http,
    tenant: &TenantId,
    saved: T,
    query: impl Fn(&T) -> &str,
) -> Hinted<T> {
    let Ok(query) = Query::parse(query(&saved)) else { return Hinted { saved, hints: Vec::new() } };
    let (index, tenant) = (http.search.clone(), tenant.clone());
    let hints = tokio::task::spawn_blocking(move || of_query(&index, &tenant, &query));
    Hinted { saved, hints: hints.await.unwrap_or_default() }
}

fn exists(index: &Index, tenant: &TenantId, field: &Field) -> bool {
    index.has_field(tenant, field).unwrap_or(true)
}

fn all(index: &Index, tenant: &TenantId) -> Vec<Field> {
    index.properties(tenant).unwrap_or_default()
}

fn told(parameter: Option<&'static str>, found: Vec<query::Hint>) -> Vec<Hint> {
    let hint = |query::Hint { column, text, suggestion }| Hint { parameter, column, text, suggestion };
    found.into_iter().map(hint).collect()
}
