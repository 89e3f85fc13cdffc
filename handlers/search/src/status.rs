//! How the index is, for those who run the service.

use std::fmt;

use statecast_state::{Position, Timestamp};

use crate::Verified;

/// The index at a moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// All changes up to here are what a search sees; none while there is no complete index.
    pub position: Option<Position>,
    /// Documents that a search sees, those of all tenants.
    pub documents: u64,
    /// Pieces in which they lie.
    pub segments: usize,
    /// How far a new index is, while one is built.
    pub building: Option<Progress>,
    /// What the last comparison of all of the index with the table found.
    pub checked: Option<Checked>,
}

/// How far a build is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Devices that are written.
    pub done: u64,
    /// Devices that there were when it began.
    pub total: u64,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} devices", self.done, self.total)
    }
}

/// A comparison of all of the index with the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// When it ended.
    pub at: Timestamp,
    /// All changes up to here were compared.
    pub position: Position,
    /// What it found.
    pub found: Verified,
}
