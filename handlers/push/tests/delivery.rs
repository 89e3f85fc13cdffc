//! The dispatcher against real HTTP receivers on loopback, over an outbox in memory.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashSet;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use statecast_push::{Outcome, Reach, Settings};
use statecast_state::rule::ReceiverKind;
use support::{Bench, Hook, SECRET, now, quick, row};
use tokio::sync::{Barrier, Semaphore};
use uuid::Uuid;

fn ok(_n: usize) -> std::future::Ready<Response> {
    ready(StatusCode::OK.into_response())
}

#[tokio::test]
async fn a_delivery_is_signed_and_counts_once() {
    let (bench, hook) = (Bench::start(quick()), Hook::start(ok).await);
    let row = hook.row("door-1", 7);
    bench.commit([row.clone()]);
    bench.outbox.until_delivered(1).await;
    let outbox = bench.stopped().await;
    assert_eq!(outbox.outcomes(), [Outcome::Delivered { status: 200 }]);
    let received = hook.received.lock();
    let [request] = received.as_slice() else { panic!("{} requests", received.len()) };
    let signer = standardwebhooks::Webhook::new(SECRET).unwrap();
    signer.verify(&request.body, &request.headers).unwrap();
    assert!(signer.verify(b"{}", &request.headers).is_err());
    assert_eq!(request.headers["webhook-id"], row.push.id.to_string());
    assert_eq!(request.headers["content-type"], "application/json");
    assert_eq!(serde_json::from_slice::<Value>(&request.body).unwrap(), row.push.payload);
}

#[tokio::test]
async fn repeated_under_the_same_id_until_accepted() {
    let answer = |n| {
        ready(match n {
            0 => (StatusCode::INTERNAL_SERVER_ERROR, "out of\r\ncoffee").into_response(),
            1 => StatusCode::BAD_REQUEST.into_response(),
            _ => StatusCode::NO_CONTENT.into_response(),
        })
    };
    let (bench, hook) = (Bench::start(quick()), Hook::start(answer).await);
    bench.commit([hook.row("a", 1)]);
    bench.outbox.until_delivered(1).await;
    let outcomes = bench.stopped().await.outcomes();
    assert_eq!(outcomes.len(), 3, "{outcomes:?}");
    let error = |i: usize| match &outcomes[i] {
        Outcome::Retry { error, .. } => error.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(error(0), "500 Internal Server Error: out of  coffee");
    assert_eq!(error(1), "400 Bad Request");
    assert_eq!(outcomes[2], Outcome::Delivered { status: 204 });
    let received = hook.received.lock();
    let ids: HashSet<_> = received.iter().map(|r| r.headers["webhook-id"].clone()).collect();
    assert_eq!((received.len(), ids.len()), (3, 1));
    let signer = standardwebhooks::Webhook::new(SECRET).unwrap();
    assert!(received.iter().all(|r| signer.verify(&r.body, &r.headers).is_ok()));
}

#[tokio::test]
async fn retry_after_is_respected() {
    let answer = |n| {
        ready(match n {
            0 => (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")]).into_response(),
            _ => StatusCode::OK.into_response(),
        })
    };
    let (bench, hook) = (Bench::start(quick()), Hook::start(answer).await);
    bench.commit([hook.row("a", 1)]);
    bench.outbox.until_delivered(1).await;
    let received = hook.received.lock();
    let pause = received[1].at - received[0].at;
    assert!(pause >= Duration::from_millis(990), "{pause:?}, and the base is 2 ms");
}

#[tokio::test]
async fn gone_is_gone() {
    let (bench, hook) = (
        Bench::start(quick()),
        Hook::start(|_| ready((StatusCode::GONE, "moved out").into_response())).await,
    );
    bench.commit([hook.row("a", 1)]);
    bench.outbox.until("gone", |all| !all.is_empty()).await;
    let outcomes = bench.stopped().await.outcomes();
    assert_eq!(outcomes, [Outcome::ReceiverGone { error: "410 Gone: moved out".to_owned() }]);
}

#[tokio::test]
async fn dead_after_its_deadline() {
    let (bench, hook) = (
        Bench::start(quick()),
        Hook::start(|_| ready((StatusCode::BAD_GATEWAY, "later").into_response())).await,
    );
    let (mut soon, mut past) = (hook.row("a", 1), hook.row("b", 2));
    soon.push.deadline = now().plus_micros(400_000);
    past.push.deadline = now().plus_micros(-1);
    bench.commit([soon.clone(), past.clone()]);
    let dead = |outcome: &Outcome| matches!(outcome, Outcome::Dead { .. });
    let both = |all: &[_]| all.iter().filter(|f: &&statecast_push::Finished| dead(&f.outcome)).count() == 2;
    bench.outbox.until("dead", both).await;
    let outbox = bench.stopped().await;
    let written = outbox.written.lock();
    assert!(written.iter().filter(|f| f.id == soon.push.id).count() >= 2, "tried before it was too late");
    let last = written.iter().rfind(|f| f.id == soon.push.id).unwrap();
    assert!(dead(&last.outcome), "{last:?}");
    assert!(hook.received.lock().iter().all(|r| r.headers["webhook-id"] == soon.push.id.to_string()));
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_nobody() {
    let settings = Settings { sends_max: 4, sends_per_receiver_max: 2, held_rows_max: 256, ..quick() };
    let gate = Arc::new(Semaphore::new(0));
    let closed = gate.clone();
    let hanging = Hook::start(move |_| {
        let gate = closed.clone();
        async move {
            let _open = gate.acquire().await.unwrap();
            StatusCode::OK.into_response()
        }
    })
    .await;
    let (bench, hook) = (Bench::start(settings), Hook::start(ok).await);
    bench.commit((0..300).map(|n| hanging.row(&format!("d{n}"), n)));
    hanging.until_count(2).await;
    bench.commit((0..300).map(|n| hook.row(&format!("d{n}"), n)));
    bench.outbox.until_delivered(300).await;
    assert_eq!((hook.count(), hanging.count()), (300, 2));
    gate.add_permits(Semaphore::MAX_PERMITS);
    // What stayed in its lane; the rest is put off for about as long as a receiver as slow as this one needs.
    bench.outbox.until_delivered(308).await;
    assert_eq!(hanging.peak.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let inside = Hook::start(ok).await;
    let location = format!("http://{}/", inside.address);
    let answer = move |n| {
        ready(match n {
            0 => (StatusCode::TEMPORARY_REDIRECT, [("location", location.clone())]).into_response(),
            _ => StatusCode::OK.into_response(),
        })
    };
    let (bench, hook) = (Bench::start(quick()), Hook::start(answer).await);
    bench.commit([hook.row("a", 1)]);
    bench.outbox.until_delivered(1).await;
    let outcomes = bench.stopped().await.outcomes();
    assert!(
        matches!(&outcomes[0], Outcome::Retry { error, .. } if error == "307 Temporary Redirect"),
        "{outcomes:?}"
    );
    assert_eq!((hook.count(), inside.count()), (2, 0));
}

#[tokio::test]
async fn private_addresses_are_refused() {
    let (bench, hook) =
        (Bench::start(Settings { reach: Reach::default(), ..quick() }), Hook::start(ok).await);
    bench.commit([hook.row("a", 1)]);
    bench.outbox.until("refused", |all| !all.is_empty()).await;
    let outcomes = bench.stopped().await.outcomes();
    assert!(
        matches!(&outcomes[..], [Outcome::Dead { error }] if error.contains("not on the public internet")),
        "{outcomes:?}"
    );
    assert_eq!(hook.count(), 0);
}

#[tokio::test]
async fn idle_is_idle_and_a_commit_wakes_it() {
    let (bench, hook) = (Bench::start(quick()), Hook::start(ok).await);
    bench.commit([hook.row("a", 1)]);
    bench.outbox.until_delivered(1).await;
    // Not a wait for anything: the time during which nothing may happen.
    let quiet = || tokio::time::sleep(Duration::from_millis(700));
    quiet().await;
    let before = bench.outbox.claims.load(Ordering::SeqCst);
    quiet().await;
    assert_eq!(bench.outbox.claims.load(Ordering::SeqCst), before, "nobody claims while nothing is due");
    let began = Instant::now();
    bench.commit([hook.row("a", 2)]);
    bench.outbox.until_delivered(2).await;
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_database_that_fails_is_waited_out() {
    let (bench, hook) = (Bench::start(quick()), Hook::start(ok).await);
    bench.outbox.failures.store(3, Ordering::SeqCst);
    bench.commit([hook.row("a", 1)]);
    hook.until_count(1).await;
    bench.outbox.failures.store(3, Ordering::SeqCst);
    bench.outbox.until_delivered(1).await;
    bench.commit([hook.row("a", 2)]);
    bench.outbox.until_delivered(2).await;
    assert_eq!(hook.count(), 2, "an outage repeats nothing");
}

#[tokio::test]
async fn live_receivers_are_told_at_once() {
    let bench = Bench::start(quick());
    let mut live = bench.dispatcher.live();
    let row = row(Uuid::now_v7(), ReceiverKind::Live, "a", 1);
    bench.commit([row.clone()]);
    let told = tokio::time::timeout(Duration::from_secs(10), live.recv()).await.unwrap().unwrap();
    assert_eq!(told.push, row.push);
    bench.outbox.until_delivered(1).await;
    assert_eq!(bench.stopped().await.outcomes(), [Outcome::Delivered { status: 200 }]);
}

#[tokio::test]
async fn a_disabled_receiver_is_told_nothing() {
    let (bench, hook) = (Bench::start(quick()), Hook::start(ok).await);
    let mut row = hook.row("a", 1);
    row.receiver.enabled = false;
    row.receiver.disabled_reason = Some("410 Gone".to_owned());
    bench.commit([row]);
    bench.outbox.until("dead", |all| !all.is_empty()).await;
    let error = "the receiver is disabled: 410 Gone".to_owned();
    assert_eq!(bench.stopped().await.outcomes(), [Outcome::Dead { error }]);
    assert_eq!(hook.count(), 0);
}

#[tokio::test]
async fn pushes_about_one_device_arrive_in_order() {
    // Each request is answered when another is under way too: that must be the one for the other device.
    let pair = Arc::new(Barrier::new(2));
    let hook = Hook::start(move |_| {
        let pair = pair.clone();
        async move {
            pair.wait().await;
            StatusCode::OK.into_response()
        }
    })
    .await;
    let bench = Bench::start(quick());
    bench.commit((0..200).map(|n| hook.row(if n % 2 == 0 { "even" } else { "odd" }, n)));
    bench.outbox.until_delivered(200).await;
    for device in ["even", "odd"] {
        let numbers: Vec<u64> = hook
            .received
            .lock()
            .iter()
            .map(|r| serde_json::from_slice::<Value>(&r.body).unwrap())
            .filter(|body| body["device"] == json!(device))
            .map(|body| body["n"].as_u64().unwrap())
            .collect();
        assert_eq!(numbers.len(), 100);
        assert!(numbers.is_sorted(), "{device}: {numbers:?}");
    }
    assert_eq!(hook.peak.load(Ordering::SeqCst), 2, "one at a time for a device, two devices");
}

#[tokio::test]
async fn a_burst_comes_through_and_each_push_once() {
    let (bench, hook) = (Bench::start(quick()), Hook::start(ok).await);
    bench.commit((0..3_000).map(|n| hook.row(&format!("d{n}"), n)));
    bench.outbox.until_delivered(3_000).await;
    let ids: HashSet<_> = hook.received.lock().iter().map(|r| r.headers["webhook-id"].clone()).collect();
    assert_eq!((ids.len(), hook.count()), (3_000, 3_000));
    assert!(hook.peak.load(Ordering::SeqCst) <= 32);
    let finishes = bench.outbox.finishes.load(Ordering::SeqCst);
    assert!(finishes < 3_000, "{finishes} calls: results are written many at once");
}

#[tokio::test]
async fn stopping_gives_back_what_was_not_tried() {
    let settings = Settings { sends_per_receiver_max: 1, stop_grace: Duration::from_millis(50), ..quick() };
    let hook = Hook::start(|_| std::future::pending()).await;
    let bench = Bench::start(settings);
    bench.commit((0..10).map(|n| hook.row(&format!("d{n}"), n)));
    hook.until_count(1).await;
    let began = Instant::now();
    let outcomes = bench.stopped().await.outcomes();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let postponed = outcomes.iter().filter(|o| matches!(o, Outcome::Postponed { .. })).count();
    let cut =
        outcomes.iter().filter(|o| matches!(o, Outcome::Retry { error, .. } if error.contains("stopped")));
    assert_eq!((postponed, cut.count(), hook.count()), (9, 1, 1), "{outcomes:?}");
}
