//! Which segments are merged into one, so that searches find few of them and nothing is written again in vain.
//!
//! Devices report again and again: each document is replaced after a while, and a segment dwindles until nothing is left
//! of it. What is about to go isn't worth copying: segments are merged only with others of about their size, and count by
//! what is left of them. In a fleet that reports in turns, large ones vanish by themselves.

use std::collections::BTreeMap;

use tantivy::index::{SegmentId, SegmentMeta};
use tantivy::merge_policy::{MergeCandidate, MergePolicy};

/// Segments of about the same size that are merged, and how much larger the next size is: what was merged isn't merged
/// again until there are as many of it.
const FAN_IN: u32 = 8;
/// The smallest size is up to this many documents times [`FAN_IN`]: what a busy commit brings lies in its middle.
const SMALL: u32 = 200;
/// One that had this many times what is left of it is written anew by itself: searches read also what was replaced.
const WORN: u32 = 3;

/// Merges what is of one size.
#[derive(Debug)]
pub(crate) struct Merges;

impl MergePolicy for Merges {
    fn compute_merge_candidates(&self, segments: &[SegmentMeta]) -> Vec<MergeCandidate> {
        let extents = segments.iter().map(|segment| Extent {
            id: segment.id(),
            left: segment.num_docs(),
            had: segment.max_doc(),
        });
        groups(extents).into_iter().map(MergeCandidate).collect()
    }
}

/// How many documents a segment had when it was written, and how many of them are left.
#[derive(Debug, Clone, Copy)]
struct Extent {
    id: SegmentId,
    left: u32,
    had: u32,
}

impl Extent {
    /// 0 for the smallest.
    fn size(&self) -> u32 {
        size(self.left)
    }

    fn is_worn(&self) -> bool {
        size(self.had) > 0 && self.left.saturating_mul(WORN) <= self.had
    }
}

fn size(documents: u32) -> u32 {
    (documents / SMALL).max(1).ilog(FAN_IN)
}

/// The segments that are merged with each other.
fn groups(segments: impl Iterator<Item = Extent>) -> Vec<Vec<SegmentId>> {
    let mut sizes = BTreeMap::<_, Vec<_>>::new();
    for segment in segments {
        sizes.entry(segment.size()).or_default().push(segment);
    }
    let merged = sizes.into_values().map(|mut alike| {
        if alike.len() < FAN_IN as usize {
            alike.retain(Extent::is_worn);
        }
        alike.iter().map(|segment| segment.id).collect::<Vec<_>>()
    });
    merged.filter(|group| !group.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(left: u32, had: u32) -> Extent {
        Extent { id: SegmentId::generate_random(), left, had }
    }

    fn grouped(segments: &[Extent]) -> Vec<Vec<SegmentId>> {
        groups(segments.iter().copied())
    }

    #[test]
    fn eight_of_a_size_are_merged_and_others_are_left_alone() {
        let small: Vec<_> = (0..8).map(|nth| extent(1 + nth * 200, 1 + nth * 200)).collect();
        let large: Vec<_> = (2..9).map(|nth| extent(nth * 10_000, nth * 10_000)).collect();
        assert!(grouped(&[&small[1..], &large].concat()).is_empty());
        let ids = small.iter().map(|segment| segment.id).collect::<Vec<_>>();
        assert_eq!(grouped(&[small, large].concat()), [ids]);
    }

    #[test]
    fn what_dwindled_is_written_anew_unless_it_is_small() {
        let (worn, most, small) = (extent(33_000, 100_000), extent(34_000, 100_000), extent(1, 1_000));
        assert_eq!(grouped(&[worn, most, small]), [[worn.id]]);
    }

    /// A fleet reports for a while, in turns or at random; `merged` counts what merges write.
    fn reports(next: impl Fn(usize) -> usize) -> (Vec<Extent>, u32) {
        const DEVICES: usize = 20_000;
        let mut segments = vec![extent(0, 0)];
        let mut of_device = vec![segments[0].id; DEVICES];
        segments[0] = Extent { left: 20_000, had: 20_000, ..segments[0] };
        let mut merged = 0;
        for commit in 0..400 {
            let new = extent(0, 500);
            segments.push(new);
            for nth in 0..500 {
                let device = next(commit * 500 + nth) % DEVICES;
                let before = std::mem::replace(&mut of_device[device], new.id);
                for segment in &mut segments {
                    segment.left -= u32::from(segment.id == before);
                    segment.left += u32::from(segment.id == new.id);
                }
            }
            segments.retain(|segment| segment.left > 0);
            for group in grouped(&segments) {
                let all: u32 = segments
                    .iter()
                    .filter(|segment| group.contains(&segment.id))
                    .map(|segment| segment.left)
                    .sum();
                let into = extent(all, all);
                merged += all;
                segments.retain(|segment| !group.contains(&segment.id));
                segments.push(into);
                of_device.iter_mut().filter(|id| group.contains(id)).for_each(|id| *id = into.id);
            }
        }
        (segments, merged)
    }

    #[test]
    fn little_is_written_again_and_little_is_kept_in_vain() {
        for (segments, merged) in [reports(|nth| nth), reports(|nth| nth.wrapping_mul(0x9E37_79B9) >> 7)] {
            let had: u32 = segments.iter().map(|segment| segment.had).sum();
            assert!(merged < 200_000 * 3, "of 200,000 documents {merged} were written again");
            assert!(had < 20_000 * 2 && segments.len() < 24, "{segments:?}");
        }
    }
}
