//! What matched in a segment, kept for who asks again: the next page, the refresh of a view, the same question of a
//! colleague. A segment doesn't change, so what matched in it matches as long as it is there; what was deleted or replaced
//! since is left out when it is read.

use std::collections::HashMap;
use std::sync::Arc;

use statecast_state::TenantId;
use statecast_state::query::{Expr, Query};
use tantivy::DocId;

/// Bytes that are kept for each document of a segment, at most: eight queries that match them all.
const BYTES_PER_DOCUMENT: usize = 32;
/// The same for a small segment.
const BYTES_MIN: usize = 64 * 1024;
/// About what an entry takes beside its key and its documents.
const ENTRY_BYTES: usize = 128;

/// What a query is known by, and whose devices it is about. None for one that may match other documents later, or matches
/// all, which takes no search.
pub(crate) fn key(tenant: &TenantId, query: &Query) -> Option<Arc<str>> {
    let mut lasts = *query.expr() != Expr::All;
    query.expr().visit(&mut |expr| {
        lasts &= match expr {
            Expr::Within { range, .. } => !range.is_relative(),
            Expr::Equals { value, .. } => !value.during().is_some_and(|range| range.is_relative()),
            _ => true,
        };
    });
    lasts.then(|| [tenant.as_str(), "\0", query.text()].concat().into())
}

/// The documents of one segment that matched, by query.
#[derive(Default)]
pub(crate) struct Repeated {
    matched: HashMap<Arc<str>, Arc<[DocId]>>,
    bytes: usize,
}

impl Repeated {
    /// What this query matched, also what was deleted since.
    pub(crate) fn get(&self, key: &str) -> Option<Arc<[DocId]>> {
        self.matched.get(key).cloned()
    }

    /// Keeps what a query matched in a segment of so many documents; instead of all others when that gets too much.
    pub(crate) fn put(&mut self, key: &Arc<str>, docs: &[DocId], segment_docs: u32) {
        let room = (segment_docs as usize * BYTES_PER_DOCUMENT).max(BYTES_MIN);
        let bytes = ENTRY_BYTES + key.len() + size_of_val(docs);
        if bytes > room {
            return;
        }
        if self.bytes + bytes > room {
            self.matched.clear();
            self.bytes = 0;
        }
        if self.matched.insert(Arc::clone(key), docs.into()).is_none() {
            self.bytes += bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_match_others_later_has_no_key() {
        let key = |text: &str| key(&TenantId::default(), &Query::parse(text).expect(text));
        for text in [
            "site:lab",
            "-battery:<15 (a OR b*)",
            "firmware:>1.2.3",
            "online:true",
            "has:seen",
            "seen:2026-11-23",
        ] {
            assert!(key(text).is_some(), "{text}");
        }
        for text in
            ["", "seen:>-1h", "site:lab -(a OR reported.until:<-5m)", "seen:2026-11-23..-1h", "at:-2d..-1d"]
        {
            assert!(key(text).is_none(), "{text}");
        }
        assert_ne!(key("a"), key("b"));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut repeated = Repeated::default();
        let docs: Vec<DocId> = (0..1_000).collect();
        for nth in 0..1_000 {
            repeated.put(&nth.to_string().into(), &docs, 1_000);
            assert!(repeated.bytes <= BYTES_MIN && repeated.get(&nth.to_string()).is_some(), "{nth}");
        }
        assert!(repeated.get("0").is_none());
        repeated.put(&"all".into(), &vec![0; 100_000], 1_000);
        assert!(repeated.get("all").is_none(), "it is more than there is room for");
    }
}
