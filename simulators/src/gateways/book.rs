//! What was received: counts, the last messages, and the ids that came before. Bounded.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

/// Ids that are remembered, to tell repeats; the oldest is forgotten first.
const IDS_MAX: usize = 200_000;
/// Messages that are kept with their payload.
const KEPT_MAX: usize = 2_000;

/// One message that came.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Received {
    /// Its id, the same in each attempt.
    pub(crate) id: String,
    /// Which phone it was for.
    pub(crate) registration: String,
    /// When it came, RFC 3339.
    pub(crate) received_at: DateTime<Utc>,
    /// The status it was answered with; 0: the connection broke off.
    pub(crate) answered: u16,
    /// Why it was refused.
    pub(crate) error: Option<String>,
    /// What it replaces on the phone.
    pub(crate) collapse: Option<String>,
    /// What people read first.
    pub(crate) title: Option<String>,
    /// Headers that mean something in its protocol.
    pub(crate) headers: Map<String, Value>,
    /// What the app gets.
    pub(crate) payload: Value,
}

/// How many came.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Summary {
    /// Requests, each attempt counted.
    pub(crate) total: u64,
    /// Requests for a phone with an id that hadn't come to it before.
    pub(crate) distinct: u64,
    /// Requests that were answered with success.
    pub(crate) accepted: u64,
    /// Requests whose id had been answered with success before.
    pub(crate) repeats_after_success: u64,
    /// Requests that were refused for what they were.
    pub(crate) refused: u64,
    /// Requests that were answered as if something was wrong, or not at all.
    pub(crate) failed_on_purpose: u64,
    /// The newest title that was accepted.
    pub(crate) last_title: Option<String>,
}

impl Summary {
    /// The counts as a line for people.
    pub(crate) fn line(&self) -> String {
        format!(
            "received {} distinct {} repeated after success {} refused {} failed on purpose {}",
            self.total, self.distinct, self.repeats_after_success, self.refused, self.failed_on_purpose
        )
    }
}

/// How often an id came, and whether it was accepted.
#[derive(Debug, Clone, Copy, Default)]
struct Attempts {
    count: u64,
    accepted: u64,
}

/// A phone and an id.
type Key = (String, String);

/// All that a gateway remembers.
#[derive(Default)]
pub(crate) struct Book {
    summary: Summary,
    attempts: HashMap<Key, Attempts>,
    oldest: VecDeque<Key>,
    kept: VecDeque<Received>,
}

/// A message in the list of `GET /received`.
#[derive(Debug, Serialize)]
pub(crate) struct Listed {
    #[serde(flatten)]
    pub(crate) received: Received,
    /// How often its id came, this one included.
    pub(crate) attempts: u64,
    /// How often it was accepted.
    pub(crate) accepted: u64,
}

impl Book {
    /// Writes down a request.
    pub(crate) fn note(&mut self, received: Received, on_purpose: bool) {
        let accepted = (200..300).contains(&received.answered);
        self.summary.total += 1;
        self.summary.accepted += u64::from(accepted);
        self.summary.failed_on_purpose += u64::from(on_purpose && !accepted);
        self.summary.refused += u64::from(!on_purpose && !accepted);
        let key = (received.registration.clone(), received.id.clone());
        let attempts = self.attempts.entry(key.clone()).or_default();
        if attempts.count == 0 {
            self.summary.distinct += 1;
            self.oldest.push_back(key);
        }
        self.summary.repeats_after_success += u64::from(attempts.accepted > 0);
        attempts.count += 1;
        attempts.accepted += u64::from(accepted);
        if accepted && received.title.is_some() {
            self.summary.last_title.clone_from(&received.title);
        }
        self.kept.push_back(received);
        if self.kept.len() > KEPT_MAX {
            self.kept.pop_front();
        }
        if self.oldest.len() > IDS_MAX
            && let Some(forgotten) = self.oldest.pop_front()
        {
            self.attempts.remove(&forgotten);
        }
    }

    /// How many came.
    pub(crate) fn summary(&self) -> Summary {
        self.summary.clone()
    }

    /// The last messages, newest first: for one phone, or for all.
    pub(crate) fn last(&self, registration: Option<&str>, limit: usize) -> Vec<Listed> {
        let listed = |received: &Received| {
            let key = (received.registration.clone(), received.id.clone());
            let attempts = self.attempts.get(&key).copied().unwrap_or_default();
            Listed { received: received.clone(), attempts: attempts.count, accepted: attempts.accepted }
        };
        let wanted = |received: &&Received| registration.is_none_or(|one| received.registration == one);
        self.kept.iter().rev().filter(wanted).take(limit).map(listed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came(id: &str, answered: u16) -> Received {
        let title = Some(id.to_owned());
        Received { id: id.into(), registration: "phone".into(), answered, title, ..Received::default() }
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
        assert_eq!((summary.total, summary.distinct, summary.accepted), (5, 3, 3));
        assert_eq!(summary.repeats_after_success, 1);
        assert_eq!((summary.refused, summary.failed_on_purpose), (1, 1));
        assert_eq!(summary.last_title.as_deref(), Some("a"));
        let last = book.last(Some("phone"), 2);
        assert_eq!((last[0].received.id.as_str(), last[1].attempts, last[1].accepted), ("c", 3, 2));
        assert!(book.last(Some("another"), 2).is_empty());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut book = Book::default();
        for index in 0..IDS_MAX + 10 {
            book.note(came(&index.to_string(), 204), false);
        }
        assert_eq!((book.attempts.len(), book.oldest.len(), book.kept.len()), (IDS_MAX, IDS_MAX, KEPT_MAX));
    }
}
