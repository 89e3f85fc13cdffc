//! Telling people: channels, the delivery policy, the dispatcher
