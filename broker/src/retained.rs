//! Retained messages of routed topics: the last of each topic that was published with the RETAIN flag, for those
//! who subscribe later. In memory and kept besides, bounded in bytes and in number.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::Config;
use crate::expiry::Expiry;
use crate::limits::Limit;
use crate::router::Message;
use crate::session::{Write, convert};
use crate::sessions::RetainedMessage;
use crate::topics;

/// What a kept message weighs besides its topic and payload, in bytes.
const BOOKKEEPING_BYTES: usize = 128;

/// All retained messages, by realm and topic.
pub(crate) struct Retained {
    bytes_max: usize,
    messages_max: usize,
    kept: Mutex<Kept>,
    /// One was kept that runs out before all others.
    pub(crate) sooner: Notify,
}

/// The messages of one realm by topic.
type Topics = HashMap<Arc<str>, Message>;

#[derive(Default)]
struct Kept {
    realms: HashMap<Arc<str>, Topics>,
    /// Those that run out, by when.
    ends: BTreeSet<(Expiry, Arc<str>, Arc<str>)>,
    bytes: usize,
    messages: usize,
}

impl Retained {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            bytes_max: config.retained_bytes_max,
            messages_max: config.retained_messages_max,
            kept: Mutex::default(),
            sooner: Notify::new(),
        }
    }

    /// Keeps a message in place of the last one of its topic; one without payload only removes that (MQTT 5,
    /// 3.3.1.3). Gives what is to be written, or which limit is in the way.
    pub(crate) fn keep(&self, realm: &Arc<str>, message: &Message) -> Result<Write, Limit> {
        let mut kept = self.kept.lock();
        if message.payload.is_empty() {
            kept.remove(realm, &message.topic);
            return Ok(Write::Remove { realm: Arc::clone(realm), topic: Arc::clone(&message.topic) });
        }
        let old = kept.realms.get(realm).and_then(|topics| topics.get(&message.topic)).map(weight);
        if kept.bytes - old.unwrap_or_default() + weight(message) > self.bytes_max {
            return Err(Limit::RetainedBytes);
        }
        if kept.messages + usize::from(old.is_none()) > self.messages_max {
            return Err(Limit::RetainedMessages);
        }
        kept.insert(realm, message.clone());
        if kept.ends.first().is_some_and(|(_, of, topic)| of == realm && *topic == message.topic) {
            self.sooner.notify_one();
        }
        Ok(Write::Retain(convert::keep_retained(realm, message)))
    }

    /// Takes back what was kept.
    pub(crate) fn restore(&self, kept: Vec<RetainedMessage>) {
        let mut all = self.kept.lock();
        for RetainedMessage { realm, message } in kept {
            all.insert(&realm, convert::retained(message));
        }
    }

    /// When the next message runs out.
    pub(crate) fn next_end(&self) -> Option<Instant> {
        self.kept.lock().ends.first().map(|(expiry, ..)| expiry.to_instant())
    }

    /// Removes the messages that have run out, and gives what is to be written.
    pub(crate) fn take_over(&self) -> Vec<Write> {
        let mut kept = self.kept.lock();
        let mut over = Vec::new();
        while let Some((_, realm, topic)) =
            kept.ends.first().filter(|(expiry, ..)| expiry.left().is_none()).cloned()
        {
            kept.remove(&realm, &topic);
            over.push(Write::Remove { realm, topic });
        }
        over
    }

    /// Messages that a new subscriber with this filter sees. Looks at each that is kept for the realm.
    pub(crate) fn matching(&self, realm: &str, pattern: &str) -> Vec<Message> {
        let kept = self.kept.lock();
        let topics = kept.realms.get(realm).into_iter().flatten();
        topics
            .filter(|(topic, message)| topics::matches(pattern, topic) && is_valid(message))
            .map(|(_, message)| message.clone())
            .collect()
    }

    /// How many there are, and their bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        let kept = self.kept.lock();
        (kept.messages, kept.bytes)
    }
}

impl Kept {
    fn insert(&mut self, realm: &Arc<str>, message: Message) {
        self.remove(realm, &message.topic);
        self.bytes += weight(&message);
        self.messages += 1;
        if let Some(expiry) = message.expiry {
            self.ends.insert((expiry, Arc::clone(realm), Arc::clone(&message.topic)));
        }
        self.realms.entry(Arc::clone(realm)).or_default().insert(Arc::clone(&message.topic), message);
    }

    fn remove(&mut self, realm: &Arc<str>, topic: &str) {
        let Some(topics) = self.realms.get_mut(realm) else { return };
        let Some(message) = topics.remove(topic) else { return };
        if topics.is_empty() {
            self.realms.remove(realm);
        }
        self.bytes -= weight(&message);
        self.messages -= 1;
        if let Some(expiry) = message.expiry {
            self.ends.remove(&(expiry, Arc::clone(realm), message.topic));
        }
    }
}

fn is_valid(message: &Message) -> bool {
    message.expiry.is_none_or(|expiry| expiry.left().is_some())
}

fn weight(message: &Message) -> usize {
    message.topic.len() + message.payload.len() + BOOKKEEPING_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::QoS;
    use bytes::Bytes;

    fn message(topic: &str, payload: &'static str) -> Message {
        let payload = Bytes::from_static(payload.as_bytes());
        Message {
            topic: topic.into(),
            payload,
            qos: QoS::AtLeastOnce,
            retain: true,
            from: 1,
            properties: None,
            expiry: None,
        }
    }

    fn retained(retained_bytes_max: usize, retained_messages_max: usize) -> Retained {
        Retained::new(&Config { retained_bytes_max, retained_messages_max, ..Config::default() })
    }

    fn payloads(retained: &Retained, realm: &str, pattern: &str) -> Vec<Bytes> {
        let mut found: Vec<Bytes> =
            retained.matching(realm, pattern).into_iter().map(|message| message.payload).collect();
        found.sort();
        found
    }

    #[test]
    fn the_last_of_each_topic_is_kept() {
        let retained = retained(1000, 10);
        let realm: Arc<str> = "r".into();
        for (topic, payload) in [("a/1", "old"), ("a/1", "new"), ("a/2", "two"), ("b", "b")] {
            assert!(retained.keep(&realm, &message(topic, payload)).is_ok());
        }
        assert_eq!(payloads(&retained, "r", "a/+"), ["new", "two"]);
        assert_eq!(payloads(&retained, "other", "#"), Vec::<Bytes>::new());
        for topic in ["a/1", "a/2", "b", "never"] {
            assert!(retained.keep(&realm, &message(topic, "")).is_ok());
        }
        assert_eq!(payloads(&retained, "r", "#"), Vec::<Bytes>::new());
        assert_eq!(retained.size(), (0, 0));
    }

    #[test]
    fn bounded_in_bytes_and_in_number() {
        let realm: Arc<str> = "r".into();
        for retained in [retained(BOOKKEEPING_BYTES + 4, 10), retained(1000, 1)] {
            assert!(retained.keep(&realm, &message("a", "123")).is_ok());
            assert!(retained.keep(&realm, &message("b", "1")).is_err());
            assert!(retained.keep(&realm, &message("a", "321")).is_ok(), "in place of the old one");
        }
    }

    #[test]
    fn what_ran_out_is_seen_by_nobody_and_goes() {
        let retained = retained(1000, 10);
        let realm: Arc<str> = "r".into();
        for (topic, seconds) in [("over", 0), ("valid", 100)] {
            let expiry = Some(Expiry::after(seconds));
            assert!(retained.keep(&realm, &Message { expiry, ..message(topic, topic) }).is_ok());
        }
        assert_eq!(payloads(&retained, "r", "#"), ["valid"]);
        assert_eq!(retained.take_over().len(), 1);
        assert_eq!(retained.size(), (1, weight(&message("valid", "valid"))));
        assert!(retained.next_end().is_some_and(|end| end > Instant::now()));
    }
}
