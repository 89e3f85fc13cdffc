//! Sessions that outlast their connections: subscriptions, a queue of messages at quality 1 and 2, and the packet ids
//! of a client's own publishes at quality 2. All of it is in memory, and durable besides; what is in memory is bounded.
//!
//! A session belongs to a client id within a name, the one that the client has proved: by guessing an id nobody can
//! take over, or go on with, what belongs to another credential.
//!
//! - [`directory`]: all sessions: begun, gone on with, left, ended
//! - [`lasting`]: one session, with its [`queue`] and its [`exchange`]s
//! - [`writes`], [`writer`]: from memory to whoever keeps it, in order, and who waits for it
//! - [`convert`]: messages as they are kept
//!
//! What happens at once is done under one lock, that of the [`writer::Desk`]: memory changes and is written in the same
//! order. A crash leaves what was written; whoever was told that something is durable was told after that.

pub(crate) mod directory;
pub(crate) mod lasting;
mod exchange;
mod queue;
pub(crate) mod writes;
pub(crate) mod writer;
pub(crate) mod convert;

pub(crate) use directory::Directory;
pub(crate) use lasting::Lasting;
pub(crate) use queue::{IDS, Next};
pub(crate) use writer::{Desk, Writer};
pub(crate) use writes::{Write, Writes};
