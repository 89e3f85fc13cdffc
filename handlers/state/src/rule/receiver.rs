//! Where a push can go.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

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

/// How a receiver is reached. Serialises with its secret: show it to nobody but the store.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
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
}

impl ReceiverKind {
    /// The name in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Live => "live",
        }
    }

    /// What is the same for two receivers that reach the same; none for what is each time another.
    pub fn endpoint(&self) -> Option<&str> {
        match self {
            Self::Webhook { url, .. } => Some(url),
            Self::Live => None,
        }
    }
}

/// Doesn't show the secret.
impl fmt::Debug for ReceiverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Webhook { url, .. } => f.debug_struct("Webhook").field("url", url).finish_non_exhaustive(),
            Self::Live => f.write_str("Live"),
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
}
