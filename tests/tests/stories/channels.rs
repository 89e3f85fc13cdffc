//! Each channel from the device to the gateway that stands in for its provider, and what the service says of channels.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use statecast_tests::command::run;
use statecast_tests::service::program;
use statecast_tests::{Api, Gateways, Service, Version, Wire, wait};

use crate::agreement::report;

/// A service whose channels go to gateways, and doesn't wait long for anything.
fn service(gateways: &Gateways) -> Result<Service> {
    let (settings, ca) = (gateways.file("push.toml"), gateways.file("ca.pem"));
    let (settings, ca) = (settings.display().to_string(), ca.display().to_string());
    let env = [
        ("STATECAST__PUSH__CA", ca.as_str()),
        ("STATECAST__PUSH__RETRY_BASE_MS", "50"),
        ("STATECAST__PUSH__PAUSE_MAX_MS", "200"),
        ("STATECAST__PUSH__REST_MAX_MS", "200"),
    ];
    Service::start_with_env(&["--dev", "--config", &settings], &env)
}

/// Registers a phone with its gateway and then with the service. Answers what the gateway and the service call it.
async fn phone(
    gateways: &Gateways,
    api: &Api,
    channel: &str,
    kind: &str,
    wish: Value,
) -> Result<[String; 2]> {
    let mut phone = gateways.register(channel, &wish).await?;
    let form = phone.as_object_mut().context("a phone")?;
    let registration = form["registration"].as_str().context("a registration")?.to_owned();
    if kind != "fcm" {
        form.remove("registration");
    }
    form.insert("kind".into(), kind.into());
    form.insert("name".into(), channel.into());
    let made = api.call(Method::POST, "/v1/receivers", &phone).await?;
    let shown = made.to_string();
    ensure!(kind == "ntfy" || !shown.contains(&registration), "what lets one write is never shown: {shown}");
    Ok([registration, made["id"].as_str().context("an id")?.to_owned()])
}

async fn rule(api: &Api) -> Result<()> {
    let rule = json!({
        "name": "hot", "query": "hot:true", "title": "{device} is hot", "body": "{temperature} °C",
        "severity": "critical", "link": "https://state.example/devices/{device}",
    });
    api.call(Method::POST, "/v1/rules", &rule).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_gateway_takes_what_it_gets() -> Result<()> {
    let gateways = Gateways::start(&[])?;
    let service = service(&gateways)?;
    let api = service.api();
    let key = api.json("/v1/push/web-key").await?["key"].clone();
    let [fid, _] = phone(&gateways, &api, "fcm", "fcm", json!({ "form": "fid" })).await?;
    let [token, _] = phone(&gateways, &api, "fcm", "fcm", json!({ "form": "token" })).await?;
    let [apns, _] = phone(&gateways, &api, "apns", "apns", json!({})).await?;
    let [sandbox, _] = phone(&gateways, &api, "apns_sandbox", "apns", json!({})).await?;
    let [browser, _] = phone(&gateways, &api, "web_push", "web_push", json!({ "sender": key })).await?;
    let [topic, _] = phone(&gateways, &api, "ntfy", "ntfy", json!({ "protected": true })).await?;
    let receiver = json!({ "name": "mqtt", "kind": "mqtt", "topic": "alarms/{device}" });
    api.call(Method::POST, "/v1/receivers", &receiver).await?;
    let mut app = Wire::connect(&service.mqtt, Version::V5, "app", "app", "").await?;
    app.subscribe("alarms/#", 1).await?;
    rule(&api).await?;
    // Larger than any phone takes: the reported state is left out, the rest is whole.
    let state = json!({ "hot": true, "temperature": 90, "log": "x".repeat(6_000) });
    report(&api, "boiler", &state).await?;

    for (channel, registration) in [
        ("fcm", &fid),
        ("fcm", &token),
        ("apns", &apns),
        ("apns_sandbox", &sandbox),
        ("web_push", &browser),
        ("ntfy", &topic),
    ] {
        let came = gateways.accepted_when(channel, registration, |came| !came.is_empty()).await?;
        ensure!(came[0]["title"] == "boiler is hot", "{channel}: {}", came[0]);
    }
    let message = app.message().await?;
    let told: Value = serde_json::from_slice(&message.payload)?;
    ensure!(message.topic == "alarms/boiler" && told["title"] == "boiler is hot", "{told}");
    ensure!(told["reported"]["temperature"] == 90, "MQTT has room for it: {told}");

    let delivered = |list: &Value| {
        let items = list["items"].as_array().map_or(&[][..], Vec::as_slice);
        items.len() == 7 && items.iter().all(|item| item["state"] == "delivered")
    };
    wait::until("all delivered", || async { api.json("/v1/deliveries").await.ok().filter(delivered) })
        .await?;
    let channels = api.json("/v1/push/channels").await?;
    let all = channels["items"].as_array().context("channels")?;
    ensure!(all.len() == 4 && all.iter().all(|one| one["state"] == "ok"), "{channels}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_providers_refuse_has_its_own_end() -> Result<()> {
    let gateways = Gateways::start(&[])?;
    let service = service(&gateways)?;
    let api = service.api();
    let [gone, gone_id] = phone(&gateways, &api, "fcm", "fcm", json!({ "form": "token" })).await?;
    let [kept, kept_id] = phone(&gateways, &api, "fcm", "fcm", json!({ "form": "token" })).await?;
    let refuse = json!({ "registration": gone, "error": "UNREGISTERED", "times": 1 });
    gateways.fail("fcm", &refuse).await?;
    rule(&api).await?;
    report(&api, "boiler", &json!({ "hot": true })).await?;
    let receiver = |id: &str| {
        let path = format!("/v1/receivers/{id}");
        let api = api.clone();
        async move { api.json(&path).await }
    };
    let pruned = |shown: &Value| shown["enabled"] == false;
    let shown = wait::until("pruned", || async { receiver(&gone_id).await.ok().filter(pruned) }).await?;
    ensure!(shown["disabled_reason"].as_str().is_some_and(|why| why.contains("UNREGISTERED")), "{shown}");
    gateways.accepted_when("fcm", &kept, |came| came.len() == 1).await?;

    // Our credentials are refused: nobody is pruned, no attempt counts, and it goes on by itself.
    gateways.fail("fcm", &json!({ "status": 403 })).await?;
    report(&api, "oven", &json!({ "hot": true })).await?;
    let fcm = || async {
        let channels = api.json("/v1/push/channels").await.ok()?;
        channels["items"].as_array()?.iter().find(|one| one["channel"] == "fcm").cloned()
    };
    let resting = |one: &Value| one["state"] == "resting";
    let rests = wait::until("a pause", || async { fcm().await.filter(resting) }).await?;
    ensure!(
        rests["rest"] == "refused" && rests["reason"].as_str().is_some_and(|why| why.contains("403")),
        "{rests}"
    );
    gateways.fail("fcm", &json!({})).await?;
    gateways.accepted_when("fcm", &kept, |came| came.len() == 2).await?;
    let ok = |one: &Value| one["state"] == "ok";
    wait::until("it goes on", || async { fcm().await.filter(ok) }).await?;
    ensure!(receiver(&kept_id).await?["enabled"] == true);
    let delivered = |list: &Value| list["items"][0]["state"] == "delivered";
    let oven = || async { api.json("/v1/deliveries?device=oven").await.ok().filter(delivered) };
    let list = wait::until("what is delivered to be written", oven).await?;
    ensure!(list["items"][0]["attempt"] == 1, "{list}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_work_are_found_before() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("statecast.toml");
    let path = file.display().to_string();
    let check = async |text: &str| {
        std::fs::write(&file, text)?;
        run(program("statecast")?, &["config", "check", "--config", &path]).await
    };
    let missing = check("[push.fcm]\nservice_account = \"no-such.json\"\n").await?;
    ensure!(missing.code == Some(1) && missing.err.contains("no-such.json"), "{missing:?}");
    let unknown = check("[push.fcm]\nservice_acount = \"x\"\n").await?;
    ensure!(
        unknown.err.contains("line 2") && unknown.err.contains("did you mean `service_account`"),
        "{unknown:?}"
    );
    let nonsense = check("[push.web_push]\nsubject = \"me\"\nkey = \"no-key.pem\"\n").await?;
    ensure!(nonsense.code == Some(1) && nonsense.err.contains("no-key.pem"), "{nonsense:?}");
    let made_later = check("[push.web_push]\nsubject = \"mailto:me@example.org\"\n").await?;
    ensure!(made_later.code == Some(0), "{made_later:?}");
    Ok(())
}
