//! The values that the devices that match have of one field, gathered from its columns: first in one segment, then
//! across them. All of them, not a sample, so that what is computed from them is exact; what that takes is bounded
//! by [`VALUES_MAX`].

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io;

use statecast_state::Timestamp;
use statecast_state::query::moment;
use tantivy::{f64_to_u64, u64_to_f64};

use crate::SearchError;
use crate::fields::{FieldColumns, Slot};

/// Most values that are gathered for one answer, of 8 bytes each.
pub(crate) const VALUES_MAX: usize = 4_000_000;

/// How many more values may be gathered for an answer.
pub(crate) struct Room {
    left: usize,
    exceeded: bool,
}

/// What strings are read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Texts {
    /// As what they are, told apart by a hash of 64 bits.
    Distinct,
    /// As times, and numbers as times too, as queries do ([`moment`]).
    Times,
    /// As nothing.
    Ignored,
}

/// The values of one segment.
#[derive(Default)]
pub(crate) struct SegmentValues {
    devices: usize,
    /// The bits of doubles in their natural order.
    numbers: Vec<u64>,
    /// Places in the column of strings.
    texts: Vec<u64>,
    truths: [usize; 2],
}

/// The values of all segments.
#[derive(Debug, Default)]
pub(crate) struct Values {
    /// Devices that have one at least.
    pub(crate) devices: usize,
    /// The bits of doubles in their natural order, in no order.
    pub(crate) numbers: Vec<u64>,
    /// Hashes of all that isn't a number, each once a segment.
    pub(crate) others: Vec<u64>,
    /// The numbers are microseconds since the epoch.
    pub(crate) times: bool,
}

impl Room {
    /// For so many.
    pub(crate) fn new(left: usize) -> Self {
        Self { left, exceeded: false }
    }

    /// Takes the place of one; false when there is none.
    pub(crate) fn take(&mut self) -> bool {
        self.exceeded |= self.left == 0;
        self.left = self.left.saturating_sub(1);
        !self.exceeded
    }

    /// # Errors
    /// `Refused`, for this reason, when somebody found no place.
    pub(crate) fn check(&self, why: &'static str) -> Result<(), SearchError> {
        if self.exceeded { Err(SearchError::Refused(why)) } else { Ok(()) }
    }
}

impl SegmentValues {
    /// Adds those of a document.
    pub(crate) fn add(&mut self, values: &[Slot], room: &mut Room) {
        self.devices += usize::from(!values.is_empty());
        for (kind, number) in values {
            if !room.take() {
                return;
            }
            match kind {
                0 => self.numbers.push(*number),
                1 => self.texts.push(*number),
                _ => self.truths[usize::from(*number != 0)] += 1,
            }
        }
    }

    /// Makes of them what has a meaning outside the segment, too.
    pub(crate) fn finish(mut self, columns: &FieldColumns, texts: Texts) -> io::Result<Values> {
        let mut others = Vec::new();
        self.texts.sort_unstable();
        match texts {
            Texts::Distinct => {
                self.texts.dedup();
                columns.each_text(&self.texts, |text| others.push(hash(text)))?;
                others.extend([0, 1].into_iter().filter(|truth| self.truths[*truth] > 0).map(hash));
            }
            Texts::Times => {
                if !columns.is_time() {
                    self.numbers.retain_mut(|bits| {
                        let time = moment::of_number(u64_to_f64(*bits));
                        *bits = time.map_or(0, time_bits);
                        time.is_some()
                    });
                }
                columns.each_text(&self.texts, |text| {
                    let time = std::str::from_utf8(text).ok().and_then(moment::of_text);
                    self.numbers.extend(time.map(time_bits));
                })?;
            }
            Texts::Ignored => {}
        }
        let times = columns.is_time() || texts == Texts::Times;
        Ok(Values { devices: self.devices, numbers: self.numbers, others, times })
    }
}

impl Values {
    /// Adds those of another segment.
    pub(crate) fn append(&mut self, other: Self) {
        self.devices += other.devices;
        self.numbers.extend(other.numbers);
        self.others.extend(other.others);
        self.times |= other.times;
    }

    /// The numbers, sorted.
    pub(crate) fn sorted(&mut self) -> &[u64] {
        self.numbers.sort_unstable();
        &self.numbers
    }
}

/// The same for equal values, in all segments.
fn hash(value: impl std::hash::Hash) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(value)
}

/// A double has room for the microseconds of a few centuries around 1970, and is close to those of others.
#[expect(clippy::cast_precision_loss, reason = "see above")]
fn time_bits(time: Timestamp) -> u64 {
    f64_to_u64(time.as_micros() as f64)
}
