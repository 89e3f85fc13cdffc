//! What keeps one client, or one address, from taking what belongs to all.
//!
//! - [`limit`]: every limit that there is, by the name of its setting, and what a client is told at it
//! - [`rate`]: how often something may happen
//! - [`source`]: where a connection comes from
//! - [`recent`]: a bounded memory of who came lately
//! - [`arrivals`]: open sockets, in total and for each source, and how fast they come
//! - [`logins`]: failed logins, by source and by name
//! - [`pace`]: how fast one client publishes
//!
//! All are plain values and a lock that is held for a moment; none has a task. A limit of 0 is none.

mod limit;
mod rate;
mod source;
mod recent;
mod arrivals;
mod logins;
mod pace;

pub(crate) use self::arrivals::{Arrivals, Ticket};
pub(crate) use self::limit::Limit;
pub(crate) use self::logins::Logins;
pub(crate) use self::pace::Pace;
pub(crate) use self::rate::Bucket;
pub use self::rate::Rate;
