//! An outbox in memory, and receivers on loopback that answer as they are told.

#![allow(dead_code, reason = "each of the tests uses a part")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail};
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::json;
use statecast_push::{
    Claimed, Dispatcher, Finished, GateSettings, Outbox, Outcome, Publish, Reach, Settings,
};
use statecast_state::alarm::Severity;
use statecast_state::rule::{Receiver, ReceiverKind};
use statecast_state::{DeviceId, Position, Push, PushKind, TenantId, Timestamp};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

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

/// A request that a receiver got.
pub(crate) struct Received {
    /// The path that it was sent to.
    pub(crate) path: String,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body.
    pub(crate) body: Bytes,
    /// When.
    pub(crate) at: Instant,
}

/// A receiver: a server on loopback.
pub(crate) struct Hook {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its id.
    pub(crate) id: Uuid,
    /// What it got.
    pub(crate) received: Arc<Mutex<Vec<Received>>>,
    /// Requests under way at once, at most.
    pub(crate) peak: Arc<AtomicUsize>,
    changed: Arc<watch::Sender<()>>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Hook {
    /// Starts one that gives this answer to its nth request, from 0.
    pub(crate) async fn start<F>(answer: impl Fn(usize) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let (peak, running, answer) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(answer));
        let changed = Arc::new(watch::Sender::new(()));
        let (log, peak_seen, tell) = (received.clone(), peak.clone(), changed.clone());
        let handler = move |uri: Uri, headers: HeaderMap, body: Bytes| {
            let (log, peak, running, answer) =
                (log.clone(), peak_seen.clone(), running.clone(), answer.clone());
            let tell = tell.clone();
            async move {
                let n = {
                    let mut log = log.lock();
                    log.push(Received { path: uri.path().to_owned(), headers, body, at: Instant::now() });
                    log.len() - 1
                };
                tell.send_replace(());
                peak.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let response = answer(n).await;
                running.fetch_sub(1, Ordering::SeqCst);
                response
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(handler);
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, id: Uuid::now_v7(), received, peak, changed, server }
    }

    /// How many requests it got.
    pub(crate) fn count(&self) -> usize {
        self.received.lock().len()
    }

    /// Waits until it got so many.
    pub(crate) async fn until_count(&self, n: usize) {
        let mut changed = self.changed.subscribe();
        let waiting = async {
            while self.count() < n {
                changed.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("requests");
    }

    /// A row for it: number `n`, about this device.
    pub(crate) fn row(&self, device: &str, n: u64) -> Claimed {
        let kind =
            ReceiverKind::Webhook { url: format!("http://{}/hook", self.address), secret: SECRET.to_owned() };
        row(self.id, kind, device, n)
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
