//! Merges give way to all else. Nobody waits for one, and each keeps a processor busy for up to a second, during which
//! searches and commits would take turns with it.

use std::fs;

use rustix::process::{Pid, setpriority_process};
use tracing::debug;

/// What tantivy calls the threads that merge segments.
const MERGES: &str = "merge_thread";
/// How nice they are, as the system counts it: where all are busy they get about a third of what others do, so that they
/// keep up.
const NICE: i32 = 5;

/// Lowers the priority of the threads of this process that merge. Where that can't be done they are as fast as others.
pub(crate) fn lower_merges() {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return };
    for thread in threads.flatten() {
        let is_merge =
            fs::read_to_string(thread.path().join("comm")).is_ok_and(|name| name.starts_with(MERGES));
        let id = thread.file_name().to_str().and_then(|id| id.parse().ok()).and_then(Pid::from_raw);
        if let (true, Some(id)) = (is_merge, id)
            && let Err(error) = setpriority_process(Some(id), NICE)
        {
            debug!(%error, "the priority of merges can't be lowered");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// The nice value of the calling thread.
    fn own() -> i32 {
        rustix::process::getpriority_process(None).expect("it has one")
    }

    #[test]
    fn only_threads_that_merge_are_lowered() {
        let (named, is_named) = std::sync::mpsc::channel();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let merges = thread::Builder::new().name(format!("{MERGES}_0"));
        let merges = merges.spawn(move || {
            named.send(()).expect("the test waits");
            wait.recv().expect("the test goes on");
            own()
        });
        is_named.recv().expect("it runs");
        let before = own();
        lower_merges();
        go.send(()).expect("it waits");
        assert_eq!(own(), before);
        assert_eq!(merges.expect("it was started").join().expect("it ends well"), NICE);
    }
}
