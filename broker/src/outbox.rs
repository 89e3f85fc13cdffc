//! What waits to be sent to one subscriber, bounded in bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use mqtt_protocol_core::mqtt::packet::Property;

use crate::expiry::Expiry;
use crate::router::Message;
use crate::{Publication, QoS};

/// A message to one subscriber.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    /// Relative to the realm.
    pub(crate) topic: Arc<str>,
    pub(crate) payload: Bytes,
    /// The lesser of what it was published and subscribed with.
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// Replaces one on the same topic that still waits.
    pub(crate) latest_only: bool,
    /// v5 properties of the publisher that travel along.
    pub(crate) properties: Option<Arc<[Property]>>,
    /// When it runs out, if ever.
    pub(crate) expiry: Option<Expiry>,
    /// See [`Publication::mark`].
    pub(crate) mark: Option<u64>,
    /// The identifiers of the subscriptions that it is sent for (v5).
    pub(crate) identifiers: Box<[u32]>,
}

impl Letter {
    /// A publication of the service, to a subscriber of this quality.
    pub(crate) fn new(publication: &Publication, qos: QoS, retain: bool) -> Self {
        Self {
            topic: Arc::clone(&publication.topic),
            payload: publication.payload.clone(),
            qos: publication.qos.min(qos),
            retain,
            latest_only: publication.latest_only,
            properties: None,
            expiry: None,
            mark: publication.mark,
            identifiers: Box::default(),
        }
    }

    /// A message of another client, to a subscriber of this quality.
    pub(crate) fn routed(message: &Message, qos: QoS, retain: bool) -> Self {
        Self {
            topic: Arc::clone(&message.topic),
            payload: message.payload.clone(),
            qos: message.qos.min(qos),
            retain,
            latest_only: false,
            properties: message.properties.clone(),
            expiry: message.expiry,
            mark: None,
            identifiers: Box::default(),
        }
    }

    /// The same, for subscriptions with these identifiers.
    pub(crate) fn identified(self, identifiers: Vec<u32>) -> Self {
        Self { identifiers: identifiers.into(), ..self }
    }

    /// What it weighs while it waits: roughly its memory.
    pub(crate) fn bytes(&self) -> usize {
        const BOOKKEEPING_BYTES: usize = 64;
        self.topic.len() + self.payload.len() + BOOKKEEPING_BYTES
    }
}

/// What became of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Posted {
    /// It waits to be sent.
    Queued,
    /// There was no room, and at quality 0 nobody was promised it.
    Dropped,
    /// There was no room for a letter that may not be dropped: the subscriber has to go.
    Overflow,
}

/// The queue of one subscriber.
#[derive(Default)]
pub(crate) struct Outbox {
    queue: VecDeque<Letter>,
    bytes: usize,
}

impl Outbox {
    /// Puts a letter at the end of the queue, or in place of an older one where only the latest counts.
    pub(crate) fn push(&mut self, letter: Letter, bytes_max: usize) -> Posted {
        if letter.latest_only
            && let Some(old) = self.queue.iter_mut().find(|old| old.latest_only && old.topic == letter.topic)
        {
            self.bytes = self.bytes - old.bytes() + letter.bytes();
            *old = letter;
            return Posted::Queued;
        }
        // A single letter always fits: a limit below the longest packet must not cut a subscriber off.
        if !self.queue.is_empty() && self.bytes + letter.bytes() > bytes_max {
            return if letter.qos == QoS::AtMostOnce { Posted::Dropped } else { Posted::Overflow };
        }
        self.bytes += letter.bytes();
        self.queue.push_back(letter);
        Posted::Queued
    }

    /// Puts what a new subscriber sees first before everything that came since its subscription is in force. A
    /// letter of which a newer version already waits is left out.
    pub(crate) fn push_first(&mut self, letters: Vec<Letter>) {
        for letter in letters.into_iter().rev() {
            let superseded = letter.latest_only
                && self.queue.iter().any(|newer| newer.latest_only && newer.topic == letter.topic);
            if !superseded {
                self.bytes += letter.bytes();
                self.queue.push_front(letter);
            }
        }
    }

    /// The next letter, without taking it.
    pub(crate) fn peek(&self) -> Option<&Letter> {
        self.queue.front()
    }

    /// Takes the next letter.
    pub(crate) fn pop(&mut self) -> Option<Letter> {
        let letter = self.queue.pop_front()?;
        self.bytes -= letter.bytes();
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
        Some(letter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(topic: &str, payload: &'static str, qos: QoS, latest_only: bool) -> Letter {
        let payload = Bytes::from_static(payload.as_bytes());
        Letter {
            topic: topic.into(),
            payload,
            qos,
            retain: false,
            latest_only,
            properties: None,
            expiry: None,
            mark: None,
            identifiers: Box::default(),
        }
    }

    fn drain(outbox: &mut Outbox) -> Vec<Bytes> {
        std::iter::from_fn(|| outbox.pop().map(|letter| letter.payload)).collect()
    }

    #[test]
    fn bounded_in_bytes() {
        let mut outbox = Outbox::default();
        let bytes_max = 150;
        assert_eq!(outbox.push(letter("a", "1", QoS::AtMostOnce, false), bytes_max), Posted::Queued);
        assert_eq!(outbox.push(letter("a", "2", QoS::AtLeastOnce, false), bytes_max), Posted::Queued);
        assert_eq!(outbox.push(letter("a", "3", QoS::AtMostOnce, false), bytes_max), Posted::Dropped);
        assert_eq!(outbox.push(letter("a", "4", QoS::AtLeastOnce, false), bytes_max), Posted::Overflow);
        assert_eq!(drain(&mut outbox), ["1", "2"]);
        assert_eq!(outbox.bytes, 0);
    }

    #[test]
    fn only_the_latest_waits() {
        let mut outbox = Outbox::default();
        outbox.push(letter("a", "old", QoS::AtLeastOnce, true), 1000);
        outbox.push(letter("b", "other", QoS::AtLeastOnce, true), 1000);
        outbox.push(letter("a", "new", QoS::AtLeastOnce, true), 1000);
        assert_eq!(drain(&mut outbox), ["new", "other"]);
        assert_eq!(outbox.bytes, 0);
    }

    #[test]
    fn what_a_subscriber_sees_first_comes_first_and_never_after_something_newer() {
        let mut outbox = Outbox::default();
        outbox.push(letter("a", "newer", QoS::AtLeastOnce, true), 1000);
        outbox.push_first(vec![
            letter("a", "older", QoS::AtLeastOnce, true),
            letter("b", "first", QoS::AtLeastOnce, false),
            letter("c", "second", QoS::AtLeastOnce, false),
        ]);
        assert_eq!(drain(&mut outbox), ["first", "second", "newer"]);
        assert_eq!(outbox.bytes, 0);
    }
}
