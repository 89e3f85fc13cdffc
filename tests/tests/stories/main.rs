//! What Statecast promises, a story a file.

mod first_message;
mod desired;
mod requests;
mod rehearse;
mod forward;
mod credentials;
mod presence;
mod absence;
mod alarms;
mod access;
mod policies;
mod keys;
mod revoking;
mod tenants;
mod limits;
mod bad_input;
mod bad_requests;
mod cli;
mod clients;
mod gateways;
mod channels;
mod rumqttc;
mod transports;
mod people;
mod readme;
mod demo;
mod console;
mod results;

// Faults, and what holds whatever happens.
mod live_view;
mod saved_queries;
mod agreement;
mod acknowledgement;
mod order;
mod killed;
mod sessions;
mod outage;
mod stopping;
mod push;
mod push_kill;
mod index;
mod bounded;
mod nothing_runs;
