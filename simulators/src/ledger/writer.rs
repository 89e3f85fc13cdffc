//! Writing the ledger: one thread, fed by a bounded channel.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::Context;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Entry;

/// Entries that may wait to be written; at the bound the devices wait.
const WAITING_MAX: usize = 16_384;
/// Entries taken from the channel at once.
const BATCH: usize = 1_024;

/// Where devices hand in their entries. Cheap to clone; one without a file takes them and forgets them.
#[derive(Clone)]
pub(crate) struct Ledger(Option<mpsc::Sender<Entry>>);

/// The thread that writes. Ends when all clones of its [`Ledger`] are gone.
pub(crate) struct Closing(Option<JoinHandle<io::Result<()>>>);

impl Ledger {
    /// A ledger in no file.
    pub(crate) fn nowhere() -> (Self, Closing) {
        (Self(None), Closing(None))
    }

    /// Opens the ledger to append to it; what follows its last newline is cut off.
    pub(crate) fn open(path: &Path) -> anyhow::Result<(Self, Closing)> {
        let file = open_at_end(path).with_context(|| format!("open the ledger {}", path.display()))?;
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let writing = tokio::task::spawn_blocking(move || write_all(file, receiver));
        Ok((Self(Some(sender)), Closing(Some(writing))))
    }

    /// Hands in an entry; waits while too many wait to be written. False: the file can't be written any more,
    /// and [`Closing::finish`] says why.
    pub(crate) async fn record(&self, entry: Entry) -> bool {
        match &self.0 {
            Some(sender) => sender.send(entry).await.is_ok(),
            None => true,
        }
    }
}

impl Closing {
    /// Waits until everything is in the file. Drop the last `Ledger` first.
    pub(crate) async fn finish(self) -> anyhow::Result<()> {
        match self.0 {
            Some(writing) => writing.await.context("write the ledger")?.context("write the ledger"),
            None => Ok(()),
        }
    }
}

/// Writes what comes, and flushes whenever nothing waits: a kill loses what is on its way, not more.
fn write_all(file: File, mut receiver: mpsc::Receiver<Entry>) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(256 * 1024, file);
    let mut batch = Vec::with_capacity(BATCH);
    while receiver.blocking_recv_many(&mut batch, BATCH) > 0 {
        for entry in batch.drain(..) {
            writeln!(out, "{entry}")?;
        }
        if receiver.is_empty() {
            out.flush()?;
        }
    }
    out.flush()?;
    out.get_ref().sync_all()
}

fn open_at_end(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    let mut end = file.metadata()?.len();
    let mut block = [0; 4_096];
    // Back from the end, block by block, to the last newline.
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        file.seek(SeekFrom::Start(start))?;
        let length = usize::try_from(end - start).unwrap_or(block.len());
        file.read_exact(&mut block[..length])?;
        if let Some(newline) = block[..length].iter().rposition(|byte| *byte == b'\n') {
            end = start + newline as u64 + 1;
            break;
        }
        end = start;
    }
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Micros, read};
    use super::*;

    #[tokio::test]
    async fn a_torn_line_is_cut_off_and_the_rest_appended() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger");
        let run = |run: &str| Entry::Run { run: run.into(), seed: 1, at: Micros(1) };
        let sent =
            |seq| Entry::Sent { device: "d".into(), seq, hash: super::super::hash::Hash(1), at: Micros(2) };

        let (ledger, closing) = Ledger::open(&path).unwrap();
        assert!(ledger.record(run("a")).await);
        assert!(ledger.record(sent(12)).await);
        drop(ledger);
        closing.finish().await.unwrap();
        // A kill in the middle of `A d 12 3`.
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"A d 1").unwrap();

        let (ledger, closing) = Ledger::open(&path).unwrap();
        assert!(ledger.record(run("b")).await);
        assert!(ledger.record(sent(1)).await);
        drop(ledger);
        closing.finish().await.unwrap();

        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 4, "{text}");
        let published = read(&path).unwrap();
        assert_eq!(published.devices["d"].len(), 2);
        assert!(published.devices["d"].values().all(|publish| !publish.acknowledged));
    }
}
