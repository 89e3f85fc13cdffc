//! Who is next. A lane for each receiver, and lanes take turns, so that one with much to be told doesn't
//! hold up the others. Within a lane, one request at a time for each device, in the order of the claims: a
//! "leave" doesn't overtake its "enter" unless that failed or was postponed.
//!
//! A lane has a width, the requests that may be under way, of which a phone has one and a webhook more: it halves when the receiver is pressed and grows
//! by one when it accepts, so a receiver that hangs soon takes one place instead of all. And a lane holds
//! about as much as its receiver takes in a second; what is above goes back to the database for a while.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use statecast_state::{DeviceId, TenantId};
use uuid::Uuid;

/// Which receiver.
pub(crate) type ReceiverKey = (TenantId, Uuid);

/// Rows that a lane may always hold, however slow it is.
const WAITING_MIN: usize = 8;
/// Lanes remembered for their width and pace though nothing waits in them.
const LANES_IDLE_MAX: usize = 10_000;
/// Shortest and longest time for which what is above the bound goes back.
const POSTPONED: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// Something to send, on its way through a lane.
#[derive(Debug)]
pub(crate) struct Entry<J> {
    pub(crate) receiver: ReceiverKey,
    pub(crate) device: DeviceId,
    /// Requests that may be under way in the lane.
    pub(crate) width_max: usize,
    pub(crate) job: J,
}

/// What there is no room for, and for how long.
#[derive(Debug)]
pub(crate) struct Surplus<J> {
    pub(crate) jobs: Vec<J>,
    pub(crate) wait: Duration,
}

/// How an attempt went, for the width of the lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Went {
    /// Accepted.
    Well,
    /// The receiver is overloaded, broken or away.
    Pressed,
    /// Neither: it answered, and refused this one push.
    Neither,
    /// It wasn't asked.
    Untried,
}

/// Bounds of all lanes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Requests under way, over all lanes.
    pub(crate) sends_max: usize,
    /// Rows in hand, over all lanes; kept by the caller.
    pub(crate) held_max: usize,
}

struct Lane<J> {
    waiting: VecDeque<(DeviceId, J)>,
    /// Devices of the requests under way.
    busy: HashSet<DeviceId>,
    width: usize,
    width_max: usize,
    /// How long an attempt takes, smoothed; none before the first.
    took: Option<Duration>,
    /// It stands in `Lanes::turns`.
    in_turn: bool,
}

impl<J> Lane<J> {
    fn new(width_max: usize) -> Self {
        let (waiting, busy) = (VecDeque::new(), HashSet::new());
        Self { waiting, busy, width: width_max, width_max, took: None, in_turn: false }
    }

    /// Rows that may wait: a second's worth, and an eighth of all while the pace isn't known.
    fn waiting_max(&self, held_max: usize) -> usize {
        let share = match self.took {
            None => held_max / 8,
            Some(took) => {
                let second = Duration::from_secs(1).as_micros() / took.as_micros().max(1);
                usize::try_from(second).unwrap_or(usize::MAX).saturating_mul(self.width)
            }
        };
        share.min(held_max / 2).max(WAITING_MIN)
    }

    /// About how long until what waits now is through.
    fn wait(&self) -> Duration {
        let rounds = u32::try_from(self.waiting.len() / self.width).unwrap_or(u32::MAX);
        self.took.unwrap_or_default().saturating_mul(rounds).clamp(POSTPONED.0, POSTPONED.1)
    }

    /// The first that waits and whose device has nothing under way.
    fn take(&mut self) -> Option<(DeviceId, J)> {
        if self.busy.len() >= self.width {
            return None;
        }
        let free = self.waiting.iter().position(|(device, _)| !self.busy.contains(device))?;
        let (device, job) = self.waiting.remove(free)?;
        self.busy.insert(device.clone());
        Some((device, job))
    }

    fn learn(&mut self, went: Went, took: Duration) {
        if went == Went::Untried {
            return;
        }
        self.took = Some(self.took.map_or(took, |old| old.mul_f64(0.8) + took.mul_f64(0.2)));
        self.width = match went {
            Went::Well => (self.width + 1).min(self.width_max),
            Went::Pressed => (self.width / 2).max(1),
            Went::Neither | Went::Untried => self.width,
        };
    }
}

/// All lanes.
pub(crate) struct Lanes<J> {
    bounds: Bounds,
    lanes: HashMap<ReceiverKey, Lane<J>>,
    /// Lanes that may have something to start, each once, the next first.
    turns: VecDeque<ReceiverKey>,
    running: usize,
}

impl<J> Lanes<J> {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, lanes: HashMap::new(), turns: VecDeque::new(), running: 0 }
    }

    /// Puts something into the lane of its receiver, or hands it back when that is full.
    pub(crate) fn add(&mut self, entry: Entry<J>) -> Result<(), Surplus<J>> {
        let Entry { receiver, device, width_max, job } = entry;
        let lane = self.lanes.entry(receiver.clone()).or_insert_with(|| Lane::new(width_max));
        if lane.waiting.len() >= lane.waiting_max(self.bounds.held_max) {
            return Err(Surplus { jobs: vec![job], wait: lane.wait() });
        }
        lane.waiting.push_back((device, job));
        self.enqueue(receiver);
        Ok(())
    }

    /// What to start now, if anything: to be followed by `done`.
    pub(crate) fn next(&mut self) -> Option<Entry<J>> {
        while self.running < self.bounds.sends_max {
            let receiver = self.turns.pop_front()?;
            let Some(lane) = self.lanes.get_mut(&receiver) else { continue };
            lane.in_turn = false;
            if let Some((device, job)) = lane.take() {
                self.running += 1;
                let width_max = lane.width_max;
                self.enqueue(receiver.clone());
                return Some(Entry { receiver, device, width_max, job });
            }
        }
        None
    }

    /// What `next` gave out has ended. A lane that turns out slower than it seemed gives back what it can't
    /// get through soon.
    pub(crate) fn done(
        &mut self,
        receiver: &ReceiverKey,
        device: &DeviceId,
        went: Went,
        took: Duration,
    ) -> Surplus<J> {
        self.running = self.running.saturating_sub(1);
        let Some(lane) = self.lanes.get_mut(receiver) else {
            return Surplus { jobs: Vec::new(), wait: Duration::ZERO };
        };
        lane.busy.remove(device);
        lane.learn(went, took);
        let wait = lane.wait();
        let kept = lane.waiting_max(self.bounds.held_max).min(lane.waiting.len());
        let jobs = lane.waiting.drain(kept..).map(|(_, job)| job).collect();
        self.enqueue(receiver.clone());
        self.forget();
        Surplus { jobs, wait }
    }

    /// All that waits.
    pub(crate) fn drain(&mut self) -> Vec<J> {
        self.lanes.values_mut().flat_map(|lane| lane.waiting.drain(..).map(|(_, job)| job)).collect()
    }

    fn enqueue(&mut self, receiver: ReceiverKey) {
        if let Some(lane) = self.lanes.get_mut(&receiver)
            && !lane.in_turn
            && !lane.waiting.is_empty()
            && lane.busy.len() < lane.width
        {
            lane.in_turn = true;
            self.turns.push_back(receiver);
        }
    }

    fn forget(&mut self) {
        if self.lanes.len() > LANES_IDLE_MAX {
            self.lanes.retain(|_, lane| !lane.waiting.is_empty() || !lane.busy.is_empty());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const BOUNDS: Bounds = Bounds { sends_max: 6, held_max: 160 };

    fn entry(receiver: u128, device: &str, job: u32) -> Entry<u32> {
        let receiver = (TenantId::default(), Uuid::from_u128(receiver));
        Entry { receiver, device: DeviceId::parse(device).unwrap(), width_max: 4, job }
    }

    fn started(lanes: &mut Lanes<u32>) -> Vec<Entry<u32>> {
        std::iter::from_fn(|| lanes.next()).collect()
    }

    fn jobs(entries: &[Entry<u32>]) -> Vec<u32> {
        entries.iter().map(|entry| entry.job).collect()
    }

    #[test]
    fn receivers_take_turns_within_the_bounds() {
        let mut lanes = Lanes::new(BOUNDS);
        for job in 0..8 {
            lanes.add(entry(1, &format!("a{job}"), job)).unwrap();
        }
        lanes.add(entry(2, "b", 100)).unwrap();
        lanes.add(entry(3, "c", 200)).unwrap();
        lanes.add(entry(3, "d", 201)).unwrap();
        let running = started(&mut lanes);
        assert_eq!(jobs(&running), [0, 100, 200, 1, 201, 2]);
        for entry in &running {
            lanes.done(&entry.receiver, &entry.device, Went::Well, Duration::from_millis(1));
        }
        assert_eq!(jobs(&started(&mut lanes)), [3, 4, 5, 6], "four at a time to one receiver");
    }

    #[test]
    fn one_at_a_time_for_a_device_and_in_order() {
        let mut lanes = Lanes::new(BOUNDS);
        for (device, job) in [("a", 1), ("a", 2), ("b", 3), ("a", 4)] {
            lanes.add(entry(1, device, job)).unwrap();
        }
        let running = started(&mut lanes);
        assert_eq!(jobs(&running), [1, 3]);
        lanes.done(&running[0].receiver, &running[0].device, Went::Neither, Duration::ZERO);
        let next = started(&mut lanes);
        assert_eq!(jobs(&next), [2]);
        lanes.done(&next[0].receiver, &next[0].device, Went::Neither, Duration::ZERO);
        assert_eq!(jobs(&started(&mut lanes)), [4]);
    }

    #[test]
    fn a_receiver_that_hangs_takes_one_place_and_gives_rows_back() {
        let mut lanes = Lanes::new(BOUNDS);
        for job in 0..20 {
            lanes.add(entry(1, &format!("a{job}"), job)).unwrap();
        }
        let full = lanes.add(entry(1, "x", 99));
        assert!(full.is_err(), "an eighth of 160 while the pace isn't known");
        let running = started(&mut lanes);
        assert_eq!(running.len(), 4);
        let mut surplus = Vec::new();
        for entry in &running {
            let given = lanes.done(&entry.receiver, &entry.device, Went::Pressed, Duration::from_secs(20));
            assert!(given.wait >= POSTPONED.0 && given.wait <= POSTPONED.1);
            surplus.extend(given.jobs);
        }
        assert_eq!(surplus, (12..20).collect::<Vec<_>>(), "the last come back, eight stay");
        assert_eq!(jobs(&started(&mut lanes)), [4], "one at a time");
        assert_eq!(lanes.drain(), (5..12).collect::<Vec<_>>());
    }

    #[test]
    fn a_fast_receiver_may_hold_half() {
        let mut lanes = Lanes::new(BOUNDS);
        lanes.add(entry(1, "a", 0)).unwrap();
        let first = lanes.next().unwrap();
        lanes.done(&first.receiver, &first.device, Went::Well, Duration::from_millis(1));
        let added = (0..200).filter(|job| lanes.add(entry(1, "a", *job)).is_ok()).count();
        assert_eq!(added, 80);
    }
}
