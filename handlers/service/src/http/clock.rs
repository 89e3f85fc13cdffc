//! Who is in a query with a time relative to now: devices enter and leave it by the mere passing of time.

use std::collections::{BTreeSet, HashMap, HashSet};

use statecast_state::{DeviceId, Query, Timestamp, Twin};

/// The devices that are in the query or will turn by themselves.
#[derive(Default)]
pub(super) struct Clock {
    inside: HashSet<DeviceId>,
    /// When the query may change its mind about a device, the earliest first.
    turns: BTreeSet<(Timestamp, DeviceId)>,
    /// The same, by device.
    due: HashMap<DeviceId, Timestamp>,
}

impl Clock {
    /// A device is like this now, or is gone. Says whether it enters, leaves or changes within the query.
    pub(super) fn saw(
        &mut self,
        query: &Query,
        device: &DeviceId,
        twin: Option<&Twin>,
        now: Timestamp,
    ) -> Option<&'static str> {
        if let Some(due) = self.due.remove(device) {
            self.turns.remove(&(due, device.clone()));
        }
        if let Some(due) = twin.and_then(|twin| query.turns(twin, now)) {
            self.turns.insert((due, device.clone()));
            self.due.insert(device.clone(), due);
        }
        if twin.is_some_and(|twin| query.matches(twin, now)) {
            Some(if self.inside.insert(device.clone()) { "enter" } else { "change" })
        } else {
            self.inside.remove(device).then_some("leave")
        }
    }

    /// When the next device may turn.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.turns.first().map(|(due, _)| *due)
    }

    /// The devices that may have turned by now, at most so many.
    pub(super) fn turned(&self, now: Timestamp, max: usize) -> Vec<DeviceId> {
        let due = self.turns.iter().take_while(|(due, _)| *due <= now);
        due.take(max).map(|(_, device)| device.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_device_leaves_by_silence_and_enters_by_speaking() {
        let query: Query = "seen:>-1h".parse().unwrap();
        let device = DeviceId::parse("d").unwrap();
        let at = |minutes: i64| Timestamp::from_micros(minutes * 60_000_000);
        let twin = |minutes| Twin { received_at: Some(at(minutes)), ..Twin::new(device.clone()) };
        let mut clock = Clock::default();
        assert_eq!(clock.saw(&query, &device, Some(&twin(0)), at(0)), Some("enter"));
        assert_eq!(clock.due(), Some(at(60)));
        assert_eq!(clock.saw(&query, &device, Some(&twin(30)), at(30)), Some("change"));
        assert_eq!((clock.due(), clock.turned(at(89), 9)), (Some(at(90)), vec![]));
        assert_eq!(clock.turned(at(90), 9), std::slice::from_ref(&device));
        assert_eq!(clock.saw(&query, &device, Some(&twin(30)), at(90)), Some("leave"));
        assert_eq!(clock.saw(&query, &device, None, at(91)), None);
        assert_eq!(clock.due(), None);
    }
}
