//! Web Push against a server on loopback: what a browser does with what it gets, with other code than ours.

#![allow(clippy::unwrap_used)]

mod support;

use std::future::ready;

use axum::http::StatusCode;
use axum::response::IntoResponse;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::rand::SystemRandom;
use ring::{hkdf, signature};
use serde_json::{Value, json};
use statecast_push::{Settings, WebPushSettings, make_web_push_key};
use support::{Bench, Hook, alarm, quick};
use tempfile::TempDir;
use uuid::Uuid;

/// A browser, with the private side of its subscription.
struct Browser {
    private: EphemeralPrivateKey,
    public: Vec<u8>,
    auth: [u8; 16],
}

impl Browser {
    fn new() -> Self {
        let private = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new()).unwrap();
        let public = private.compute_public_key().unwrap().as_ref().to_vec();
        Self { private, public, auth: [9; 16] }
    }

    fn kind(&self, endpoint: &str) -> Value {
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        json!({"kind":"web_push","endpoint":endpoint,"p256dh":encode(&self.public),"auth":encode(&self.auth)})
    }

    /// Opens a message as RFC 8291 says, with ring's own HKDF.
    fn open(self, sealed: &[u8]) -> Vec<u8> {
        struct Bytes(usize);
        impl hkdf::KeyType for Bytes {
            fn len(&self) -> usize {
                self.0
            }
        }
        let expand = |prk: &hkdf::Prk, info: &[&[u8]], n: usize| {
            let mut out = vec![0; n];
            prk.expand(info, Bytes(n)).unwrap().fill(&mut out).unwrap();
            out
        };
        let (salt, theirs) = (&sealed[..16], &sealed[21..86]);
        assert_eq!((&sealed[16..20], sealed[20]), (&4096_u32.to_be_bytes()[..], 65));
        let peer = UnparsedPublicKey::new(&ECDH_P256, theirs);
        let input = agree_ephemeral(self.private, &peer, |shared| {
            let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, &self.auth).extract(shared);
            expand(&prk, &[b"WebPush: info\0", &self.public, theirs], 32)
        })
        .unwrap();
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(&input);
        let key = expand(&prk, &[b"Content-Encoding: aes128gcm\0"], 16);
        let nonce = expand(&prk, &[b"Content-Encoding: nonce\0"], 12);
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).unwrap());
        let nonce = Nonce::try_assume_unique_for_key(&nonce).unwrap();
        let mut record = sealed[86..].to_vec();
        let opened = key.open_in_place(nonce, Aad::empty(), &mut record).unwrap();
        opened.strip_suffix(&[2]).expect("the last record").to_vec()
    }
}

#[tokio::test]
async fn a_browser_can_open_what_it_gets_and_verify_who_sent_it() {
    let service = Hook::start(|_| ready(StatusCode::CREATED.into_response())).await;
    let dir = TempDir::new().unwrap();
    let key = dir.path().join("key.pem");
    make_web_push_key(&key).unwrap();
    let web_push = WebPushSettings { subject: "mailto:ops@example.org".into(), key };
    let bench = Bench::start(Settings { web_push: Some(web_push), ..quick() });
    let browser = Browser::new();
    let mut row = alarm(Uuid::now_v7(), browser.kind(&format!("http://{}/push/1", service.address)), 3);
    row.push.payload["reported"] = json!({"text":"x".repeat(5_000)});
    bench.commit([row]);
    bench.outbox.until_delivered(1).await;
    let public = bench.dispatcher.statuses().web_push_key().unwrap().to_owned();
    let received = service.received.lock();
    let [request] = received.as_slice() else { panic!("{} requests", received.len()) };
    assert!(request.body.len() <= 2_744, "{}", request.body.len());
    assert_eq!(request.headers["content-encoding"], "aes128gcm");
    assert_eq!(request.headers["urgency"], "high");
    let ttl: u32 = request.headers["ttl"].to_str().unwrap().parse().unwrap();
    assert!((3_500..=3_600).contains(&ttl) && request.headers["topic"].len() == 32);

    let shown = request.headers["authorization"].to_str().unwrap();
    let (token, k) = shown.strip_prefix("vapid t=").unwrap().split_once(", k=").unwrap();
    assert_eq!(k, public);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
    signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, decode(k))
        .verify(signed.as_bytes(), &decode(signature))
        .unwrap();
    let claims: Value = serde_json::from_slice(&decode(signed.split('.').nth(1).unwrap())).unwrap();
    assert_eq!(claims["aud"], format!("http://{}", service.address));

    let told: Value = serde_json::from_slice(&browser.open(&request.body)).unwrap();
    assert_eq!((&told["title"], &told["token"]), (&json!("boiler is hot"), &json!("ticket")));
    assert_eq!((&told["reported"], &told["reported_left_out"]), (&Value::Null, &json!(true)));
}
