//! The front door: MQTT bytes to deliveries, and acknowledgements back.
//!
//! This crate knows MQTT 3.1.1 and 5. It knows no device and no database: who may do what, and what becomes
//! of a message, is decided by whoever started it.
//!
//! What it promises: a publish to one of the service's own topics is acknowledged when its receipt resolves, not
//! before, and in the order of arrival; what a session was promised is durable before anybody is told so; everything
//! that waits is bounded, and at a bound the socket isn't read.
//!
//! What whoever starts it gives and gets:
//! - [`config`]: `Config`, where to listen, and a limit on everything
//! - [`access`]: `Access`, who may connect, and `Grants`, what a client may do
//! - [`sessions`]: `Sessions`, what must outlive a connection, and what a new subscriber sees first
//! - [`delivery`]: `Delivery`, a message on its way to be made durable, and its `Receipt`
//! - [`broker`]: `Broker`, the handle: publish, disconnect, stop
//!
//! The way of a message: `listener` accepts a socket, `tls` makes its handshake if it needs one, `wire` is its bytes, `connection` reads packets from them, `topics` says where a
//! publish belongs, `limits` what one may take of what belongs to all, `receipts` keeps the line of those that wait for
//! their acknowledgement. The way back: `tree`
//! finds who subscribed to one of the service's own topics, and whose subscriptions must miss nothing, `router` all
//! others, to both of which `forward` hands what is published, `retained` keeps the last messages of routed topics, `outbox` is what waits for one connection, `session`
//! what outlasts it, `expiry`
//! says for how long it is worth sending, `wills` holds the wills that wait, `peer` is what others may touch of a
//! connection, `registry` knows them all, `passage` lets them come and go at a pace, `ending` says why one is over, `held` what
//! clients hold at present.

pub mod config;
pub mod access;
pub mod sessions;
pub mod delivery;
pub mod broker;
mod limits;
mod listener;
mod tls;
mod wire;
mod connection;
mod topics;
mod receipts;
mod tree;
mod router;
mod forward;
mod retained;
mod outbox;
mod session;
mod expiry;
mod wills;
mod peer;
mod registry;
mod passage;
mod ending;
mod held;
mod meters;

pub use access::{Access, Admitted, Certificate, Client, Denied, Grants, Hello};
pub use broker::Broker;
pub use config::Config;
pub use delivery::{Delivery, Event, QoS, Receipt, Refused};
pub use held::Held;
pub use limits::Rate;
pub use sessions::{
    Batch, Kept, KeptExchange, KeptMessage, KeptSession, KeptSubscription, NotWritten, Publication,
    QueuedMessage, RetainedMessage, SessionId, Sessions,
};
pub use tls::Tls;
