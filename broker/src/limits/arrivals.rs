//! Open sockets, in total and for each source, and how fast they come. Asked once for each socket, before anything
//! is read from it, and given back when it is closed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::rate::Bucket;
use super::recent::Recent;
use super::source::Source;
use super::{Limit, Rate};
use crate::Config;

/// Sockets over a limit that may wait to be told so at one time; more are closed without a word.
const REFUSALS_MAX: usize = 1024;
/// Sources whose rate is remembered.
const SOURCES_MAX: usize = 32 * 1024;

/// All open sockets, admitted or not.
pub(crate) struct Arrivals {
    /// One permit a socket. More than there may be connections, so that who is too many can be told.
    sockets: Arc<Semaphore>,
    sockets_max: usize,
    refusals: Arc<Semaphore>,
    per_source_max: u32,
    all: Rate,
    per_source: Rate,
    known: Mutex<Known>,
}

struct Known {
    all: Bucket,
    /// How many sockets each source has open.
    open: HashMap<Source, u32>,
    rates: Recent<Source, Bucket>,
}

/// An open socket's place; given up when it is dropped.
pub(crate) struct Ticket {
    /// The limit that the client is to hear of, instead of being let in.
    pub(crate) refused: Option<Limit>,
    counted: Option<(Arc<Arrivals>, Source)>,
    _permit: OwnedSemaphorePermit,
}

impl Arrivals {
    pub(crate) fn new(config: &Config) -> Arc<Self> {
        let sockets_max = config.connections_max.saturating_add(REFUSALS_MAX).min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            sockets: Arc::new(Semaphore::new(sockets_max)),
            sockets_max,
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
            per_source_max: config.connections_per_address_max,
            all: config.connects,
            per_source: config.connects_per_address,
            known: Mutex::new(Known {
                all: Bucket::full(Instant::now()),
                open: HashMap::new(),
                rates: Recent::new(SOURCES_MAX),
            }),
        })
    }

    /// A place for a socket. None when it is to be closed without a word.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr, now: Instant) -> Option<Ticket> {
        let source = Source::from(address);
        if let Err(limit) = self.enter(source, now) {
            limit.count();
            let permit = Arc::clone(&self.refusals).try_acquire_owned().ok()?;
            return Some(Ticket { refused: Some(limit), counted: None, _permit: permit });
        }
        let counted = (self.per_source_max > 0).then(|| (Arc::clone(self), source));
        match Arc::clone(&self.sockets).try_acquire_owned() {
            Ok(permit) => Some(Ticket { refused: None, counted, _permit: permit }),
            Err(_) => {
                Limit::Connections.count();
                if counted.is_some() {
                    self.leave(source);
                }
                None
            }
        }
    }

    /// How many sockets are open, of those that aren't just told why they can't stay.
    pub(crate) fn open(&self) -> usize {
        self.sockets_max.saturating_sub(self.sockets.available_permits())
    }

    /// Who is over a limit of its own takes nothing from the others.
    fn enter(&self, source: Source, now: Instant) -> Result<(), Limit> {
        let limited = self.per_source_max > 0 || self.per_source.is_limited() || self.all.is_limited();
        if !limited {
            return Ok(());
        }
        let mut known = self.known.lock();
        if self.per_source.is_limited() {
            let bucket = known.rates.get_or_insert_with(source, || Bucket::full(now));
            if !bucket.take(self.per_source, now) {
                return Err(Limit::ConnectsPerAddress);
            }
        }
        let open = known.open.get(&source).copied().unwrap_or_default();
        if self.per_source_max > 0 && open >= self.per_source_max {
            return Err(Limit::ConnectionsPerAddress);
        }
        if self.all.is_limited() && !known.all.take(self.all, now) {
            return Err(Limit::Connects);
        }
        if self.per_source_max > 0 {
            known.open.insert(source, open + 1);
        }
        Ok(())
    }

    fn leave(&self, source: Source) {
        let mut known = self.known.lock();
        if let Some(open) = known.open.get_mut(&source) {
            *open -= 1;
            if *open == 0 {
                known.open.remove(&source);
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some((arrivals, source)) = &self.counted {
            arrivals.leave(*source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn each_source_has_so_many() {
        let config = Config { connections_per_address_max: 2, ..Config::default() };
        let (arrivals, now) = (Arrivals::new(&config), Instant::now());
        let admit = |text| arrivals.admit(address(text), now).expect("it is told");
        let mut open = vec![admit("2001:db8::1"), admit("2001:db8::2")];
        assert!(open.iter().all(|ticket| ticket.refused.is_none()));
        assert_eq!(admit("2001:db8::3").refused, Some(Limit::ConnectionsPerAddress));
        assert_eq!(admit("2001:db8:0:1::3").refused, None, "another network");
        open.pop();
        assert_eq!(admit("2001:db8::3").refused, None);
        open.clear();
        assert!(arrivals.known.lock().open.is_empty());
        assert_eq!(arrivals.open(), 0);
    }

    #[test]
    fn who_comes_too_often_takes_nothing_from_the_others() {
        let config = Config {
            connects: Rate::per_second(1, 3),
            connects_per_address: Rate::per_second(1, 2),
            ..Config::default()
        };
        let (arrivals, now) = (Arrivals::new(&config), Instant::now());
        let refused = |text, now| arrivals.admit(address(text), now).expect("it is told").refused;
        let flood: Vec<_> = (0..5).map(|_| refused("192.0.2.1", now)).collect();
        assert_eq!(flood[..2], [None, None]);
        assert_eq!(flood[2..], [Some(Limit::ConnectsPerAddress); 3]);
        assert_eq!(refused("192.0.2.2", now), None);
        assert_eq!(refused("192.0.2.3", now), Some(Limit::Connects));
        assert_eq!(refused("192.0.2.3", now + Duration::from_secs(1)), None);
    }

    #[test]
    fn beyond_those_that_are_told_there_is_no_answer() {
        let config = Config { connections_per_address_max: 1, ..Config::default() };
        let (arrivals, now) = (Arrivals::new(&config), Instant::now());
        let admit = || arrivals.admit(address("192.0.2.1"), now);
        let told: Vec<_> = (0..=REFUSALS_MAX).filter_map(|_| admit()).collect();
        assert_eq!(told.len(), REFUSALS_MAX + 1);
        assert!(admit().is_none());
    }
}
