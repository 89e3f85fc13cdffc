//! The broker as its clients see it: over a socket, with packets written by hand.
#![allow(clippy::unwrap_used, unreachable_pub, missing_docs)]

mod support;
mod receipts;
mod connecting;
