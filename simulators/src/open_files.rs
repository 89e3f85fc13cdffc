//! Each device holds a socket, and the usual soft limit is 1,024 open files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::terminal::complain;

/// What the process needs beside its devices.
const BESIDE: u64 = 64;

/// Raises the soft limit of open files to the hard one; says so when `sockets` still don't fit.
pub(crate) fn make_room_for(sockets: usize) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let allowed = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let needed = sockets as u64 + BESIDE;
    if let Some(allowed) = allowed.filter(|allowed| *allowed < needed) {
        complain(&format!("{allowed} open files are allowed and {needed} are needed: see `ulimit -n`"));
    }
}
