//! What Apple would refuse is refused, for the reason that Apple would give.

#![allow(clippy::unwrap_used)]

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;

use super::super::trial::{post, with};
use super::*;

/// A service with one phone, and what signs for its team.
struct Trial {
    apns: Apns,
    key: EcdsaKeyPair,
    token: String,
}

impl Trial {
    fn new() -> Self {
        let provider = Arc::new(Provider::new().unwrap());
        let der = PrivatePkcs8KeyDer::from_pem_slice(provider.file().as_bytes()).unwrap();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::from_pkcs8(algorithm, der.secret_pkcs8_der(), &SystemRandom::new()).unwrap();
        let apns = Apns::new("production", provider);
        let made = apns.register(&Map::new()).unwrap();
        Self { token: made["token"].as_str().unwrap().into(), apns, key }
    }

    fn jwt(&self, kid: &str, issuer: &str, age_s: i64) -> String {
        let made = DateTime::<Utc>::from(std::time::SystemTime::now()).timestamp() - age_s;
        let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let claims = part(json!({ "iss": issuer, "iat": made }));
        let signed = format!("{}.{claims}", part(json!({ "alg": "ES256", "kid": kid })));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("bearer {signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    fn request(&self) -> Request {
        let body = json!({ "aps": { "alert": { "title": "t" } } }).to_string();
        let request = post(&format!("/3/device/{}", self.token), body);
        let request = with(request, "authorization", &self.jwt(KEY_ID, TEAM_ID, 0));
        with(with(request, "apns-topic", TOPIC), "apns-push-type", "alert")
    }

    fn reason(&self, request: &Request) -> String {
        let read = self.apns.read(request, &mut Seen::default());
        read.map_or_else(|refusal| refusal.error, |()| String::new())
    }
}

#[test]
fn headers_are_checked() {
    let trial = Trial::new();
    assert_eq!(trial.reason(&trial.request()), "");
    let id = "123e4567-e89b-12d3-a456-4266554400A0";
    assert_eq!(trial.reason(&with(trial.request(), "apns-id", id)), "");
    for (name, value, reason) in [
        ("apns-id", "7", "BadMessageId"),
        ("apns-collapse-id", &"x".repeat(65), "BadCollapseId"),
        ("apns-expiration", "soon", "BadExpirationDate"),
        ("apns-priority", "7", "BadPriority"),
        ("apns-push-type", "loud", "InvalidPushType"),
        ("apns-topic", "com.example.other", "DeviceTokenNotForTopic"),
        ("authorization", "bearer x.y.z", "InvalidProviderToken"),
    ] {
        assert_eq!(trial.reason(&with(trial.request(), name, value)), reason);
    }
    for (name, reason) in [
        ("apns-topic", "MissingTopic"),
        ("apns-push-type", "InvalidPushType"),
        ("authorization", "MissingProviderToken"),
    ] {
        let mut request = trial.request();
        request.headers.remove(name);
        assert_eq!(trial.reason(&request), reason);
    }
    let mut twice = trial.request();
    twice.headers.append("apns-topic", HeaderValue::from_static(TOPIC));
    assert_eq!(trial.reason(&twice), "DuplicateHeaders");
}

#[test]
fn payloads_are_checked() {
    let trial = Trial::new();
    let reason = |body: &str| {
        let mut request = trial.request();
        request.body = body.to_owned().into();
        trial.reason(&request)
    };
    let sized = |length: usize| {
        let frame = r#"{"aps":{"badge":1},"x":""}"#.len();
        format!(r#"{{"aps":{{"badge":1}},"x":"{}"}}"#, "x".repeat(length - frame))
    };
    assert_eq!((reason(&sized(4_096)), reason(&sized(4_097))), (String::new(), "PayloadTooLarge".into()));
    for empty in ["", "[]", "{}", r#"{"aps":{}}"#, "not JSON"] {
        assert_eq!(reason(empty), "PayloadEmpty");
    }
}

#[test]
fn who_sends_is_checked() {
    let trial = Trial::new();
    let with_token = |token: &str| with(trial.request(), "authorization", token);
    assert_eq!(trial.reason(&with_token(&trial.jwt("other", TEAM_ID, 0))), "InvalidProviderToken");
    assert_eq!(trial.reason(&with_token(&trial.jwt(KEY_ID, "other", 0))), "InvalidProviderToken");
    assert_eq!(trial.reason(&with_token(&trial.jwt(KEY_ID, TEAM_ID, -100))), "InvalidProviderToken");
    assert_eq!(trial.reason(&with_token(&trial.jwt(KEY_ID, TEAM_ID, 3_700))), "ExpiredProviderToken");
    let first = trial.request();
    assert_eq!(trial.reason(&first), "");
    let mut second = with_token(&trial.jwt(KEY_ID, TEAM_ID, 10));
    assert_eq!(trial.reason(&second), "", "another connection");
    second.connection = Arc::clone(&first.connection);
    assert_eq!(trial.reason(&second), "TooManyProviderTokenUpdates");
    assert_eq!(trial.reason(&first), "", "what it showed before");
}

#[test]
fn phones_come_and_go() {
    let trial = Trial::new();
    let mut unknown = trial.request();
    unknown.path = format!("/3/device/{}", "0".repeat(64));
    assert_eq!(trial.reason(&unknown), "BadDeviceToken");
    assert!(trial.apns.unregister(&trial.token));
    assert_eq!(trial.reason(&trial.request()), "Unregistered");
}
