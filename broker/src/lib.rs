//! The front door: MQTT bytes to deliveries, and acknowledgements back.
//!
//! This crate knows MQTT 3.1.1 and 5. It knows no device and no database: who may do what, and what becomes
//! of a message, is decided by whoever started it.
//!
//! - [`access`]: `Access`, who may connect, and `Grants`, what a client may do
//! - [`sessions`]: `Sessions`, what must outlive a connection, and what a new subscriber sees first
//! - [`delivery`]: `Delivery`, a message on its way to be made durable, and its `Receipt`

pub mod access;
pub mod sessions;
pub mod delivery;

pub use access::{Access, Client, Denied, Grants, Hello};
pub use delivery::{Delivery, Event, QoS, Receipt, Refused};
pub use sessions::{Publication, Sessions};
