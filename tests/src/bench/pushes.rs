//! Pushes: every device of the fleet enters a rule at once, and a webhook takes what comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use reqwest::Method;
use serde_json::json;
use statecast_tests::Service;

use crate::load::Load;
use crate::results::Results;
use crate::{machine, packets, stage};

/// How long all deliveries may take.
const DELIVERED_MAX: Duration = Duration::from_secs(60);
/// Messages per second that make the rule fire.
const FIRING_PER_S: u64 = 10_000;

/// Measures deliveries per second, from the first to the last.
///
/// # Errors
/// When not all arrive.
pub(crate) async fn measure(service: &Service, results: &mut Results) -> Result<()> {
    machine::wait_for_quiet()?;
    let seen = Arc::new(AtomicUsize::new(0));
    let hook = {
        let seen = seen.clone();
        move || async move {
            seen.fetch_add(1, Ordering::Relaxed);
            StatusCode::NO_CONTENT
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/hook", listener.local_addr()?);
    let serving =
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/hook", post(hook))).await });

    let api = service.api();
    let receiver = json!({ "name": "bench", "kind": "webhook", "url": url });
    let receiver = api.call(Method::POST, "/v1/receivers", &receiver).await?;
    // The first message of a load sets this value, and the one before had another: each device enters once.
    let rule = json!({
        "name": "bench", "query": format!("uptime:{}", packets::UPTIME_FROM + 1), "on": "enter", "title": "{device}",
        "body": "{temperature}", "receivers": [receiver["id"]],
    });
    let rule = api.call(Method::POST, "/v1/rules", &rule).await?;
    let load = Load::start(&service.mqtt, stage::DEVICES, None)?;
    let begun = Instant::now();
    load.rate(FIRING_PER_S);
    while load.acked() < stage::DEVICES as u64 {
        load.check()?;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    load.rate(0);
    load.stop()?;
    while seen.load(Ordering::Relaxed) < stage::DEVICES {
        if begun.elapsed() > DELIVERED_MAX {
            bail!("{} of {} pushes arrived", seen.load(Ordering::Relaxed), stage::DEVICES);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let per_s = stage::DEVICES as f64 / begun.elapsed().as_secs_f64();
    results.add(
        "push_deliveries_per_s",
        per_s,
        "10,000 to one webhook on this machine, with the load that caused them",
    );
    let path = format!("/v1/rules/{}", rule["id"].as_str().unwrap_or_default());
    api.request(Method::DELETE, &path).send().await?.error_for_status()?;
    serving.abort();
    Ok(())
}
