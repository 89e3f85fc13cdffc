//! An outbox in memory, a dispatcher over it, and receivers on loopback.

#![allow(dead_code, reason = "each of the tests uses a part")]

mod hook;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use axum::body::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::{Value, json};
use statecast_push::{
    Claimed, Dispatcher, Finished, GateSettings, Outbox, Outcome, Publish, Reach, Settings,
};
use statecast_state::alarm::Severity;
use statecast_state::rule::{Receiver, ReceiverKind};
use statecast_state::{DeviceId, Position, Push, PushKind, TenantId, Timestamp};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) use hook::Hook;

/// The secret of all receivers.
pub(crate) const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// Longest that a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// Now.
pub(crate) fn now() -> Timestamp {
    SystemTime::now().into()
}

/// An outbox in memory, with the rules of the real one: due rows, leases, counted attempts.
#[derive(Default)]
pub(crate) struct Memory {
    rows: Mutex<HashMap<Uuid, Row>>,
    /// All results in the order in which they were written.
    pub(crate) written: Mutex<Vec<Finished>>,
    /// Calls of `claim`.
    pub(crate) claims: AtomicUsize,
    /// Calls of `finish`.
    pub(crate) finishes: AtomicUsize,
    /// So many calls fail before one succeeds again.
    pub(crate) failures: AtomicU32,
    changed: watch::Sender<()>,
}

struct Row {
    claimed: Claimed,
    due: Timestamp,
    open: bool,
}

impl Memory {
    /// Adds rows that are due.
    pub(crate) fn add(&self, rows: impl IntoIterator<Item = Claimed>) {
        let mut all = self.rows.lock();
        for claimed in rows {
            all.insert(claimed.push.id, Row { claimed, due: now(), open: true });
        }
    }

    /// Waits until what was written is as it should be.
    pub(crate) async fn until(&self, what: &str, mut done: impl FnMut(&[Finished]) -> bool) {
        let mut changed = self.changed.subscribe();
        let waiting = async {
            while !done(&self.written.lock()) {
                changed.changed().await.unwrap();
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("{what}: not within {PATIENCE:?}; written: {:?}", self.written.lock());
        }
    }

    /// Waits until so many are delivered.
    pub(crate) async fn until_delivered(&self, n: usize) {
        self.until("delivered", |all| {
            all.iter().filter(|f| matches!(f.outcome, Outcome::Delivered { .. })).count() >= n
        })
        .await;
    }

    /// The only outcome that was written for a push in the end.
    pub(crate) fn outcomes(&self) -> Vec<Outcome> {
        self.written.lock().iter().map(|finished| finished.outcome.clone()).collect()
    }

    fn fail_sometimes(&self) -> anyhow::Result<()> {
        let fewer = |n: u32| n.checked_sub(1);
        match self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer) {
            Ok(_) => bail!("no connection to the database"),
            Err(_) => Ok(()),
        }
    }
}

impl Outbox for Memory {
    fn claim(&self, limit: usize, lease: Duration) -> BoxFuture<'_, anyhow::Result<Vec<Claimed>>> {
        async move {
            self.claims.fetch_add(1, Ordering::SeqCst);
            self.fail_sometimes()?;
            let (now, mut all) = (now(), self.rows.lock());
            let mut due: Vec<&mut Row> = all.values_mut().filter(|row| row.open && row.due <= now).collect();
            due.sort_by_key(|row| (row.due, row.claimed.push.position));
            Ok(due
                .into_iter()
                .take(limit)
                .map(|row| {
                    row.due = now.plus_micros(i64::try_from(lease.as_micros()).unwrap());
                    row.claimed.attempt += 1;
                    row.claimed.clone()
                })
                .collect())
        }
        .boxed()
    }

    fn finish(&self, results: Vec<Finished>) -> BoxFuture<'_, anyhow::Result<()>> {
        async move {
            self.finishes.fetch_add(1, Ordering::SeqCst);
            self.fail_sometimes()?;
            let mut all = self.rows.lock();
            for finished in &results {
                let row = all.get_mut(&finished.id).context("no such row")?;
                match finished.outcome {
                    Outcome::Retry { at, .. } => row.due = at,
                    Outcome::Postponed { at, .. } => {
                        row.due = at;
                        row.claimed.attempt -= 1;
                    }
                    _ => row.open = false,
                }
            }
            self.written.lock().extend(results);
            self.changed.send_replace(());
            Ok(())
        }
        .boxed()
    }

    fn next_due(&self) -> BoxFuture<'_, anyhow::Result<Option<Timestamp>>> {
        async move {
            self.fail_sometimes()?;
            Ok(self.rows.lock().values().filter(|row| row.open).map(|row| row.due).min())
        }
        .boxed()
    }
}

/// What was published: tenant, topic, payload.
#[derive(Default)]
pub(crate) struct Topics(pub(crate) Mutex<Vec<(TenantId, String, Bytes)>>);

impl Publish for Topics {
    fn publish<'a>(
        &'a self,
        tenant: &'a TenantId,
        topic: &'a str,
        payload: Bytes,
    ) -> BoxFuture<'a, Result<(), String>> {
        async move {
            if topic.ends_with("/refused") {
                return Err("too many topics".to_owned());
            }
            self.0.lock().push((tenant.clone(), topic.to_owned(), payload));
            Ok(())
        }
        .boxed()
    }
}

/// A dispatcher over an outbox in memory.
pub(crate) struct Bench {
    /// The outbox.
    pub(crate) outbox: Arc<Memory>,
    /// The dispatcher.
    pub(crate) dispatcher: Dispatcher,
    /// Wakes it.
    pub(crate) wake: Arc<Notify>,
    /// Stops it.
    pub(crate) stop: CancellationToken,
    /// What it published.
    pub(crate) topics: Arc<Topics>,
}

impl Bench {
    /// Starts it.
    pub(crate) fn start(settings: Settings) -> Self {
        let outbox = Arc::new(Memory::default());
        let topics = Arc::new(Topics::default());
        let (wake, stop) = (Arc::new(Notify::new()), CancellationToken::new());
        let dispatcher =
            Dispatcher::start(outbox.clone(), settings, topics.clone(), wake.clone(), stop.clone()).unwrap();
        Self { outbox, dispatcher, wake, stop, topics }
    }

    /// What a commit with pushes does.
    pub(crate) fn commit(&self, rows: impl IntoIterator<Item = Claimed>) {
        self.outbox.add(rows);
        self.wake.notify_one();
    }

    /// Stops it, in an orderly way.
    pub(crate) async fn stopped(self) -> Arc<Memory> {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.dispatcher.stopped()).await.unwrap();
        self.outbox
    }
}

/// Short pauses, and loopback allowed.
pub(crate) fn quick() -> Settings {
    Settings {
        retry_base: Duration::from_millis(2),
        retry_cap: Duration::from_millis(20),
        gates: GateSettings {
            rest: Duration::from_millis(10),
            rest_max: Duration::from_millis(50),
            pause: Duration::from_millis(50),
            pause_max: Duration::from_millis(50),
            ..GateSettings::default()
        },
        reach: Reach { private: true, ntfy: None },
        ..Settings::default()
    }
}

/// A row of the outbox that was never tried, an hour before its deadline.
pub(crate) fn row(receiver: Uuid, kind: ReceiverKind, device: &str, n: u64) -> Claimed {
    let push = Push {
        id: Uuid::now_v7(),
        rule: Uuid::nil(),
        receiver,
        device: DeviceId::parse(device).unwrap(),
        position: Position(n),
        payload: json!({"type": "rule.enter", "device": device, "n": n, "text": "größer"}),
        created_at: now(),
        deadline: now().plus_micros(3_600_000_000),
        due_at: now(),
        kind: PushKind::Alarm,
        alarm: None,
        alarm_version: 0,
        step: 0,
        person: None,
        severity: Severity::Warning,
        urgent: false,
        hold: None,
    };
    let receiver = Receiver {
        id: receiver,
        name: "r".to_owned(),
        kind,
        enabled: true,
        disabled_reason: None,
        person: None,
    };
    Claimed { tenant: TenantId::default(), push, receiver, attempt: 0 }
}

/// The payload of version `n` of an alarm.
fn payload(n: u64) -> Value {
    json!({"type":"alarm.raised","alarm":{"id":"a1","version":n,"severity":"critical","state":"active","count":1},
        "rule":{"id":"r1","name":"hot"},"device":"boiler","title":"boiler is hot","body":"90 °C",
        "link":"https://state.example/alarms/a1","token":"ticket","reported":{"temperature":90},"version":7,
        "actions":[{"id":"ack","title":"Acknowledge"}]})
}

/// An alarm for a receiver of this kind.
pub(crate) fn alarm(receiver: Uuid, kind: Value, n: u64) -> Claimed {
    let mut row = row(receiver, serde_json::from_value::<ReceiverKind>(kind).unwrap(), "boiler", n);
    row.push.payload = payload(n);
    row.push.severity = Severity::Critical;
    row.push.alarm_version = n;
    row
}
