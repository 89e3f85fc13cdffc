//! Word of every change of credentials, keys and policies, whoever made it: PostgreSQL tells who listens.
//!
//! *Guarantee*: whatever is committed after [`AccessChange::Anything`] was given is given too, until the next
//! `Anything`, which says that some may have been missed. A connection that was cut is noticed at once, and one that
//! died without a word within [`HEARTBEAT`].

use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};
use statecast_state::{DeviceId, DeviceKey, TenantId};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::Store;
use crate::session::{self, CONNECT_DEADLINE, backoff, within};

/// What the triggers of the tables call.
const CHANNEL: &str = "statecast_access";
/// After so long without a word the connection is asked whether it still lives.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// What has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessChange {
    /// Credentials or the policy of a device, which may be gone.
    Device(DeviceKey),
    /// An API key, which may be gone.
    Key(TenantId, Uuid),
    /// A policy, by name, which may be gone.
    Policy(TenantId, String),
    /// Nobody knows: from now on changes are told, what was before has to be looked at.
    Anything,
}

impl AccessChange {
    fn read(text: &str) -> Option<Self> {
        let mut words = text.splitn(3, ' ');
        let (kind, tenant, which) = (words.next()?, TenantId::parse(words.next()?).ok()?, words.next()?);
        Some(match kind {
            "device" => Self::Device(DeviceKey::new(tenant, DeviceId::parse(which).ok()?)),
            "key" => Self::Key(tenant, which.parse().ok()?),
            "policy" => Self::Policy(tenant, which.to_owned()),
            _ => return None,
        })
    }
}

impl Store {
    /// Tells of every change, through outages of the database, until nobody hears any more.
    pub async fn tell_of_access(&self, told: mpsc::Sender<AccessChange>) {
        let mut attempt = 0;
        while !told.is_closed() {
            // Boxed: connecting is a large future, and rare.
            match Box::pin(self.listen()).await {
                Ok(listener) => {
                    attempt = 0;
                    if told.send(AccessChange::Anything).await.is_err() {
                        return;
                    }
                    let lost = hear(listener, &told).await;
                    tracing::warn!(%lost, "changes of access may be missed");
                }
                Err(error) => tracing::warn!(%error, "changes of access can't be heard"),
            }
            tokio::time::sleep(backoff(attempt)).await;
            attempt += 1;
        }
    }

    async fn listen(&self) -> Result<PgListener, sqlx::Error> {
        // A pool of its own, because the listener never gives its connection back.
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(CONNECT_DEADLINE);
        let pool = pool.connect_lazy_with(session::reader(self.options.clone()));
        let mut listener = PgListener::connect_with(&pool).await?;
        within(CONNECT_DEADLINE, Box::pin(listener.listen(CHANNEL))).await?;
        listener.eager_reconnect(false);
        Ok(listener)
    }
}

/// Hands changes on until the connection is lost.
async fn hear(mut listener: PgListener, told: &mpsc::Sender<AccessChange>) -> sqlx::Error {
    loop {
        let heard = match tokio::time::timeout(HEARTBEAT, listener.try_recv()).await {
            Ok(Ok(Some(heard))) => heard,
            Ok(Ok(None)) => return sqlx::Error::Io(std::io::ErrorKind::ConnectionAborted.into()),
            Ok(Err(error)) => return error,
            Err(_) => {
                let alive = sqlx::query("SELECT 1").execute(&mut listener);
                match within(CONNECT_DEADLINE, Box::pin(alive)).await {
                    Ok(_) => continue,
                    Err(error) => return error,
                }
            }
        };
        // What can't be read may be anything.
        let change = AccessChange::read(heard.payload()).unwrap_or(AccessChange::Anything);
        if told.send(change).await.is_err() {
            return sqlx::Error::WorkerCrashed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read() {
        let tenant = TenantId::default();
        let device = DeviceKey::new(tenant.clone(), DeviceId::parse("a").expect("valid"));
        assert_eq!(AccessChange::read("device default a"), Some(AccessChange::Device(device)));
        let policy = AccessChange::Policy(tenant, "p".to_owned());
        assert_eq!(AccessChange::read("policy default p"), Some(policy));
        for odd in ["", "device", "device default", "device A b", "key default x", "other default a"] {
            assert_eq!(AccessChange::read(odd), None, "{odd}");
        }
    }
}
