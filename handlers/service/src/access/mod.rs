//! Who may connect or call, and what each may do: deny by default, checked at the door, and changed at once.
//!
//! - [`secret`]: tokens and keys, and the hashes under which they are stored
//! - [`scope`]: what an API key is good for
//! - [`pattern`], [`policy`]: which topics; [`policies`]: the policies of all tenants, as they are now
//! - [`grants`]: what one connection may do
//! - [`lookups`]: credentials read from the database, all that wait in one query
//! - [`passwords`]: argon2id, on few threads
//! - [`user`]: which device a user name means
//! - [`gate`]: `Gate`, which decides
//! - [`review`]: looks at who is connected again when something changed
//!
//! *Guarantee*: what the database says when a client connects counts, never a copy of it. A change, whoever makes it,
//! holds within a second for who is connected: a connection whose credential is gone ends, another one has its new
//! rights for what it publishes and for what it is sent.

pub mod secret;
pub mod scope;
pub mod pattern;
pub mod policy;
pub mod policies;
pub mod grants;
pub mod lookups;
pub mod passwords;
pub mod user;
pub mod gate;
pub mod review;

pub use gate::Gate;
pub use policies::Policies;
pub use scope::{Scope, Scopes};
pub use secret::{hash, new_key, new_token};
