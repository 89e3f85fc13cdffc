//! One gate, as a machine without a clock. It shuts after a row of failures (a breaker), when our credentials are refused
//! (a pause), when the provider says that we send too much (a quota), and lets no more through in a second than it is
//! told to. What comes to a gate that is shut is sent back, each with a time of its own to come again, so that a
//! hundred thousand don't come together. When the time is over one of them is let through as a probe; what is said to it
//! decides for all.

use std::time::Duration;

use serde::Serialize;
use statecast_state::Timestamp;

use crate::policy::{Answer, Blame, later};

/// Refusals in a row, none of them sure, after which it must be the credentials.
const REFUSALS_MAX: u32 = 3;
/// How far apart rows come again that came to a shut gate.
const SLOT: Duration = Duration::from_millis(1);
/// Soonest that a row comes again while a probe is under way.
const PROBE_WAIT: Duration = Duration::from_secs(1);
/// How long a quota lasts when the provider doesn't say.
const QUOTA_WAIT: Duration = Duration::from_secs(60);

/// When gates shut, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateSettings {
    /// Failures of a provider in a row after which it isn't asked for a while; 1 at least.
    pub failures_max: u32,
    /// How long that is; it doubles with each probe that fails.
    pub rest: Duration,
    /// The longest of it.
    pub rest_max: Duration,
    /// How long nothing is sent with credentials that were refused; it doubles too.
    pub pause: Duration,
    /// The longest of it.
    pub pause_max: Duration,
    /// Requests with our service account in a second at most; 0 for no limit. Google allows 600,000 in a minute.
    pub fcm_per_s: u32,
    /// Requests to each of Apple's services in a second at most; 0 for no limit.
    pub apns_per_s: u32,
    /// Requests to one origin for one tenant in a second at most; 0 for no limit.
    pub origin_per_s: u32,
}

impl Default for GateSettings {
    fn default() -> Self {
        Self {
            failures_max: 10,
            rest: Duration::from_secs(1),
            rest_max: Duration::from_secs(60),
            pause: Duration::from_secs(10),
            pause_max: Duration::from_secs(300),
            fcm_per_s: 9_500,
            apns_per_s: 0,
            origin_per_s: 0,
        }
    }
}

/// Why a gate is shut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Rest {
    /// It fails, again and again.
    Failing,
    /// It refuses our credentials.
    Refused,
    /// It says that we send too much.
    Quota,
}

/// Whether something may go through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It may; `probe` is to be handed to [`Gates::learn`].
    Go { probe: bool },
    /// Not now: come again then.
    Wait { at: Timestamp, why: String },
}

/// A gate that is shut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shut {
    pub(crate) rest: Rest,
    /// What was said.
    pub(crate) why: String,
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    /// Probes that failed.
    times: u32,
    probing: bool,
}

/// One gate.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    failures: u32,
    refusals: u32,
    pub(crate) shut: Option<Shut>,
    /// When the last of those that were sent back comes again.
    last_slot: Option<Timestamp>,
    /// When the bucket is full again.
    full_at: Option<Timestamp>,
}

impl Gate {
    /// Asks to go through.
    pub(crate) fn enter(&mut self, per_s: u32, now: Timestamp) -> Entry {
        if let Some((at, why)) = self.waits(now) {
            return Entry::Wait { at, why };
        }
        match &mut self.shut {
            Some(shut) => {
                shut.probing = true;
                Entry::Go { probe: true }
            }
            None => self.draw(per_s, now),
        }
    }

    /// When to come again, if it is shut.
    pub(crate) fn waits(&mut self, now: Timestamp) -> Option<(Timestamp, String)> {
        let shut = self.shut.as_ref().filter(|shut| shut.probing || now < shut.until)?;
        let (from, why) = (shut.until.max(later(now, PROBE_WAIT)), shut.why.clone());
        Some((self.slot(from), why))
    }

    /// A token of the bucket, which holds those of one second.
    fn draw(&mut self, per_s: u32, now: Timestamp) -> Entry {
        if per_s == 0 {
            return Entry::Go { probe: false };
        }
        let full_at = self.full_at.map_or(now, |at| at.max(now));
        if full_at.micros_since(now) > 1_000_000 {
            let why = format!("more than {per_s} in a second");
            return Entry::Wait { at: self.slot(later(now, SLOT)), why };
        }
        self.full_at = Some(later(full_at, Duration::from_secs(1) / per_s));
        Entry::Go { probe: false }
    }

    /// A time of its own for a row that is sent back.
    fn slot(&mut self, from: Timestamp) -> Timestamp {
        let at = self.last_slot.map_or(from, |last| later(last, SLOT).max(from));
        self.last_slot = Some(at);
        at
    }

    /// What came of what was let through; none when it wasn't sent after all.
    pub(crate) fn learn(
        &mut self,
        probe: bool,
        answer: Option<&Answer>,
        settings: &GateSettings,
        now: Timestamp,
    ) {
        let decides = probe || self.shut.is_none();
        match answer {
            None => {
                if let (true, Some(shut)) = (probe, &mut self.shut) {
                    shut.probing = false;
                }
            }
            Some(Answer::Failed { error, not_before, blame: Blame::Quota }) => {
                let until = not_before.unwrap_or(later(now, QUOTA_WAIT));
                self.shut(Rest::Quota, error, until, now);
            }
            Some(_) if !decides => {}
            Some(Answer::Failed { error, not_before, blame: Blame::Provider }) => {
                self.failures += 1;
                if probe || self.failures >= settings.failures_max {
                    let rest = self.longer(settings.rest, settings.rest_max);
                    self.shut(Rest::Failing, error, later(now, rest).max(not_before.unwrap_or(now)), now);
                }
            }
            Some(Answer::Refused { error, sure }) => {
                self.refusals += 1;
                if probe || *sure || self.refusals >= REFUSALS_MAX {
                    let pause = self.longer(settings.pause, settings.pause_max);
                    self.shut(Rest::Refused, error, later(now, pause), now);
                }
            }
            Some(answer) => {
                self.failures = 0;
                self.shut = None;
                if matches!(answer, Answer::Accepted { .. }) {
                    self.refusals = 0;
                }
            }
        }
    }

    fn longer(&self, base: Duration, max: Duration) -> Duration {
        let times = self.shut.as_ref().map_or(0, |shut| shut.times + 1);
        base.saturating_mul(2_u32.saturating_pow(times)).min(max)
    }

    fn shut(&mut self, rest: Rest, why: &str, until: Timestamp, now: Timestamp) {
        let before = self.shut.take();
        let (since, times) = before.as_ref().map_or((now, 0), |shut| (shut.since, shut.times + 1));
        let until = before.map_or(until, |shut| until.max(shut.until));
        self.shut = Some(Shut { rest, why: why.to_owned(), since, until, times, probing: false });
    }

    /// Nothing is known against what is behind it.
    pub(crate) fn is_idle(&self, now: Timestamp) -> bool {
        self.shut.is_none() && self.failures == 0 && self.full_at.is_none_or(|at| at < now)
    }
}
