//! Makes the packets that we send, in the version that the client speaks.

use mqtt_protocol_core::mqtt::connection::Version;
use mqtt_protocol_core::mqtt::packet::{
    MessageExpiryInterval, Packet, Property, Qos, ReasonString, SubscriptionIdentifier, TopicAlias, v3_1_1,
    v5_0,
};
use mqtt_protocol_core::mqtt::result_code::{
    DisconnectReasonCode, MqttError, PubackReasonCode, PubcompReasonCode, PubrecReasonCode, SubackReasonCode,
    SubackReturnCode, UnsubackReasonCode,
};

use super::aliases::Naming;
use crate::outbox::Letter;
use crate::receipts::{Acknowledgement, Answer};
use crate::{QoS, Refused};

/// Longest reason string, in bytes.
const REASON_BYTES_MAX: usize = 200;

type Made = Result<Packet, MqttError>;

/// PUBACK or PUBREC. Only v5 can say that a publish was refused, and why (unless the client doesn't want to
/// know, MQTT 5, 3.1.2.11.7).
pub(super) fn acknowledgement(version: Version, reasons: bool, done: &Acknowledgement) -> Made {
    let id = done.packet;
    Ok(match (version, done.qos) {
        (Version::V5_0, QoS::ExactlyOnce) => {
            let mut packet = v5_0::Pubrec::builder().packet_id(id);
            if let Err(refused) = &done.answer {
                packet = packet.reason_code(pubrec_code(refused));
                if let Some(text) = reason(refused).filter(|_| reasons) {
                    packet = packet.props(vec![reason_string(text)?]);
                }
            }
            packet.build()?.into()
        }
        (Version::V5_0, _) => {
            let mut packet = v5_0::Puback::builder().packet_id(id);
            if let Err(refused) = &done.answer {
                packet = packet.reason_code(puback_code(refused));
                if let Some(text) = reason(refused).filter(|_| reasons) {
                    packet = packet.props(vec![reason_string(text)?]);
                }
            }
            packet.build()?.into()
        }
        (_, QoS::ExactlyOnce) => v3_1_1::Pubrec::builder().packet_id(id).build()?.into(),
        _ => v3_1_1::Puback::builder().packet_id(id).build()?.into(),
    })
}

/// Does this answer end the exchange of a publish at quality 2 with its PUBREC (MQTT 5, 4.3.3)?
pub(super) fn ends_exchange(version: Version, answer: &Answer) -> bool {
    version == Version::V5_0 && answer.is_err()
}

fn puback_code(refused: &Refused) -> PubackReasonCode {
    match refused {
        Refused::NotAuthorized => PubackReasonCode::NotAuthorized,
        Refused::Payload(_) => PubackReasonCode::PayloadFormatInvalid,
        Refused::Quota(_) => PubackReasonCode::QuotaExceeded,
        Refused::Other(_) => PubackReasonCode::ImplementationSpecificError,
    }
}

fn pubrec_code(refused: &Refused) -> PubrecReasonCode {
    match refused {
        Refused::NotAuthorized => PubrecReasonCode::NotAuthorized,
        Refused::Payload(_) => PubrecReasonCode::PayloadFormatInvalid,
        Refused::Quota(_) => PubrecReasonCode::QuotaExceeded,
        Refused::Other(_) => PubrecReasonCode::ImplementationSpecificError,
    }
}

fn reason(refused: &Refused) -> Option<&str> {
    match refused {
        Refused::NotAuthorized => Some("not allowed to publish to this topic"),
        Refused::Payload(text) | Refused::Quota(text) | Refused::Other(text) => Some(text),
    }
}

fn reason_string(text: &str) -> Result<Property, MqttError> {
    let end = text.floor_char_boundary(REASON_BYTES_MAX);
    Ok(ReasonString::new(&text[..end])?.into())
}

/// PUBREL.
pub(super) fn pubrel(version: Version, id: u16) -> Made {
    Ok(match version {
        Version::V5_0 => v5_0::Pubrel::builder().packet_id(id).build()?.into(),
        _ => v3_1_1::Pubrel::builder().packet_id(id).build()?.into(),
    })
}

/// PUBCOMP; v5 says so when there was nothing to complete.
pub(super) fn pubcomp(version: Version, id: u16, known: bool) -> Made {
    Ok(match version {
        Version::V5_0 if !known => v5_0::Pubcomp::builder()
            .packet_id(id)
            .reason_code(PubcompReasonCode::PacketIdentifierNotFound)
            .build()?
            .into(),
        Version::V5_0 => v5_0::Pubcomp::builder().packet_id(id).build()?.into(),
        _ => v3_1_1::Pubcomp::builder().packet_id(id).build()?.into(),
    })
}

/// SUBACK. 3.1.1 has one code for all failures.
pub(super) fn suback(version: Version, id: u16, codes: Vec<SubackReasonCode>, reason: Option<&str>) -> Made {
    Ok(match version {
        Version::V5_0 => {
            let packet = v5_0::Suback::builder().packet_id(id).reason_codes(codes);
            match reason {
                Some(text) => packet.props(vec![reason_string(text)?]).build()?.into(),
                None => packet.build()?.into(),
            }
        }
        _ => {
            let codes = codes
                .into_iter()
                .map(|code| match code {
                    SubackReasonCode::GrantedQos0 => SubackReturnCode::SuccessMaximumQos0,
                    SubackReasonCode::GrantedQos1 => SubackReturnCode::SuccessMaximumQos1,
                    SubackReasonCode::GrantedQos2 => SubackReturnCode::SuccessMaximumQos2,
                    _ => SubackReturnCode::Failure,
                })
                .collect();
            v3_1_1::Suback::builder().packet_id(id).return_codes(codes).build()?.into()
        }
    })
}

/// UNSUBACK. 3.1.1 has no codes.
pub(super) fn unsuback(version: Version, id: u16, codes: Vec<UnsubackReasonCode>) -> Made {
    Ok(match version {
        Version::V5_0 => v5_0::Unsuback::builder().packet_id(id).reason_codes(codes).build()?.into(),
        _ => v3_1_1::Unsuback::builder().packet_id(id).build()?.into(),
    })
}

/// DISCONNECT, which only v5 lets a server send.
pub(super) fn disconnect(code: DisconnectReasonCode, reason: Option<&str>) -> Made {
    let packet = v5_0::Disconnect::builder().reason_code(code);
    Ok(match reason {
        Some(text) => packet.props(vec![reason_string(text)?]).build()?.into(),
        None => packet.build()?.into(),
    })
}

/// PUBLISH, with a packet id exactly when the quality isn't 0, perhaps `again`, and with what is left until it runs out,
/// in seconds.
pub(super) fn publish(
    version: Version,
    letter: &Letter,
    id: Option<u16>,
    again: bool,
    left_s: Option<u32>,
    naming: Naming,
) -> Made {
    let qos = match letter.qos {
        QoS::AtMostOnce => Qos::AtMostOnce,
        QoS::AtLeastOnce => Qos::AtLeastOnce,
        QoS::ExactlyOnce => Qos::ExactlyOnce,
    };
    Ok(match version {
        Version::V5_0 => v5_0::Publish::builder()
            .topic_name(if let Naming::Alias(_) = naming { "" } else { &*letter.topic })?
            .qos(qos)
            .retain(letter.retain)
            .dup(again)
            .packet_id(id)
            .props(properties(letter, left_s, naming)?)
            .payload(&letter.payload[..])
            .build()?
            .into(),
        _ => v3_1_1::Publish::builder()
            .topic_name(&*letter.topic)?
            .qos(qos)
            .retain(letter.retain)
            .dup(again)
            .packet_id(id)
            .payload(&letter.payload[..])
            .build()?
            .into(),
    })
}

/// The properties of the publisher, and those that are ours.
fn properties(letter: &Letter, left_s: Option<u32>, naming: Naming) -> Result<Vec<Property>, MqttError> {
    let mut properties = letter.properties.as_deref().map(<[_]>::to_vec).unwrap_or_default();
    if let Some(seconds) = left_s {
        properties.push(MessageExpiryInterval::new(seconds)?.into());
    }
    for identifier in &letter.identifiers {
        properties.push(SubscriptionIdentifier::new(*identifier)?.into());
    }
    if let Naming::Introduced(alias) | Naming::Alias(alias) = naming {
        properties.push(TopicAlias::new(alias)?.into());
    }
    Ok(properties)
}
