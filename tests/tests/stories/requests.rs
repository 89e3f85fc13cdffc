//! Somebody asks a device to be different: what became of that is known, whatever happens in between.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use statecast_tests::{Api, Events, Service, VERSIONS, Version, Wire, wait};

const STATE: &str = "devices/lamp/state";
const DESIRED: &str = "devices/lamp/desired";
const REJECTED: &str = "devices/lamp/desired/rejected";

async fn lamp(service: &Service, version: Version) -> Result<Wire> {
    Wire::connect(&service.mqtt, version, "", "lamp", "any").await
}

/// Asks; gives the path of the request.
async fn ask(api: &Api, desired: Value, timeout: &str) -> Result<String> {
    let path = format!("/v1/devices/lamp/desired?timeout={timeout}");
    let answer = api.send(Method::PATCH, &path, &desired).await?;
    ensure!(answer.status().is_success(), "{}", answer.text().await?);
    let id = answer.headers().get("statecast-request").context("no request")?.to_str()?;
    Ok(format!("/v1/requests/{id}"))
}

/// The outcome of a request, waited for.
async fn outcome(api: &Api, request: &str) -> Result<Value> {
    api.json(&format!("{request}?wait=30s")).await
}

/// Waits until a request has come so far, without the help of the service.
async fn comes_to(api: &Api, request: &str, state: &str) -> Result<Value> {
    let found = || async { api.json(request).await.ok().filter(|found| found["state"] == state) };
    wait::until(&format!("a request is {state}"), found).await
}

#[tokio::test(flavor = "multi_thread")]
async fn applied_is_what_the_device_reports_and_nothing_less() -> Result<()> {
    for version in VERSIONS {
        let service = Service::start()?;
        let api = service.api();
        let mut wire = lamp(&service, version).await?;
        ensure!(wire.publish(STATE, br#"{"level":1}"#, 1).await?.code == 0);
        ensure!(wire.subscribe(DESIRED, 1).await? == 1);
        wire.message().await?;
        let mut changes = Events::open(&api, "/v1/changes", None).await?;

        let request = ask(&api, json!({ "level": 2, "fade": { "ms": 100 } }), "1h").await?;
        let made = api.json(&request).await?;
        ensure!(made["by"] == "dev" && made["patch"]["level"] == 2 && made["ended_at"].is_null(), "{made}");
        ensure!(made["state"] == "requested", "it was told, and has not acknowledged: {made}");
        wire.message().await?;
        let sent = comes_to(&api, &request, "sent").await?;
        ensure!(sent["sent_at"].is_string() && sent["ended_at"].is_null(), "{sent}");
        ensure!(wire.publish(STATE, br#"{"level":2}"#, 1).await?.code == 0);
        ensure!(api.json(&request).await?["state"] == "sent", "half of it");

        let (waiting, path) = (api.clone(), request.clone());
        let waited = tokio::spawn(async move { outcome(&waiting, &path).await });
        ensure!(wire.publish(STATE, br#"{"fade":{"ms":100.0}}"#, 1).await?.code == 0);
        let applied = waited.await??;
        ensure!(applied["state"] == "applied" && applied["sent_at"] == sent["sent_at"], "{applied}");
        for kind in ["desired", "request", "state", "state"] {
            let change = changes.next().await?.data;
            ensure!(change["kind"] == kind, "{change}");
        }
        let listed = api.json("/v1/devices/lamp/requests").await?;
        ensure!(listed["items"] == json!([applied]), "{listed}");
        let open = api.json("/v1/devices/lamp/requests?open=true").await?;
        ensure!(open["items"] == json!([]), "{open}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_superseded_or_too_late_the_one_who_asked_is_told_why() -> Result<()> {
    let mut service = Service::start()?;
    let api = service.api();
    let mut wire = lamp(&service, Version::V5).await?;
    ensure!(wire.publish(STATE, br#"{"level":0}"#, 1).await?.code == 0);
    ensure!(wire.subscribe(DESIRED, 1).await? == 1);
    wire.message().await?;

    let refused = ask(&api, json!({ "level": 900 }), "1h").await?;
    let told: Value = serde_json::from_slice(&wire.message().await?.payload)?;
    let refusal = json!({ "version": told["version"], "reason": "100 is the most" });
    ensure!(wire.publish(REJECTED, refusal.to_string().as_bytes(), 1).await?.code == 0);
    let outcome_of_it = outcome(&api, &refused).await?;
    ensure!(outcome_of_it["state"] == "rejected" && outcome_of_it["reason"] == "100 is the most");

    let older = ask(&api, json!({ "level": 50, "fade": 1 }), "1h").await?;
    let newer = ask(&api, json!({ "level": 60 }), "1s").await?;
    let superseded = outcome(&api, &older).await?;
    ensure!(superseded["state"] == "superseded", "{superseded}");
    let by = newer.rsplit('/').next().unwrap_or_default();
    ensure!(superseded["reason"].as_str().is_some_and(|why| why.contains(by)), "{superseded}");
    ensure!(outcome(&api, &newer).await?["state"] == "timed_out");

    // Killed between the asking and the deadline: the row remembers.
    let left = ask(&api, json!({ "level": 70 }), "3s").await?;
    let stays = ask(&api, json!({ "colour": "red" }), "4w").await?;
    service.kill()?;
    service.restart()?;
    ensure!(outcome(&service.api(), &left).await?["state"] == "timed_out");
    let wanted = api.json("/v1/devices/lamp").await?["desired"].clone();
    ensure!(wanted == json!({ "level": 70, "fade": 1, "colour": "red" }), "it is still wanted: {wanted}");
    ensure!(api.json(&stays).await?["state"] != "timed_out");
    let mut wire = lamp(&service, Version::V3).await?;
    ensure!(wire.publish(STATE, br#"{"colour":"red"}"#, 1).await?.code == 0);
    ensure!(outcome(&api, &stays).await?["state"] == "applied");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_device_acknowledges_and_it_may_come_later() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    api.call(Method::POST, "/v1/devices/lamp/state", &json!({ "level": 0 })).await?;
    let mut app = Wire::connect(&service.mqtt, Version::V5, "", "app", "any").await?;
    ensure!(app.subscribe(DESIRED, 1).await? == 1);
    app.message().await?;
    let request = ask(&api, json!({ "level": 1 }), "1h").await?;
    app.message().await?;
    // Its acknowledgement was read before this ping, and posted before this report.
    app.ping().await?;
    api.call(Method::POST, "/v1/devices/lamp/state", &json!({ "other": 1 })).await?;
    ensure!(api.json(&request).await?["state"] == "requested", "an app that listens isn't the device");

    let mut wire = lamp(&service, Version::V3).await?;
    ensure!(wire.subscribe(DESIRED, 0).await? == 0);
    wire.message().await?;
    wire.disconnect().await?;
    let mut wire = lamp(&service, Version::V3).await?;
    ensure!(wire.subscribe(DESIRED, 1).await? == 1);
    ensure!(api.json(&request).await?["state"] == "requested", "at quality 0 nothing is acknowledged");
    wire.message().await?;
    comes_to(&api, &request, "sent").await?;
    ensure!(wire.publish(STATE, br#"{"level":1}"#, 1).await?.code == 0);
    ensure!(outcome(&api, &request).await?["state"] == "applied");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_is_bounded_and_bad_questions_are_answered() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    api.call(Method::POST, "/v1/devices/lamp/state", &json!({ "p0": 0 })).await?;
    for n in 0..16 {
        ask(&api, json!({ format!("p{n}"): 1 }), "1h").await?;
    }
    let path = "/v1/devices/lamp/desired";
    let refused = api.send(Method::PATCH, path, &json!({ "q": 1 })).await?;
    ensure!(refused.status() == 409, "{}", refused.text().await?);
    ask(&api, json!({ "p0": 2 }), "1h").await?;
    api.call(Method::POST, "/v1/devices/lamp/state", &json!({ "p0": 2 })).await?;
    ask(&api, json!({ "q": 1 }), "1h").await?;
    for (path, status) in [
        ("/v1/devices/lamp/desired?timeout=0s", 400),
        ("/v1/devices/lamp/desired?timeout=5w", 400),
        ("/v1/devices/lamp/desired?timeout=soon", 400),
    ] {
        ensure!(api.send(Method::PATCH, path, &json!({})).await?.status() == status, "{path}");
    }
    for (path, status) in [
        ("/v1/requests/0", 400),
        ("/v1/requests/00000000-0000-0000-0000-000000000000", 404),
        ("/v1/requests/00000000-0000-0000-0000-000000000000?wait=2m", 400),
        ("/v1/devices/lamp/requests?cursor=x", 400),
    ] {
        ensure!(api.get(path).await?.status() == status, "{path}");
    }
    Ok(())
}
