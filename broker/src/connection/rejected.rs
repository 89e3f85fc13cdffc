//! Why a client isn't let in, and how it is told.

use mqtt_protocol_core::mqtt::connection::Version;
use mqtt_protocol_core::mqtt::packet::{Packet, Property, ReasonString, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::{ConnectReasonCode, ConnectReturnCode, MqttError};

use super::codec::Codec;
use crate::Denied;
use crate::limits::Limit;

/// Why a client isn't let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rejected {
    /// Without a word: it said nothing, or nothing that is MQTT.
    Silently(&'static str),
    /// The answer is in the output already.
    Answered(&'static str),
    /// With a code (MQTT 5, 3.2.2.2; 3.1.1, 3.2.2.3).
    With(ConnectReasonCode),
    /// It is over a limit.
    Limited(Limit),
}

impl From<Denied> for Rejected {
    fn from(denied: Denied) -> Self {
        Self::With(match denied {
            Denied::Credentials => ConnectReasonCode::BadUserNameOrPassword,
            Denied::NotAuthorized => ConnectReasonCode::NotAuthorized,
            Denied::Unavailable => ConnectReasonCode::ServerUnavailable,
        })
    }
}

impl Rejected {
    /// It is over a limit, and counted.
    pub(super) fn over(limit: Limit) -> Self {
        limit.count();
        Self::Limited(limit)
    }

    /// Puts what the client is told into the output. Gives the word for the log and the counter.
    pub(super) fn tell(self, codec: &mut Codec) -> &'static str {
        let (code, reason) = match self {
            Self::Silently(word) | Self::Answered(word) => return word,
            Self::With(code) => (code, word(code)),
            Self::Limited(limit) => (limit_code(limit), limit.reason()),
        };
        let old = old_code(code, self);
        // A CONNACK may have a reason string whether or not the client wants to know (MQTT 5, 3.1.2.11.7). The codec
        // says so where the client takes no packet that long.
        let told = refusal(codec.version(), code, old, Some(reason)).map(|packet| codec.send(packet));
        if told == Some(Err(MqttError::PacketTooLarge)) {
            refusal(codec.version(), code, old, None).map(|packet| codec.send(packet));
        }
        match self {
            Self::Limited(limit) => limit.label(),
            _ => reason,
        }
    }
}

fn limit_code(limit: Limit) -> ConnectReasonCode {
    match limit {
        Limit::Connections => ConnectReasonCode::ServerBusy,
        Limit::ConnectionsPerAddress | Limit::Sessions => ConnectReasonCode::QuotaExceeded,
        _ => ConnectReasonCode::ConnectionRateExceeded,
    }
}

/// The code of 3.1.1, which has fewer.
fn old_code(code: ConnectReasonCode, rejected: Rejected) -> ConnectReturnCode {
    match (code, rejected) {
        (_, Rejected::Limited(Limit::LoginFailuresPerAddress | Limit::LoginFailuresPerName)) => {
            ConnectReturnCode::NotAuthorized
        }
        (_, Rejected::Limited(_)) => ConnectReturnCode::ServerUnavailable,
        (ConnectReasonCode::ClientIdentifierNotValid, _) => ConnectReturnCode::IdentifierRejected,
        (ConnectReasonCode::BadUserNameOrPassword, _) => ConnectReturnCode::BadUserNameOrPassword,
        (ConnectReasonCode::ServerUnavailable | ConnectReasonCode::ServerBusy, _) => {
            ConnectReturnCode::ServerUnavailable
        }
        _ => ConnectReturnCode::NotAuthorized,
    }
}

/// The CONNACK of a client that isn't let in.
fn refusal(
    version: Version,
    code: ConnectReasonCode,
    old: ConnectReturnCode,
    reason: Option<&str>,
) -> Option<Packet> {
    if version != Version::V5_0 {
        return v3_1_1::Connack::builder()
            .session_present(false)
            .return_code(old)
            .build()
            .ok()
            .map(Into::into);
    }
    let reason: Vec<Property> =
        reason.and_then(|text| ReasonString::new(text).ok()).map(Into::into).into_iter().collect();
    let connack = v5_0::Connack::builder().session_present(false).reason_code(code);
    connack.props(reason).build().ok().map(Into::into)
}

fn word(code: ConnectReasonCode) -> &'static str {
    match code {
        ConnectReasonCode::BadUserNameOrPassword => "credentials",
        ConnectReasonCode::ServerUnavailable => "unavailable",
        ConnectReasonCode::ServerBusy => "busy",
        ConnectReasonCode::ClientIdentifierNotValid => "client id",
        ConnectReasonCode::TopicNameInvalid => "will topic",
        ConnectReasonCode::ProtocolError => "will properties",
        ConnectReasonCode::BadAuthenticationMethod => "authentication method",
        _ => "not authorized",
    }
}
