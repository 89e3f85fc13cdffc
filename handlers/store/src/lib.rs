//! PostgreSQL: the only truth. Everything that must survive is written and read here, and nowhere else.
//!
//! One process owns a database ([`Owner`]) and writes the changes of twins in batches ([`Writer`]); everyone
//! may read ([`Store`]). Read it in the order in which a service uses it:
//!
//! - [`local`]: the private server in the data directory, for who has no PostgreSQL of their own
//! - [`error`]: what can go wrong with a read or a small write
//! - [`session`]: how each kind of connection is set up
//! - [`store`]: `Store`, the shared pool, and the migrations
//! - [`partitions`]: a partition of history for each day, made ahead of time and dropped as a whole
//! - [`owner`]: `Owner`, one process at a time, and the positions that it gives out
//! - [`batch`]: `Batch`, what is committed at once, and `Outcome`, what became of it
//! - [`writer`]: `Writer`, commits batches, and knows the fate of each whatever happens to its connection
//! - [`load`]: twins and their recent messages, many at once, for the handlers
//! - [`twins`], [`history`], [`feed`], [`digest`]: reads for people, and for what is derived
//! - [`rewind`]: changes with the twins before and after each, from the history
//! - [`courses`]: what became of devices since a time, device by device
//! - [`queries`]: queries under a name
//! - [`requests`]: what somebody asked devices to be
//! - [`silent`]: devices that will have been absent for as long as a rule says
//! - [`rules`], [`reviews`]: rules, and those that have yet to look at the fleet
//! - [`alarms`]: what people are to take note of
//! - [`people`], [`receivers`]: who is to be told
//! - [`outbox`], `claims`, [`receipts`], [`explain`]: what waits to be told, what is sent, what came of it, and why
//! - [`mqtt`]: what outlives an MQTT connection
//! - [`credentials`], [`keys`], [`policies`]: who is let in, and what they may do
//! - [`access_feed`]: word of every change of these
//! - `secrets`: what the installation signs with
//! - [`dead_letters`], [`usage`]: the rest

pub mod local;
pub mod error;
pub mod session;
pub mod store;
pub mod partitions;
pub mod owner;
mod keeper;
pub mod batch;
mod statement;
mod told;
pub mod writer;
mod fate;
pub mod load;
mod rows;
pub mod twins;
pub mod history;
pub mod feed;
pub mod rewind;
pub mod courses;
pub mod queries;
pub mod digest;
pub mod silent;
pub mod requests;
pub mod rules;
pub mod reviews;
pub mod alarms;
pub mod people;
pub mod receivers;
pub mod outbox;
mod claims;
pub mod receipts;
pub mod explain;
pub mod mqtt;
pub mod credentials;
pub mod keys;
pub mod policies;
pub mod access_feed;
mod secrets;
pub mod dead_letters;
pub mod usage;

pub use access_feed::AccessChange;
pub use alarms::{AlarmFilter, AlarmRow};
pub use batch::{Batch, DeadLetter, Outcome};
pub use credentials::{Credentials, CredentialsChange, Hash, Holder};
pub use digest::RangeDigest;
pub use error::StoreError;
pub use feed::FeedRow;
pub use history::HistoryRow;
pub use keys::{ApiKey, NewKey};
pub use load::Loaded;
pub use local::{Local, LocalError};
pub use mqtt::MqttWriter;
pub use owner::{Fenced, OwnError, Owner};
pub use policies::PolicyRow;
pub use store::{Migration, Store};
pub use writer::Writer;
