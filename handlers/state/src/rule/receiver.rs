//! Where a push can go.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;

/// Somebody, or something, that is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receiver {
    /// Which receiver, within its tenant.
    pub id: Uuid,
    /// What people call it.
    pub name: String,
    /// How it is reached. In JSON, `kind` and what belongs to it stand beside the name.
    #[serde(flatten)]
    pub kind: ReceiverKind,
    /// A receiver that isn't enabled gets nothing.
    pub enabled: bool,
    /// Why Statecast disabled it; none while it is enabled, or when a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_reason: Option<String>,
    /// Whose it is; none for one that belongs to nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
}

/// How a receiver is reached. Serialises with its secrets: show it to nobody but the store. The name of the variant in
/// snake case is its `kind` in JSON.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ReceiverKind {
    /// An HTTP call, signed as Standard Webhooks say.
    Webhook {
        /// Where to.
        url: String,
        /// What it is signed with: `whsec_` and base64.
        secret: String,
    },
    /// Whoever follows the live deliveries.
    Live,
    /// An app, through Firebase Cloud Messaging.
    Fcm {
        /// What the app was given for itself. Whoever has it and our credentials can write to the app.
        registration: String,
        /// Which kind of name that is.
        form: FcmForm,
    },
    /// An app on a device of Apple's.
    Apns {
        /// The token of app and device, in hexadecimal.
        token: String,
        /// Which of Apple's services knows it.
        environment: ApnsEnvironment,
        /// The bundle id of the app; none for the configured one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        topic: Option<String>,
        /// When the app last said that the token is valid: what Apple says of an earlier time doesn't count.
        #[serde(default = "long_ago")]
        registered_at: Timestamp,
    },
    /// A browser, or whatever else has a subscription of a push service (RFC 8030), UnifiedPush among them.
    WebPush {
        /// Where to. Whoever has it can write to the browser.
        endpoint: String,
        /// The public key of the subscription: 65 bytes in base64url.
        p256dh: String,
        /// Its secret: 16 bytes in base64url.
        auth: String,
    },
    /// A topic of an ntfy server.
    Ntfy {
        /// The server and the topic: `https://ntfy.sh/topic`.
        url: String,
        /// The access token for a topic that is protected.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<String>,
    },
    /// Whoever subscribed to a topic of the tenant, over MQTT.
    Mqtt {
        /// The topic; `{device}` in it is the device that it is about.
        topic: String,
    },
}

/// By which kind of name Firebase knows an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FcmForm {
    /// A Firebase installation id.
    Fid,
    /// A registration token, as older libraries give it.
    Token,
}

/// Which of Apple's services an app is registered with: what is built for development has tokens of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApnsEnvironment {
    /// Apps from the store.
    Production,
    /// Apps under development.
    Sandbox,
}

fn long_ago() -> Timestamp {
    Timestamp::from_micros(0)
}

impl ReceiverKind {
    /// The name in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Live => "live",
            Self::Fcm { .. } => "fcm",
            Self::Apns { .. } => "apns",
            Self::WebPush { .. } => "web_push",
            Self::Ntfy { .. } => "ntfy",
            Self::Mqtt { .. } => "mqtt",
        }
    }

    /// Whether an app is there that follows what it is told, and confirms it: its person's phones needn't be told then.
    pub fn is_followed(&self) -> bool {
        matches!(self, Self::Live | Self::Mqtt { .. })
    }

    /// What is the same for two receivers that reach the same; none for what is each time another.
    pub fn endpoint(&self) -> Option<&str> {
        match self {
            Self::Webhook { url, .. } | Self::Ntfy { url, .. } => Some(url),
            Self::Fcm { registration, .. } => Some(registration),
            Self::Apns { token, .. } => Some(token),
            Self::WebPush { endpoint, .. } => Some(endpoint),
            Self::Mqtt { topic } => Some(topic),
            Self::Live => None,
        }
    }
}

/// Doesn't show what lets one write to the receiver.
impl fmt::Debug for ReceiverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Webhook { url, .. } => f.debug_struct("Webhook").field("url", url).finish_non_exhaustive(),
            Self::Mqtt { topic } => f.debug_struct("Mqtt").field("topic", topic).finish(),
            other => f.write_str(other.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn a_receiver_is_flat_in_json_and_hides_its_secret_in_logs() {
        let webhook = Receiver {
            id: Uuid::nil(),
            name: "ops".into(),
            kind: ReceiverKind::Webhook {
                url: "https://example.org/".into(),
                secret: "whsec_c2VjcmV0".into(),
            },
            enabled: true,
            disabled_reason: None,
            person: None,
        };
        let json = json!({"id":Uuid::nil(),"name":"ops","kind":"webhook","url":"https://example.org/",
            "secret":"whsec_c2VjcmV0","enabled":true});
        assert_eq!(serde_json::to_value(&webhook).unwrap(), json);
        assert_eq!(serde_json::from_value::<Receiver>(json).unwrap(), webhook);
        assert!(!format!("{webhook:?}").contains("c2VjcmV0"));

        let live = json!({"id":Uuid::nil(),"name":"me","kind":"live","enabled":true});
        assert_eq!(serde_json::from_value::<Receiver>(live).unwrap().kind, ReceiverKind::Live);
    }

    #[test]
    fn each_kind_is_what_the_store_keeps() {
        for kept in [
            json!({"kind":"fcm","registration":"hidden","form":"fid"}),
            json!({"kind":"apns","token":"hidden","environment":"sandbox","topic":"org.example.app",
                "registered_at":"2026-11-23T01:00:00Z"}),
            json!({"kind":"web_push","endpoint":"https://push.example/hidden","p256dh":"hidden","auth":"hidden"}),
            json!({"kind":"ntfy","url":"https://ntfy.example/hidden","token":"hidden"}),
            json!({"kind":"mqtt","topic":"alarms/{device}"}),
        ] {
            let kind: ReceiverKind = serde_json::from_value(kept.clone()).unwrap();
            assert_eq!(serde_json::to_value(&kind).unwrap(), kept);
            assert_eq!(kind.as_str(), kept["kind"]);
            assert!(!format!("{kind:?}").contains("hidden"), "{kind:?}");
        }
    }
}
