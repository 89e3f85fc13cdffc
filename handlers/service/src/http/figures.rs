//! Facets, statistics and histograms as JSON.

use serde_json::{Map, Value, json};
use statecast_search::statistics::PERCENTILES;
use statecast_search::{FacetCounts, HistogramCounts, Statistics};
use statecast_state::Timestamp;
use statecast_state::query::{Field, Interval};

/// The values of a field, most frequent first, and how many more there are; with each what the fields `stats` come to.
pub(super) fn facet(facet: &FacetCounts, stats: &[Field]) -> (String, Value) {
    let values = facet.values.iter().map(|value| {
        let mut shown = json!({ "value": value.value, "count": value.count });
        if !value.stats.is_empty() {
            shown["stats"] = named(stats, &value.stats).into();
        }
        shown
    });
    (facet.field.to_string(), json!({ "values": values.collect::<Vec<_>>(), "more": facet.more }))
}

/// What fields come to, by their names.
pub(super) fn named(fields: &[Field], found: &[Statistics]) -> Map<String, Value> {
    fields.iter().zip(found).map(|(field, found)| (field.to_string(), statistics(found))).collect()
}

fn statistics(found: &Statistics) -> Value {
    let mut shown =
        json!({ "devices": found.devices, "count": found.count, "cardinality": found.cardinality });
    if let Some(numbers) = &found.numbers {
        let number = |value| number(value, found.times);
        let percentiles = PERCENTILES.iter().zip(numbers.percentiles);
        shown["min"] = number(numbers.min);
        shown["max"] = number(numbers.max);
        shown["mean"] = number(numbers.mean);
        shown["percentiles"] = percentiles
            .map(|(percent, value)| (percent.to_string(), number(value)))
            .collect::<Map<_, _>>()
            .into();
    }
    shown
}

/// How many values are in each bucket, and how wide these are.
pub(super) fn histogram(found: &HistogramCounts) -> (String, Value) {
    let times = matches!(found.interval, Interval::Time(_));
    let interval = match found.interval {
        Interval::Number(width) => number(width, false),
        interval => Value::from(interval.to_string()),
    };
    let buckets: Vec<_> = found
        .buckets
        .iter()
        .map(|(start, count)| json!({ "from": number(*start, times), "count": count }))
        .collect();
    (found.field.to_string(), json!({ "interval": interval, "buckets": buckets }))
}

/// A number, or the time that it stands for.
fn number(value: f64, is_time: bool) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "microseconds of a time, or a whole number")]
    let whole = value as i64;
    #[expect(clippy::cast_precision_loss, reason = "compared with the original")]
    match is_time {
        true => Timestamp::from_micros(whole).to_string().into(),
        false if whole as f64 == value => whole.into(),
        false => value.into(),
    }
}
