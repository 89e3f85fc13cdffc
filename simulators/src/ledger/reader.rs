//! Reading a ledger back.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};

use super::Entry;
use super::hash::Hash;

/// One publish, as far as the simulator knows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Publish {
    /// The hash of what it said.
    pub(crate) hash: Hash,
    /// Its acknowledgement arrived.
    pub(crate) acknowledged: bool,
    /// How often it was written to a socket, 1 or more.
    pub(crate) sendings: u32,
}

/// All publishes of a ledger.
#[derive(Debug, Default)]
pub(crate) struct Published {
    /// For each device, its publishes by number of the run and seq.
    pub(crate) devices: BTreeMap<Arc<str>, BTreeMap<(usize, u64), Publish>>,
    /// The names of the runs, by number.
    pub(crate) runs: Vec<Arc<str>>,
}

/// Reads a ledger. A last line without a newline doesn't count.
///
/// # Errors
/// When the file can't be read, or a line isn't one of a ledger: then it proves nothing.
pub(crate) fn read(path: &Path) -> anyhow::Result<Published> {
    let file = File::open(path).with_context(|| format!("open the ledger {}", path.display()))?;
    let mut input = BufReader::with_capacity(256 * 1024, file);
    let mut published = Published::default();
    let (mut line, mut number) = (String::new(), 0_usize);
    loop {
        line.clear();
        number += 1;
        input.read_line(&mut line).context("read the ledger")?;
        let Some(whole) = line.strip_suffix('\n') else { return Ok(published) };
        let taken = Entry::parse(whole).is_some_and(|entry| published.take(entry));
        if !taken {
            bail!("line {number} of the ledger makes no sense: {whole:?}");
        }
    }
}

impl Published {
    /// Takes an entry; false when it can't follow the ones before.
    fn take(&mut self, entry: Entry) -> bool {
        let Some(run) = self.runs.len().checked_sub(1) else {
            if let Entry::Run { run, .. } = entry {
                self.runs.push(run);
                return true;
            }
            return false;
        };
        match entry {
            Entry::Run { run, .. } => {
                self.runs.push(run);
                true
            }
            Entry::Sent { device, seq, hash, .. } => {
                let publish = Publish { hash, acknowledged: false, sendings: 1 };
                self.devices.entry(device).or_default().insert((run, seq), publish).is_none()
            }
            Entry::SentAgain { device, seq, .. } => {
                self.find(&device, run, seq).map(|publish| publish.sendings += 1).is_some()
            }
            Entry::Acknowledged { device, seq, .. } => {
                self.find(&device, run, seq).map(|publish| publish.acknowledged = true).is_some()
            }
        }
    }

    fn find(&mut self, device: &str, run: usize, seq: u64) -> Option<&mut Publish> {
        self.devices.get_mut(device)?.get_mut(&(run, seq))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read_text(text: &str) -> anyhow::Result<Published> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn sendings_and_acknowledgements_are_gathered() {
        let text =
            "H r 7 1\nS d 1 00000000000000aa 2\nS d 2 00000000000000bb 3\nR d 1 4\nR d 2 5\nA d 1 6\nA d 2";
        let published = read_text(text).unwrap();
        let device = &published.devices["d"];
        assert_eq!(device[&(0, 1)], Publish { hash: Hash(0xaa), acknowledged: true, sendings: 2 });
        assert_eq!(device[&(0, 2)], Publish { hash: Hash(0xbb), acknowledged: false, sendings: 2 });
    }

    #[test]
    fn a_damaged_ledger_proves_nothing() {
        assert!(read_text("S d 1 00000000000000aa 2\n").is_err());
        assert!(read_text("H r 7 1\nA d 1 2\n").is_err());
        assert!(read_text("H r 7 1\nwhat\n").is_err());
        assert!(read_text("H r 7 1\nS d 1 00000000000000aa 2\nS d 1 00000000000000aa 2\n").is_err());
    }
}
