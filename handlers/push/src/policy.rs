//! What becomes of a push after an attempt. Plain functions: `now` and chance come in as arguments.

use std::time::{Duration, SystemTime};

use statecast_state::Timestamp;

use crate::outbox::Outcome;

/// Longest text of a receiver that is kept with an error, in bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 200;

/// After a refusal of our credentials a push waits about as long as after so many attempts.
const REFUSED_AS: u32 = 3;

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Accepted.
    Accepted {
        /// The HTTP status, 200-299.
        status: u16,
    },
    /// The receiver wants no more, ever.
    Gone {
        /// What was said.
        error: String,
    },
    /// Any other answer, or none: it is tried again.
    Failed {
        /// What went wrong.
        error: String,
        /// Not before this time, it was said.
        not_before: Option<Timestamp>,
        /// Whose trouble it is.
        blame: Blame,
    },
    /// It can't be sent as it is, to this receiver as it is: our fault.
    Impossible {
        /// Why.
        error: String,
    },
    /// What is wrong isn't the push but who sends it: our credentials. The attempt doesn't count.
    Refused {
        /// What was said.
        error: String,
        /// It can't be the receiver's registration either.
        sure: bool,
    },
}

/// Whose trouble a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blame {
    /// That of this push, or this receiver: others may fare better.
    Push,
    /// The provider is overloaded, broken or away: others for it would fare no better.
    Provider,
    /// We send too much: nothing at all before the time that was said.
    Quota,
}

/// How long to wait between attempts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retry {
    /// Ceiling of the pause after the first attempt; it doubles with each further one.
    pub(crate) base: Duration,
    /// Highest ceiling.
    pub(crate) cap: Duration,
}

/// What becomes of a push after attempt number `attempt` (1 is the first) was answered. `chance` is from
/// 0.0 to 1.0, 1.0 excluded.
pub(crate) fn outcome(
    answer: Answer,
    attempt: u32,
    deadline: Timestamp,
    now: Timestamp,
    retry: Retry,
    chance: f64,
) -> Outcome {
    match answer {
        Answer::Accepted { status } => Outcome::Delivered { status },
        Answer::Gone { error } => Outcome::ReceiverGone { error },
        Answer::Impossible { error } => Outcome::Dead { error },
        Answer::Refused { error, .. } => {
            // No attempt, so it doesn't grow; its channel may rest longer.
            let pause = backoff(REFUSED_AS, retry, 0.5 + chance.clamp(0.0, 1.0) / 2.0);
            let at = later(now, pause).min(deadline);
            Outcome::Postponed { at, error: Some(error) }
        }
        Answer::Failed { error, not_before, .. } => {
            let at = later(now, backoff(attempt, retry, chance)).max(not_before.unwrap_or(now));
            if at < deadline {
                Outcome::Retry { at, error }
            } else {
                Outcome::Dead { error: format!("{error} (no attempt left before its deadline)") }
            }
        }
    }
}

/// The pause after attempt number `attempt`: full jitter, that is anything from nothing up to a ceiling that
/// doubles, so that receivers that failed together aren't asked again together.
pub(crate) fn backoff(attempt: u32, retry: Retry, chance: f64) -> Duration {
    let doubled = 2_u32.saturating_pow(attempt.saturating_sub(1));
    retry.base.saturating_mul(doubled).min(retry.cap).mul_f64(chance.clamp(0.0, 1.0))
}

/// A moment, so much later.
pub(crate) fn later(now: Timestamp, pause: Duration) -> Timestamp {
    now.plus_micros(i64::try_from(pause.as_micros()).unwrap_or(i64::MAX))
}

/// Now, by the clock of this machine.
pub(crate) fn now() -> Timestamp {
    SystemTime::now().into()
}

/// Seconds since a moment, none when it is ahead.
pub(crate) fn seconds_since(moment: Timestamp) -> f64 {
    let micros = now().micros_since(moment).max(0);
    Duration::from_micros(micros.unsigned_abs()).as_secs_f64()
}

/// Reads the value of `Retry-After` (RFC 9110, 10.2.3): seconds, or a date in any of the three formats.
pub(crate) fn retry_after(value: &str, now: Timestamp) -> Option<Timestamp> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u32>() {
        return Some(later(now, Duration::from_secs(seconds.into())));
    }
    httpdate::parse_http_date(value).ok().map(Timestamp::from)
}

/// What a receiver said, fit for a log and a database: the first 200 bytes, without control characters.
pub(crate) fn clean(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text.get(..TEXT_BYTES_MAX).unwrap_or(text));
    let kept: String = text
        .trim_end_matches('\u{fffd}') // half a character, where it was cut
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|c| !c.is_control())
        .collect();
    kept.trim().to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const RETRY: Retry = Retry { base: Duration::from_secs(5), cap: Duration::from_secs(900) };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn the_ceiling_doubles_up_to_the_cap() {
        let ceiling = |attempt| backoff(attempt, RETRY, 1.0).as_secs();
        assert_eq!([1, 2, 3, 8, 9, 40, u32::MAX].map(ceiling), [5, 10, 20, 640, 900, 900, 900]);
        assert_eq!(backoff(3, RETRY, 0.25), Duration::from_secs(5));
        assert_eq!(backoff(3, RETRY, 0.0), Duration::ZERO);
    }

    fn failed(not_before: Option<Timestamp>) -> Answer {
        Answer::Failed { error: "503".into(), not_before, blame: Blame::Provider }
    }

    #[test]
    fn retry_after_is_a_floor() {
        let after = |floor| outcome(failed(floor), 1, at(1_000), at(0), RETRY, 0.5);
        let retry = |at| Outcome::Retry { at, error: "503".into() };
        assert_eq!(after(None), retry(Timestamp::from_micros(2_500_000)));
        assert_eq!(after(Some(at(1))), retry(Timestamp::from_micros(2_500_000)));
        assert_eq!(after(Some(at(60))), retry(at(60)));
    }

    #[test]
    fn dead_when_the_next_attempt_would_be_too_late() {
        let dead = |outcome| matches!(outcome, Outcome::Dead { error } if error.starts_with("503 ("));
        assert!(dead(outcome(failed(None), 1, at(5), at(3), RETRY, 0.5)));
        assert!(dead(outcome(failed(Some(at(900))), 1, at(900), at(0), RETRY, 0.5)));
    }

    #[test]
    fn answers_that_are_final() {
        let of = |answer| outcome(answer, 1, at(9), at(0), RETRY, 0.5);
        assert_eq!(of(Answer::Accepted { status: 204 }), Outcome::Delivered { status: 204 });
        assert_eq!(of(Answer::Gone { error: "410".into() }), Outcome::ReceiverGone { error: "410".into() });
        assert_eq!(of(Answer::Impossible { error: "x".into() }), Outcome::Dead { error: "x".into() });
    }

    #[test]
    fn what_is_the_fault_of_our_credentials_costs_no_attempt() {
        let refused = Answer::Refused { error: "401".into(), sure: true };
        let outcome = outcome(refused, 1, at(900), at(0), RETRY, 0.0);
        assert_eq!(outcome, Outcome::Postponed { at: at(10), error: Some("401".into()) });
    }

    #[test]
    fn retry_after_in_every_format() {
        let date = Timestamp::parse("1994-11-06T08:49:37Z");
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", at(0)), date);
        assert_eq!(retry_after("Sunday, 06-Nov-94 08:49:37 GMT", at(0)), date);
        assert_eq!(retry_after("Sun Nov  6 08:49:37 1994", at(0)), date);
        assert_eq!(retry_after(" 120 ", at(7)), Some(at(127)));
        assert_eq!(retry_after("-1", at(7)), None);
        assert_eq!(retry_after("soon", at(7)), None);
    }

    #[test]
    fn texts_are_short_and_harmless() {
        assert_eq!(clean(b" no\r\n\x1b[31m\0such thing\t"), "no  [31msuch thing");
        assert_eq!(clean("é".repeat(300).as_bytes()), "é".repeat(100));
        assert_eq!(clean(format!("x{}", "é".repeat(300)).as_bytes()), format!("x{}", "é".repeat(99)));
        assert_eq!(clean(b"\xff\xfe"), "");
    }
}
