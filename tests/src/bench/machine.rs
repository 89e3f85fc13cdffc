//! What the machine does besides: whether it is quiet, how fast its memory and its disk are, and what processes use.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rand::seq::SliceRandom;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Less than this part of the processors is taken by others when it is quiet.
const QUIET: f64 = 0.15;
/// How long is waited for quiet.
const QUIET_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long the machine is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Ticks of a processor in a second, as Linux counts them for programs.
const TICKS_PER_S: f64 = 100.0;
/// Lines of a cache whose memory is read, and how many words of 8 bytes each has: 8 MiB.
const LINES: usize = 1 << 17;
const LINE_WORDS: usize = 8;
/// Reads that are timed.
const READS: u32 = 2_000_000;
/// Bytes of a small write.
const WRITE_BYTES: usize = 8_192;

/// Waits until nothing else runs, but not for ever; says so when others go on.
pub(crate) fn wait_for_quiet() -> Result<()> {
    let begun = Instant::now();
    loop {
        let before = busy()?;
        std::thread::sleep(LOOK);
        let used = (busy()? - before) / LOOK.as_secs_f64() / processors();
        if used < QUIET {
            return Ok(());
        }
        if begun.elapsed() > QUIET_WAIT_MAX {
            eprintln!("the machine isn't quiet: {:.0} % are used by others", used * 100.0);
            return Ok(());
        }
    }
}

fn processors() -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a small count")]
    std::thread::available_parallelism().map_or(1.0, |count| count.get() as f64)
}

/// Seconds that all processors worked, since the machine started.
fn busy() -> Result<f64> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("/proc/stat is empty")?;
    // user nice system idle iowait irq softirq steal
    let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|tick| tick.parse().ok()).collect();
    let sum = |range: &[usize]| range.iter().filter_map(|index| ticks.get(*index)).sum::<f64>();
    Ok(sum(&[0, 1, 2, 5, 6, 7]) / TICKS_PER_S)
}

/// The time of a read that waits for the one before, in nanoseconds: more memory than a processor has for itself, so that
/// it shows what others do to the caches that all machines of a host share. Searches mostly wait for such reads.
pub(crate) fn memory_ns() -> f64 {
    // All lines in a circle, in no order: one that the processor could guess, or that its caches are bad at, shows something
    // else.
    let mut circle: Vec<usize> = (0..LINES).collect();
    circle.shuffle(&mut rand::rng());
    let mut words = vec![0; LINES * LINE_WORDS];
    for (nth, line) in circle.iter().enumerate() {
        words[line * LINE_WORDS] = circle[(nth + 1) % LINES];
    }
    let (begun, mut line) = (Instant::now(), 0);
    for _ in 0..READS {
        line = words[line * LINE_WORDS];
    }
    std::hint::black_box(line);
    begun.elapsed().as_secs_f64() * 1e9 / f64::from(READS)
}

/// Seconds of processor that a process used, and those that it started and that live.
pub(crate) fn used(pid: u32) -> Result<f64> {
    let mut total = ticks(pid).with_context(|| format!("no process {pid}"))?.1;
    for entry in fs::read_dir("/proc")?.filter_map(Result::ok) {
        let child = entry.file_name().to_str().and_then(|name| name.parse().ok());
        total += child.and_then(ticks).filter(|(parent, _)| *parent == pid).map_or(0.0, |(_, used)| used);
    }
    Ok(total / TICKS_PER_S)
}

/// The parent of a process, and the ticks that it used itself.
fn ticks(pid: u32) -> Option<(u32, f64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let user: f64 = fields.nth(9)?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((parent, user + system))
}

/// Times of small writes that are made durable, one after the other, in milliseconds.
///
/// # Errors
/// When the directory can't be written.
pub(crate) fn fsyncs(dir: &Path, count: usize) -> Result<Vec<f64>> {
    let path = dir.join("fsync.test");
    let mut file = File::create(&path)?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = Instant::now();
        file.write_all(&[0x5a; WRITE_BYTES])?;
        file.sync_data()?;
        times.push(begun.elapsed().as_secs_f64() * 1_000.0);
    }
    fs::remove_file(&path)?;
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// Raises the limit of open files as far as it goes: ten thousand connections are ten thousand files.
pub(crate) fn open_many_files() {
    let limit = getrlimit(Resource::Nofile);
    // When that fails, connecting will say so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Waits until the resident memory of a process rests, and gives it in bytes.
///
/// # Errors
/// When it can't be read.
pub(crate) fn resting(resident: impl Fn() -> Result<u64>) -> Result<u64> {
    let begun = Instant::now();
    let mut last = resident()?;
    loop {
        std::thread::sleep(LOOK);
        let now = resident()?;
        if now.abs_diff(last) < last / 500 || begun.elapsed() > QUIET_WAIT_MAX {
            return Ok(now);
        }
        last = now;
    }
}
