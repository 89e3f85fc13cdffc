//! What the index has of a range of devices: their versions.

use std::collections::HashMap;
use std::ops::Bound;

use statecast_state::{DeviceId, DeviceKey, TenantId};
use tantivy::columnar::Column;
use tantivy::postings::SegmentPostings;
use tantivy::schema::IndexRecordOption;
use tantivy::{DocSet, SegmentReader, TERMINATED, TantivyError};

use crate::generation::View;
use crate::postings::is_alive;
use crate::schema::{self, VERSION_COLUMN};

/// Devices between two keys.
pub(crate) struct Range {
    /// From the first after this one; none for the very first.
    pub(crate) after: Option<DeviceKey>,
    /// To this one; none for the end.
    pub(crate) last: Option<DeviceKey>,
}

/// The version of a device that has several documents, which no twin has.
const SEVERAL: u64 = u64::MAX;

/// The version of each device of a range that has a document.
pub(crate) fn read(view: &View, range: &Range) -> tantivy::Result<HashMap<DeviceKey, u64>> {
    let mut versions = HashMap::new();
    let from = range.after.as_ref().map(schema::key_bytes).map_or(Bound::Unbounded, Bound::Excluded);
    let last = range.last.as_ref().map(schema::key_bytes);
    for reader in view.searcher.segment_readers() {
        let inverted = reader.inverted_index(view.fields.key)?;
        let column = reader.fast_fields().u64(VERSION_COLUMN)?;
        let mut terms = inverted.terms().range();
        if let Bound::Excluded(from) = &from {
            terms = terms.gt(from);
        }
        if let Some(last) = &last {
            terms = terms.le(last);
        }
        let mut terms = terms.into_stream()?;
        while terms.advance() {
            let mut postings =
                inverted.read_postings_from_terminfo(terms.value(), IndexRecordOption::Basic)?;
            if let Some(version) = alive(reader, &mut postings, &column) {
                let key = read_key(terms.key()).ok_or_else(|| {
                    TantivyError::InternalError("the index holds a key that isn't one".to_owned())
                })?;
                versions.entry(key).and_modify(|known| *known = SEVERAL).or_insert(version);
            }
        }
    }
    Ok(versions)
}

/// The version of a device, 0 for one that has no document.
pub(crate) fn version(view: &View, key: &DeviceKey) -> tantivy::Result<u64> {
    let term = schema::key_bytes(key);
    let mut known = None;
    for reader in view.searcher.segment_readers() {
        let inverted = reader.inverted_index(view.fields.key)?;
        let Some(info) = inverted.terms().get(&term)? else { continue };
        let mut postings = inverted.read_postings_from_terminfo(&info, IndexRecordOption::Basic)?;
        let column = reader.fast_fields().u64(VERSION_COLUMN)?;
        if let Some(version) = alive(reader, &mut postings, &column) {
            known = Some(known.map_or(version, |_| SEVERAL));
        }
    }
    Ok(known.unwrap_or(0))
}

/// The version in the document that isn't deleted; none when there is none.
fn alive(reader: &SegmentReader, postings: &mut SegmentPostings, versions: &Column<u64>) -> Option<u64> {
    let mut known = None;
    while postings.doc() != TERMINATED {
        if is_alive(reader, postings.doc()) {
            let version = versions.first(postings.doc()).unwrap_or(0);
            known = Some(known.map_or(version, |_| SEVERAL));
        }
        postings.advance();
    }
    known
}

fn read_key(term: &[u8]) -> Option<DeviceKey> {
    let (tenant, device) = std::str::from_utf8(term).ok()?.split_once('\0')?;
    Some(DeviceKey::new(TenantId::parse(tenant).ok()?, DeviceId::parse(device).ok()?))
}
