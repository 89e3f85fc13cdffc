//! Each connection is an open file, and the usual soft limit is 1,024 of them.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// What the process needs beside its MQTT connections: HTTP, the database, files of the index.
const BESIDE: u64 = 512;

/// Raises the soft limit to the hard one; says so when that many connections still don't fit.
pub(crate) fn make_room_for(connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let allowed = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let needed = connections as u64 + BESIDE;
    if let Some(allowed) = allowed.filter(|allowed| *allowed < needed) {
        warn!(
            allowed,
            needed, "fewer open files are allowed than mqtt.connections_max needs: see `ulimit -n`"
        );
    }
}
