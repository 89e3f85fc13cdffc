//! What is computed of fields over all devices that match: statistics, and histograms.

use statecast_state::query::{Field, Histogram};
use tantivy::{DocId, SegmentReader};

use crate::SearchError;
use crate::columns::Columns;
use crate::fields::FieldColumns;
use crate::histogram::{self, HistogramCounts};
use crate::statistics::Statistics;
use crate::values::{Room, SegmentValues, Texts, Values};

/// The values of several fields, in all segments.
pub(crate) struct Figures<'a> {
    stats: &'a [Field],
    histograms: &'a [Histogram],
    /// Those of `stats`, then those of `histograms`.
    values: Vec<Values>,
}

/// The same in one segment.
pub(crate) struct SegmentFigures {
    fields: Vec<(FieldColumns, SegmentValues)>,
}

impl<'a> Figures<'a> {
    pub(crate) fn new(stats: &'a [Field], histograms: &'a [Histogram]) -> Self {
        let values = (0..stats.len() + histograms.len()).map(|_| Values::default()).collect();
        Self { stats, histograms, values }
    }

    pub(crate) fn segment(
        &self,
        columns: &Columns,
        reader: &SegmentReader,
    ) -> tantivy::Result<SegmentFigures> {
        let fields = self.stats.iter().chain(self.histograms.iter().map(|histogram| &histogram.field));
        let open = |field| Ok((FieldColumns::open(columns, reader, field)?, SegmentValues::default()));
        Ok(SegmentFigures { fields: fields.map(open).collect::<tantivy::Result<_>>()? })
    }

    pub(crate) fn add(&mut self, segment: SegmentFigures) -> tantivy::Result<()> {
        let intervals = self.histograms.iter().map(|histogram| histogram::texts(histogram.interval));
        let texts = self.stats.iter().map(|_| Texts::Distinct).chain(intervals);
        for ((total, texts), (columns, values)) in self.values.iter_mut().zip(texts).zip(segment.fields) {
            total.append(values.finish(&columns, texts)?);
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<(Vec<Statistics>, Vec<HistogramCounts>), SearchError> {
        let counted = self.values.split_off(self.stats.len());
        let histograms = self.histograms.iter().zip(counted);
        let histograms =
            histograms.map(|(asked, values)| histogram::count(&asked.field, asked.interval, values));
        Ok((self.values.into_iter().map(Statistics::of).collect(), histograms.collect::<Result<_, _>>()?))
    }
}

impl SegmentFigures {
    pub(crate) fn count(&mut self, docs: &[DocId], room: &mut Room) {
        for (columns, values) in &mut self.fields {
            columns.each(docs, |_, found| values.add(found, room));
        }
    }
}
