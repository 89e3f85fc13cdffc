//! Why a connection ends: the word for the delivery, the code for a v5 client, and whether its will is published.

use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode as Code, MqttError};

use crate::limits::Limit;

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The client said goodbye.
    Disconnect,
    /// The client said goodbye, and wants its will published (v5).
    DisconnectWithWill,
    /// The client closed the connection without a word, or the network did.
    Closed,
    /// Nothing came from the client for one and a half times its keep-alive.
    KeepAlive,
    /// Another connection came with the same client id.
    TakenOver,
    /// The service wants it gone.
    Administrative,
    /// The client reads too slowly what it subscribed to.
    TooSlow,
    /// The client reads nothing at all of what waits for it.
    Stuck,
    /// A packet took too long from its first byte to its last.
    HalfPacket,
    /// Too much is read and not yet accepted, over all connections.
    NoRoom,
    /// A receipt was dropped: the client must send the message again.
    NotStored,
    /// The broker stops.
    Stopping,
    /// The client broke the protocol.
    Violation(Code),
    /// We failed: a panic.
    Failed,
}

impl Ending {
    /// The word in [`crate::Event::Disconnected`] and in the log.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Disconnect | Self::DisconnectWithWill => "disconnect",
            Self::Closed => "closed",
            Self::KeepAlive => "keep-alive",
            Self::TakenOver => "taken over",
            Self::Administrative => "administrative",
            Self::TooSlow | Self::Stuck => "too slow",
            Self::HalfPacket => "half packet",
            Self::NoRoom => "no room",
            Self::NotStored => "not stored",
            Self::Stopping => "stopping",
            Self::Violation(_) => "protocol error",
            Self::Failed => "failed",
        }
    }

    /// What a v5 client reads in the reason string.
    pub(crate) fn reason(self) -> &'static str {
        match (self.limit(), self) {
            (Some(limit), _) => limit.reason(),
            (None, Self::Violation(Code::MalformedPacket)) => "malformed packet",
            (None, Self::Violation(Code::TopicNameInvalid)) => "no valid topic",
            (None, Self::Violation(Code::TopicAliasInvalid)) => "no valid topic alias",
            (None, _) => self.word(),
        }
    }

    /// The limit that ended it, if it was one.
    pub(crate) fn limit(self) -> Option<Limit> {
        match self {
            Self::TooSlow => Some(Limit::OutboxBytes),
            Self::Stuck => Some(Limit::WriteDeadline),
            Self::HalfPacket => Some(Limit::PacketDeadline),
            Self::NoRoom => Some(Limit::PartialBytes),
            Self::Violation(Code::PacketTooLarge) => Some(Limit::PacketBytes),
            Self::Violation(Code::ReceiveMaximumExceeded) => Some(Limit::Unacknowledged),
            _ => None,
        }
    }

    /// The reason code that a v5 client is sent (MQTT 5, 3.14.2.1); none where it is the client that ended it.
    pub(crate) fn code(self) -> Option<Code> {
        match self {
            Self::Disconnect | Self::DisconnectWithWill | Self::Closed => None,
            Self::KeepAlive => Some(Code::KeepAliveTimeout),
            Self::TakenOver => Some(Code::SessionTakenOver),
            Self::Administrative => Some(Code::AdministrativeAction),
            Self::TooSlow | Self::Stuck | Self::NoRoom => Some(Code::QuotaExceeded),
            Self::HalfPacket => Some(Code::UnspecifiedError),
            Self::NotStored => Some(Code::ImplementationSpecificError),
            Self::Stopping => Some(Code::ServerShuttingDown),
            Self::Violation(code) => Some(code),
            Self::Failed => Some(Code::UnspecifiedError),
        }
    }

    /// Is the will published? Not after a goodbye, and not when it is we who stop: the clients will be back.
    pub(crate) fn publishes_will(self) -> bool {
        !matches!(self, Self::Disconnect | Self::Stopping)
    }
}

impl From<MqttError> for Ending {
    fn from(error: MqttError) -> Self {
        // A type of packet that no client sends is a breach of the protocol, however the codec names it.
        match Code::from(error) {
            Code::UnspecifiedError => Self::Violation(Code::MalformedPacket),
            code => Self::Violation(code),
        }
    }
}
