//! Messages as they are kept.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use mqtt_protocol_core::mqtt::packet::{Property, SubscriptionIdentifier};

use crate::expiry::Expiry;
use crate::outbox::Letter;
use crate::router::Message;
use crate::{KeptMessage, RetainedMessage};

/// A letter, to be kept.
pub(super) fn keep_letter(letter: &Letter) -> KeptMessage {
    KeptMessage {
        topic: Arc::clone(&letter.topic),
        payload: letter.payload.clone(),
        properties: encode(letter.properties.as_deref(), &letter.identifiers),
        qos: letter.qos,
        retain: letter.retain,
        expires_at: letter.expiry.map(Expiry::to_time),
    }
}

/// A letter that was kept.
pub(super) fn letter(kept: KeptMessage) -> Letter {
    let (properties, identifiers) = decode(&kept.properties);
    Letter {
        topic: kept.topic,
        payload: kept.payload,
        qos: kept.qos,
        retain: kept.retain,
        latest_only: false,
        properties,
        expiry: kept.expires_at.map(Expiry::at),
        mark: None,
        identifiers,
    }
}

/// A retained message, to be kept.
pub(crate) fn keep_retained(realm: &Arc<str>, message: &Message) -> RetainedMessage {
    let message = KeptMessage {
        topic: Arc::clone(&message.topic),
        payload: message.payload.clone(),
        properties: encode(message.properties.as_deref(), &[]),
        qos: message.qos,
        retain: true,
        expires_at: message.expiry.map(Expiry::to_time),
    };
    RetainedMessage { realm: Arc::clone(realm), message }
}

/// A retained message that was kept.
pub(crate) fn retained(kept: KeptMessage) -> Message {
    Message {
        topic: kept.topic,
        payload: kept.payload,
        qos: kept.qos,
        retain: true,
        from: 0,
        properties: decode(&kept.properties).0,
        expiry: kept.expires_at.map(Expiry::at),
    }
}

fn encode(properties: Option<&[Property]>, identifiers: &[u32]) -> Bytes {
    let mut bytes = BytesMut::new();
    for property in properties.unwrap_or_default() {
        bytes.put_slice(&property.to_continuous_buffer());
    }
    // They came from a client: they are in range.
    for identifier in identifiers.iter().filter_map(|number| SubscriptionIdentifier::new(*number).ok()) {
        bytes.put_slice(&Property::from(identifier).to_continuous_buffer());
    }
    bytes.freeze()
}

/// The properties up to the first that can't be read.
fn decode(mut bytes: &[u8]) -> (Option<Arc<[Property]>>, Box<[u32]>) {
    let (mut properties, mut identifiers) = (Vec::new(), Vec::new());
    while !bytes.is_empty() {
        let Ok((property, read)) = Property::parse(bytes) else { break };
        match property {
            Property::SubscriptionIdentifier(identifier) => identifiers.push(identifier.val()),
            other => properties.push(other),
        }
        bytes = bytes.get(read..).unwrap_or_default();
    }
    ((!properties.is_empty()).then(|| properties.into()), identifiers.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::QoS;
    use mqtt_protocol_core::mqtt::packet::UserProperty;

    #[test]
    fn what_is_kept_is_found() {
        let user = Property::from(UserProperty::new("k", "v").expect("short"));
        let letter = Letter {
            topic: "a".into(),
            payload: Bytes::from_static(b"x"),
            qos: QoS::ExactlyOnce,
            retain: true,
            latest_only: false,
            properties: Some([user.clone(), user].into()),
            expiry: None,
            mark: None,
            identifiers: [1, 268_435_455].into(),
        };
        let found = super::letter(keep_letter(&letter));
        assert_eq!((found.properties, found.identifiers), (letter.properties, letter.identifiers));
        assert_eq!((found.topic, found.payload, found.qos), (letter.topic, letter.payload, letter.qos));
        assert!(decode(&[]).0.is_none());
        assert!(decode(&[0x26, 0, 9]).0.is_none(), "what can't be read is left out");
    }
}
