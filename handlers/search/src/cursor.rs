//! A cursor: where the last page ended, and in which order. It holds no number of a page, so what comes and
//! goes before it neither repeats nor hides a device.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use statecast_state::query::SortKey;

use crate::SearchError;
use crate::order::Global;

/// Longest cursor that is read, in bytes.
const CURSOR_BYTES_MAX: usize = 4_096;

#[derive(Serialize, Deserialize)]
struct Cursor {
    sort: String,
    last: Global,
}

/// The cursor behind `last`, in the order of these keys.
pub(crate) fn write(sort: &[SortKey], last: Global) -> Result<String, SearchError> {
    let json = serde_json::to_vec(&Cursor { sort: order(sort), last }).map_err(std::io::Error::from)?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}

/// Where the page before this one ended.
pub(crate) fn read(sort: &[SortKey], text: &str) -> Result<Global, SearchError> {
    let cursor: Option<Cursor> = (text.len() <= CURSOR_BYTES_MAX)
        .then(|| URL_SAFE_NO_PAD.decode(text).ok())
        .flatten()
        .and_then(|json| serde_json::from_slice(&json).ok());
    match cursor {
        Some(Cursor { sort: its, last }) if its == order(sort) && last.values.len() == sort.len() => Ok(last),
        _ => Err(SearchError::Cursor),
    }
}

fn order(sort: &[SortKey]) -> String {
    sort.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
