//! The way of one message: dispatcher, activation, handlers, committer, feed
