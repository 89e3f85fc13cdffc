//! Tenants can't see, reach or guess each other.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use statecast_tests::{Api, Service, Version, Wire};

/// Something of a tenant, by each way to it: the paths.
async fn belongings(api: &Api) -> Result<Vec<(Method, String, Value)>> {
    let id = |made: &Value| made["id"].as_str().map(str::to_owned).context("an id");
    let rule =
        api.call(Method::POST, "/v1/rules", &json!({ "name": "r", "query": "b:1", "title": "t" })).await?;
    let receiver = api.call(Method::POST, "/v1/receivers", &json!({ "name": "r", "kind": "live" })).await?;
    let key = api.call(Method::POST, "/v1/keys", &json!({ "name": "k", "scopes": ["read"] })).await?;
    let policy = json!({ "publish": [], "subscribe": [] });
    api.call(Method::PUT, "/v1/policies/theirs", &policy).await?;
    let (rule, receiver, key) = (id(&rule)?, id(&receiver)?, id(&key)?);
    api.call(Method::POST, "/v1/devices/pump/state", &json!({ "b": 1 })).await?;
    let alarms = api.json("/v1/alarms?device=pump").await?;
    let alarm = id(&alarms["items"][0])?;
    let patch = json!({});
    Ok(vec![
        (Method::GET, "devices/pump".to_owned(), json!(null)),
        (Method::POST, "devices/pump/state".to_owned(), patch.clone()),
        (Method::PATCH, "devices/pump/desired".to_owned(), patch.clone()),
        (Method::PATCH, "devices/pump/tags".to_owned(), patch.clone()),
        (Method::GET, "devices/pump/credentials".to_owned(), json!(null)),
        (Method::PATCH, "devices/pump/credentials".to_owned(), patch),
        (Method::DELETE, "devices/pump".to_owned(), json!(null)),
        (Method::GET, format!("rules/{rule}"), json!(null)),
        (Method::DELETE, format!("rules/{rule}"), json!(null)),
        (Method::GET, format!("receivers/{receiver}"), json!(null)),
        (Method::DELETE, format!("receivers/{receiver}"), json!(null)),
        (Method::DELETE, format!("keys/{key}"), json!(null)),
        (Method::GET, "policies/theirs".to_owned(), json!(null)),
        (Method::DELETE, "policies/theirs".to_owned(), json!(null)),
        (Method::GET, format!("alarms/{alarm}"), json!(null)),
        (Method::POST, format!("alarms/{alarm}/ack"), json!({ "version": 1 })),
        (Method::POST, format!("alarms/{alarm}/shelve"), json!({ "for": "1h" })),
        (Method::POST, format!("alarms/{alarm}/unshelve"), json!({})),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_what_is_theirs_is_not_there() -> Result<()> {
    let service = Service::start_with(&[])?;
    let ours = service.api().with_key(&service.key("ours").await?);
    let theirs = service.api().with_key(&service.key("theirs").await?);
    theirs.register("pump").await?;
    for (method, path, body) in belongings(&theirs).await? {
        let answer = ours.send(method.clone(), &format!("/v1/{path}"), &body).await?;
        ensure!(answer.status() == 404, "{method} {path}: {}", answer.status());
        let text = answer.text().await?;
        ensure!(!text.contains("theirs") || path.contains("theirs"), "{path}: {text}");
    }
    let twin = theirs.json("/v1/devices/pump").await?;
    ensure!(twin["version"] == 2, "nothing was done to it: {twin}");
    // There is one index for all: what it has of others can't be learned, nor can it be made anew for all.
    for path in ["/v1/index/verify", "/v1/index/rebuild"] {
        ensure!(ours.send(Method::POST, path, &json!(null)).await?.status() == 403, "{path}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn over_mqtt_the_same_names_are_others() -> Result<()> {
    let service = Service::start_with(&[])?;
    let (our_key, their_key) = (service.key("ours").await?, service.key("theirs").await?);
    let (ours, theirs) = (service.api().with_key(&our_key), service.api().with_key(&their_key));
    let (our_token, their_token) = (ours.register("pump").await?, theirs.register("pump").await?);

    // A token says whose it is, whatever the user name says.
    let connect = async |id: &str, user: &str, secret: &str| {
        Wire::connect(&service.mqtt, Version::V5, id, user, secret).await
    };
    ensure!(connect("x", "theirs/pump", &our_token).await.is_err(), "our token, their device");
    connect("x", "ours/pump", &our_token).await?.ping().await?;

    // The same client id takes over only within a tenant.
    let mut our_app = connect("same", "key", &our_key).await?;
    let mut their_app = connect("same", "key", &their_key).await?;
    our_app.ping().await.context("the same client id of another tenant")?;
    for wire in [&mut our_app, &mut their_app] {
        for filter in ["$share/g/chat/#", "news/#", "devices/+/presence", "changes/#", "#"] {
            ensure!(wire.subscribe(filter, 1).await? == 1, "{filter}");
        }
    }

    // Theirs: plain, shared, retained, presence, and a change of state.
    let mut their_pump = connect("pump", "pump", &their_token).await?;
    ensure!(their_pump.publish("devices/pump/state", br#"{"secret":1}"#, 1).await?.code == 0);
    for n in 0..10 {
        ensure!(their_app.publish("chat/room", format!("secret {n}").as_bytes(), 1).await?.code == 0);
    }
    let (retained, id) = their_app.publication("news/1", b"secret", 1);
    their_app.send(&[&[retained[0] | 1], &retained[1..]].concat()).await?;
    ensure!(their_app.answer(0x40, id).await?.code == 0);
    let mut seen = 0;
    while seen < 11 {
        let message = their_app.message().await?;
        seen += usize::from(message.topic == "news/1" || message.topic == "chat/room");
    }

    // Ours: what comes first is ours, and so is all that follows.
    let mut our_pump = connect("pump", "pump", &our_token).await?;
    their_pump.ping().await.context("the same device and client id of another tenant")?;
    ensure!(our_app.subscribe("news/+", 1).await? == 1, "nothing is retained there");
    ensure!(our_pump.publish("devices/pump/state", br#"{"ours":1}"#, 1).await?.code == 0);
    ensure!(our_app.publish("news/end", b"ours", 1).await?.code == 0x00);
    let mut told = false;
    loop {
        let message = our_app.message().await?;
        ensure!(!message.payload.windows(6).any(|part| part == b"secret"), "{message:?}");
        told |= message.payload.windows(6).any(|part| part == b"\"ours\"");
        if message.topic == "news/end" && told {
            break;
        }
        if message.topic == "news/end" {
            our_app.publish("news/end", b"ours", 1).await?;
        }
    }
    // Nothing of theirs ends with what ends of ours.
    ours.send(Method::DELETE, "/v1/devices/pump", &json!(null)).await?;
    ensure!(our_pump.closed().await? == Some(0x98));
    their_pump.ping().await?;
    their_app.ping().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_of_a_tenant_with_a_password_says_whose_it_is() -> Result<()> {
    let service = Service::start_with(&[])?;
    let theirs = service.api().with_key(&service.key("theirs").await?);
    theirs.register("pump").await?;
    let password = json!({ "password": "correct horse" });
    theirs.call(Method::PATCH, "/v1/devices/pump/credentials", &password).await?;
    let connect =
        async |user: &str| Wire::connect(&service.mqtt, Version::V5, "x", user, "correct horse").await;
    ensure!(connect("pump").await.is_err(), "there is none of this name in `default`");
    ensure!(connect("ours/pump").await.is_err());
    let mut wire = connect("theirs/pump").await?;
    ensure!(wire.publish("devices/pump/state", br#"{"n":1}"#, 1).await?.code == 0);
    theirs.twin_when("pump", |twin| twin["reported"] == json!({ "n": 1 })).await?;
    Ok(())
}
