//! Answers a query: how many match, the first of them in order, and counts of their values.

use std::collections::BinaryHeap;

use statecast_state::query::sort::SORT_KEYS_MAX;
use statecast_state::query::{Field, Query, SortKey};
use statecast_state::{DeviceId, Position, TenantId, Timestamp};
use tantivy::query::EnableScoring;
use tantivy::{DocId, SegmentReader};

use crate::facets::{FACETS_MAX, FacetCounts, Facets};
use crate::order::{Global, Local, SegmentOrder};
use crate::{Search, SearchError, cursor, translate};

/// Most devices in one answer.
pub const LIMIT_MAX: usize = 1_000;

/// The answer to a search.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// How many devices match, on all pages.
    pub total: usize,
    /// Those of this page, in order.
    pub ids: Vec<DeviceId>,
    /// Where the next page begins; none when this is the last.
    pub next_cursor: Option<String>,
    /// For each facet that was asked for, its values in all devices that match.
    pub facets: Vec<FacetCounts>,
    /// All changes up to here were seen.
    pub position: Position,
}

impl Search {
    /// The devices of `tenant` that match `query` at the moment `now`: at most `limit` (up to [`LIMIT_MAX`])
    /// in the order of `sort` and then of their ids, those behind `cursor`. Blocks, for milliseconds.
    ///
    /// # Errors
    /// `Incomplete` while there is no index to ask; `Cursor` when it came with another `sort`, `TooMany` sort keys or facets, `Index` when the index fails.
    #[expect(clippy::too_many_arguments, reason = "one for each parameter of the public search")]
    pub fn search(
        &self,
        tenant: &TenantId,
        query: &Query,
        sort: &[SortKey],
        limit: usize,
        cursor: Option<&str>,
        facets: &[Field],
        now: Timestamp,
    ) -> Result<Found, SearchError> {
        if sort.len() > SORT_KEYS_MAX {
            return Err(SearchError::TooMany("at most 4 sort keys"));
        }
        if facets.len() > FACETS_MAX {
            return Err(SearchError::TooMany("at most 16 facets"));
        }
        let behind = cursor.map(|text| cursor::read(sort, text)).transpose()?;
        let view = self.view()?;
        let weight = translate::query(&view.fields, tenant, query.expr(), now)
            .weight(EnableScoring::disabled_from_searcher(&view.searcher))?;

        let limit = limit.min(LIMIT_MAX);
        let mut counts = Facets::new(facets);
        let (mut total, mut rest, mut page) = (0, 0, Vec::new());
        for reader in view.searcher.segment_readers() {
            let order = SegmentOrder::open(reader, sort)?;
            let mut first =
                First::new(limit, behind.as_ref().map(|global| order.locate(global)).transpose()?);
            let mut segment_counts = counts.segment(reader)?;
            weight.for_each_no_score(reader, &mut |docs| {
                for doc in docs.iter().copied().filter(|doc| is_alive(reader, *doc)) {
                    total += 1;
                    first.offer(order.place(doc));
                    segment_counts.count(doc);
                }
            })?;
            rest += first.offered;
            counts.add(segment_counts)?;
            for local in first.places {
                page.push(order.resolve(&local)?);
            }
        }

        page.sort_unstable_by(|left, right| left.compare(right, sort));
        page.truncate(limit);
        let more = rest > page.len();
        let ids = page.iter().map(|place| DeviceId::parse(&place.id)).collect::<Result<_, _>>();
        // Only valid ids are ever written.
        let ids = ids.map_err(|error| tantivy::TantivyError::InternalError(error.to_string()))?;
        let last = if more { page.pop() } else { None };
        let next_cursor = last.map(|last: Global| cursor::write(sort, last)).transpose()?;
        Ok(Found { total, ids, next_cursor, facets: counts.finish(), position: view.position })
    }
}

/// Whether a document wasn't deleted or replaced.
pub(crate) fn is_alive(reader: &SegmentReader, doc: DocId) -> bool {
    reader.alive_bitset().is_none_or(|alive| alive.is_alive(doc))
}

/// The first few of those behind a place, and how many there are.
struct First {
    limit: usize,
    behind: Option<Local>,
    offered: usize,
    /// The last of them on top.
    places: BinaryHeap<Local>,
}

impl First {
    fn new(limit: usize, behind: Option<Local>) -> Self {
        Self { limit, behind, offered: 0, places: BinaryHeap::with_capacity(limit + 1) }
    }

    fn offer(&mut self, place: Local) {
        if self.behind.is_some_and(|behind| place <= behind) {
            return;
        }
        self.offered += 1;
        if self.places.len() < self.limit {
            self.places.push(place);
        } else if self.places.peek().is_some_and(|last| place < *last) {
            self.places.pop();
            self.places.push(place);
        }
    }
}
