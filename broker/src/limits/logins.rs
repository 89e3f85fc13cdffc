//! Failed logins, by source and by name.
//!
//! Each failure is answered later than the one before, and not before a moment that depends on nothing but the count:
//! how long a check took says nothing about whether the name exists. After too many, nothing is checked for a while.
//! A name that is locked is locked for sources with failures of their own only: else anyone who knows the name of a
//! device could keep it out. Failures are forgotten with time alone: that the device itself logs in says nothing about
//! who else tries.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::rate::Bucket;
use super::recent::Recent;
use super::source::Source;
use super::{Limit, Rate};
use crate::Config;

/// When the first failure is answered at the earliest; each further one twice as late.
const DELAY_MIN: Duration = Duration::from_millis(100);
/// No failure is answered later than this.
const DELAY_MAX: Duration = Duration::from_secs(3);
/// More of them lead beyond the longest delay.
const DOUBLINGS_MAX: u32 = 8;
/// Sources, and names, whose failures are remembered.
const REMEMBERED_MAX: usize = 32 * 1024;

/// The failures of late.
pub(crate) struct Logins {
    lockout: Duration,
    per_source: Rate,
    per_name: Rate,
    /// Names are hashed: what strangers send isn't kept.
    hasher: RandomState,
    known: Mutex<Known>,
}

struct Known {
    sources: Recent<Source, Failures>,
    names: Recent<u64, Failures>,
}

struct Failures {
    bucket: Bucket,
    last: Instant,
    locked_until: Option<Instant>,
}

impl Logins {
    pub(crate) fn new(config: &Config) -> Self {
        let rate = |max| Rate { count: max, period: config.login_lockout, burst: max };
        Self {
            lockout: config.login_lockout,
            per_source: rate(config.login_failures_per_address_max),
            per_name: rate(config.login_failures_per_name_max),
            hasher: RandomState::new(),
            known: Mutex::new(Known {
                sources: Recent::new(REMEMBERED_MAX),
                names: Recent::new(REMEMBERED_MAX),
            }),
        }
    }

    /// May somebody from there try to log in with this name?
    pub(crate) fn check(&self, address: IpAddr, name: &str, now: Instant) -> Result<(), Limit> {
        let known = self.known.lock();
        let Some(source) = known.sources.get(Source::from(address)) else { return Ok(()) };
        if source.is_locked(now) {
            return Err(Limit::LoginFailuresPerAddress);
        }
        let failed_lately = now.duration_since(source.last) < self.lockout;
        let name = known.names.get(self.hasher.hash_one(name));
        if failed_lately && name.is_some_and(|name| name.is_locked(now)) {
            return Err(Limit::LoginFailuresPerName);
        }
        Ok(())
    }

    /// Notes a failure. Gives how long after the attempt it is to be answered.
    pub(crate) fn failed(&self, address: IpAddr, name: &str, now: Instant) -> Duration {
        let mut known = self.known.lock();
        let source = known.sources.get_or_insert_with(Source::from(address), || Failures::none(now));
        let from_there = source.add(self.per_source, self.lockout, now);
        let name = known.names.get_or_insert_with(self.hasher.hash_one(name), || Failures::none(now));
        let with_it = name.add(self.per_name, self.lockout, now);
        let doublings = from_there.max(with_it).saturating_sub(1).min(DOUBLINGS_MAX);
        DELAY_MIN.saturating_mul(1 << doublings).min(DELAY_MAX)
    }
}

impl Failures {
    fn none(now: Instant) -> Self {
        Self { bucket: Bucket::full(now), last: now, locked_until: None }
    }

    fn is_locked(&self, now: Instant) -> bool {
        self.locked_until.is_some_and(|until| now < until)
    }

    /// One more; gives how many there are that aren't forgotten yet.
    fn add(&mut self, rate: Rate, lockout: Duration, now: Instant) -> u32 {
        self.last = now;
        if !rate.is_limited() {
            return 0;
        }
        self.bucket.spend(rate, 1, now);
        if self.bucket.ready_at(rate, now).is_some() {
            self.locked_until = Some(now + lockout);
        }
        self.bucket.spent(rate, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn logins(per_address: u32, per_name: u32) -> Logins {
        Logins::new(&Config {
            login_failures_per_address_max: per_address,
            login_failures_per_name_max: per_name,
            login_lockout: MINUTE,
            ..Config::default()
        })
    }

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn a_name_is_locked_where_it_failed_and_nowhere_else() {
        let (logins, start) = (logins(0, 3), Instant::now());
        for _ in 0..3 {
            assert_eq!(logins.check(address(1), "pump", start), Ok(()));
            logins.failed(address(1), "pump", start);
        }
        assert_eq!(logins.check(address(1), "pump", start), Err(Limit::LoginFailuresPerName));
        assert_eq!(logins.check(address(1), "valve", start), Ok(()), "another name");
        assert_eq!(logins.check(address(2), "pump", start), Ok(()), "an address that never failed");
        logins.failed(address(2), "valve", start);
        assert_eq!(logins.check(address(2), "pump", start), Err(Limit::LoginFailuresPerName));
        assert_eq!(logins.check(address(1), "pump", start + MINUTE), Ok(()));
    }

    #[test]
    fn an_address_is_locked_for_every_name() {
        let (logins, start) = (logins(3, 0), Instant::now());
        for name in ["a", "b", "c"] {
            logins.failed(address(1), name, start);
        }
        assert_eq!(logins.check(address(1), "d", start), Err(Limit::LoginFailuresPerAddress));
        assert_eq!(logins.check(address(2), "d", start), Ok(()));
        assert_eq!(logins.check(address(1), "d", start + MINUTE), Ok(()));
    }

    #[test]
    fn answers_come_later_and_later_until_it_is_forgotten() {
        let (logins, start) = (logins(0, 10), Instant::now());
        let delays: Vec<u128> =
            (0..7).map(|_| logins.failed(address(1), "pump", start).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3000, 3000]);
        assert_eq!(logins.failed(address(1), "pump", start + 2 * MINUTE), DELAY_MIN);
    }

    #[test]
    fn one_that_fails_now_and_then_locks_nobody_out() {
        let (logins, mut now) = (logins(10, 10), Instant::now());
        for _ in 0..100 {
            now += Duration::from_secs(10);
            assert_eq!(logins.check(address(1), "pump", now), Ok(()));
            logins.failed(address(1), "pump", now);
        }
    }
}
