//! Puts the way together: takes deliveries and requests in, and stops in order.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use metrics::counter;
use statecast_broker::{Client, Delivery, Event, Receipt, Refused};
use statecast_state::document::Limits;
use statecast_state::{
    Body, DeviceId, DeviceKey, MessageId, Position, Presence, Refusal, Report, TenantId, Timestamp, Twin,
};
use statecast_store::{DeadLetter, Owner, Store};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::cache::Twins;
use crate::committer::Committer;
use crate::dispatcher::Mailboxes;
use crate::horizon::later;
use crate::loader::Loader;
use crate::metering::Meter;
use crate::presence::{Closed, Connections, device_of};
use crate::request::{Answer, Applied, Ask, Message, Request};
use crate::timers::{Timer, Timers, Why};
use crate::{Feed, Rules, activation, decode};

/// Requests from inside the process (HTTP) that may be open at once; more wait.
const CALLS_MAX: usize = 1_024;

/// What can be set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Limits of documents.
    pub limits: Limits,
    /// A state message of an unknown device registers it (`--dev`).
    pub register_unknown: bool,
    /// Requests of one device for desired state that may be open.
    pub requests_max: usize,
    /// How long devices have to come back, after a start of ours or a takeover, before they count as offline.
    pub grace: Duration,
    /// Bytes of twins kept in memory.
    pub cache_bytes_max: u64,
    /// Bytes of changes kept in memory for those who follow the feed.
    pub feed_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            register_unknown: false,
            requests_max: 16,
            grace: Duration::from_secs(90),
            cache_bytes_max: 256 * 1024 * 1024,
            feed_bytes_max: 64 * 1024 * 1024,
        }
    }
}

/// What activations share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) mailboxes: Mailboxes,
    pub(crate) twins: Twins,
    pub(crate) loader: Loader,
    pub(crate) committer: Committer,
    pub(crate) feed: Feed,
    pub(crate) rules: Rules,
    pub(crate) meter: Meter,
    pub(crate) connections: Connections,
    pub(crate) timers: Timers,
    pub(crate) started_at: Timestamp,
    calls: Semaphore,
    activations: TaskTracker,
}

/// The way of one message, running. Cheap to clone.
#[derive(Clone)]
pub struct Flow {
    pub(crate) shared: Arc<Shared>,
    pub(crate) store: Store,
    lanes: TaskTracker,
    metering: CancellationToken,
}

impl Flow {
    /// Starts it: the lanes of the committer, the loader, the meter. Runs on the current tokio runtime.
    pub fn start(settings: Settings, store: Store, owner: &Arc<Owner>, rules: Rules) -> Self {
        // What the previous owner left is resolved: the feed begins after it.
        let mut before = owner.next_position();
        before.0 = before.0.saturating_sub(1);
        let feed = Feed::new(before, settings.feed_bytes_max);
        let lanes = TaskTracker::new();
        let meter = Meter::default();
        let twins = Twins::new(settings.cache_bytes_max);
        let metering = CancellationToken::new();
        tokio::spawn({
            let (meter, store, metering) = (meter.clone(), store.clone(), metering.clone());
            async move { metering.run_until_cancelled(meter.run(&store)).await }
        });
        let shared = Arc::new(Shared {
            mailboxes: Mailboxes::default(),
            loader: Loader::start(store.clone()),
            committer: Committer::start(owner, &feed, &twins, &lanes),
            twins,
            feed,
            rules,
            meter,
            connections: Connections::new(owner.term()),
            timers: Timers::default(),
            started_at: SystemTime::now().into(),
            calls: Semaphore::new(CALLS_MAX),
            activations: TaskTracker::new(),
            settings,
        });
        Self { shared, store, lanes, metering }
    }

    /// What was committed, in order.
    pub fn feed(&self) -> &Feed {
        &self.shared.feed
    }

    /// The last position that a change was given: everything that is acknowledged now is at or below it.
    pub fn horizon(&self) -> Position {
        self.shared.committer.horizon()
    }

    /// Limits of documents.
    pub fn limits(&self) -> &Limits {
        &self.shared.settings.limits
    }

    /// Devices that have something to do at this moment.
    pub fn active(&self) -> usize {
        self.shared.mailboxes.active()
    }

    /// Takes deliveries until it is told to stop; what waits by then is still taken.
    pub async fn dispatch(&self, mut deliveries: mpsc::Receiver<Delivery>, stop: CancellationToken) {
        while let Some(Some(delivery)) = stop.run_until_cancelled(deliveries.recv()).await {
            self.deliver(delivery);
        }
        deliveries.close();
        while let Some(delivery) = deliveries.recv().await {
            self.deliver(delivery);
        }
    }

    /// Asks for a change of a twin, and waits until it is durable.
    ///
    /// # Errors
    /// `Refusal` when it can't be applied; none when the process is stopping.
    pub async fn submit(&self, report: Report) -> Option<Result<Applied, Refusal>> {
        let _permit = self.shared.calls.acquire().await.ok()?;
        let (answer, outcome) = oneshot::channel();
        let key = report.key.clone();
        self.post(key, Request { ask: Ask::Report(report), answer: Answer::Caller(answer) });
        outcome.await.ok()
    }

    /// The twins of these devices of a tenant, as they are committed, in the same order: those that are kept in memory.
    pub fn kept(&self, tenant: &TenantId, ids: &[DeviceId]) -> Vec<Option<Arc<Twin>>> {
        let key = |id: &DeviceId| DeviceKey::new(tenant.clone(), id.clone());
        ids.iter().map(|id| self.shared.twins.peek(&key(id))).collect()
    }

    /// A device acknowledged that it was told what it should be, with this version of its twin.
    pub fn received(&self, key: DeviceKey, version: u64) {
        // Mostly it is known that nobody asked for anything.
        if self.shared.twins.peek(&key).is_some_and(|twin| twin.requests.is_empty()) {
            return;
        }
        let (body, received_at) = (Body::Received { version }, SystemTime::now().into());
        let report = Report { key: key.clone(), body, device_time: None, message: None, received_at };
        self.post(key, Request { ask: Ask::Report(report), answer: Answer::Nobody });
    }

    /// Stops: waits until what was taken is committed and answered, at most until the deadline. Nothing may be
    /// delivered or submitted any more; what isn't done by then is left unanswered.
    pub async fn stop(self, deadline: Duration) {
        let Self { shared, store, lanes, metering } = self;
        metering.cancel();
        shared.activations.close();
        if tokio::time::timeout(deadline, shared.activations.wait()).await.is_err() {
            warn!(devices = shared.mailboxes.active(), "stop: some messages stay unacknowledged");
        }
        shared.meter.write(&store).await;
        lanes.close();
        info!("stop: the flow is empty");
    }

    fn deliver(&self, delivery: Delivery) {
        let Delivery { client, event, received_at, receipt } = delivery;
        let received_at = Timestamp::from(received_at);
        match event {
            Event::Connected => {
                receipt.accept();
                if let Some(key) = device_of(&client) {
                    let post = |presence| self.presence(&key, presence, received_at);
                    self.shared.connections.opened(&key, received_at, post);
                }
            }
            Event::Disconnected { reason } => {
                receipt.accept();
                if let Some(key) = device_of(&client) {
                    let post = |presence| self.presence(&key, presence, received_at);
                    if self.shared.connections.closed(&key, reason, received_at, post) == Closed::Vacant {
                        let due = later(received_at, self.shared.settings.grace);
                        self.shared.timers.set(Timer { due, key, why: Why::Vacant });
                    }
                }
            }
            Event::Publish { topic, payload, exchange, .. } => {
                let message = exchange.map(MessageId);
                self.publish(&client, topic, payload, message, received_at, receipt);
            }
        }
    }

    fn presence(&self, key: &DeviceKey, presence: Presence, received_at: Timestamp) {
        let body = Body::Presence(presence);
        let report = Report { key: key.clone(), body, device_time: None, message: None, received_at };
        self.post(key.clone(), Request { ask: Ask::Report(report), answer: Answer::Nobody });
    }

    fn publish(
        &self,
        client: &Client,
        topic: Arc<str>,
        payload: Bytes,
        message: Option<MessageId>,
        received_at: Timestamp,
        receipt: Receipt,
    ) {
        // A realm is a tenant: the service named it when it let the client in.
        let Ok(tenant) = TenantId::parse(&client.realm) else {
            return receipt.refuse(Refused::NotAuthorized);
        };
        match decode::topic(&tenant, &topic) {
            Ok((key, channel)) => {
                let message = Message { channel, topic, payload, message, received_at };
                self.post(key, Request { ask: Ask::Message(message), answer: Answer::Device(receipt) });
            }
            Err(reason) => {
                let letter = DeadLetter {
                    tenant,
                    device: None,
                    topic: topic.to_string(),
                    payload,
                    reason: reason.clone(),
                    received_at,
                };
                self.bury(letter, receipt, reason);
            }
        }
    }

    /// Keeps a message that belongs to no device, then acknowledges it with the reason.
    fn bury(&self, letter: DeadLetter, receipt: Receipt, reason: String) {
        counter!("statecast_dead_letters_total").increment(1);
        let committer = self.shared.committer.clone();
        self.shared.activations.spawn(async move {
            if committer.commit(Vec::new(), vec![letter]).await.is_some() {
                receipt.refuse(Refused::Payload(reason.into()));
            }
        });
    }

    pub(crate) fn post(&self, key: DeviceKey, request: Request) {
        if self.shared.mailboxes.post(&key, request) {
            self.shared.activations.spawn(activation::run(self.shared.clone(), key));
        }
    }
}
