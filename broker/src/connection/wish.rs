//! What a client asks for in CONNECT, the same for both versions.

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use mqtt_protocol_core::mqtt::packet::{Property, Qos, v3_1_1, v5_0};

use crate::QoS;
use crate::limits::Limit;

/// Most publishes that a 3.1.1 client, which can't say, is sent before it acknowledges.
const WINDOW_DEFAULT: u16 = 100;

/// What a client asks for.
pub(super) struct Wish {
    pub(super) v5: bool,
    /// Empty where the choice is ours.
    pub(super) client_id: String,
    /// May the choice be ours? Not for a 3.1.1 client that wants its session kept (3.1.1, 3.1.3.1).
    pub(super) may_be_assigned_id: bool,
    /// Seconds, 0 for none.
    pub(super) keep_alive_s: u16,
    /// It asked for another keep-alive, and is told which one counts.
    pub(super) keep_alive_is_ours: bool,
    pub(super) user_name: Option<String>,
    pub(super) password: Option<Vec<u8>>,
    pub(super) will: Option<Will>,
    /// It starts a new session, rather than going on with an old one.
    pub(super) starts_anew: bool,
    /// For how long it wants its session kept when the connection ends, in seconds.
    pub(super) session_expiry_s: u32,
    /// It asked for longer, and is told how long it is.
    pub(super) session_expiry_is_ours: bool,
    /// How many topic aliases it takes.
    pub(super) topic_aliases: u16,
    /// It wants to authenticate in another way than with a password.
    pub(super) authentication_method: bool,
    /// It wants to know why something was refused.
    pub(super) reasons: bool,
    /// Most publishes that it wants to be sent before it acknowledges.
    pub(super) window: u16,
}

/// What is published for a client when its connection ends without a goodbye.
#[derive(Clone)]
pub(super) struct Will {
    pub(super) topic: Arc<str>,
    pub(super) payload: Bytes,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) properties: Option<Arc<[Property]>>,
    /// How long after it is published it runs out, in seconds.
    pub(super) expires_after_s: Option<u32>,
    /// How long it waits for the client to come back, in seconds.
    pub(super) delay_s: u32,
}

impl Wish {
    pub(super) fn from_v3(connect: &v3_1_1::Connect) -> Self {
        let will = connect.will_topic().map(|topic| Will {
            topic: topic.into(),
            payload: Bytes::copy_from_slice(connect.will_payload().unwrap_or_default()),
            qos: quality(connect.will_qos()),
            retain: connect.will_retain(),
            properties: None,
            expires_after_s: None,
            delay_s: 0,
        });
        Self {
            v5: false,
            client_id: connect.client_id().into(),
            may_be_assigned_id: connect.clean_session(),
            starts_anew: connect.clean_session(),
            keep_alive_s: connect.keep_alive(),
            keep_alive_is_ours: false,
            user_name: connect.user_name().map(Into::into),
            password: connect.password().map(Into::into),
            will,
            // Such a session is kept until it is ended (3.1.1, 3.1.2.4).
            session_expiry_s: if connect.clean_session() { 0 } else { u32::MAX },
            session_expiry_is_ours: false,
            topic_aliases: 0,
            authentication_method: false,
            reasons: false,
            window: WINDOW_DEFAULT,
        }
    }

    pub(super) fn from_v5(connect: &v5_0::Connect) -> Self {
        let will = connect.will_topic().map(|topic| Will {
            topic: topic.into(),
            payload: Bytes::copy_from_slice(connect.will_payload().unwrap_or_default()),
            qos: quality(connect.will_qos()),
            retain: connect.will_retain(),
            properties: travelling(&connect.will_props),
            expires_after_s: expires_after(&connect.will_props),
            delay_s: delay(&connect.will_props),
        });
        let mut wish = Self {
            v5: true,
            client_id: connect.client_id().into(),
            may_be_assigned_id: true,
            starts_anew: connect.clean_start(),
            keep_alive_s: connect.keep_alive(),
            keep_alive_is_ours: false,
            user_name: connect.user_name().map(Into::into),
            password: connect.password().map(Into::into),
            will,
            session_expiry_s: 0,
            session_expiry_is_ours: false,
            topic_aliases: 0,
            authentication_method: false,
            reasons: true,
            window: u16::MAX,
        };
        for property in &connect.props {
            match property {
                Property::SessionExpiryInterval(seconds) => wish.session_expiry_s = seconds.val(),
                Property::TopicAliasMaximum(aliases) => wish.topic_aliases = aliases.val(),
                Property::AuthenticationMethod(_) => wish.authentication_method = true,
                Property::RequestProblemInformation(wanted) => wish.reasons = wanted.val() != 0,
                Property::ReceiveMaximum(window) => wish.window = window.val(),
                _ => {}
            }
        }
        wish
    }

    /// Brings the keep-alive of a v5 client into the range; 0, for none, counts as longest. A 3.1.1 client can't be
    /// told, and keeps its own.
    pub(super) fn limit_keep_alive(&mut self, range: &RangeInclusive<u16>) {
        let asked = self.keep_alive_s;
        if !self.v5 || range.contains(&asked) {
            return;
        }
        let (limit, ours) = if asked > 0 && asked < *range.start() {
            (Limit::KeepAliveMin, *range.start())
        } else {
            (Limit::KeepAliveMax, *range.end())
        };
        limit.count();
        self.keep_alive_s = ours;
        self.keep_alive_is_ours = true;
    }

    /// Keeps no session for longer than this, in seconds.
    pub(super) fn limit_session(&mut self, seconds_max: u32) {
        if self.session_expiry_s > seconds_max {
            self.session_expiry_s = seconds_max;
            self.session_expiry_is_ours = true;
        }
    }
}

/// Our name for a quality of service.
pub(super) fn quality(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}

/// How long after it is published a message runs out, in seconds (MQTT 5, 3.3.2.3.3).
pub(super) fn expires_after(properties: &[Property]) -> Option<u32> {
    properties.iter().find_map(|property| match property {
        Property::MessageExpiryInterval(seconds) => Some(seconds.val()),
        _ => None,
    })
}

/// How long a will waits, in seconds (MQTT 5, 3.1.3.2.2).
fn delay(properties: &[Property]) -> u32 {
    let delay = properties.iter().find_map(|property| match property {
        Property::WillDelayInterval(seconds) => Some(seconds.val()),
        _ => None,
    });
    delay.unwrap_or_default()
}

/// The properties that travel with a message to its subscribers, unchanged and in order (MQTT 5, 3.3.2.3).
pub(super) fn travelling(properties: &[Property]) -> Option<Arc<[Property]>> {
    let kept: Vec<Property> = properties
        .iter()
        .filter(|property| {
            matches!(
                property,
                Property::PayloadFormatIndicator(_)
                    | Property::ContentType(_)
                    | Property::ResponseTopic(_)
                    | Property::CorrelationData(_)
                    | Property::UserProperty(_)
            )
        })
        .cloned()
        .collect();
    (!kept.is_empty()).then(|| kept.into())
}
