//! The service: HTTP, command line, configuration; puts all together, starts and stops it.
//!
//! - [`config`]: what can be set, and where from
//! - [`access`]: who is let in, and what they may do
//! - [`sessions`], [`downlink`], [`forward`]: what else the broker asks, and what it is told
//! - [`tickets`]: what lets a push be answered without a key
//! - [`rulebook`], [`tallies`], [`outbox`], [`source`]: glue between crates that don't know each other
//! - [`housekeeping`]: what time brings
//! - [`http`]: the HTTP interface and the console
//! - `open_files`: room for every connection
//! - [`app`]: starts and stops all of it
//! - [`cli`]: the command line

pub mod config;
pub mod access;
pub mod sessions;
pub mod downlink;
pub mod forward;
pub mod tickets;
pub mod rulebook;
pub mod tallies;
pub mod outbox;
pub mod source;
pub mod housekeeping;
pub mod http;
mod open_files;
pub mod app;
pub mod cli;
