//! Answers a query: how many match, the first of them in order, and counts of their values: all from one look at the
//! index, in one pass over what matches.

use std::cell::OnceCell;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::io;
use std::sync::Arc;

use statecast_state::query::sort::SORT_KEYS_MAX;
use statecast_state::query::{By, Field, Histogram, Query, SortKey};
use statecast_state::{DeviceId, Position, TenantId, Timestamp};
use tantivy::query::{EnableScoring, Weight};
use tantivy::{DocId, SegmentReader};

use crate::columns::Columns;
use crate::facets::{FACET_STATISTICS_MAX, FACETS_MAX, FacetCounts, Facets};
use crate::facts::Scope;
use crate::fields::{BLOCK, MISSING};
use crate::figures::Figures;
use crate::generation::View;
use crate::histogram::{HISTOGRAMS_MAX, HistogramCounts};
use crate::order::{self, Global, Local, SegmentOrder, Value};
use crate::postings::is_alive;
use crate::relevance::Relevance;
use crate::statistics::{STATISTICS_MAX, Statistics};
use crate::values::{Room, VALUES_MAX};
use crate::{Search, SearchError, cursor, repeated, translate};

/// Most devices in one answer.
pub const LIMIT_MAX: usize = 4_000;

/// What is asked of the index.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Whose devices.
    pub tenant: &'a TenantId,
    /// Which of them.
    pub query: &'a Query,
    /// In which order, and then of their ids; at most [`SORT_KEYS_MAX`].
    pub sort: &'a [SortKey],
    /// How many on this page, at most [`LIMIT_MAX`].
    pub limit: usize,
    /// Where the page before ended.
    pub cursor: Option<&'a str>,
    /// Whose values are to be counted; at most [`FACETS_MAX`].
    pub facets: &'a [Field],
    /// What is to be computed for each value of each facet; at most [`FACET_STATISTICS_MAX`].
    pub facet_stats: &'a [Field],
    /// What is to be computed of all that match; at most [`STATISTICS_MAX`].
    pub stats: &'a [Field],
    /// What is to be counted by intervals; at most [`HISTOGRAMS_MAX`].
    pub histograms: &'a [Histogram],
    /// What relative times are relative to.
    pub now: Timestamp,
}

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
    /// For each field of `stats`, what its values come to in all devices that match.
    pub stats: Vec<Statistics>,
    /// For each histogram that was asked for, the values in all devices that match.
    pub histograms: Vec<HistogramCounts>,
    /// All changes up to here were seen.
    pub position: Position,
}

impl<'a> Question<'a> {
    /// How many match, and nothing else.
    pub fn new(tenant: &'a TenantId, query: &'a Query, now: Timestamp) -> Self {
        let (sort, facets, facet_stats, stats, histograms) = Default::default();
        Self { tenant, query, sort, limit: 0, cursor: None, facets, facet_stats, stats, histograms, now }
    }

    fn check(&self) -> Result<(), SearchError> {
        let refused = [
            (self.sort.len() > SORT_KEYS_MAX, "at most 4 sort keys"),
            (self.facets.len() > FACETS_MAX, "at most 8 facets"),
            (self.facet_stats.len() > FACET_STATISTICS_MAX, "statistics of at most 4 fields for each facet"),
            (self.stats.len() > STATISTICS_MAX, "statistics of at most 8 fields"),
            (self.histograms.len() > HISTOGRAMS_MAX, "at most 8 histograms"),
        ];
        refused.into_iter().find(|(over, _)| *over).map_or(Ok(()), |(_, why)| Err(SearchError::Refused(why)))
    }
}

impl Search {
    /// The devices that match, page by page (see [`crate::cursor`] for what that promises while they change), and
    /// what was asked about all of them. Blocks, for milliseconds.
    ///
    /// # Errors
    /// `Incomplete` while there is no index to ask, `Cursor` when it came with another order, `Refused` when more is asked than allowed or what this query
    /// can't answer, `Index` when the index fails.
    pub fn search(&self, question: &Question<'_>) -> Result<Found, SearchError> {
        question.check()?;
        let view = self.view()?;
        let Question { tenant, query, sort, .. } = *question;
        // Equals are in this order anyway.
        let sort = match sort {
            [keys @ .., last] if *last == SortKey { by: By::Field(Field::Id), descending: false } => keys,
            keys => keys,
        };
        let (behind, weights) = question.cursor.map(|text| cursor::read(sort, text)).transpose()?.unzip();
        let relevance = relevance(&view, question, weights)?;
        let weight = translate::query(&view, tenant, query.expr(), question.now)
            .weight(EnableScoring::disabled_from_searcher(&view.searcher))?;

        let key = repeated::key(tenant, query);
        let limit = question.limit.min(LIMIT_MAX);
        let mut room = Room::new(VALUES_MAX);
        let mut facets = Facets::new(question.facets, question.facet_stats);
        let mut figures = Figures::new(question.stats, question.histograms);
        let (mut total, mut rest, mut segments) = (0, 0, Vec::new());
        for reader in view.searcher.segment_readers() {
            let order = SegmentOrder::open(&view.columns, reader, sort, relevance.as_ref())?;
            let mut first =
                First::new(limit, behind.as_ref().map(|global| order.locate(global)).transpose()?);
            let mut segment_facets = facets.segment(&view.columns, reader)?;
            let mut segment_figures = figures.segment(&view.columns, reader)?;
            each_match(&view.columns, reader, &*weight, key.as_ref(), |docs| {
                total += docs.len();
                first.offer(&order, docs);
                segment_facets.count(docs, &mut room);
                segment_figures.count(docs, &mut room);
            })?;
            room.check("statistics of more than 4,000,000 values: narrow the query")?;
            rest += first.offered;
            facets.add(segment_facets)?;
            figures.add(segment_figures)?;
            segments.push(Sorted::new(order, first.places.into_sorted_vec())?);
        }

        let mut page = merge(segments, sort, limit)?;
        let more = rest > page.len();
        let ids = page.iter().map(|place| DeviceId::parse(&place.id)).collect::<Result<_, _>>();
        // Only valid ids are ever written.
        let ids = ids.map_err(|error| tantivy::TantivyError::InternalError(error.to_string()))?;
        let last = if more { page.pop() } else { None };
        let next_cursor = last.map(|last| cursor::write(sort, last, relevance.as_ref())).transpose()?;
        let (stats, histograms) = figures.finish()?;
        let facets = facets.finish();
        Ok(Found { total, ids, next_cursor, facets, stats, histograms, position: view.position })
    }
}

/// Calls `f` with the documents of a segment that match, in their order, at most [`BLOCK`] at a time: those that are known to
/// match from before, or those that are found now, which are kept if the query has a key.
fn each_match(
    columns: &Columns,
    reader: &SegmentReader,
    weight: &dyn Weight,
    key: Option<&Arc<str>>,
    mut f: impl FnMut(&[DocId]),
) -> tantivy::Result<()> {
    let Some(key) = key.filter(|_| reader.max_doc() >= repeated::DOCS_MIN) else {
        return weight
            .for_each_no_score(reader, &mut |docs| each_alive(reader, docs.iter().copied(), &mut f));
    };
    if let Some(matched) = columns.matched(reader, key) {
        each_alive(reader, matched.docs(), &mut f);
        return Ok(());
    }
    let mut matched = Vec::new();
    weight.for_each_no_score(reader, &mut |docs| matched.extend_from_slice(docs))?;
    each_alive(reader, matched.iter().copied(), &mut f);
    columns.keep_matched(reader, key, &matched);
    Ok(())
}

/// Calls `f` with those that weren't deleted or replaced, at most [`BLOCK`] at a time.
fn each_alive(reader: &SegmentReader, docs: impl Iterator<Item = DocId>, mut f: impl FnMut(&[DocId])) {
    let mut docs = docs.filter(|doc| is_alive(reader, *doc));
    let mut block = [0; BLOCK];
    loop {
        let mut count = 0;
        for (slot, doc) in block.iter_mut().zip(docs.by_ref()) {
            *slot = doc;
            count += 1;
        }
        if count == 0 {
            return;
        }
        f(&block[..count]);
    }
}

/// What judges relevance, where it is part of the order.
fn relevance(
    view: &View,
    question: &Question<'_>,
    weights: Option<Vec<f64>>,
) -> Result<Option<Relevance>, SearchError> {
    if !question.sort.iter().any(|key| key.by == By::Relevance) {
        return Ok(None);
    }
    let again = weights.is_some();
    match Relevance::of(view, &Scope::of(question.tenant), question.query.expr(), weights)? {
        Some(relevance) => Ok(Some(relevance)),
        None if again => Err(SearchError::Cursor),
        None => {
            Err(SearchError::Refused("relevance is about words: the query has none that are to be found"))
        }
    }
}

/// The first places of a segment, in order.
struct Sorted {
    order: SegmentOrder,
    places: std::vec::IntoIter<Local>,
    head: Option<Head>,
}

/// The first of what is left of a segment.
struct Head {
    local: Local,
    values: Vec<Value>,
    /// Looked up only if it is asked for, as that takes longer than all else.
    id: OnceCell<String>,
}

impl Sorted {
    fn new(order: SegmentOrder, places: Vec<Local>) -> io::Result<Self> {
        let mut sorted = Self { order, places: places.into_iter(), head: None };
        sorted.advance()?;
        Ok(sorted)
    }

    /// Takes the head away; the next one takes its place.
    fn advance(&mut self) -> io::Result<Option<Global>> {
        let head = |local| -> io::Result<Head> {
            Ok(Head { values: self.order.values(&local)?, local, id: OnceCell::new() })
        };
        let next = self.places.next().map(head).transpose()?;
        let Some(head) = std::mem::replace(&mut self.head, next) else { return Ok(None) };
        let id = head.id.into_inner().map_or_else(|| self.order.id(&head.local), Ok)?;
        Ok(Some(Global { values: head.values, id }))
    }

    fn id<'a>(&self, head: &'a Head) -> io::Result<&'a str> {
        if head.id.get().is_none() {
            head.id.set(self.order.id(&head.local)?).ok();
        }
        Ok(head.id.get().map_or("", String::as_str))
    }

    /// Whether its head comes before that of another segment, if both have one.
    fn is_before(&self, other: &Self, sort: &[SortKey]) -> io::Result<bool> {
        let (Some(own), Some(head)) = (&self.head, &other.head) else { return Ok(self.head.is_some()) };
        Ok(match order::compare(&own.values, &head.values, sort) {
            Ordering::Equal => self.id(own)? < other.id(head)?,
            ordering => ordering.is_lt(),
        })
    }
}

/// The first places of all segments.
fn merge(mut segments: Vec<Sorted>, sort: &[SortKey], limit: usize) -> io::Result<Vec<Global>> {
    let mut page = Vec::with_capacity(limit.min(256));
    while page.len() < limit {
        let mut first = 0;
        for nth in 1..segments.len() {
            if segments[nth].is_before(&segments[first], sort)? {
                first = nth;
            }
        }
        let Some(place) = segments.get_mut(first).map(Sorted::advance).transpose()?.flatten() else { break };
        page.push(place);
    }
    Ok(page)
}

/// The first few of those behind a place, and how many there are. Most are behind the last of these by their first value.
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

    fn offer(&mut self, order: &SegmentOrder, docs: &[DocId]) {
        let mut firsts = [MISSING; BLOCK];
        order.firsts(docs, &mut firsts);
        for (doc, first) in docs.iter().zip(firsts) {
            let last = self.places.peek().filter(|_| self.places.len() >= self.limit);
            if self.behind.is_none() && last.is_some_and(|last| order.is_behind(first, last)) {
                self.offered += 1;
            } else {
                self.take(order.place(*doc));
            }
        }
    }

    fn take(&mut self, place: Local) {
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
