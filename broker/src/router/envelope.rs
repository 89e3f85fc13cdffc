//! What crosses the router, and under which name.

use std::sync::Arc;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use mqtt_protocol_core::mqtt::packet::Property;

use crate::QoS;
use crate::expiry::Expiry;

/// A message from one client to others. rumqttd carries topic and payload; all else is in front of the payload.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    /// Relative to the realm.
    pub(crate) topic: Arc<str>,
    pub(crate) payload: Bytes,
    /// As it was published: the router itself only knows quality 0.
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// The connection that published it.
    pub(crate) from: u64,
    /// v5 properties that travel along.
    pub(crate) properties: Option<Arc<[Property]>>,
    /// When it runs out, if ever.
    pub(crate) expiry: Option<Expiry>,
}

/// Number, first byte (quality and RETAIN), connection, expiry, length of the properties.
const HEAD_BYTES: usize = 8 + 1 + 8 + 8 + 4;
const RETAIN: u8 = 4;

impl Message {
    /// Puts all but the topic into one payload, with a number that no other message has: the router gives a link
    /// one copy for each of its filters.
    pub(super) fn seal(&self, number: u64) -> Bytes {
        let properties = self.properties.as_deref().unwrap_or_default();
        let properties_len = properties.iter().map(Property::size).sum::<usize>();
        let mut bytes = BytesMut::with_capacity(HEAD_BYTES + properties_len + self.payload.len());
        bytes.put_u64(number);
        bytes.put_u8(self.qos as u8 | if self.retain { RETAIN } else { 0 });
        bytes.put_u64(self.from);
        bytes.put_u64(self.expiry.map_or(0, Expiry::to_number));
        // A packet is far shorter than 4 GiB.
        bytes.put_u32(u32::try_from(properties_len).unwrap_or(u32::MAX));
        for property in properties {
            bytes.put_slice(&property.to_continuous_buffer());
        }
        bytes.put_slice(&self.payload);
        bytes.freeze()
    }

    /// Takes apart what came out of the router, and its number. None if it wasn't sealed by us.
    pub(super) fn open(name: &[u8], mut bytes: Bytes) -> Option<(u64, Self)> {
        let topic = std::str::from_utf8(name).ok()?.splitn(3, '/').nth(2)?.into();
        if bytes.len() < HEAD_BYTES {
            return None;
        }
        let number = bytes.get_u64();
        let first = bytes.get_u8();
        let qos = match first & !RETAIN {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            2 => QoS::ExactlyOnce,
            _ => return None,
        };
        let from = bytes.get_u64();
        let expiry = Expiry::from_number(bytes.get_u64());
        let len = usize::try_from(bytes.get_u32()).ok().filter(|len| *len <= bytes.len())?;
        let mut rest = &bytes.split_to(len)[..];
        let mut properties = Vec::new();
        while !rest.is_empty() {
            let (property, read) = Property::parse(rest).ok()?;
            properties.push(property);
            rest = rest.get(read..)?;
        }
        let properties = (!properties.is_empty()).then(|| properties.into());
        let message =
            Self { topic, payload: bytes, qos, retain: first & RETAIN != 0, from, properties, expiry };
        Some((number, message))
    }
}

/// A topic or a filter as the router knows it. It begins with a plain letter, whatever the client's begins with, and with
/// the realm: `r/realm/topic`.
pub(super) fn topic(realm: &str, topic: &str) -> String {
    format!("r/{}/{topic}", plain(realm))
}

/// Text as one level of a topic.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '/' => plain.push_str("%2F"),
            '+' => plain.push_str("%2B"),
            '#' => plain.push_str("%23"),
            '%' => plain.push_str("%25"),
            '.' => plain.push_str("%2E"),
            '$' => plain.push_str("%24"),
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topics;
    use mqtt_protocol_core::mqtt::packet::{CorrelationData, UserProperty};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_sealed_is_found(
            topic in "[é/a-z]{1,10}", payload: Vec<u8>, qos in 0..3_u8, retain: bool, from: u64, properties: bool,
            number: u64, expiry: Option<u32>,
        ) {
            let properties = properties.then(|| {
                let user = UserProperty::new("k", "v").expect("short");
                let correlation = CorrelationData::new(vec![0, 255]).expect("short");
                Arc::from([Property::from(user), Property::from(correlation)])
            });
            let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(qos)];
            let topic: Arc<str> = topic.into();
            let expiry = expiry.map(Expiry::after);
            let message = Message { topic, payload: payload.into(), qos, retain, from, properties, expiry };
            let name = super::topic("realm", &message.topic);
            prop_assert_eq!(Message::open(name.as_bytes(), message.seal(number)), Some((number, message)));
        }

        /// Two realms never share a name.
        #[test]
        fn realms_are_apart(one in "[a/+#%.$]{1,3}", other in "[a/+#%.$]{1,3}", a in "[a/]{1,3}", b in "[a/]{1,3}") {
            prop_assume!(one != other);
            prop_assert_ne!(topic(&one, &a), topic(&other, &b));
        }

        /// What a client may publish to or subscribe to, in whatever realm, reaches the router as a name that it can
        /// stand: it slices the first byte off, and takes wildcards and `$` for what they are to it.
        #[test]
        fn the_router_is_shown_plain_names_only(realm in any::<String>(), text in any::<String>()) {
            let config = crate::Config::default();
            let name = topic(&realm, &text);
            prop_assert!(name.starts_with("r/"));
            if topics::check_topic(&text, &config).is_ok() {
                prop_assert!(!name.contains(['+', '#']));
            }
            if let Ok(topics::Filter { group: None, .. }) = topics::check_filter(&text, &config) {
                let hashes = name.matches('#').count();
                prop_assert!(hashes == 0 || hashes == 1 && name.ends_with("/#"));
            }
        }

        #[test]
        fn nothing_foreign_is_opened(name: Vec<u8>, bytes: Vec<u8>) {
            Message::open(&name, bytes.into());
        }
    }
}
