//! Policies: topics by pattern, deny by default, and a change that holds at once.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use statecast_tests::wait::PATIENCE;
use statecast_tests::wire::packet;
use statecast_tests::{Api, Service, Version, Wire};
use tokio::time::timeout;

/// Not authorized, in version 5.
const DENIED: u8 = 0x87;

async fn put(api: &Api, name: &str, publish: &[&str], subscribe: &[&str]) -> Result<Value> {
    let policy = json!({ "publish": publish, "subscribe": subscribe });
    api.call(Method::PUT, &format!("/v1/policies/{name}"), &policy).await
}

/// Says that a policy holds for a device.
async fn assign(api: &Api, device: &str, policy: Option<&str>) -> Result<Value> {
    let path = format!("/v1/devices/{device}/credentials");
    api.call(Method::PATCH, &path, &json!({ "policy": policy })).await
}

/// Can it publish there now?
async fn may(wire: &mut Wire, topic: &str) -> Result<bool> {
    let code = wire.publish(topic, b"{}", 1).await.context(topic.to_owned())?.code;
    ensure!(code == 0 || code == DENIED || code == 0x10, "{topic}: {code:#x}");
    Ok(code != DENIED)
}

/// The code for a CONNECT of version 5 with a will on this topic.
async fn with_will(service: &Service, user: &str, token: &str, topic: &str) -> Result<u8> {
    let text = |text: &str| [&u16::try_from(text.len()).unwrap_or(0).to_be_bytes(), text.as_bytes()].concat();
    let body = [
        &text("MQTT")[..],
        &[5, 0xC6, 0, 60, 0],
        &text("w"),
        &[0],
        &text(topic),
        &text("gone"),
        &text(user),
        &text(token),
    ];
    let mut wire = Wire::open(&service.mqtt, Version::V5).await?;
    wire.send(&packet(0x10, &body.concat())).await?;
    wire.next().await?.body.get(1).copied().context("a CONNACK has a code")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_pattern_allows_is_denied() -> Result<()> {
    let service = Service::start_with(&[])?;
    let api = service.api().with_key(&service.key("default").await?);
    let token = api.register("a").await?;
    api.register("b").await?;
    let default = api.json("/v1/policies/default").await?;
    ensure!(
        default["built_in"] == true && default["subscribe"] == json!(["devices/{device}/#"]),
        "{default}"
    );
    let mut wire = Wire::connect(&service.mqtt, Version::V5, "", "a", &token).await?;
    ensure!(may(&mut wire, "devices/a/state").await? && !may(&mut wire, "chat/room").await?);
    ensure!(with_will(&service, "a", &token, "devices/a/state").await? == 0, "its own topic");
    ensure!(with_will(&service, "a", &token, "devices/b/state").await? == DENIED, "a will is a publish");
    ensure!(with_will(&service, "a", &token, "chat/room").await? == DENIED, "a will is a publish");

    // A gateway: its own topics, those of a branch, and another device's state.
    let publish = ["devices/{device}/state", "devices/b/state", "site/+/{device}", "devices/b/presence"];
    put(&api, "gateway", &publish, &["site/#", "$SYS/broker"]).await?;
    assign(&api, "a", Some("gateway")).await?;
    // For who is connected too, as soon as the database has told of it.
    let told = async {
        while !may(&mut wire, "site/1/a").await? {}
        anyhow::Ok(())
    };
    timeout(PATIENCE, told).await.context("the new policy")??;
    for (topic, allowed) in [
        ("site/1/a", true),
        ("site/2/a", true),
        ("site/1/b", false),
        ("site/1/a/x", false),
        ("devices/a/state", true),
        ("devices/b/state", true),
        ("devices/c/state", false),
        ("devices/b/presence", false),
    ] {
        ensure!(may(&mut wire, topic).await? == allowed, "{topic}");
    }
    for (filter, code) in [
        ("site/#", 1),
        ("site/1/+", 1),
        ("$share/g/site/+/a", 1),
        ("#", DENIED),
        ("+/1/a", DENIED),
        ("$share/g/chat/+", DENIED),
        ("devices/a/desired", DENIED),
    ] {
        ensure!(wire.subscribe(filter, 1).await? == code, "{filter}");
    }

    // An empty one denies all (CVE-2018-12550).
    put(&api, "gateway", &[], &[]).await?;
    for topic in ["devices/a/state", "site/1/a"] {
        ensure!(!may(&mut wire, topic).await?, "{topic}");
    }
    ensure!(wire.subscribe("site/#", 1).await? == DENIED);
    wire.ping().await
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_are_gone_reach_subscriptions_and_retained_messages() -> Result<()> {
    let service = Service::start_with(&[])?;
    let key = service.key("default").await?;
    let api = service.api().with_key(&key);
    let token = api.register("a").await?;
    put(&api, "listener", &[], &["news/#", "own/{device}"]).await?;
    assign(&api, "a", Some("listener")).await?;
    let mut app = Wire::connect(&service.mqtt, Version::V5, "", "key", &key).await?;
    let mut wire = Wire::connect(&service.mqtt, Version::V5, "", "a", &token).await?;
    ensure!(wire.subscribe("news/#", 1).await? == 1 && wire.subscribe("own/a", 1).await? == 1);
    app.publish("news/1", b"old", 1).await?;
    ensure!(wire.message().await?.payload == b"old");

    // The subscription stays, but what it may not see any more isn't sent (CVE-2021-34434).
    put(&api, "listener", &[], &["own/{device}", "news/sport"]).await?;
    app.publish("news/1", b"secret", 1).await?;
    app.publish("news/sport", b"public", 1).await?;
    ensure!(wire.message().await?.payload == b"public", "only what it may see");
    // And what is retained isn't sent either (CVE-2018-12546).
    let (retained, id) = app.publication("news/1", b"kept", 1);
    app.send(&[&[retained[0] | 1], &retained[1..]].concat()).await?;
    ensure!(app.answer(0x40, id).await?.code == 0);
    ensure!(wire.subscribe("news/1", 1).await? == DENIED);
    wire.ping().await?;
    ensure!(wire.kept() == 0);
    put(&api, "listener", &[], &["news/#"]).await?;
    ensure!(wire.subscribe("news/1", 1).await? == 1 && wire.message().await?.payload == b"kept");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_are_checked_when_they_are_saved() -> Result<()> {
    let service = Service::start_with(&[])?;
    let api = service.api().with_key(&service.key("default").await?);
    // A malformed one is never in force (CVE-2018-12551), nor one that lets a name stand for more (CVE-2017-7650).
    for (bad, place) in [
        ("a/#/b", "publish[1], column 3"),
        ("a+", "publish[1], column 1"),
        ("a/{client_id}", "publish[1], column 3"),
        ("", "publish[1], column 1"),
    ] {
        let policy = json!({ "publish": ["fine", bad], "subscribe": [] });
        let answer = api.send(Method::PUT, "/v1/policies/p", &policy).await?;
        ensure!(answer.status() == 400, "{bad}: {}", answer.status());
        let problem: Value = answer.json().await?;
        ensure!(problem["detail"].as_str().is_some_and(|detail| detail.contains(place)), "{problem}");
    }
    let status =
        async |method, path: &str, body: Value| api.send(method, path, &body).await.map(|a| a.status());
    ensure!(status(Method::GET, "/v1/policies/p", json!(null)).await? == 404, "nothing was saved");
    ensure!(
        status(Method::PUT, "/v1/policies/a%20b", json!({ "publish": [], "subscribe": [] })).await? == 400
    );
    ensure!(status(Method::PUT, "/v1/policies/p", json!({ "publish": [] })).await? == 422, "both lists");

    api.register("a").await?;
    let credentials = "/v1/devices/a/credentials";
    ensure!(status(Method::PATCH, credentials, json!({ "policy": "p" })).await? == 404, "no such policy");
    put(&api, "p", &["x"], &[]).await?;
    assign(&api, "a", Some("p")).await?;
    ensure!(status(Method::DELETE, "/v1/policies/p", json!(null)).await? == 409, "it is used");
    assign(&api, "a", None).await?;
    ensure!(status(Method::DELETE, "/v1/policies/p", json!(null)).await? == 204);
    ensure!(status(Method::DELETE, "/v1/policies/p", json!(null)).await? == 404);

    put(&api, "default", &["x"], &[]).await?;
    let names = async || -> Result<Vec<(String, bool)>> {
        let list = api.json("/v1/policies").await?;
        let items = list["items"].as_array().context("items")?;
        Ok(items
            .iter()
            .map(|item| (item["name"].as_str().unwrap_or_default().to_owned(), item["built_in"] == true))
            .collect())
    };
    ensure!(names().await? == [("apps".to_owned(), true), ("default".to_owned(), false)]);
    ensure!(status(Method::DELETE, "/v1/policies/default", json!(null)).await? == 204);
    ensure!(names().await? == [("apps".to_owned(), true), ("default".to_owned(), true)]);
    Ok(())
}
