//! A cursor: where the last page ended, and in which order. It holds no number of a page and keeps nothing open.
//!
//! *Guarantee*: while devices come, go and change between one page and the next, a device that matches all the time
//! and whose values of the sort keys stay as they are is on exactly one page: neither skipped nor doubled. One whose
//! values change may be on two pages, or on none, as it moves. Each page is the index at its own moment, and says
//! at which position. Relevance is judged on all pages as on the first: the cursor carries how much each word counts.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use statecast_state::query::SortKey;

use crate::SearchError;
use crate::order::Global;
use crate::relevance::Relevance;

/// Longest cursor that is read, in bytes.
const CURSOR_BYTES_MAX: usize = 16_384;

#[derive(Serialize, Deserialize)]
struct Cursor {
    sort: String,
    last: Global,
    /// The bits of the weights, as JSON would not keep each double exact.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    weights: Vec<u64>,
}

/// The cursor behind `last`, in the order of these keys.
pub(crate) fn write(
    sort: &[SortKey],
    last: Global,
    relevance: Option<&Relevance>,
) -> Result<String, SearchError> {
    let weights =
        relevance.map(|relevance| relevance.weights.iter().map(|weight| weight.to_bits()).collect());
    let cursor = Cursor { sort: order(sort), last, weights: weights.unwrap_or_default() };
    Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(&cursor).map_err(std::io::Error::from)?))
}

/// Where the page before this one ended, and the weights of the words.
pub(crate) fn read(sort: &[SortKey], text: &str) -> Result<(Global, Vec<f64>), SearchError> {
    let cursor: Option<Cursor> = (text.len() <= CURSOR_BYTES_MAX)
        .then(|| URL_SAFE_NO_PAD.decode(text).ok())
        .flatten()
        .and_then(|json| serde_json::from_slice(&json).ok());
    match cursor {
        Some(Cursor { sort: its, last, weights })
            if its == order(sort) && last.values.len() == sort.len() =>
        {
            Ok((last, weights.into_iter().map(f64::from_bits).collect()))
        }
        _ => Err(SearchError::Cursor),
    }
}

fn order(sort: &[SortKey]) -> String {
    sort.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
