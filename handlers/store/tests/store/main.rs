//! The store against a real PostgreSQL: a private server for the whole run, a database for each test.
#![allow(clippy::unwrap_used)]

mod support;
mod proxy;
mod access;
mod alarms;
mod batches;
mod cuts;
mod ownership;
mod reads;
mod requests;
mod outbox;
mod claims;
mod people;
mod mqtt;
mod partitions;
mod private_server;
