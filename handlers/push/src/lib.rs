//! Telling people: from a row of the outbox to an answer of the receiver, and back into the outbox.
//!
//! A push is written in the transaction of the change that caused it. This crate takes it from there, at
//! least once: it is repeated until the receiver accepted it, refused it for good, or its deadline passed,
//! always under the same id, which is what receivers drop repeats by. Read it in the order of a push:
//!
//! - [`outbox`]: `Outbox`, what the dispatcher asks of the database; `Claimed` and `Finished`, what it says
//! - [`settings`]: bounds and times, each with its unit; keys and addresses of the channels
//! - [`dispatcher`]: `Dispatcher`, which sleeps until there is something to tell; how it starts and stops
//! - `claims`: takes rows when woken or when one is due, and gives each to its channel
//! - `desk`: what is in hand: starts what may start, and passes on what became of it
//! - `places`: room for what is in hand
//! - `lanes`: who is next: fair between receivers, in order for each device, slower where it doesn't go
//! - [`gate`], `gates`: who isn't asked for a while: providers that fail, refuse our credentials, or say that it is too much
//! - [`address`], [`target`]: where a webhook may go, and where not; [`check`]: whether a receiver can be told anything
//! - `message`, `fit`: what a payload says, and how it is made to fit
//! - `channels`: one file each, from the payload to the form of a provider, and what the provider's answers mean
//! - `credentials`: keys, and the tokens made with them
//! - `http`: what channels over HTTP have in common
//! - `policy`: what becomes of a push after an attempt
//! - `completions`: writes what became of many pushes at once
//! - `outage`: waits while the database can't be reached
//! - `meters`: counters and histograms; [`status`]: how each channel stands, for people

pub mod outbox;
pub mod settings;
pub mod dispatcher;
mod claims;
mod desk;
mod places;
mod lanes;
pub mod gate;
mod gates;
pub mod address;
pub mod target;
pub mod check;
mod message;
mod fit;
mod channels;
mod credentials;
mod http;
mod policy;
mod completions;
mod outage;
mod meters;
pub mod status;

pub use channels::mqtt::Publish;
pub use check::{BadReceiver, Reach, check};
pub use credentials::vapid::make_web_push_key;
pub use dispatcher::{Dispatcher, Statuses};
pub use gate::GateSettings;
pub use outbox::{Claimed, Finished, Outbox, Outcome};
pub use settings::{ApnsSettings, FcmSettings, Settings, WebPushSettings};
pub use status::Status;
pub use target::{BadSecret, BadUrl, check_secret, check_url};
