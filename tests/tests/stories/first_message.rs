//! The story of the README: a device publishes; it is in the twin, the history and the search, and people are told.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use statecast_tests::command::run;
use statecast_tests::{Api, Events, Hook, Service, wait};

/// `battery:<20`
const LOW: &str = "battery:%3C20";

#[tokio::test(flavor = "multi_thread")]
async fn from_a_publish_to_a_push() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    let mut hook = Hook::start().await?;
    let webhook = receiver(&api, json!({ "name": "ops", "kind": "webhook", "url": hook.url })).await?;
    let live = receiver(&api, json!({ "name": "me", "kind": "live" })).await?;
    let rule = json!({ "name": "low", "query": "battery:<20", "title": "{device} is low", "body": "{battery} % left" });
    let rule = api.call(Method::POST, "/v1/rules", &rule).await?;
    let mut changes = Events::open(&api, &format!("/v1/changes?q={LOW}"), None).await?;
    let path = format!("/v1/deliveries/live?receiver={}", text(&live, "id"));
    let mut notifications = Events::open(&api, &path, None).await?;

    publish(&service, r#"{"battery":15,"temperature":21.5}"#).await?;

    // PUBACK has come, so it is committed: no waiting here.
    let twin = api.json("/v1/devices/thermo-1").await?;
    ensure!(twin["reported"] == json!({ "battery": 15, "temperature": 21.5 }), "{twin}");
    let history = api.history("thermo-1").await?;
    let state = history.iter().find(|entry| entry["kind"] == "state").context("no entry of kind state")?;
    ensure!(state["patch"]["battery"] == 15 && state["stale"] == false, "{state}");
    let found = api.json(&format!("/v1/search?q={LOW}&after={}", state["position"])).await?;
    ensure!(found["total"] == 1 && found["items"][0]["device"] == "thermo-1", "{found}");

    let call = hook.next().await?;
    Webhook::new(text(&webhook, "secret"))?.verify(&call.body, &call.headers).context("the signature")?;
    let told = call.json()?;
    ensure!(told["title"] == "thermo-1 is low" && told["body"] == "15 % left", "{told}");
    ensure!(told["type"] == "alarm.raised" && told["rule"]["id"] == rule["id"], "{told}");
    let path = "/v1/deliveries?state=delivered&device=thermo-1";
    let delivered = wait::until("both deliveries are listed", || async {
        let list = api.json(path).await.ok()?;
        list["items"].as_array().filter(|items| items.len() == 2).cloned()
    })
    .await?;
    let row = delivered.iter().find(|row| row["receiver"] == webhook["id"]).context("the webhook")?;
    ensure!(row["id"] == call.header("webhook-id") && row["status"] == 204 && row["attempt"] == 1, "{row}");
    let notification = notifications.next().await?;
    ensure!(notification.name == "notification", "{notification:?}");
    ensure!(notification.data["payload"]["title"] == "thermo-1 is low", "{notification:?}");

    mosquitto_pub(&service, r#"{"battery":14}"#).await?;
    mosquitto_pub(&service, r#"{"battery":90}"#).await?;
    let enter = changes.next().await?;
    ensure!(enter.name == "enter" && enter.data["twin"]["reported"]["battery"] == 15, "{enter:?}");
    let (change, leave) = rest_of(&mut changes).await?;
    ensure!(enter.data["position"].as_u64() == enter.id.parse().ok(), "{enter:?}");

    // Whoever was away sees the same again.
    let mut again = Events::open(&api, &format!("/v1/changes?q={LOW}"), Some(&enter.id)).await?;
    ensure!(rest_of(&mut again).await? == (change, leave));
    let mut again = Events::open(&api, &path_of_live(&live), Some("0")).await?;
    let first = again.next().await?;
    ensure!(first.name == "reset" || first == notification, "{first:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_includes_what_was_just_written() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    for n in 0..20 {
        let path = format!("/v1/devices/d-{n}/state");
        let answer = api.send(Method::POST, &path, &json!({ "n": n, "site": "north" })).await?;
        ensure!(answer.status().is_success(), "{}", answer.status());
        let position =
            answer.headers().get("statecast-position").context("Statecast-Position")?.to_str()?.to_owned();
        let found = api.json(&format!("/v1/search?q=site:north&after={position}&facets=site")).await?;
        ensure!(found["total"] == n + 1, "after {n}: {found}");
        ensure!(
            found["facets"]["site"]["values"][0] == json!({ "value": "north", "count": n + 1 }),
            "{found}"
        );
    }
    let late = api.get("/v1/search?q=&after=9000000000000000").await?;
    ensure!(late.status() == 503, "a position that doesn't come: {}", late.status());
    let sorted = api.json("/v1/search?q=n:%3E%3D15&sort=-n&limit=2").await?;
    ensure!(sorted["total"] == 5 && sorted["items"][1]["device"] == "d-18", "{sorted}");
    let cursor = text(&sorted, "next_cursor");
    let next = api.json(&format!("/v1/search?q=n:%3E%3D15&sort=-n&limit=2&cursor={cursor}")).await?;
    ensure!(next["items"][0]["device"] == "d-17", "{next}");
    Ok(())
}

async fn receiver(api: &Api, form: Value) -> Result<Value> {
    api.call(Method::POST, "/v1/receivers", &form).await
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn path_of_live(receiver: &Value) -> String {
    format!("/v1/deliveries/live?receiver={}", text(receiver, "id"))
}

/// What comes after the device has entered.
async fn rest_of(events: &mut Events) -> Result<(Vec<Value>, Value)> {
    let mut changes = Vec::new();
    loop {
        let event = events.next().await?;
        match event.name.as_str() {
            // Its connection may open and close in between, which is a change too.
            "change" => changes.push(event.data),
            "leave" => {
                ensure!(changes.iter().any(|change| change["patch"]["battery"] == 14), "{changes:?}");
                ensure!(event.data["twin"]["reported"]["battery"] == 90, "{event:?}");
                return Ok((changes, event.data));
            }
            _ => anyhow::bail!("unexpected: {event:?}"),
        }
    }
}

/// Publishes by rumqttc and waits for the PUBACK.
async fn publish(service: &Service, payload: &str) -> Result<()> {
    let mut options = MqttOptions::new("thermo-1-a", "127.0.0.1", service.mqtt_port());
    options.set_credentials("thermo-1", "any");
    let (client, mut events) = AsyncClient::new(options, 10);
    client.publish("devices/thermo-1/state", QoS::AtLeastOnce, false, payload).await?;
    let acknowledged = async {
        loop {
            if let Event::Incoming(Packet::PubAck(_)) = events.poll().await? {
                return Ok::<_, anyhow::Error>(());
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), acknowledged).await.context("no PUBACK")??;
    Ok(())
}

async fn mosquitto_pub(service: &Service, payload: &str) -> Result<()> {
    let port = service.mqtt_port().to_string();
    let to = ["-h", "127.0.0.1", "-p", &port, "-q", "1", "-t", "devices/thermo-1/state", "-m", payload];
    run("mosquitto_pub", &to).await?.ok().map(drop)
}
