//! API keys: what each is good for, and for how long.

use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use statecast_tests::{Api, Service, Version, Wire};

/// A route of each scope: reading it, or changing nothing, answers anything but 401 and 403.
const ROUTES: [(&str, &str, &str); 18] = [
    ("read", "GET", "devices"),
    ("read", "GET", "devices/d/history"),
    ("read", "GET", "search?q=a"),
    ("read", "GET", "search/complete?q=a"),
    ("read", "GET", "search/export?q=a"),
    ("read", "GET", "alarms"),
    ("write", "POST", "alarms/00000000-0000-8000-8000-000000000000/unshelve"),
    ("write", "POST", "devices/d/state"),
    ("write", "PATCH", "devices/d/tags"),
    ("devices", "PUT", "devices/d"),
    ("devices", "GET", "devices/d/credentials"),
    ("rules", "GET", "rules"),
    ("rules", "GET", "deliveries"),
    ("operate", "GET", "usage"),
    ("operate", "GET", "dead-letters"),
    ("operate", "GET", "policies"),
    ("admin", "GET", "keys"),
    ("admin", "DELETE", "policies/nothing"),
];

async fn make(api: &Api, form: &Value) -> Result<(String, Value)> {
    let made = api.call(Method::POST, "/v1/keys", form).await?;
    Ok((made["key"].as_str().context("a key")?.to_owned(), made))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_good_for_its_scopes_only() -> Result<()> {
    let service = Service::start_with(&[])?;
    let admin = service.api().with_key(&service.key("default").await?);
    admin.register("d").await?;
    for scope in ["read", "write", "devices", "rules", "operate", "admin"] {
        let (key, _) = make(&admin, &json!({ "name": scope, "scopes": [scope] })).await?;
        let api = service.api().with_key(&key);
        for (needed, method, path) in ROUTES {
            let what = format!("{scope}: {method} {path}");
            let request = api.request(method.parse()?, &format!("/v1/{path}")).json(&json!({}));
            let answer = request.send().await.context(what.clone())?;
            let allowed = needed == scope || scope == "admin";
            ensure!(
                (answer.status() != 403) == allowed && answer.status() != 401,
                "{what}: {}",
                answer.status()
            );
            if !allowed {
                let problem: Value = answer.json().await?;
                let detail = problem["detail"].as_str().unwrap_or_default();
                ensure!(detail.contains(&format!("`{needed}`")), "{what}: {problem}");
            }
        }
        let mut wire = Wire::connect(&service.mqtt, Version::V5, "", "key", &key).await?;
        let (reads, writes) = (matches!(scope, "read" | "admin"), matches!(scope, "write" | "admin"));
        ensure!((wire.subscribe("changes/#", 1).await? == 1) == reads, "{scope} subscribes");
        ensure!((wire.publish("chat/room", b"", 1).await?.code != 0x87) == writes, "{scope} publishes");
    }
    // From the command line as well.
    let made =
        service.cli(&["key", "create", "x", "--scope", "read,write", "--expires", "30d"]).await?.ok()?;
    let api = service.api().with_key(made.trim());
    ensure!(api.get("/v1/devices").await?.status() == 200 && api.get("/v1/rules").await?.status() == 403);
    let listed = service.cli(&["key", "list"]).await?.ok()?;
    ensure!(listed.contains("read,write  until 20"), "{listed}");
    ensure!(service.cli(&["key", "create", "x", "--scope", "all"]).await?.code == Some(2));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_says_what_a_key_may_do_over_mqtt() -> Result<()> {
    let service = Service::start_with(&[])?;
    let admin = service.api().with_key(&service.key("default").await?);
    admin.register("d").await?;
    let policy =
        json!({ "publish": ["devices/+/state"], "subscribe": ["changes/d", "devices/{device}/state"] });
    admin.call(Method::PUT, "/v1/policies/gateway", &policy).await?;
    let form = json!({ "name": "gateway", "scopes": ["read", "write"], "policy": "gateway" });
    let (key, _) = make(&admin, &form).await?;
    let mut wire = Wire::connect(&service.mqtt, Version::V5, "", "key", &key).await?;
    ensure!(wire.publish("devices/d/state", br#"{"n":1}"#, 1).await?.code == 0);
    admin.twin_when("d", |twin| twin["reported"] == json!({ "n": 1 })).await?;
    for topic in ["devices/d/desired", "chat/room"] {
        ensure!(wire.publish(topic, b"{}", 1).await?.code == 0x87, "{topic}");
    }
    ensure!(wire.subscribe("changes/d", 1).await? == 1);
    for filter in ["changes/#", "devices/d/state", "devices/+/state"] {
        ensure!(wire.subscribe(filter, 1).await? == 0x87, "{filter}: a key is no device");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_over_http() -> Result<()> {
    let service = Service::start_with(&[])?;
    let admin = service.api().with_key(&service.key("default").await?);
    let (key, made) = make(&admin, &json!({ "name": "app", "scopes": ["read"] })).await?;
    ensure!(key.starts_with("sc_") && made["last_used_at"].is_null(), "{made}");
    ensure!(service.api().with_key(&key).get("/v1/devices").await?.status() == 200);
    let list = admin.json("/v1/keys").await?;
    ensure!(!list.to_string().contains(&key), "the secret is shown once");
    let found = list["items"].as_array().into_iter().flatten().find(|item| item["id"] == made["id"]);
    ensure!(found.is_some_and(|item| item["last_used_at"].is_string()), "{list}");

    for (bad, status) in [
        (json!({ "name": "x", "scopes": [] }), 400),
        (json!({ "name": "", "scopes": ["read"] }), 400),
        (json!({ "name": "x", "scopes": ["all"] }), 422),
        (json!({ "name": "x", "scopes": ["read"], "policy": "none" }), 404),
        (json!({ "name": "x", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z" }), 400),
    ] {
        ensure!(admin.send(Method::POST, "/v1/keys", &bad).await?.status() == status, "{bad}");
    }
    let path = format!("/v1/keys/{}", made["id"].as_str().context("an id")?);
    let stranger = service.api().with_key(&service.key("other").await?);
    ensure!(stranger.send(Method::DELETE, &path, &json!(null)).await?.status() == 404, "not theirs");
    ensure!(admin.send(Method::DELETE, &path, &json!(null)).await?.status() == 204);
    ensure!(admin.send(Method::DELETE, &path, &json!(null)).await?.status() == 404);
    ensure!(service.api().with_key(&key).get("/v1/devices").await?.status() == 401);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_expires_is_worthless_then() -> Result<()> {
    let service = Service::start_with(&[])?;
    let admin = service.api().with_key(&service.key("default").await?);
    let end = chrono::DateTime::<chrono::Utc>::from(SystemTime::now()) + chrono::Duration::seconds(5);
    let form = json!({ "name": "short", "scopes": ["read"], "expires_at": end.to_rfc3339() });
    let (key, _) = make(&admin, &form).await?;
    let mut wire = Wire::connect(&service.mqtt, Version::V5, "", "key", &key).await?;
    ensure!(wire.closed().await? == Some(0x98), "an administrative action");
    ensure!(chrono::Utc::now() >= end, "not before");
    ensure!(service.api().with_key(&key).get("/v1/devices").await?.status() == 401);
    ensure!(Wire::connect(&service.mqtt, Version::V5, "", "key", &key).await.is_err());
    Ok(())
}
