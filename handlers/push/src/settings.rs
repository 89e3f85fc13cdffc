//! Bounds and times of the dispatcher.

use std::time::Duration;

use crate::check::Reach;

/// How much at once, how long, how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Most rows claimed with one call.
    pub claim_rows_max: usize,
    /// Most rows in hand: claimed, and what became of them not yet written. Each holds a body of at most
    /// 20,000 bytes.
    pub held_rows_max: usize,
    /// How long a claim lasts; well above `attempt_timeout`. After a crash, rows in hand wait this long.
    pub lease: Duration,
    /// Most requests under way.
    pub sends_max: usize,
    /// Most requests under way to one receiver. One that fails gets fewer, down to one at a time.
    pub sends_per_receiver_max: usize,
    /// Longest that one attempt may take, from resolving the name to the head of the answer.
    pub attempt_timeout: Duration,
    /// Ceiling of the pause after the first failure; it doubles with each further one.
    pub retry_base: Duration,
    /// Highest ceiling of that pause.
    pub retry_cap: Duration,
    /// Which addresses receivers may have.
    pub reach: Reach,
    /// When stopping, how long a claim under way may still take, then the requests, then the writing of what
    /// became of them.
    pub stop_grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            claim_rows_max: 500,
            held_rows_max: 2_048,
            lease: Duration::from_secs(60),
            sends_max: 256,
            sends_per_receiver_max: 32,
            attempt_timeout: Duration::from_secs(20),
            retry_base: Duration::from_secs(5),
            retry_cap: Duration::from_secs(15 * 60),
            reach: Reach::default(),
            stop_grace: Duration::from_secs(5),
        }
    }
}
