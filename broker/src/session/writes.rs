//! What is to be written, and how the last word of each becomes a batch.

use std::collections::HashMap;
use std::sync::Arc;

use super::Lasting;
use crate::sessions::{
    Batch, KeptExchange, KeptSession, KeptSubscription, QueuedMessage, RetainedMessage, SessionId,
};

/// One thing to be made durable.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    Session(KeptSession),
    End(SessionId),
    Subscribe(KeptSubscription),
    Unsubscribe(SessionId, Arc<str>),
    Queue(QueuedMessage),
    Release(SessionId, u64),
    Acknowledge(SessionId, u64),
    Exchange(KeptExchange),
    Complete(SessionId, u16),
    Retain(RetainedMessage),
    Remove { realm: Arc<str>, topic: Arc<str> },
}

/// What a write is about: of several with the same place, the last counts.
#[derive(PartialEq, Eq, Hash)]
enum Place<'a> {
    Session(&'a SessionId),
    Subscription(&'a SessionId, &'a str),
    Message(&'a SessionId, u64),
    Exchange(&'a SessionId, u16),
    Topic(&'a str, &'a str),
}

impl Write {
    fn place(&self) -> Place<'_> {
        match self {
            Self::Session(session) => Place::Session(&session.id),
            Self::End(id) => Place::Session(id),
            Self::Subscribe(one) => Place::Subscription(&one.session, &one.filter),
            Self::Unsubscribe(id, filter) => Place::Subscription(id, filter),
            Self::Queue(one) => Place::Message(&one.session, one.number),
            Self::Release(id, number) | Self::Acknowledge(id, number) => Place::Message(id, *number),
            Self::Exchange(one) => Place::Exchange(&one.session, one.packet),
            Self::Complete(id, packet) => Place::Exchange(id, *packet),
            Self::Retain(one) => Place::Topic(&one.realm, &one.message.topic),
            Self::Remove { realm, topic } => Place::Topic(realm, topic),
        }
    }
}

/// What one event wants written at once.
#[derive(Default)]
pub(crate) struct Writes {
    pub(crate) list: Vec<Write>,
    /// Queued messages that may be sent when this is durable.
    pub(crate) queued: Vec<(Arc<Lasting>, u64)>,
    /// Even with nothing to write, it waits for what was to be written before.
    pub(crate) waits: bool,
}

/// The last word of each write, as a batch.
pub(super) fn batch<'a>(writes: impl Iterator<Item = &'a Write>) -> Batch {
    let mut last: Vec<Write> = Vec::new();
    let mut places = HashMap::new();
    for write in writes {
        let at = *places.entry(write.place()).or_insert_with(|| {
            last.push(write.clone());
            last.len() - 1
        });
        match (&mut last[at], write) {
            // The message itself is new too.
            (Write::Queue(queued), Write::Release(..)) => queued.released = true,
            (before, write) => *before = write.clone(),
        }
    }
    let mut batch = Batch::default();
    for write in last {
        match write {
            Write::Session(session) => batch.kept.sessions.push(session),
            Write::End(id) => batch.ended.push(id),
            Write::Subscribe(one) => batch.kept.subscriptions.push(one),
            Write::Unsubscribe(id, filter) => batch.unsubscribed.push((id, filter)),
            Write::Queue(one) => batch.kept.queued.push(one),
            Write::Release(id, number) => batch.released.push((id, number)),
            Write::Acknowledge(id, number) => batch.acknowledged.push((id, number)),
            Write::Exchange(one) => batch.kept.exchanges.push(one),
            Write::Complete(id, packet) => batch.completed.push((id, packet)),
            Write::Retain(one) => batch.kept.retained.push(one),
            Write::Remove { realm, topic } => batch.removed.push((realm, topic)),
        }
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{KeptMessage, QoS};
    use bytes::Bytes;

    fn queued(session: &SessionId, number: u64) -> Write {
        let message = KeptMessage {
            topic: "t".into(),
            payload: Bytes::new(),
            properties: Bytes::new(),
            qos: QoS::ExactlyOnce,
            retain: false,
            expires_at: None,
        };
        Write::Queue(QueuedMessage { session: session.clone(), number, message, released: false })
    }

    #[test]
    fn the_last_word_counts() {
        let id = SessionId { realm: "r".into(), number: 1 };
        let subscribe = Write::Subscribe(KeptSubscription {
            session: id.clone(),
            filter: "a".into(),
            qos: QoS::AtMostOnce,
            no_local: false,
            keep_retain: false,
            identifier: None,
        });
        let writes = [
            subscribe.clone(),
            Write::Unsubscribe(id.clone(), "a".into()),
            subscribe,
            queued(&id, 1),
            queued(&id, 2),
            Write::Release(id.clone(), 1),
            Write::Acknowledge(id.clone(), 2),
            Write::Release(id.clone(), 3),
        ];
        let batch = batch(writes.iter());
        assert_eq!((batch.kept.subscriptions.len(), batch.unsubscribed.len()), (1, 0));
        let kept: Vec<(u64, bool)> = batch.kept.queued.iter().map(|one| (one.number, one.released)).collect();
        assert_eq!(kept, [(1, true)]);
        assert_eq!(batch.released, [(id.clone(), 3)]);
        assert_eq!(batch.acknowledged, [(id, 2)]);
    }
}
