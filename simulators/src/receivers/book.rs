//! What was received: counts, the last webhooks, and the ids that came before. Bounded.

use std::collections::{HashMap, VecDeque};

use serde::Serialize;
use serde_json::Value;

/// Ids that are remembered, to tell repeats; the oldest is forgotten first.
const IDS_MAX: usize = 200_000;
/// Webhooks that are kept with their payload.
const KEPT_MAX: usize = 1_000;

/// One webhook that came.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Received {
    /// Its `webhook-id`, the same in each attempt.
    pub(crate) id: String,
    /// When it came, RFC 3339.
    pub(crate) received_at: String,
    /// Whether its signature is right: none when no secret is known to check it with.
    pub(crate) verified: Option<bool>,
    /// The status it was answered with.
    pub(crate) answered: u16,
    /// What it said.
    pub(crate) payload: Value,
}

/// How many came.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Summary {
    /// Webhooks, each attempt counted.
    pub(crate) total: u64,
    /// Webhooks with an id that hadn't come before.
    pub(crate) distinct: u64,
    /// Webhooks whose id had been answered with success before.
    pub(crate) repeats_after_success: u64,
    /// Webhooks that were refused for their signature.
    pub(crate) bad_signatures: u64,
    /// Webhooks that were answered as if something was wrong.
    pub(crate) failed_on_purpose: u64,
    /// The newest title that was accepted.
    pub(crate) last_title: Option<String>,
}

impl Summary {
    /// The counts as a line for people.
    pub(crate) fn line(&self) -> String {
        format!(
            "received {} distinct {} repeated after success {} bad signatures {} failed on purpose {}",
            self.total,
            self.distinct,
            self.repeats_after_success,
            self.bad_signatures,
            self.failed_on_purpose
        )
    }
}

/// How often an id came, and whether it was accepted.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    attempts: u64,
    accepted: bool,
}

/// All that a receiver remembers.
#[derive(Default)]
pub(crate) struct Book {
    summary: Summary,
    seen: HashMap<String, Seen>,
    oldest: VecDeque<String>,
    kept: VecDeque<Received>,
}

/// A webhook in the list of `GET /received`.
#[derive(Debug, Serialize)]
pub(crate) struct Listed {
    #[serde(flatten)]
    received: Received,
    /// How often its id came, this one included.
    attempts: u64,
}

impl Book {
    /// Writes down a webhook.
    pub(crate) fn note(&mut self, received: Received, on_purpose: bool) {
        let accepted = (200..300).contains(&received.answered);
        self.summary.total += 1;
        self.summary.failed_on_purpose += u64::from(on_purpose && !accepted);
        self.summary.bad_signatures += u64::from(received.verified == Some(false));
        let seen = self.seen.entry(received.id.clone()).or_default();
        if seen.attempts == 0 {
            self.summary.distinct += 1;
            self.oldest.push_back(received.id.clone());
        }
        self.summary.repeats_after_success += u64::from(seen.accepted);
        seen.attempts += 1;
        seen.accepted |= accepted;
        if accepted && let Some(title) = received.payload.get("title").and_then(Value::as_str) {
            self.summary.last_title = Some(title.to_owned());
        }
        self.kept.push_back(received);
        if self.kept.len() > KEPT_MAX {
            self.kept.pop_front();
        }
        if self.oldest.len() > IDS_MAX
            && let Some(forgotten) = self.oldest.pop_front()
        {
            self.seen.remove(&forgotten);
        }
    }

    /// How many came.
    pub(crate) fn summary(&self) -> Summary {
        self.summary.clone()
    }

    /// The last webhooks, newest first.
    pub(crate) fn last(&self, limit: usize) -> Vec<Listed> {
        let listed = |received: &Received| Listed {
            attempts: self.seen.get(&received.id).map_or(1, |seen| seen.attempts),
            received: received.clone(),
        };
        self.kept.iter().rev().take(limit).map(listed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came(id: &str, answered: u16) -> Received {
        Received {
            id: id.into(),
            received_at: String::new(),
            verified: Some(answered != 401),
            answered,
            payload: serde_json::json!({"title": id}),
        }
    }

    #[test]
    fn a_retry_after_a_failure_is_told_from_a_repeat_after_success() {
        let mut book = Book::default();
        book.note(came("a", 503), true);
        book.note(came("a", 204), false);
        book.note(came("b", 204), false);
        book.note(came("a", 204), false);
        book.note(came("c", 401), false);
        let summary = book.summary();
        assert_eq!((summary.total, summary.distinct), (5, 3));
        assert_eq!(summary.repeats_after_success, 1);
        assert_eq!((summary.bad_signatures, summary.failed_on_purpose), (1, 1));
        assert_eq!(summary.last_title.as_deref(), Some("a"));
        let last = book.last(2);
        assert_eq!((last[0].received.id.as_str(), last[1].attempts), ("c", 3));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut book = Book::default();
        for index in 0..IDS_MAX + 10 {
            book.note(came(&index.to_string(), 204), false);
        }
        assert_eq!((book.seen.len(), book.oldest.len(), book.kept.len()), (IDS_MAX, IDS_MAX, KEPT_MAX));
    }
}
