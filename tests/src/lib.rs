//! End to end: stories, faults, other clients and benchmarks, all through the public interfaces of the real binary
//! and a real PostgreSQL.
//!
//! - [`service`]: starts `statecast`, kills it, starts it again
//! - [`http`]: calls its API
//! - [`wait`]: waits for a condition, never for a time
//! - [`database`]: does to its database what goes wrong in the world
//! - [`fleet`]: simulated devices, and the proof that nothing of theirs was lost
//! - [`gateways`], [`phone`]: what stands in for Google, Apple, browsers and ntfy, and the apps behind them
//! - [`wire`], [`events`], [`hook`], [`command`]: the other ends: MQTT by hand, live streams, webhooks, programs
//!
//! The stories are in `tests/`, one file each, in one test binary; the benchmarks are the binary of this crate.

pub mod service;
pub mod http;
pub mod wait;
pub mod database;
pub mod fleet;
pub mod gateways;
pub mod phone;
pub mod wire;
mod packet;
pub mod events;
pub mod hook;
pub mod command;

pub use events::Events;
pub use fleet::Fleet;
pub use gateways::Gateways;
pub use hook::Hook;
pub use http::Api;
pub use phone::{Note, Phone};
pub use service::Service;
pub use wire::{VERSIONS, Version, Wire};
