//! Any of a few conditions, each asked no further than the question goes. That of tantivy collects thousands of documents
//! ahead, which is fast when all are wanted; beside another condition, or to leave some out, most of that is in vain.

use std::sync::Arc;

use tantivy::query::{
    AllScorer, ConstScorer, EmptyScorer, EnableScoring, Explanation, Query, Scorer, Weight,
};
use tantivy::{DocId, DocSet, Score, SeekDangerResult, SegmentReader, TERMINATED, TantivyError};

/// Documents that fulfil any of these. No scores.
#[derive(Clone, Debug)]
pub(crate) struct Union(Arc<[Box<dyn Query>]>);

/// The same, about to be opened.
struct UnionWeight(Vec<Box<dyn Weight>>);

/// The documents of a segment that fulfil one at least. A member is never ahead of the first document it has from
/// `doc` on; it may be behind.
struct AnyOf {
    members: Vec<Box<dyn Scorer>>,
    doc: DocId,
}

impl Union {
    pub(crate) fn of(members: Vec<Box<dyn Query>>) -> Self {
        Self(members.into())
    }
}

impl Query for Union {
    fn weight(&self, scoring: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        let weights = self.0.iter().map(|member| member.weight(scoring)).collect::<tantivy::Result<_>>()?;
        Ok(Box::new(UnionWeight(weights)))
    }
}

impl Weight for UnionWeight {
    fn scorer(&self, reader: &SegmentReader, boost: Score) -> tantivy::Result<Box<dyn Scorer>> {
        let scorers = self.0.iter().map(|member| member.scorer(reader, boost));
        let mut members = scorers.collect::<tantivy::Result<Vec<_>>>()?;
        members.retain(|member| member.doc() != TERMINATED);
        if members.iter().any(|member| member.is::<AllScorer>()) {
            return Ok(Box::new(AllScorer::new(reader.max_doc())));
        }
        if members.len() > 1 {
            return Ok(Box::new(ConstScorer::new(AnyOf::new(members), boost)));
        }
        Ok(members.pop().unwrap_or_else(|| Box::new(EmptyScorer)))
    }

    fn explain(&self, reader: &SegmentReader, doc: DocId) -> tantivy::Result<Explanation> {
        for member in &self.0 {
            if let Ok(explanation) = member.explain(reader, doc) {
                return Ok(explanation);
            }
        }
        Err(TantivyError::InvalidArgument(format!("document {doc} fulfils no condition")))
    }
}

impl AnyOf {
    fn new(mut members: Vec<Box<dyn Scorer>>) -> Self {
        // Whoever asks whether a document is among them has the answer soonest from the largest.
        members.sort_by_key(|member| std::cmp::Reverse(member.size_hint()));
        let mut any = Self { members, doc: 0 };
        any.go_to(0);
        any
    }

    /// The first from here on.
    fn go_to(&mut self, from: DocId) -> DocId {
        let reached = self.members.iter_mut().map(|member| reach(&mut **member, from));
        self.doc = reached.min().unwrap_or(TERMINATED);
        self.doc
    }
}

/// The first document of a member from here on.
fn reach(member: &mut dyn Scorer, from: DocId) -> DocId {
    let doc = member.doc();
    if doc < from { member.seek(from) } else { doc }
}

impl DocSet for AnyOf {
    fn advance(&mut self) -> DocId {
        if self.doc == TERMINATED { TERMINATED } else { self.go_to(self.doc + 1) }
    }

    fn seek(&mut self, target: DocId) -> DocId {
        if target > self.doc { self.go_to(target) } else { self.doc }
    }

    /// Ends at the first member that has it: the others stay behind until they are asked.
    fn seek_danger(&mut self, target: DocId) -> SeekDangerResult {
        let mut next = TERMINATED;
        for member in &mut self.members {
            let doc = reach(&mut **member, target);
            if doc == target && target < TERMINATED {
                self.doc = target;
                return SeekDangerResult::Found;
            }
            next = next.min(doc);
        }
        self.doc = next;
        SeekDangerResult::SeekLowerBound(next)
    }

    fn doc(&self) -> DocId {
        self.doc
    }

    fn size_hint(&self) -> u32 {
        self.members.iter().map(|member| member.size_hint()).fold(0, u32::saturating_add)
    }

    fn cost(&self) -> u64 {
        self.members.iter().map(|member| member.cost()).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use tantivy::BitSet;
    use tantivy::query::BitSetDocSet;

    use super::*;

    const END: DocId = 300;

    fn any_of(members: &[BTreeSet<DocId>]) -> AnyOf {
        let scorer = |docs: &BTreeSet<DocId>| {
            let mut set = BitSet::with_max_value(END);
            for doc in docs {
                set.insert(*doc);
            }
            Box::new(ConstScorer::new(BitSetDocSet::from(set), 1.0)) as Box<dyn Scorer>
        };
        AnyOf::new(members.iter().map(scorer).collect())
    }

    proptest! {
        /// However it is walked through, it says what the union of the sets says.
        #[test]
        fn it_is_the_union(
            members in prop::collection::vec(prop::collection::btree_set(0..END, 0..40), 0..5),
            steps in prop::collection::vec((0..3_u8, 1..30_u32), 1..60),
        ) {
            let all: BTreeSet<DocId> = members.iter().flatten().copied().collect();
            let from = |doc: DocId| all.range(doc..).next().copied().unwrap_or(TERMINATED);
            let mut any = any_of(&members);
            prop_assert_eq!(any.doc(), from(0));
            for (step, by) in steps {
                if any.doc() == TERMINATED {
                    prop_assert_eq!(any.advance(), TERMINATED);
                    break;
                }
                let mut target = any.doc() + by;
                match step {
                    0 => {
                        target = any.doc() + 1;
                        prop_assert_eq!(any.advance(), from(target));
                    }
                    1 => prop_assert_eq!(any.seek(target), from(target)),
                    _ => while any.seek_danger(target) != SeekDangerResult::Found {
                        prop_assert!(!all.contains(&target));
                        target += 1;
                        if target > END {
                            return Ok(());
                        }
                    },
                }
                prop_assert_eq!(any.doc(), from(target));
            }
        }
    }
}
