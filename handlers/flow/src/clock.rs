//! What only time brings: devices that are absent, connections that nobody took up again, requests that nobody answered.
//!
//! *Cast*: one task sleeps until the earliest of the [`Timers`](crate::timers::Timers); the [`Horizon`] sets those of
//! absence ahead of time, [`Dues`] those of alarms, [`deadlines`] those of requests.
//! *Guarantee*: a timer that is due becomes a request in the mailbox of its device, like everything that writes a
//! twin. After a restart the timers come from the twins and the alarms, so that none is lost.
//! *Bound*: `AT_ONCE_MAX` devices are looked at at a time; the next wait until those are done.
//! *Outage*: the task waits for the database like everybody.

use std::time::{Duration, SystemTime};

use futures::future::join_all;
use statecast_state::{Body, DeviceKey, Presence, Refusal, Report, Timestamp};
use tokio::sync::oneshot;
use tracing::warn;

use crate::Flow;
use crate::deadlines;
use crate::dues::Dues;
use crate::horizon::Horizon;
use crate::request::{Answer, Applied, Ask, Request};
use crate::timers::{Timer, Why};

/// Devices that are looked at at a time.
const AT_ONCE_MAX: usize = 1_000;
/// Sleeps at most so long while something is due some time: the clock of the machine may be set.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// Pause after a failed read.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// The reason of a device that counts as offline because nobody took up its connection.
const LEFT: &str = "did not come back";

/// What ends when a request is durable, or the process stops.
type Outcome = oneshot::Receiver<Result<Applied, Refusal>>;

impl Flow {
    /// Brings what only time brings, for as long as it is polled.
    pub async fn keep_time(&self) {
        let deadlines = deadlines::read(&self.store, &self.shared.timers);
        tokio::join!(self.close_left_open(), self.watch(), self.review_rules(), deadlines);
    }

    /// Closes what a previous process left open: devices that it saw online and that have not come back within the
    /// grace are offline now. They get that long because a restart is no absence.
    async fn close_left_open(&self) {
        tokio::time::sleep(self.shared.settings.grace).await;
        let mut after: Option<DeviceKey> = None;
        loop {
            let page = match self.store.online(after.as_ref(), AT_ONCE_MAX).await {
                Ok(page) => page,
                Err(error) => {
                    warn!(%error, "look for devices that did not come back: trying again");
                    tokio::time::sleep(RETRY_DELAY).await;
                    continue;
                }
            };
            let Some(last) = page.last() else { return };
            after = Some(last.clone());
            join_all(page.iter().filter_map(|key| self.left(key))).await;
        }
    }

    async fn watch(&self) {
        let shared = &self.shared;
        let mut dues = Dues::new(now());
        let mut horizon = Horizon::new(shared.started_at);
        horizon.reset(shared.rules.absences(), now());
        loop {
            let due = shared.timers.take(now(), AT_ONCE_MAX);
            if !due.is_empty() {
                join_all(due.into_iter().filter_map(|timer| self.look(timer))).await;
            } else if horizon.read_at().is_some_and(|at| at <= now()) {
                horizon.extend(&self.store, &shared.timers, now()).await;
            } else if dues.read_at() <= now() {
                dues.extend(&self.store, &shared.timers, now()).await;
            } else {
                let others = horizon.read_at().into_iter().chain(shared.timers.next_due());
                let wake = others.chain([dues.read_at()]).min();
                tokio::select! {
                    () = sleep_until(wake) => {}
                    () = shared.timers.has_earlier() => {}
                    () = shared.rules.absences_changed() => {
                        shared.timers.forget(Why::Absence);
                        horizon.reset(shared.rules.absences(), now());
                    }
                }
            }
        }
    }

    /// Has a device looked at; gives what to wait for.
    fn look(&self, timer: Timer) -> Option<Outcome> {
        match timer.why {
            Why::Absence | Why::Alarm => Some(self.ask(timer.key, Body::Due, now())),
            Why::Vacant => self.left(&timer.key),
            Why::Deadline => Some(self.ask(timer.key, Body::Overdue, now())),
        }
    }

    /// Has a device counted as offline if no connection of it is open; gives what to wait for.
    fn left(&self, key: &DeviceKey) -> Option<Outcome> {
        let (now, mut asked) = (now(), None);
        let post = |presence: Presence| asked = Some(self.ask(key.clone(), Body::Presence(presence), now));
        self.shared.connections.left(key, LEFT, now, post);
        asked
    }

    /// Posts to the mailbox of a device.
    pub(crate) fn ask(&self, key: DeviceKey, body: Body, now: Timestamp) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        let report = Report { key: key.clone(), body, device_time: None, message: None, received_at: now };
        self.post(key, Request { ask: Ask::Report(report), answer: Answer::Caller(answer) });
        outcome
    }
}

pub(crate) fn now() -> Timestamp {
    SystemTime::now().into()
}

/// Sleeps until then, or a little; for ever without a time.
async fn sleep_until(wake: Option<Timestamp>) {
    let Some(wake) = wake else { return std::future::pending().await };
    let wait = u64::try_from(wake.micros_since(now())).unwrap_or(0);
    tokio::time::sleep(Duration::from_micros(wait).min(SLEEP_MAX)).await;
}
