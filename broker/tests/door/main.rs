//! The broker as its clients see it: over a socket, with packets written by hand.
#![allow(clippy::unwrap_used, clippy::print_stdout, unreachable_pub, missing_docs)]

mod support;
mod memory;
mod connecting;
mod accepted;
mod tls;
mod receipts;
mod subscribing;
mod routing;
mod waiting;
mod version5;
mod wills;
mod sharing;
mod sessions;
mod exactly_once;
mod exchanges;
mod once;
mod misbehaving;
mod limits;
mod hostile;
mod malformed;
mod known_attacks;
mod corpus;
mod normative;
