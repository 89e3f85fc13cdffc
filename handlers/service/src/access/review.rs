//! Looks at who is connected again when something changed: in the database, whoever changed it, or because a key
//! expired.
//!
//! *Cast*: the feed of changes, which PostgreSQL tells; the [`Gate`], which knows who was let in while one was told;
//! the broker, which knows who is connected. *Guarantee*: a connection whose credential is gone is ended, and any
//! other has its new rights. When the feed was interrupted, everyone is looked at. *Bound*: [`CHANGES_MAX`] changes at
//! a time; more wait in the database. While the database is away nobody is looked at, and nobody is let in.

use std::any::Any;
use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use statecast_broker::{Broker, Client};
use statecast_state::{DeviceId, DeviceKey, TenantId, Timestamp};
use statecast_store::{AccessChange, StoreError};
use tokio::sync::mpsc;
use tracing::{info, warn};
use uuid::Uuid;

use super::gate::{Gate, until};
use super::grants::Granted;

/// Changes that are dealt with at a time, and that may wait.
const CHANGES_MAX: usize = 1_000;
/// Pause before the database is asked again.
const RETRY_DELAY: Duration = Duration::from_millis(200);
/// By how much the clock of the database may be behind ours before a key is asked for again, in microseconds.
pub(super) const CLOCKS_DIFFER_US: i64 = 200_000;

/// Whom a connection acts for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A device.
    Device(DeviceKey),
    /// An app, by its key.
    Key(TenantId, Uuid),
}

impl Subject {
    /// Whom a client acts for.
    pub fn of(client: &Client) -> Option<Self> {
        let tenant = TenantId::parse(&client.realm).ok()?;
        match client.name.strip_prefix("key/") {
            Some(id) => Some(Self::Key(tenant, id.parse().ok()?)),
            None => Some(Self::Device(DeviceKey::new(tenant, DeviceId::parse(&client.name).ok()?))),
        }
    }

    /// The name that it has over MQTT. No device can have that of a key: `/` can't stand in a device id.
    pub fn name(&self) -> String {
        match self {
            Self::Device(key) => key.device.to_string(),
            Self::Key(_, id) => format!("key/{id}"),
        }
    }
}

/// Follows the changes for ever.
pub async fn run(gate: Arc<Gate>, broker: Broker) {
    let (told, changes) = mpsc::channel(CHANGES_MAX);
    tokio::join!(gate.store.tell_of_access(told), follow(&gate, &broker, changes));
}

async fn follow(gate: &Gate, broker: &Broker, mut changes: mpsc::Receiver<AccessChange>) {
    let mut told = Vec::new();
    loop {
        tokio::select! {
            count = changes.recv_many(&mut told, CHANGES_MAX) => if count == 0 { return },
            () = gate.wake.notified() => {}
            () = until(gate.next_end()) => {}
        }
        if !told.is_empty() {
            // Before anything is read: who is let in meanwhile is looked at as well.
            gate.notice();
        }
        let mut subjects = gate.due(now());
        for change in told.drain(..) {
            match change {
                AccessChange::Device(key) => drop(subjects.insert(Subject::Device(key))),
                AccessChange::Key(tenant, id) => drop(subjects.insert(Subject::Key(tenant, id))),
                AccessChange::Policy(tenant, name) => {
                    read("a policy", || gate.policies.reload(&tenant, &name)).await;
                }
                AccessChange::Anything => {
                    read("all policies", || gate.policies.reload_all()).await;
                    subjects.extend(broker.clients().iter().filter_map(|client| Subject::of(client)));
                    gate.tell_of_keys();
                }
            }
        }
        look(gate, broker, subjects).await;
    }
}

/// Looks at all connections of these.
async fn look(gate: &Gate, broker: &Broker, subjects: HashSet<Subject>) {
    let (mut devices, mut keys) = (Vec::new(), Vec::new());
    for subject in subjects {
        match subject {
            Subject::Device(key) => devices.push(key),
            Subject::Key(tenant, id) => keys.push((tenant, id)),
        }
    }
    for devices in devices.chunks(CHANGES_MAX) {
        let known = read("credentials of devices", || gate.store.credentials(devices)).await;
        for (key, known) in devices.iter().zip(known) {
            let (tenant, device) = (key.tenant.as_str(), key.device.as_str());
            let ended = match known {
                None => broker.forget(tenant, device).await,
                Some(known) => broker.review(tenant, device, |client| {
                    let Some(granted) = granted(client) else { return true };
                    granted.follow(gate.policy_of_device(&key.tenant, known.policy.as_deref()));
                    granted.proof.holds(&known)
                }),
            };
            tell(key, ended);
        }
    }
    for keys in keys.chunks(CHANGES_MAX) {
        let known = read("API keys", || gate.store.valid_keys(keys)).await;
        for ((tenant, id), known) in keys.iter().zip(known) {
            let subject = Subject::Key(tenant.clone(), *id);
            let name = subject.name();
            let ended = match known {
                None => broker.forget(tenant.as_str(), &name).await,
                Some(known) => {
                    if known.expires_at.is_some_and(|at| at <= now()) {
                        gate.expect_end(subject, now().plus_micros(CLOCKS_DIFFER_US));
                    }
                    broker.review(tenant.as_str(), &name, |client| {
                        let Some(granted) = granted(client) else { return true };
                        granted.change(&known, gate.policy_of_key(&known));
                        true
                    })
                }
            };
            tell(&name, ended);
        }
    }
    if !keys.is_empty() {
        gate.tell_of_keys();
    }
}

fn granted(client: &Client) -> Option<&Granted> {
    let grants: &dyn Any = &*client.grants;
    grants.downcast_ref()
}

fn tell(name: &dyn std::fmt::Display, ended: usize) {
    if ended > 0 {
        info!(%name, ended, "credentials are gone: connections end");
    }
}

pub(super) fn now() -> Timestamp {
    SystemTime::now().into()
}

/// Asks the database until it answers.
async fn read<T, F>(what: &str, ask: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, StoreError>>,
{
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => {
                warn!(%error, what, "look at who is connected again: trying again");
                tokio::time::sleep(RETRY_DELAY).await;
            }
        }
    }
}
