//! What outlives an MQTT connection: sessions with their subscriptions, queues and exchanges, and retained messages.
//!
//! All of it is in the memory of the broker too, which reads it once and then only writes. One batch is one transaction,
//! and says how things are afterwards: written twice, it is the same. Only the owner writes, over a connection that a new
//! owner ends like those of all writers, so that nothing of a killed process is committed late.

mod read;
mod write;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use statecast_state::Timestamp;
use tokio::sync::Mutex;

use crate::error::poison;
use crate::owner::Ownership;
use crate::session::{Backend, Session, within};
use crate::writer::{Trouble, connect};
use crate::{Owner, StoreError};

/// A transaction that takes longer is taken for lost, as if its connection were.
const DEADLINE: Duration = Duration::from_secs(30);

/// Names a session: its tenant, and its number.
pub type MqttSessionId<'a> = (Cow<'a, str>, u64);

/// A session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttSession<'a> {
    /// Names it.
    pub id: MqttSessionId<'a>,
    /// Whom its client proved to be.
    pub name: Cow<'a, str>,
    /// The client id.
    pub client_id: Cow<'a, str>,
    /// For how long it is kept when its connection has ended, in seconds.
    pub expiry_s: u32,
    /// When its connection ended; none while it is connected.
    pub ended_at: Option<Timestamp>,
}

/// A subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttSubscription<'a> {
    /// Whose.
    pub session: MqttSessionId<'a>,
    /// The filter.
    pub filter: Cow<'a, str>,
    /// 0 to 2.
    pub qos: u8,
    /// The client doesn't want what it published itself.
    pub no_local: bool,
    /// The RETAIN flag is kept as it was published.
    pub keep_retain: bool,
    /// The client is told this number with each message.
    pub identifier: Option<u32>,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttMessage<'a> {
    /// Relative to the tenant.
    pub topic: Cow<'a, str>,
    /// What was published.
    pub payload: Cow<'a, [u8]>,
    /// As MQTT 5 encodes them.
    pub properties: Cow<'a, [u8]>,
    /// 0 to 2.
    pub qos: u8,
    /// With the RETAIN flag.
    pub retain: bool,
    /// When it runs out, if ever.
    pub expires_at: Option<Timestamp>,
}

/// A message that waits for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttQueued<'a> {
    /// Whose.
    pub session: MqttSessionId<'a>,
    /// Its place in the queue.
    pub number: u64,
    /// The message.
    pub message: MqttMessage<'a>,
    /// The client has it, and is to be sent PUBREL.
    pub released: bool,
}

/// A publish of a client at quality 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttExchange<'a> {
    /// Whose.
    pub session: MqttSessionId<'a>,
    /// Its packet id.
    pub packet: u16,
    /// The idempotency key with which it is delivered, below 2^63.
    pub key: u64,
    /// It must not be delivered again.
    pub delivered: bool,
}

/// All that is kept, or is to be kept in place of what is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MqttKept<'a> {
    /// Sessions.
    pub sessions: Vec<MqttSession<'a>>,
    /// Their subscriptions.
    pub subscriptions: Vec<MqttSubscription<'a>>,
    /// Their queues, each in order.
    pub queued: Vec<MqttQueued<'a>>,
    /// Their exchanges.
    pub exchanges: Vec<MqttExchange<'a>>,
    /// Retained messages, with their tenants.
    pub retained: Vec<(Cow<'a, str>, MqttMessage<'a>)>,
}

/// What is to be made durable at once. Nothing in it is named twice, except what belongs to a session that ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MqttBatch<'a> {
    /// To be kept.
    pub kept: MqttKept<'a>,
    /// Subscriptions that end, by their filters.
    pub unsubscribed: Vec<(MqttSessionId<'a>, Cow<'a, str>)>,
    /// Queued messages to be marked as released.
    pub released: Vec<(MqttSessionId<'a>, u64)>,
    /// Queued messages that are done with.
    pub acknowledged: Vec<(MqttSessionId<'a>, u64)>,
    /// Exchanges that are over, by their packet ids.
    pub completed: Vec<(MqttSessionId<'a>, u16)>,
    /// Retained messages that go, by tenant and topic.
    pub removed: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Sessions that end, with all that belongs to them.
    pub ended: Vec<MqttSessionId<'a>>,
}

/// The one connection that writes what outlives MQTT connections.
pub struct MqttWriter {
    ownership: Arc<Ownership>,
    connection: Mutex<Connection>,
}

#[derive(Default)]
struct Connection {
    /// None before the first batch, after a loss, and while a transaction runs.
    session: Option<Session>,
    /// The process of the server that ran the last transaction, if its end isn't known.
    doubtful: Option<Backend>,
}

impl Owner {
    /// A writer of what outlives MQTT connections. Have one only.
    pub fn mqtt_writer(&self) -> MqttWriter {
        MqttWriter { ownership: Arc::clone(&self.ownership), connection: Mutex::default() }
    }
}

impl MqttWriter {
    /// Makes a batch durable, all of it or nothing. When this fails its fate isn't known, unless it was refused: then it
    /// is to be written again, before anything else.
    ///
    /// # Errors
    /// `Refused` for what is in a row: trying again doesn't help. Anything else is worth trying again, unless the
    /// ownership is lost.
    pub async fn write(&self, batch: &MqttBatch<'_>) -> Result<(), StoreError> {
        let mut connection = self.connection.lock().await;
        let mut session = match connection.session.take() {
            Some(session) => session,
            None => connect(&self.ownership).await.map_err(unreachable)?,
        };
        if let Some(backend) = connection.doubtful {
            // Else it might commit after us what we are about to overwrite.
            session.end(backend).await.map_err(StoreError::Unreachable)?;
        }
        connection.doubtful = Some(session.backend);
        let written = within(DEADLINE, write::write(&mut session.connection, batch)).await;
        match written {
            Err(error) if poison(&error).is_none() => return Err(StoreError::Unreachable(error)),
            Err(error) => {
                // The transaction was rolled back, or will be with its connection.
                drop(session);
                return Err(StoreError::Refused(error));
            }
            Ok(()) => {}
        }
        connection.doubtful = None;
        connection.session = Some(session);
        Ok(())
    }
}

fn unreachable(trouble: Trouble) -> StoreError {
    StoreError::Unreachable(match trouble {
        Trouble::Again(error) => error,
        Trouble::Fenced => sqlx::Error::Io(std::io::Error::other("another process owns the database now")),
    })
}
