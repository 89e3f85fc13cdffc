//! The pure middle of Statecast: what a device's state *is* and what may happen to it.
//!
//! No I/O, no async and no clock: every function takes values, and `now` where time matters, so that each
//! rule can be tested without a server. Read it in the order in which a message meets it:
//!
//! - [`names`]: `TenantId`, `DeviceId`, `DeviceKey`, `Position`; parsed once, at the door
//! - [`time`]: `Timestamp`, microseconds since the epoch, and how devices write it
//! - [`document`]: JSON objects with limits: depth, size, and what PostgreSQL can't store
//! - [`report`]: what someone asks of a twin, with the reserved keys `_at` and `_id` taken out
//! - [`twin`]: the twin of a device, and the time of each of its properties
//! - [`patch`]: merge patches (RFC 7396) with device time, their inverse, and the delta of desired state
//! - [`query`]: the query language: one parser, one syntax tree, evaluated in memory
//! - [`request`]: what somebody asked a device to be, and what became of it
//! - [`rule`]: rules that fire when a twin enters or leaves a query, or a device is absent
//! - [`person`]: who is told, and how they want it
//! - [`alarm`]: what people are to take note of, one for each rule and device
//! - [`decision`]: why somebody was not told
//! - [`change`]: what was done to a twin; a row of history and an entry of the feed
//! - [`mod@undo`]: a twin as it was before a change
//! - [`push`]: what a person is to be told, and where
//! - [`claim`]: whether it is still worth it when its time has come

pub mod names;
pub mod time;
pub mod document;
pub mod report;
pub mod twin;
pub mod patch;
pub mod query;
pub mod request;
pub mod rule;
pub mod person;
pub mod alarm;
pub mod decision;
pub mod change;
pub mod undo;
pub mod push;
pub mod claim;

pub use change::{Change, Kind};
pub use decision::{Decision, Verdict};
pub use document::{Document, Limits};
pub use names::{DeviceId, DeviceKey, Position, TenantId};
pub use push::{Push, PushKind};
pub use query::{Query, QueryError};
pub use report::{Body, MessageId, Refusal, Report};
pub use time::Timestamp;
pub use twin::{Presence, Stamps, Twin};
