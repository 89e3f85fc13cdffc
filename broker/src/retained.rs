//! Retained messages of routed topics: the last of each topic that was published with the RETAIN flag, for those
//! who subscribe later. In memory, bounded in bytes.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::router::Message;
use crate::topics;

/// What a kept message weighs besides its topic and payload, in bytes.
const BOOKKEEPING_BYTES: usize = 128;

/// All retained messages, by realm and topic.
pub(crate) struct Retained {
    bytes_max: usize,
    kept: Mutex<Kept>,
}

/// The messages of one realm by topic.
type Topics = HashMap<Arc<str>, Message>;

#[derive(Default)]
struct Kept {
    realms: HashMap<Arc<str>, Topics>,
    bytes: usize,
}

impl Retained {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, kept: Mutex::default() }
    }

    /// Keeps a message in place of the last one of its topic; one without payload only removes that (MQTT 5,
    /// 3.3.1.3). False when there is no room.
    pub(crate) fn keep(&self, realm: &Arc<str>, message: &Message) -> bool {
        let mut kept = self.kept.lock();
        let Kept { realms, bytes } = &mut *kept;
        let old = realms.get(realm).and_then(|topics| topics.get(&message.topic));
        let without = *bytes - old.map_or(0, weight);
        if message.payload.is_empty() {
            *bytes = without;
            if let Some(topics) = realms.get_mut(realm) {
                topics.remove(&message.topic);
                if topics.is_empty() {
                    realms.remove(realm);
                }
            }
            return true;
        }
        if without + weight(message) > self.bytes_max {
            return false;
        }
        *bytes = without + weight(message);
        let topics = realms.entry(Arc::clone(realm)).or_default();
        topics.insert(Arc::clone(&message.topic), message.clone());
        true
    }

    /// What all of them weigh, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.kept.lock().bytes
    }

    /// Messages that a new subscriber with this filter sees. Looks at each that is kept for the realm, and drops
    /// those that have expired.
    pub(crate) fn matching(&self, realm: &str, pattern: &str) -> Vec<Message> {
        let mut kept = self.kept.lock();
        let Kept { realms, bytes } = &mut *kept;
        let Some(topics) = realms.get_mut(realm) else { return Vec::new() };
        let mut found = Vec::new();
        topics.retain(|topic, message| {
            if !topics::matches(pattern, topic) {
                return true;
            }
            if message.expiry.is_some_and(|expiry| expiry.left().is_none()) {
                *bytes -= weight(message);
                return false;
            }
            found.push(message.clone());
            true
        });
        found
    }
}

fn weight(message: &Message) -> usize {
    message.topic.len() + message.payload.len() + BOOKKEEPING_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::QoS;
    use crate::expiry::Expiry;
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

    fn payloads(retained: &Retained, realm: &str, pattern: &str) -> Vec<Bytes> {
        let mut found: Vec<Bytes> =
            retained.matching(realm, pattern).into_iter().map(|message| message.payload).collect();
        found.sort();
        found
    }

    #[test]
    fn the_last_of_each_topic_is_kept() {
        let retained = Retained::new(1000);
        let realm: Arc<str> = "r".into();
        for (topic, payload) in [("a/1", "old"), ("a/1", "new"), ("a/2", "two"), ("b", "b")] {
            assert!(retained.keep(&realm, &message(topic, payload)));
        }
        assert_eq!(payloads(&retained, "r", "a/+"), ["new", "two"]);
        assert_eq!(payloads(&retained, "other", "#"), Vec::<Bytes>::new());
        for topic in ["a/1", "a/2", "b", "never"] {
            assert!(retained.keep(&realm, &message(topic, "")));
        }
        assert_eq!(payloads(&retained, "r", "#"), Vec::<Bytes>::new());
        assert_eq!(retained.kept.lock().bytes, 0);
    }

    #[test]
    fn bounded_in_bytes() {
        let retained = Retained::new(BOOKKEEPING_BYTES + 4);
        let realm: Arc<str> = "r".into();
        assert!(retained.keep(&realm, &message("a", "123")));
        assert!(!retained.keep(&realm, &message("b", "1")));
        assert!(retained.keep(&realm, &message("a", "321")), "in place of the old one");
    }

    #[test]
    fn what_ran_out_is_seen_by_nobody_and_takes_no_room() {
        let retained = Retained::new(1000);
        let realm: Arc<str> = "r".into();
        for (topic, seconds) in [("over", 0), ("valid", 100)] {
            let expiry = Some(Expiry::after(seconds));
            assert!(retained.keep(&realm, &Message { expiry, ..message(topic, topic) }));
        }
        assert_eq!(payloads(&retained, "r", "#"), ["valid"]);
        assert_eq!(retained.kept.lock().bytes, weight(&message("valid", "valid")));
    }
}
