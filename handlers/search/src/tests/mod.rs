//! The crate as a whole: against the definition of the language, and against a fleet that changes while files
//! are damaged and followers are stopped.

#![allow(clippy::unwrap_used)]

mod agreement;
mod random;
mod samples;
mod damage;
mod fleet;
mod finding;
mod knowing;
mod following;
mod killed;
mod paging;
mod rebuilding;
mod scale;
mod verifying;
