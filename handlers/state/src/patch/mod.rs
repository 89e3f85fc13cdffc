//! Merge patches (RFC 7396): with the time of each property for what a device reports, without it for what
//! people set, and the difference between the two.
//!
//! In a patch `null` deletes, an object merges, anything else replaces. Documents therefore hold no `null`
//! as the value of a property; within arrays, which are replaced as a whole, it may stand.
//!
//! **Time.** A property that was set at a newer device time than the message has keeps its value, and the
//! message is stale for it; an equal time applies. A deleted property leaves a tombstone, its time as a
//! negative number, so that an older message doesn't bring it back; a twin remembers
//! [`TOMBSTONES_MAX`] of them and forgets the oldest first. An object is as new as the newest time inside it,
//! tombstones included: a message that would delete it or replace it as a whole must be at least as new,
//! or nothing happens to that object. Messages that only set and delete the same leaves give the same
//! `reported` in whatever order they arrive.
//!
//! - [`mod@merge`]: a plain merge patch, and its inverse
//! - [`timed`]: the same with the time of each property
//! - `tombstones`: when what was deleted is forgotten
//! - [`mod@delta`]: what a device must still be told

pub mod merge;
pub mod timed;
mod tombstones;
pub mod delta;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod laws;

pub use delta::delta;
pub use merge::merge;
pub use timed::{Applied, apply_reported};
pub use tombstones::TOMBSTONES_MAX;
