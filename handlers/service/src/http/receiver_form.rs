//! What is said of a receiver over HTTP, and what is shown of it: never what lets one write to it.

use base64::prelude::{BASE64_STANDARD, Engine};
use serde::Deserialize;
use serde_json::{Value, json};
use statecast_push::{Reach, check};
use statecast_state::Timestamp;
use statecast_state::rule::{ApnsEnvironment, FcmForm, Receiver, ReceiverKind};
use utoipa::ToSchema;
use uuid::Uuid;

use super::problem::Problem;

/// A receiver, without what the service adds.
#[derive(Deserialize, ToSchema)]
pub(super) struct Form {
    /// For people.
    name: String,
    /// How it is reached.
    #[serde(flatten)]
    way: Way,
    /// Whose it is, by id; nobody's without.
    person: Option<String>,
    /// Whether it is told anything; setting it to true enables one that was disabled.
    #[serde(default = "yes")]
    enabled: bool,
}

/// How a receiver is reached. What is never shown may be left out of a change, and stays as it was.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Way {
    /// An HTTP call, signed as Standard Webhooks say. The service makes the secret.
    Webhook {
        /// Where it is posted.
        url: Option<String>,
    },
    /// Whoever follows the live deliveries.
    Live {},
    /// An app, through Firebase Cloud Messaging.
    Fcm {
        /// The registration. Never shown.
        registration: Option<String>,
        /// `fid` for a Firebase installation id, `token` for a registration token.
        #[schema(value_type = Option<String>)]
        form: Option<FcmForm>,
    },
    /// An app on a device of Apple's.
    Apns {
        /// The token of app and device, in hexadecimal. Never shown.
        token: Option<String>,
        /// `production`, or `sandbox` for what is built for development.
        #[schema(value_type = Option<String>)]
        environment: Option<ApnsEnvironment>,
        /// The bundle id of the app, if it isn't the configured one.
        topic: Option<String>,
    },
    /// A subscription of a browser, or of UnifiedPush.
    WebPush {
        /// Where to. Never shown.
        endpoint: Option<String>,
        /// The public key of the subscription. Never shown.
        p256dh: Option<String>,
        /// Its secret. Never shown.
        auth: Option<String>,
    },
    /// A topic of an ntfy server.
    Ntfy {
        /// The server and the topic.
        url: Option<String>,
        /// The access token of a topic that is protected; empty for none. Never shown.
        token: Option<String>,
    },
    /// A topic of the tenant, over MQTT.
    Mqtt {
        /// The topic; `{device}` in it is the device that it is about.
        topic: Option<String>,
    },
}

fn yes() -> bool {
    true
}

impl Form {
    /// The receiver that is meant. `known` is how it is reached so far, if it exists.
    ///
    /// # Errors
    /// `Problem` when something is missing, or can't be told anything.
    pub(super) fn receiver(
        self,
        reach: &Reach,
        id: Uuid,
        known: Option<ReceiverKind>,
    ) -> Result<Receiver, Problem> {
        let kind = self.way.kind(known)?;
        check(&kind, reach).map_err(|bad| Problem::bad_request(bad.to_string()))?;
        let (name, enabled, person) = (self.name, self.enabled, self.person);
        Ok(Receiver { id, name, kind, enabled, disabled_reason: None, person })
    }
}

impl Way {
    fn kind(self, known: Option<ReceiverKind>) -> Result<ReceiverKind, Problem> {
        use ReceiverKind as Kind;
        Ok(match self {
            Self::Live {} => Kind::Live,
            Self::Webhook { url } => {
                let secret = match known {
                    Some(Kind::Webhook { secret, .. }) => secret,
                    _ => new_secret(),
                };
                Kind::Webhook { url: said("url", url, None)?, secret }
            }
            Self::Fcm { registration, form } => {
                let (old, old_form) = match known {
                    Some(Kind::Fcm { registration, form }) => (Some(registration), Some(form)),
                    _ => (None, None),
                };
                Kind::Fcm {
                    registration: said("registration", registration, old)?,
                    form: said("form", form, old_form)?,
                }
            }
            Self::Apns { token, environment, topic } => {
                let (old, old_environment) = match known {
                    Some(Kind::Apns { token, environment, registered_at, .. }) => {
                        (Some((token, registered_at)), Some(environment))
                    }
                    _ => (None, None),
                };
                // Who shows a token says that it is valid now.
                let token = token.map(|token| (token, Timestamp::from(std::time::SystemTime::now())));
                let (token, registered_at) = said("token", token, old)?;
                let environment = said("environment", environment, old_environment)?;
                Kind::Apns { token, environment, topic, registered_at }
            }
            Self::WebPush { endpoint, p256dh, auth } => {
                // They belong together.
                let new = [&endpoint, &p256dh, &auth].into_iter().any(Option::is_some);
                match known {
                    Some(kept @ Kind::WebPush { .. }) if !new => kept,
                    _ => Kind::WebPush {
                        endpoint: said("endpoint", endpoint, None)?,
                        p256dh: said("p256dh", p256dh, None)?,
                        auth: said("auth", auth, None)?,
                    },
                }
            }
            Self::Ntfy { url, token } => {
                let old = match known {
                    Some(Kind::Ntfy { token, .. }) => token,
                    _ => None,
                };
                Kind::Ntfy {
                    url: said("url", url, None)?,
                    token: token.or(old).filter(|token| !token.is_empty()),
                }
            }
            Self::Mqtt { topic } => Kind::Mqtt { topic: said("topic", topic, None)? },
        })
    }
}

/// What is said, or else what was said before.
fn said<T>(name: &str, new: Option<T>, known: Option<T>) -> Result<T, Problem> {
    new.or(known).ok_or_else(|| Problem::bad_request(format!("a receiver of this kind needs `{name}`")))
}

/// A secret as Standard Webhooks wants it.
fn new_secret() -> String {
    format!("whsec_{}", BASE64_STANDARD.encode(rand::random::<[u8; 32]>()))
}

/// What is shown of a receiver: the secret of a webhook only when it was just made.
pub(super) fn shown(receiver: &Receiver, with_secret: bool) -> Value {
    let mut shown = json!({
        "id": receiver.id, "name": receiver.name, "enabled": receiver.enabled,
        "disabled_reason": receiver.disabled_reason, "kind": receiver.kind.as_str(),
        "person": receiver.person,
    });
    match &receiver.kind {
        ReceiverKind::Live => {}
        ReceiverKind::Webhook { url, secret } => {
            shown["url"] = json!(url);
            if with_secret {
                shown["secret"] = json!(secret);
            }
        }
        ReceiverKind::Fcm { form, .. } => shown["form"] = json!(form),
        ReceiverKind::Apns { environment, topic, registered_at, .. } => {
            shown["environment"] = json!(environment);
            shown["topic"] = json!(topic);
            shown["registered_at"] = json!(registered_at);
        }
        ReceiverKind::WebPush { endpoint, .. } => shown["origin"] = json!(origin(endpoint)),
        ReceiverKind::Ntfy { url, .. } => shown["url"] = json!(url),
        ReceiverKind::Mqtt { topic } => shown["topic"] = json!(topic),
    }
    shown
}

/// The push service of an endpoint, without what names the subscription.
fn origin(endpoint: &str) -> &str {
    let host = endpoint.find("://").map_or(0, |scheme| scheme + 3);
    let end = endpoint.get(host..).and_then(|rest| rest.find('/')).map_or(endpoint.len(), |path| host + path);
    endpoint.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(form: Value, known: Option<&Receiver>) -> Result<Receiver, Problem> {
        let form: Form = serde_json::from_value(form).unwrap();
        form.receiver(&Reach::default(), Uuid::nil(), known.map(|known| known.kind.clone()))
    }

    #[test]
    fn what_lets_one_write_is_kept_and_not_shown() {
        let hidden = "0a".repeat(32);
        let form = json!({"name":"phone","kind":"apns","token":hidden,"environment":"sandbox","topic":"org.example"});
        let made = read(form, None).unwrap();
        let ReceiverKind::Apns { registered_at, .. } = made.kind else { panic!("{made:?}") };
        assert!(registered_at > Timestamp::from_micros(0));
        assert!(!shown(&made, true).to_string().contains(&hidden));
        let renamed =
            read(json!({"name":"her phone","kind":"apns","topic":"org.example"}), Some(&made)).unwrap();
        assert_eq!((renamed.kind, renamed.name.as_str()), (made.kind, "her phone"));

        let key = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
        let form = json!({"name":"tab","kind":"web_push","endpoint":"https://push.example/me","p256dh":key,
            "auth":"BTBZMqHH6r4Tts7J_aSIgg"});
        let made = read(form, None).unwrap();
        assert_eq!(shown(&made, true)["origin"], "https://push.example");
        assert!(!shown(&made, true).to_string().contains("/me"));
        assert!(
            read(json!({"name":"tab","kind":"web_push","auth":"BTBZMqHH6r4Tts7J_aSIgg"}), Some(&made))
                .is_err()
        );
        assert_eq!(read(json!({"name":"tab","kind":"web_push"}), Some(&made)).unwrap().kind, made.kind);
    }

    #[test]
    fn a_form_has_what_its_kind_has() {
        let wrong = |form: Value| serde_json::from_value::<Form>(form).is_err();
        assert!(wrong(json!({"name":"x","kind":"live","url":"https://example.org"})));
        assert!(wrong(json!({"name":"x","kind":"fcm","registration":"r","form":"pigeon"})));
        assert!(read(json!({"name":"x","kind":"fcm","registration":"r"}), None).is_err());
        assert!(read(json!({"name":"x","kind":"webhook","url":"http://127.0.0.1/"}), None).is_err());
        let form = json!({"name":"x","kind":"ntfy","url":"https://ntfy.sh/a","token":"t"});
        let made = read(form, None).unwrap();
        let open = read(json!({"name":"x","kind":"ntfy","url":"https://ntfy.sh/a","token":""}), Some(&made));
        assert_eq!(open.unwrap().kind, ReceiverKind::Ntfy { url: "https://ntfy.sh/a".into(), token: None });
    }
}
