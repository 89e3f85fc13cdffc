//! What matched in a segment, kept for who asks again: the next page, the refresh of a view, the same question of a
//! colleague. A segment doesn't change, so what matched in it matches as long as it is there; what was deleted or replaced
//! since is left out when it is read.

use std::collections::HashMap;
use std::sync::Arc;

use statecast_state::TenantId;
use statecast_state::query::{Expr, Query};
use tantivy::DocId;

/// Documents of a segment that is worth it, at least: a smaller one is searched as fast, and merged before long.
pub(crate) const DOCS_MIN: u32 = 2_048;
/// Bytes that are kept for each document of a segment, at most.
const BYTES_PER_DOCUMENT: usize = 32;
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
    matched: HashMap<Arc<str>, Matched, foldhash::fast::RandomState>,
    bytes: usize,
}

/// Documents in their order, each as how far it is behind the one before: seven bits a byte, the highest bit says that more
/// follow. A byte each, then, unless fewer than one in a hundred matched.
#[derive(Clone)]
pub(crate) struct Matched(Arc<[u8]>);

impl Repeated {
    /// What this query matched, also what was deleted since.
    pub(crate) fn get(&self, key: &str) -> Option<Matched> {
        self.matched.get(key).cloned()
    }

    /// Keeps what a query matched in a segment of so many documents; instead of all others when that gets too much.
    pub(crate) fn put(&mut self, key: &Arc<str>, matched: Matched, segment_docs: u32) {
        let room = segment_docs as usize * BYTES_PER_DOCUMENT;
        let bytes = ENTRY_BYTES + key.len() + matched.0.len();
        if bytes > room {
            return;
        }
        if self.bytes + bytes > room {
            self.matched.clear();
            self.bytes = 0;
        }
        if self.matched.insert(Arc::clone(key), matched).is_none() {
            self.bytes += bytes;
        }
    }
}

impl Matched {
    /// Of these, in their order.
    pub(crate) fn of(docs: &[DocId]) -> Self {
        let (mut bytes, mut before) = (Vec::with_capacity(docs.len()), 0);
        for doc in docs {
            let mut gap = doc - before;
            before = *doc;
            while gap > LOW {
                bytes.push((gap & LOW) as u8 | MORE);
                gap >>= LOW.count_ones();
            }
            bytes.push(gap as u8);
        }
        Self(bytes.into())
    }

    /// All of them.
    pub(crate) fn docs(&self) -> impl Iterator<Item = DocId> {
        let (mut doc, mut gap, mut bits) = (0, 0, 0);
        self.0.iter().filter_map(move |byte| {
            gap |= (DocId::from(*byte) & LOW) << bits;
            bits += LOW.count_ones();
            (byte & MORE == 0).then(|| {
                doc += gap;
                (gap, bits) = (0, 0);
                doc
            })
        })
    }
}

/// The bits of a byte that are part of a number, and the one that says that more follow.
const LOW: u32 = 0x7f;
const MORE: u8 = 0x80;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        let docs: Vec<DocId> = (0..10_000).collect();
        for nth in 0..1_000 {
            repeated.put(&nth.to_string().into(), Matched::of(&docs), DOCS_MIN);
            assert!(repeated.bytes <= DOCS_MIN as usize * BYTES_PER_DOCUMENT, "{nth}");
            assert!(repeated.get(&nth.to_string()).is_some(), "{nth}");
        }
        assert!(repeated.get("0").is_none());
        let all: Vec<DocId> = (0..100_000).collect();
        repeated.put(&"all".into(), Matched::of(&all), DOCS_MIN);
        assert!(repeated.get("all").is_none(), "it is more than there is room for");
    }

    proptest! {
        #[test]
        fn documents_are_read_as_they_were_written(docs in prop::collection::btree_set(any::<DocId>(), 0..100)) {
            let docs: Vec<DocId> = docs.into_iter().collect();
            prop_assert_eq!(Matched::of(&docs).docs().collect::<Vec<_>>(), docs);
        }
    }
}
