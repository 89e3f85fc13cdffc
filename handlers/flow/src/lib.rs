//! The way of one message: from a delivery that the broker hands over to a change that everyone can see.
//!
//! ```text
//!  Delivery / Report --> dispatcher --> mailbox of the device --> activation --> committer --> PostgreSQL
//!                                                                    |  ^             |
//!                                                              loader, cache          v
//!                                                                handlers        receipts, feed
//! ```
//!
//! - [`request`]: what waits in a mailbox, and who is waiting for the answer
//! - [`decode`]: MQTT topics and payloads to reports
//! - [`presence`]: which devices are online
//! - [`dispatcher`]: one mailbox a device, at most one task for each
//! - [`loader`], [`cache`]: twins, read in batches and kept while they fit
//! - [`handlers`]: pure functions from a twin and a report to what is to change
//! - [`activation`]: the short-lived task that empties a mailbox
//! - [`committer`]: batches, positions, verdicts
//! - [`feed`]: what was committed, in order
//! - [`metering`]: what each handler cost
//! - [`timers`], `horizon`, `dues`, `deadlines`, `clock`: what only time brings
//! - `review`: a rule that is new looks at the fleet as it is
//!
//! [`Flow`] puts them together, and stops them in order.

pub mod request;
pub mod decode;
pub mod presence;
pub mod dispatcher;
pub mod loader;
pub mod cache;
pub mod handlers;
pub mod activation;
pub mod committer;
pub mod feed;
pub mod metering;
pub mod timers;
mod horizon;
mod dues;
mod deadlines;
mod clock;
mod review;
mod flow;

pub use feed::{Feed, Read};
pub use flow::{Flow, Settings};
pub use handlers::Rules;
pub use request::{Answer, Applied, Request};
