//! What those who were let in may do: a device speaks for itself, an app sees its tenant, tenants see nothing of
//! each other.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use statecast_tests::{Events, Service, VERSIONS, Version, Wire};

#[tokio::test(flavor = "multi_thread")]
async fn a_device_speaks_for_itself_only() -> Result<()> {
    let service = Service::start_with(&[])?;
    let api = service.api().with_key(&service.key("default").await?);
    let (a, b) = (api.register("a").await?, api.register("b").await?);
    for version in VERSIONS {
        let code = |v5: u8| if version == Version::V5 { v5 } else { 0 };
        let mut wire = Wire::connect(&service.mqtt, version, "", "a", &a).await?;
        ensure!(wire.publish("devices/a/state", br#"{"n":1}"#, 1).await?.code == 0);
        let foreign =
            ["devices/b/state", "devices/b/desired/rejected", "devices/a/desired", "devices/a/presence"];
        for topic in foreign.iter().chain(&["changes/a", "devices/ab/state", "chat/room"]) {
            for qos in [1, 2] {
                let answer = wire.publish(topic, br#"{"n":666}"#, qos).await.context(*topic)?;
                ensure!(answer.code == code(0x87), "{topic}: {answer:?}");
            }
            wire.publish(topic, br#"{"n":666}"#, 0).await?;
        }
        let refused = if version == Version::V5 { 0x87 } else { 0x80 };
        for filter in [
            "devices/b/desired",
            "devices/+/desired",
            "devices/#",
            "changes/#",
            "changes/a",
            "chat/#",
            "#",
            "+/b/state",
        ] {
            ensure!(wire.subscribe(filter, 1).await? == refused, "{filter}, {version:?}");
        }
        for filter in ["devices/a/desired", "devices/a/presence", "devices/a/#"] {
            ensure!(wire.subscribe(filter, 1).await? == 1, "{filter}, {version:?}");
        }
        // It still works after all that.
        wire.ping().await?;
        ensure!(wire.publish("devices/a/state", br#"{"n":2}"#, 2).await?.code == 0);
        wire.disconnect().await?;
    }
    let _b = Wire::connect(&service.mqtt, Version::V5, "", "b", &b).await?;
    let twin = api.twin_when("b", |twin| twin["presence"]["online"] == true).await?;
    ensure!(twin["reported"] == json!({}), "{twin}");
    ensure!(api.json("/v1/devices/a").await?["reported"] == json!({ "n": 2 }));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_and_a_removal_disconnect() -> Result<()> {
    let service = Service::start_with(&[])?;
    let api = service.api().with_key(&service.key("default").await?);
    let old = api.register("a").await?;
    let again = api.call(Method::PUT, "/v1/devices/a", &json!({ "tags": { "site": "lab" } })).await?;
    ensure!(again["token"].is_null(), "a known device keeps its token: {again}");
    let mut wire = Wire::connect(&service.mqtt, Version::V5, "", "a", &old).await?;
    let new = api.call(Method::PUT, "/v1/devices/a", &json!({ "new_token": true })).await?;
    let new = new["token"].as_str().context("a new token")?.to_owned();
    ensure!(wire.closed().await? == Some(0x98), "an administrative action");
    ensure!(Wire::connect(&service.mqtt, Version::V5, "", "a", &old).await.is_err(), "the old token");

    let mut wire = Wire::connect(&service.mqtt, Version::V5, "", "a", &new).await?;
    ensure!(wire.publish("devices/a/state", br#"{"n":1}"#, 1).await?.code == 0);
    let removed = api.send(Method::DELETE, "/v1/devices/a", &json!({})).await?;
    ensure!(removed.status() == 204, "{}", removed.status());
    let position = removed.headers()["statecast-position"].to_str()?;
    ensure!(wire.closed().await? == Some(0x98), "an administrative action");
    ensure!(Wire::connect(&service.mqtt, Version::V5, "", "a", &new).await.is_err(), "no token is left");
    ensure!(api.get("/v1/devices/a").await?.status() == 404);
    ensure!(api.json(&format!("/v1/search?q=&after={position}")).await?["total"] == 0);

    let token = api.register("a").await?;
    let twin = api.json("/v1/devices/a").await?;
    ensure!(twin["reported"] == json!({}) && twin["tags"] == json!({}), "nothing of the old one: {twin}");
    ensure!(twin["version"] == 1, "{twin}");
    let history = api.history("a").await?;
    // The removal stays as a mark in the feed, so that whoever follows it learns of it.
    let kinds: Vec<_> = history.iter().map(|entry| entry["kind"].as_str().unwrap_or_default()).collect();
    ensure!(kinds == ["removed", "registered"] && history[0]["patch"] == json!({}), "{history:?}");
    Wire::connect(&service.mqtt, Version::V5, "", "a", &token).await?.ping().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_sees_its_tenant_and_nothing_of_another() -> Result<()> {
    let service = Service::start_with(&[])?;
    let (key, other_key) = (service.key("default").await?, service.key("other").await?);
    let (api, other) = (service.api().with_key(&key), service.api().with_key(&other_key));
    let mut app = Wire::connect(&service.mqtt, Version::V5, "app", "key", &key).await?;
    let mut stranger = Wire::connect(&service.mqtt, Version::V3, "app", "key", &other_key).await?;
    for wire in [&mut app, &mut stranger] {
        for filter in ["changes/#", "devices/+/state", "chat/#"] {
            ensure!(wire.subscribe(filter, 1).await? == 1, "{filter}");
        }
    }
    let mut events = Events::open(&other, "/v1/changes", None).await?;
    ensure!(app.publish("devices/a/state", b"{}", 1).await?.code == 0x87, "an app speaks for no device");

    // The same id in both, so that a name can't help to tell them apart.
    let token = api.register("a").await?;
    let mut device = Wire::connect(&service.mqtt, Version::V5, "d", "a", &token).await?;
    ensure!(device.publish("devices/a/state", br#"{"secret":1}"#, 1).await?.code == 0);
    ensure!(device.publish("devices/a/state", b"not JSON", 1).await?.code == 0x99);
    ensure!(app.publish("chat/room", b"ours", 1).await?.code == 0);
    let rule = json!({ "name": "r", "query": "secret:1", "title": "t" });
    let rule = api.call(Method::POST, "/v1/rules", &rule).await?;
    let (mut told, mut chatted) = (false, false);
    while !(told && chatted) {
        let message = app.message().await?;
        let change: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
        told |= message.topic == "changes/a" && change["patch"] == json!({ "secret": 1 });
        chatted |= message.topic == "chat/room";
    }

    ensure!(other.get("/v1/devices/a").await?.status() == 404);
    ensure!(
        other.get(&format!("/v1/rules/{}", rule["id"].as_str().unwrap_or_default())).await?.status() == 404
    );
    let theirs = other.register("a").await?;
    let position = other.history("a").await?[0]["position"].clone();
    for path in ["devices", "rules", "receivers", "deliveries", "dead-letters"] {
        let items = other.json(&format!("/v1/{path}")).await?["items"].as_array().map_or(0, Vec::len);
        ensure!(items == usize::from(path == "devices"), "{path}");
    }
    ensure!(other.json(&format!("/v1/search?q=secret:1&after={position}")).await?["total"] == 0);
    ensure!(other.json("/v1/search?q=id:a").await?["total"] == 1);
    ensure!(other.history("a").await?.len() == 1);
    ensure!(Wire::connect(&service.mqtt, Version::V3, "x", "a", &theirs).await?.ping().await.is_ok());

    // What they see first is their own, although the others were earlier.
    let first = events.next().await?;
    ensure!(first.data["kind"] == "registered" && first.data["position"] == position, "{first:?}");
    let first: Value = serde_json::from_slice(&stranger.message().await?.payload)?;
    ensure!(first["kind"] == "registered" && first["position"] == position, "{first}");
    Ok(())
}
