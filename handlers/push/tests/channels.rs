//! Each channel against a server on loopback that looks at what comes, over an outbox in memory.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashSet;
use std::future::ready;
use std::io::Write;
use std::sync::atomic::Ordering;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use statecast_push::{ApnsSettings, FcmSettings, Outcome, Settings, make_web_push_key};
use support::{Bench, Hook, alarm, quick};
use tempfile::{NamedTempFile, TempDir};
use uuid::Uuid;

const RSA_KEY: &str = include_str!("../src/credentials/test-rsa-key.pem");

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn ok(_n: usize) -> std::future::Ready<Response> {
    ready(StatusCode::OK.into_response())
}

/// Google: a token endpoint, and Firebase that answers as it is told.
struct Google {
    tokens: Hook,
    firebase: Hook,
    _account: NamedTempFile,
    settings: Settings,
}

impl Google {
    async fn start(answer: impl Fn(usize) -> (u16, Value) + Send + Sync + 'static) -> Self {
        let granted = |n| {
            ready(axum::Json(json!({"access_token":format!("ya29.{n}"),"expires_in":3599})).into_response())
        };
        let tokens = Hook::start(granted).await;
        let firebase = Hook::start(move |n| {
            let (status, body) = answer(n);
            ready((StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response())
        })
        .await;
        let account = file(
            &json!({"type":"service_account","project_id":"our-app","client_email":"push@our-app.example",
                "private_key":RSA_KEY,"private_key_id":"k1","token_uri":format!("http://{}/token", tokens.address)})
            .to_string(),
        );
        let fcm = FcmSettings {
            service_account: account.path().into(),
            base_url: format!("http://{}", firebase.address),
        };
        Self { tokens, firebase, _account: account, settings: Settings { fcm: Some(fcm), ..quick() } }
    }
}

fn accepted(_n: usize) -> (u16, Value) {
    (200, json!({"name":"projects/our-app/messages/1"}))
}

fn refused(status: u16, code: &str) -> (u16, Value) {
    let kind = "type.googleapis.com/google.firebase.fcm.v1.FcmError";
    (status, json!({"error":{"code":status,"message":"no","details":[{"@type":kind,"errorCode":code}]}}))
}

fn phone(n: u64) -> Value {
    json!({"kind":"fcm","registration":format!("phone-{n}"),"form":"fid"})
}

#[tokio::test]
async fn firebase_gets_one_message_a_phone_with_one_token_for_all() {
    let google = Google::start(accepted).await;
    let bench = Bench::start(google.settings.clone());
    bench.commit((0..50).map(|n| alarm(Uuid::now_v7(), phone(n), n)));
    bench.outbox.until_delivered(50).await;
    assert_eq!(google.tokens.count(), 1, "who needs it meanwhile waits for the same one");
    let assertion = google.tokens.received.lock()[0].body.clone();
    assert!(
        assertion
            .starts_with(b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=ey")
    );
    let received = google.firebase.received.lock();
    for request in received.iter() {
        assert_eq!(request.path, "/v1/projects/our-app/messages:send");
        assert_eq!(request.headers["authorization"], "Bearer ya29.0");
        let message: Value = serde_json::from_slice(&request.body).unwrap();
        let message = &message["message"];
        assert_eq!(message["notification"]["title"], "boiler is hot");
        assert_eq!(
            (&message["data"]["token"], &message["android"]["priority"]),
            (&json!("ticket"), &json!("HIGH"))
        );
        assert_eq!(message["android"]["notification"]["tag"], "a1");
    }
    let phones: HashSet<String> = received
        .iter()
        .map(|request| serde_json::from_slice::<Value>(&request.body).unwrap()["message"]["fid"].to_string())
        .collect();
    assert_eq!(phones.len(), 50);
}

#[tokio::test]
async fn a_phone_gets_one_after_the_other() {
    let google = Google::start(accepted).await;
    let bench = Bench::start(google.settings.clone());
    let id = Uuid::now_v7();
    bench.commit((0..200).map(|n| {
        let mut row = alarm(id, phone(0), n);
        row.push.device = statecast_state::DeviceId::parse(&format!("d{n}")).unwrap();
        row
    }));
    bench.outbox.until_delivered(200).await;
    assert_eq!(google.firebase.peak.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_token_that_is_withdrawn_is_replaced_and_a_phone_that_is_gone_is_told_apart() {
    let google = Google::start(|n| match n {
        0 => (401, json!({"error":{"code":401,"status":"UNAUTHENTICATED"}})),
        1 => accepted(1),
        _ => refused(404, "UNREGISTERED"),
    })
    .await;
    let bench = Bench::start(google.settings.clone());
    bench.commit([alarm(Uuid::now_v7(), phone(0), 0)]);
    bench.outbox.until_delivered(1).await;
    bench.commit([alarm(Uuid::now_v7(), phone(1), 1)]);
    bench.outbox.until("gone", |all| all.len() == 2).await;
    let outcomes = bench.stopped().await.outcomes();
    assert_eq!(outcomes[0], Outcome::Delivered { status: 200 });
    assert!(
        matches!(&outcomes[1], Outcome::ReceiverGone { error } if error.contains("UNREGISTERED")),
        "{outcomes:?}"
    );
    let shown: Vec<_> =
        google.firebase.received.lock().iter().map(|r| r.headers["authorization"].clone()).collect();
    assert_eq!(shown, ["Bearer ya29.0", "Bearer ya29.1", "Bearer ya29.1"]);
}

#[tokio::test]
async fn a_provider_that_is_away_is_left_alone_and_nothing_is_lost() {
    // The first 60 requests fail; then it is back.
    let google = Google::start(|n| if n < 60 { refused(503, "UNAVAILABLE") } else { accepted(n) }).await;
    let settings =
        Settings { held_rows_max: 64, claim_rows_max: 32, sends_max: 8, ..google.settings.clone() };
    let bench = Bench::start(settings);
    bench.commit((0..2_000).map(|n| alarm(Uuid::from_u128(u128::from(n % 40)), phone(n % 40), n)));
    bench.outbox.until_delivered(2_000).await;
    let requests = google.firebase.count();
    assert!((2_060..2_100).contains(&requests), "{requests}: each that failed is repeated, and no more");
    let outbox = bench.stopped().await;
    let postponed = outbox.outcomes().into_iter().filter(
        |outcome| matches!(outcome, Outcome::Postponed { error: Some(error), .. } if error.contains("UNAVAILABLE")),
    );
    assert!(postponed.count() > 0, "who waits is told why");
}

#[tokio::test]
async fn credentials_that_are_refused_cost_no_attempt_and_are_tried_again() {
    let google =
        Google::start(|n| if n < 3 { (403, json!({"error":{"code":403}})) } else { accepted(n) }).await;
    let bench = Bench::start(google.settings.clone());
    bench.commit([alarm(Uuid::now_v7(), phone(0), 0)]);
    bench.outbox.until("refused", |all| !all.is_empty()).await;
    let tenant = statecast_state::TenantId::default();
    let fcm = bench.dispatcher.statuses().of(&tenant).remove(0);
    assert_eq!((fcm.channel, fcm.state), ("fcm", "resting"));
    assert_eq!(fcm.credential.as_deref(), Some("push@our-app.example in our-app"));
    assert!(fcm.reason.unwrap().starts_with("403 Forbidden"));
    bench.outbox.until_delivered(1).await;
    assert_eq!(bench.dispatcher.statuses().of(&tenant)[0].state, "ok");
    let outcomes = bench.stopped().await.outcomes();
    let counted = outcomes.iter().filter(|outcome| !matches!(outcome, Outcome::Postponed { .. })).count();
    assert_eq!((counted, google.firebase.count()), (1, 4));
}

#[tokio::test]
async fn apple_is_asked_over_http2_with_one_token() {
    let apple = Hook::start(|n| {
        ready(match n {
            0..10 => StatusCode::OK.into_response(),
            _ => (StatusCode::GONE, r#"{"reason":"Unregistered","timestamp":1}"#).into_response(),
        })
    })
    .await;
    let dir = TempDir::new().unwrap();
    let key = dir.path().join("key.p8");
    make_web_push_key(&key).unwrap(); // a key of P-256, like those of Apple's
    let base = format!("http://{}", apple.address);
    let apns = ApnsSettings {
        key,
        key_id: "ABCDE12345".into(),
        team_id: "TEAM123456".into(),
        topic: "org.example.app".into(),
        base_url: base.clone(),
        sandbox_url: base,
    };
    let bench = Bench::start(Settings { apns: Some(apns), ..quick() });
    let device = |token: &str, registered: &str| json!({"kind":"apns","token":token.repeat(32),"environment":"sandbox","registered_at":registered});
    let rows: Vec<_> =
        (0..10).map(|n| alarm(Uuid::now_v7(), device("0a", "2026-01-01T00:00:00Z"), n)).collect();
    bench.commit(rows.clone());
    bench.outbox.until_delivered(10).await;
    {
        let received = apple.received.lock();
        let ids: HashSet<_> =
            received.iter().map(|r| r.headers["apns-id"].to_str().unwrap().to_owned()).collect();
        assert_eq!(ids, rows.iter().map(|row| row.push.id.to_string()).collect());
        let bearers: HashSet<_> = received.iter().map(|r| r.headers["authorization"].clone()).collect();
        assert_eq!(bearers.len(), 1);
        for request in received.iter() {
            assert_eq!(request.path, format!("/3/device/{}", "0a".repeat(32)));
            assert_eq!(request.headers["apns-topic"], "org.example.app");
            assert_eq!(request.headers["apns-collapse-id"], "a1");
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            assert_eq!(body["aps"]["alert"]["title"], "boiler is hot");
            assert_eq!(body["statecast"]["token"], "ticket");
        }
    }
    // Gone since 1970: the one that was registered before is, the other came back.
    bench.commit([alarm(Uuid::now_v7(), device("0b", "1970-01-01T00:00:00Z"), 1)]);
    bench.outbox.until("gone", |all| all.len() > 10).await;
    bench.commit([alarm(Uuid::now_v7(), device("0c", "2026-01-01T00:00:00Z"), 1)]);
    bench.outbox.until("again", |all| all.len() > 11).await;
    let outcomes = bench.stopped().await.outcomes();
    assert!(matches!(&outcomes[10], Outcome::ReceiverGone { .. }), "{outcomes:?}");
    assert!(matches!(&outcomes[11], Outcome::Retry { .. }), "{outcomes:?}");
}

#[tokio::test]
async fn ntfy_gets_a_document_with_buttons() {
    let ntfy = Hook::start(|_| ready(axum::Json(json!({"id":"m1"})).into_response())).await;
    let bench = Bench::start(quick());
    let kind = json!({"kind":"ntfy","url":format!("http://{}/ops", ntfy.address),"token":"tk_1"});
    bench.commit([alarm(Uuid::now_v7(), kind, 3)]);
    bench.outbox.until_delivered(1).await;
    let received = ntfy.received.lock();
    assert_eq!(received[0].path, "/");
    assert_eq!(received[0].headers["authorization"], "Bearer tk_1");
    let document: Value = serde_json::from_slice(&received[0].body).unwrap();
    assert_eq!((&document["topic"], &document["priority"]), (&json!("ops"), &json!(5)));
    assert_eq!(document["actions"][0]["url"], "https://state.example/v1/alarms/a1/ack");
}

#[tokio::test]
async fn mqtt_gets_the_payload_on_the_topic_of_the_device() {
    let bench = Bench::start(quick());
    let topic = |topic: &str| json!({"kind":"mqtt","topic":topic});
    let row = alarm(Uuid::now_v7(), topic("alarms/{device}"), 3);
    bench.commit([row.clone()]);
    bench.outbox.until_delivered(1).await;
    bench.commit([alarm(Uuid::now_v7(), topic("alarms/refused"), 4)]);
    bench.outbox.until("refused", |all| all.len() > 1).await;
    let (tenant, topic, body) = bench.topics.0.lock().remove(0);
    assert_eq!((tenant, topic.as_str()), (row.tenant, "alarms/boiler"));
    let mut told = row.push.payload;
    told["id"] = json!(row.push.id);
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), told);
    let outcomes = bench.stopped().await.outcomes();
    assert!(
        matches!(&outcomes[1], Outcome::Retry { error, .. } if error == "too many topics"),
        "{outcomes:?}"
    );
}

#[tokio::test]
async fn a_channel_that_is_not_configured_says_so() {
    let bench = Bench::start(quick());
    bench.commit([alarm(Uuid::now_v7(), phone(0), 0)]);
    bench.outbox.until("dead", |all| !all.is_empty()).await;
    let error = "fcm isn't configured".to_owned();
    assert_eq!(bench.stopped().await.outcomes(), [Outcome::Dead { error }]);
}

#[tokio::test]
async fn a_webhook_that_fails_takes_none_with_it() {
    let broken = Hook::start(|_| ready(StatusCode::BAD_GATEWAY.into_response())).await;
    let hook = Hook::start(ok).await;
    let bench = Bench::start(quick());
    bench.commit((0..100).map(|n| broken.row(&format!("d{n}"), n)));
    bench.outbox.until("failed", |all| !all.is_empty()).await;
    bench.commit((0..100).map(|n| hook.row(&format!("d{n}"), n)));
    bench.outbox.until_delivered(100).await;
    assert_eq!(hook.count(), 100);
}
