//! Whether a receiver can be told anything: looked at when it is registered, so that a mistake is found by whoever made
//! it.

use base64::Engine;
use base64::engine::DecodePaddingMode::Indifferent;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use statecast_state::rule::ReceiverKind;
use thiserror::Error;

use crate::target::{BadUrl, check_url};

/// Longest registration with Firebase, in bytes: nobody says how long they get, and all known are below 300.
const REGISTRATION_BYTES_MAX: usize = 1_024;
/// Digits of a token of Apple's: 64 today, and it "may be longer" (Apple, "Registering your app with APNs").
const APNS_TOKEN_DIGITS: std::ops::RangeInclusive<usize> = 32..=200;
/// Longest bundle id, in bytes.
const BUNDLE_ID_BYTES_MAX: usize = 255;
/// Bytes of an uncompressed point of P-256, which a subscription's public key is (RFC 8291, 3.1).
pub(crate) const POINT_BYTES: usize = 65;
/// Bytes of a subscription's secret (RFC 8291, 3.2).
pub(crate) const AUTH_BYTES: usize = 16;
/// Longest name of a topic of ntfy, in bytes.
const NTFY_TOPIC_BYTES_MAX: usize = 64;
/// Longest access token of ntfy, in bytes.
const NTFY_TOKEN_BYTES_MAX: usize = 256;
/// Longest MQTT topic, in bytes.
const MQTT_TOPIC_BYTES_MAX: usize = 512;
/// What the topics begin with that are the service's own, and those of servers.
const MQTT_OWN: [&str; 3] = ["devices/", "changes/", "$"];

/// What stands for the device in the topic of an MQTT receiver.
pub const DEVICE: &str = "{device}";

/// base64url as browsers give it, with padding or without.
pub(crate) const BASE64_URL: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(Indifferent),
);

/// Which addresses receivers may have that people give.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// Private and loopback ones. Off, unless all who may create a receiver also may reach what this machine reaches.
    pub private: bool,
    /// An ntfy server that may be private all the same, e.g. `http://10.0.0.7`, without a path.
    pub ntfy: Option<String>,
}

impl Reach {
    /// Whether this ntfy URL may be private.
    pub(crate) fn to_ntfy(&self, url: &str) -> bool {
        let under = |base: &String| {
            let rest = url.strip_prefix(base.trim_end_matches('/'));
            rest.is_some_and(|rest| rest.starts_with('/'))
        };
        self.private || self.ntfy.as_ref().is_some_and(under)
    }
}

/// Why a receiver can't be told anything. Repeats no secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadReceiver {
    /// The address.
    #[error(transparent)]
    Url(#[from] BadUrl),
    /// A push service has to be asked with TLS (RFC 8030, 8).
    #[error("the endpoint of a push service begins with https://")]
    Plain,
    /// Not a name that Firebase gives.
    #[error("a registration has 1 to {REGISTRATION_BYTES_MAX} visible ASCII characters")]
    Registration,
    /// Not a token of Apple's.
    #[error("a token of Apple's is written in hexadecimal, with 32 to 200 digits")]
    ApnsToken,
    /// Not a bundle id.
    #[error("a bundle id has 1 to {BUNDLE_ID_BYTES_MAX} letters, digits, dots and hyphens")]
    BundleId,
    /// Not a public key.
    #[error("`p256dh` is an uncompressed point of P-256, 65 bytes, in base64url")]
    PublicKey,
    /// Not the secret of a subscription.
    #[error("`auth` has 16 bytes, in base64url")]
    Auth,
    /// No topic at the end of the URL.
    #[error("an ntfy URL ends in its topic: letters, digits, `-` and `_`, at most {NTFY_TOPIC_BYTES_MAX}")]
    NtfyTopic,
    /// Not an access token.
    #[error("an access token has 1 to {NTFY_TOKEN_BYTES_MAX} visible ASCII characters")]
    NtfyToken,
    /// Nothing can be published there.
    #[error(
        "an MQTT topic has 1 to {MQTT_TOPIC_BYTES_MAX} bytes, no wildcard and no control character, and doesn't begin \
         with devices/, changes/ or $"
    )]
    MqttTopic,
}

/// Whether a receiver of this kind can be told anything, as far as it can be seen from here.
///
/// # Errors
/// `BadReceiver` says what is wrong with it.
pub fn check(kind: &ReceiverKind, reach: &Reach) -> Result<(), BadReceiver> {
    match kind {
        ReceiverKind::Live => Ok(()),
        ReceiverKind::Webhook { url, .. } => Ok(check_url(url, reach.private)?),
        ReceiverKind::Fcm { registration, .. } => {
            ensure(is_visible(registration, REGISTRATION_BYTES_MAX), BadReceiver::Registration)
        }
        ReceiverKind::Apns { token, topic, .. } => {
            let digits = APNS_TOKEN_DIGITS.contains(&token.len()) && token.len().is_multiple_of(2);
            ensure(digits && token.bytes().all(|b| b.is_ascii_hexdigit()), BadReceiver::ApnsToken)?;
            ensure(topic.as_deref().is_none_or(is_bundle_id), BadReceiver::BundleId)
        }
        ReceiverKind::WebPush { endpoint, p256dh, auth } => {
            check_url(endpoint, reach.private)?;
            ensure(reach.private || endpoint.starts_with("https:"), BadReceiver::Plain)?;
            ensure(point(p256dh).is_some(), BadReceiver::PublicKey)?;
            ensure(secret(auth).is_some(), BadReceiver::Auth)
        }
        ReceiverKind::Ntfy { url, token } => {
            check_url(url, reach.to_ntfy(url))?;
            ensure(ntfy_topic(url).is_some(), BadReceiver::NtfyTopic)?;
            let good = token.as_deref().is_none_or(|token| is_visible(token, NTFY_TOKEN_BYTES_MAX));
            ensure(good, BadReceiver::NtfyToken)
        }
        ReceiverKind::Mqtt { topic } => {
            let good = (1..=MQTT_TOPIC_BYTES_MAX).contains(&topic.len())
                && !topic.contains(['+', '#'])
                && !topic.chars().any(char::is_control)
                && !MQTT_OWN.iter().any(|own| topic.starts_with(own))
                // What a device is called must not decide which topics are meant.
                && !topic.starts_with(DEVICE);
            ensure(good, BadReceiver::MqttTopic)
        }
    }
}

fn ensure(good: bool, bad: BadReceiver) -> Result<(), BadReceiver> {
    if good { Ok(()) } else { Err(bad) }
}

fn is_visible(text: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Whether this can be the bundle id of an app (`CFBundleIdentifier`).
pub(crate) fn is_bundle_id(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
    (1..=BUNDLE_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

/// The public key of a subscription; none if it isn't one. Whether the point lies on the curve is seen when it is used.
pub(crate) fn point(p256dh: &str) -> Option<Vec<u8>> {
    let bytes = BASE64_URL.decode(p256dh).ok()?;
    (bytes.len() == POINT_BYTES && bytes.first() == Some(&4)).then_some(bytes)
}

/// The secret of a subscription; none if it isn't one.
pub(crate) fn secret(auth: &str) -> Option<Vec<u8>> {
    BASE64_URL.decode(auth).ok().filter(|bytes| bytes.len() == AUTH_BYTES)
}

/// The server, with a slash at the end, and the topic of an ntfy URL.
pub(crate) fn ntfy_topic(url: &str) -> Option<(&str, &str)> {
    let (server, topic) = url.split_at(url.rfind('/')? + 1);
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let good = (1..=NTFY_TOPIC_BYTES_MAX).contains(&topic.len()) && topic.bytes().all(allowed);
    // What is left must still be a whole URL: in `https://ntfy.sh` the last slash isn't one of a path.
    (good && server.len() > server.find("://")? + 3).then_some((server, topic))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    const KEY: &str =
        "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";

    fn checked(kind: Value, private: bool) -> Result<(), BadReceiver> {
        let reach = Reach { private, ntfy: Some("http://10.0.0.7".into()) };
        check(&serde_json::from_value(kind).unwrap(), &reach)
    }

    #[test]
    fn what_can_be_told_passes() {
        for kind in [
            json!({"kind":"live"}),
            json!({"kind":"webhook","url":"https://example.org/","secret":""}),
            json!({"kind":"fcm","registration":"cHq:APA91b-_x","form":"token"}),
            json!({"kind":"apns","token":"0aF1".repeat(16),"environment":"production"}),
            json!({"kind":"apns","token":"0aF1".repeat(16),"environment":"sandbox","topic":"org.example.App-1"}),
            json!({"kind":"web_push","endpoint":"https://push.example/x","p256dh":KEY,"auth":"BTBZMqHH6r4Tts7J_aSIgg"}),
            json!({"kind":"web_push","endpoint":"https://push.example/x","p256dh":format!("{KEY}="),
                "auth":"BTBZMqHH6r4Tts7J_aSIgg=="}),
            json!({"kind":"ntfy","url":"https://ntfy.sh/alarms_1","token":"tk_x"}),
            json!({"kind":"ntfy","url":"http://10.0.0.7/alarms"}),
            json!({"kind":"mqtt","topic":"alarms/{device}"}),
        ] {
            assert_eq!(checked(kind.clone(), false), Ok(()), "{kind}");
        }
    }

    #[test]
    fn what_cannot_says_why() {
        use BadReceiver::*;
        let web_push = |changed: &str, value: &str| {
            let mut kind = json!({"kind":"web_push","endpoint":"https://push.example/x","p256dh":KEY,
                "auth":"BTBZMqHH6r4Tts7J_aSIgg"});
            kind[changed] = json!(value);
            kind
        };
        let apns = |token: &str, topic: &str| json!({"kind":"apns","token":token,"environment":"sandbox","topic":topic});
        for (kind, why) in [
            (json!({"kind":"fcm","registration":"","form":"fid"}), Registration),
            (json!({"kind":"fcm","registration":"a b","form":"fid"}), Registration),
            (apns(&"0".repeat(63), "a"), ApnsToken),
            (apns(&"0g".repeat(32), "a"), ApnsToken),
            (apns(&"00".repeat(32), "a/b"), BundleId),
            (web_push("endpoint", "http://push.example/x"), Plain),
            (web_push("p256dh", "AAAA"), PublicKey),
            (web_push("auth", "AAAA"), Auth),
            (json!({"kind":"ntfy","url":"https://ntfy.sh"}), NtfyTopic),
            (json!({"kind":"ntfy","url":"https://ntfy.sh/"}), NtfyTopic),
            (json!({"kind":"ntfy","url":"https://ntfy.sh/a?b"}), NtfyTopic),
            (json!({"kind":"ntfy","url":"https://ntfy.sh/a","token":"a\nb"}), NtfyToken),
            (json!({"kind":"mqtt","topic":"devices/x/state"}), MqttTopic),
            (json!({"kind":"mqtt","topic":"{device}/state"}), MqttTopic),
            (json!({"kind":"mqtt","topic":"$SYS/x"}), MqttTopic),
            (json!({"kind":"mqtt","topic":"a/#"}), MqttTopic),
        ] {
            assert_eq!(checked(kind.clone(), false), Err(why), "{kind}");
        }
        for inside in [
            json!({"kind":"webhook","url":"http://10.0.0.7/","secret":""}),
            web_push("endpoint", "https://127.0.0.1/x"),
            json!({"kind":"ntfy","url":"http://10.0.0.8/alarms"}),
            json!({"kind":"ntfy","url":"http://10.0.0.70/alarms"}),
        ] {
            assert!(matches!(checked(inside.clone(), false), Err(Url(BadUrl::Private(_)))), "{inside}");
            assert_eq!(checked(inside.clone(), true), Ok(()), "{inside}");
        }
    }
}
