//! End to end: stories, faults, other clients and benchmarks, all through the public interfaces of the real binary
//! and a real PostgreSQL.
//!
//! - [`service`]: starts `statecast`, kills it, starts it again
//! - [`http`]: calls its API
//! - [`wait`]: waits for a condition, never for a time
//!
//! The stories are in `tests/`, one file each, in one test binary; the benchmarks are the binary of this crate.

pub mod service;
pub mod http;
pub mod wait;

pub use http::Api;
pub use service::Service;
