//! What a gateway is told to do wrong.

use std::collections::HashMap;

use serde::Deserialize;

/// Phones for which something goes wrong at the same time.
const SCRIPTS_MAX: usize = 10_000;

/// What goes wrong with the next requests.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    /// For which phone; none: for all that have no fault of their own.
    #[serde(default)]
    pub(crate) registration: Option<String>,
    /// The status of the answer, 200-599; none: what the error comes with.
    #[serde(default)]
    pub(crate) status: Option<u16>,
    /// The error in the words of the channel, such as `UNREGISTERED`; none: the usual one of the status.
    #[serde(default)]
    pub(crate) error: Option<String>,
    /// A body that isn't the protocol's.
    #[serde(default)]
    pub(crate) body: Option<String>,
    /// How many requests that goes for; none: all.
    #[serde(default)]
    pub(crate) times: Option<u64>,
    /// `Retry-After`, in seconds.
    #[serde(default)]
    pub(crate) retry_after_s: Option<u64>,
    /// How long the answer is held back, in milliseconds.
    #[serde(default)]
    pub(crate) delay_ms: u64,
    /// The connection breaks off where the answer should come.
    #[serde(default)]
    pub(crate) reset: bool,
}

impl Fault {
    fn is_none(&self) -> bool {
        let says_nothing = self.status.is_none() && self.error.is_none() && self.body.is_none();
        says_nothing && self.retry_after_s.is_none() && self.delay_ms == 0 && !self.reset
    }

    /// What goes wrong with the next request; none when nothing does any more.
    fn next(&mut self) -> Option<Self> {
        if let Some(left) = &mut self.times {
            *left = left.checked_sub(1)?;
        }
        Some(self.clone())
    }
}

/// All that goes wrong. Pure: asked once for each request.
#[derive(Debug, Default)]
pub(super) struct Script {
    for_all: Option<Fault>,
    for_one: HashMap<String, Fault>,
}

impl Script {
    /// Replaces the fault of this phone, or of all; one that does nothing ends it.
    ///
    /// # Errors
    /// A sentence for people, when too many phones have one.
    pub(super) fn set(&mut self, fault: Fault) -> Result<(), String> {
        match fault.registration.clone() {
            None => self.for_all = Some(fault).filter(|fault| !fault.is_none()),
            Some(registration) if fault.is_none() => drop(self.for_one.remove(&registration)),
            Some(_) if self.for_one.len() >= SCRIPTS_MAX => {
                return Err(format!("more than {SCRIPTS_MAX} phones have a fault of their own"));
            }
            Some(registration) => drop(self.for_one.insert(registration, fault)),
        }
        Ok(())
    }

    /// What goes wrong with the next request for this phone.
    pub(super) fn next(&mut self, registration: &str) -> Option<Fault> {
        let own = self.for_one.get_mut(registration);
        own.and_then(Fault::next).or_else(|| self.for_all.as_mut().and_then(Fault::next))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn status(fault: Option<Fault>) -> Option<u16> {
        fault.and_then(|fault| fault.status)
    }

    #[test]
    fn faults_end_after_so_many_times() {
        let mut script = Script::default();
        script.set(Fault { status: Some(503), times: Some(2), ..Fault::default() }).unwrap();
        assert_eq!(status(script.next("a")), Some(503));
        assert_eq!(status(script.next("b")), Some(503));
        assert_eq!(status(script.next("a")), None);
    }

    #[test]
    fn a_phone_has_faults_of_its_own() {
        let mut script = Script::default();
        let gone = Fault { registration: Some("a".into()), status: Some(410), ..Fault::default() };
        script.set(gone).unwrap();
        script.set(Fault { status: Some(500), ..Fault::default() }).unwrap();
        assert!((0..1_000).all(|_| status(script.next("a")) == Some(410)));
        assert_eq!(status(script.next("b")), Some(500));
        script.set(Fault { registration: Some("a".into()), ..Fault::default() }).unwrap();
        assert_eq!(status(script.next("a")), Some(500));
        script.set(Fault::default()).unwrap();
        assert_eq!(status(script.next("a")), None);
    }
}
