//! The ledger: what the simulator alone knows that it published, and what was acknowledged.
//!
//! A text file that is only ever appended to. One line an event, fields separated by a space:
//!
//! ```text
//! H run seed time                 a run of a fleet begins; the lines below belong to it
//! S device seq hash time          this publish was written to the socket for the first time
//! R device seq time               the same publish was written again, after a reconnect
//! A device seq time               its acknowledgement arrived (PUBACK, or PUBREC at QoS 2)
//! ```
//!
//! A publish is (run, device, seq). Times are microseconds since the epoch; the hash is 16 hexadecimal digits
//! ([`hash::of_patch`]). The sending and its acknowledgement are lines of their own so that a `kill -9` of the
//! simulator loses only the last moments: a lost `A` line makes a publish count as unacknowledged, of which
//! nothing is demanded; a lost `S` line makes it unknown. Neither accuses the service wrongly. For the same
//! reason only a line that ends in a newline counts, and a writer cuts off what follows the last one.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) mod hash;
mod writer;
mod reader;

pub(crate) use reader::{Publish, read};
pub(crate) use writer::{Closing, Ledger};

use hash::Hash;

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Entry {
    /// A run begins.
    Run { run: Arc<str>, seed: u64, at: Micros },
    /// A publish was written to the socket for the first time.
    Sent { device: Arc<str>, seq: u64, hash: Hash, at: Micros },
    /// It was written again.
    SentAgain { device: Arc<str>, seq: u64, at: Micros },
    /// It was acknowledged.
    Acknowledged { device: Arc<str>, seq: u64, at: Micros },
}

/// A moment: microseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Micros(pub(crate) u64);

impl Micros {
    /// This moment.
    pub(crate) fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run { run, seed, at } => write!(f, "H {run} {seed} {}", at.0),
            Self::Sent { device, seq, hash, at } => write!(f, "S {device} {seq} {hash} {}", at.0),
            Self::SentAgain { device, seq, at } => write!(f, "R {device} {seq} {}", at.0),
            Self::Acknowledged { device, seq, at } => write!(f, "A {device} {seq} {}", at.0),
        }
    }
}

impl Entry {
    /// Reads a line, without its newline; none when it isn't one of a ledger.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(' ');
        let kind = fields.next()?;
        let name: Arc<str> = fields.next()?.into();
        let number = fields.next()?.parse().ok()?;
        let hash = if kind == "S" { Some(Hash::parse(fields.next()?)?) } else { None };
        let at = Micros(fields.next()?.parse().ok()?);
        if fields.next().is_some() {
            return None;
        }
        match (kind, hash) {
            ("H", _) => Some(Self::Run { run: name, seed: number, at }),
            ("S", Some(hash)) => Some(Self::Sent { device: name, seq: number, hash, at }),
            ("R", _) => Some(Self::SentAgain { device: name, seq: number, at }),
            ("A", _) => Some(Self::Acknowledged { device: name, seq: number, at }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_read_as_it_was_written() {
        let device: Arc<str> = "door-00001".into();
        let (seq, at) = (17, Micros(1_795_372_000_000_123));
        for entry in [
            Entry::Run { run: "6a1f".into(), seed: 42, at },
            Entry::Sent { device: Arc::clone(&device), seq, hash: Hash(0xab), at },
            Entry::SentAgain { device: Arc::clone(&device), seq, at },
            Entry::Acknowledged { device, seq, at },
        ] {
            assert_eq!(Entry::parse(&entry.to_string()), Some(entry));
        }
        for wrong in ["", "A d", "A d x 1", "Z d 1 2", "S d 1 2", "A d 1 2 3", "S d 1 zz 2"] {
            assert_eq!(Entry::parse(wrong), None, "{wrong}");
        }
    }
}
