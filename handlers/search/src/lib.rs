//! The search index: follows the feed, answers queries
