//! What the specification demands of packets, and the codec lets pass.

use mqtt_protocol_core::mqtt::packet::{Property, RetainHandling, SubOpts};

use super::frame::{Kind, publish_head};

/// Name, level, flags and keep-alive: what stands before the properties of a CONNECT, in bytes.
const CONNECT_HEAD_BYTES: usize = 10;

/// Are the flags of a CONNECT what they may be (MQTT 5, 3.1.2.3 to 3.1.2.7; the same in 3.1.1)? The reserved one is 0,
/// and quality and RETAIN of a will are 0 without a will and never 3. True where no flags are found: then it has other
/// faults.
pub(super) fn connect_flags_are_valid(packet: &[u8], header: usize) -> bool {
    let Some(flags) = packet.get(header + CONNECT_HEAD_BYTES - 3) else { return true };
    let (reserved, will, will_details) = (flags & 1 != 0, flags & 4 != 0, flags & 0x38);
    !reserved && if will { will_details & 0x18 != 0x18 } else { will_details == 0 }
}

/// Are the lengths of a packet of version 5 and of its properties written with as few bytes as they need (MQTT 5, 1.5.5)?
/// True where none are found.
pub(super) fn lengths_are_short(kind: Kind, packet: &[u8], header: usize) -> bool {
    let is_short = |len: &[u8]| len.len() == 1 || len.last() != Some(&0);
    let at = match kind {
        Kind::CONNECT => header + CONNECT_HEAD_BYTES,
        Kind::PUBLISH => match publish_head(packet, header) {
            Some(head) => packet.len() - head.rest.len(),
            None => return true,
        },
        Kind::SUBSCRIBE | Kind::UNSUBSCRIBE => header + 2,
        Kind::DISCONNECT | Kind::AUTH => header + 1,
        _ => header + 3,
    };
    let properties = packet.get(at..).unwrap_or_default();
    let ends = properties.iter().take(4).position(|byte| byte & 0x80 == 0);
    is_short(&packet[1..header]) && ends.is_none_or(|end| is_short(&properties[..=end]))
}

/// May this stand in a text? U+0000 may not (MQTT 5, 1.5.4; 3.1.1, 1.5.3).
pub(super) fn is_text(text: &str) -> bool {
    !text.contains('\0')
}

/// Is this a text that is a filter, good or bad? One without a character isn't (MQTT 5, 4.7.3; 3.1.1, the same).
pub(super) fn is_filter(text: &str) -> bool {
    !text.is_empty() && is_text(text)
}

/// Has a filter in SUBSCRIBE options that 3.1.1 doesn't know? There they are reserved (3.1.1, 3.8.3).
pub(super) fn has_new_options(options: &SubOpts) -> bool {
    options.nl() || options.rap() || options.rh() != RetainHandling::SendRetained
}

/// Is there one among the properties of a publish or a will that no client may send: a subscription identifier (MQTT 5,
/// 3.3.4), a response topic with wildcards (3.3.2.3.5), or what is no text?
pub(super) fn have_bad_property(properties: &[Property]) -> bool {
    properties.iter().any(|property| match property {
        Property::SubscriptionIdentifier(_) => true,
        Property::ResponseTopic(topic) => topic.val().contains(['+', '#', '\0']),
        Property::ContentType(text) => !is_text(text.val()),
        Property::UserProperty(pair) => !is_text(pair.key()) || !is_text(pair.val()),
        _ => false,
    })
}

/// The same for the client id, the user name and the topic of the will in CONNECT.
pub(super) fn are_texts(client_id: &str, others: [Option<&str>; 2]) -> bool {
    is_text(client_id) && others.into_iter().flatten().all(is_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_a_connect() {
        let valid = |flags| connect_flags_are_valid(&[0x10, 12, 0, 4, b'M', b'Q', b'T', b'T', 4, flags], 2);
        for good in [0, 2, 0xC2, 4, 0x36, 0x2C] {
            assert!(valid(good), "{good:#x}");
        }
        for bad in [1, 3, 0x08, 0x20, 0x1C, 0x3E] {
            assert!(!valid(bad), "{bad:#x}");
        }
        assert!(connect_flags_are_valid(&[0x10, 0], 2));
    }

    #[test]
    fn lengths_have_no_bytes_to_spare() {
        let short = |kind, packet: &[u8], header| lengths_are_short(kind, packet, header);
        assert!(short(Kind::PUBLISH, &[0x30, 5, 0, 1, b'a', 0, 0x80], 2), "a payload is no length");
        assert!(!short(Kind::PUBLISH, &[0x30, 5, 0, 1, b'a', 0x80, 0], 2));
        assert!(!short(Kind::PUBLISH, &[0x30, 0x84, 0, 0, 1, b'a', 0], 3));
        assert!(!short(Kind::SUBSCRIBE, &[0x82, 4, 0, 1, 0x80, 0], 2));
        assert!(short(Kind::DISCONNECT, &[0xE0, 0], 2));
        assert!(!short(Kind::DISCONNECT, &[0xE0, 3, 4, 0x80, 0], 2));
        assert!(!short(Kind::CONNECT, &[&[0x10, 12][..], &[1; 10], &[0x80, 0]].concat(), 2));
    }
}
