//! What Statecast promises, a story a file.

mod first_message;
mod bad_input;
