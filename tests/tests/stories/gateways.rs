//! The gateways of the simulator are what they stand in for, as far as clients written by others can tell: what those
//! send is taken, what the real service would refuse is refused with its own words.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use statecast_tests::command::run;
use statecast_tests::{Api, Gateways};

use crate::clients::places;

/// Runs a client that is written in Python, or in JavaScript with a package; gives what it said.
async fn client(program: &str, package: &str, args: &[&str]) -> Result<Value> {
    let (installed, programs) = places()?;
    let library = format!("PYTHONPATH={}", installed.join("python").display());
    let package = format!("CLIENTS={}", installed.join(package).display());
    let path = programs.join(program).display().to_string();
    let interpreter = if program.ends_with(".py") { "python3" } else { "node" };
    let ran = run("env", &[&[&library, &package, interpreter, &path], args].concat()).await?;
    let said = ran.ok().with_context(|| format!("{program}: if a client is missing, run `make deps`"))?;
    serde_json::from_str(said.trim()).with_context(|| said.clone())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn fcm_is_what_google_publishes() -> Result<()> {
    let gateways = Gateways::start(&[])?;
    let account = gateways.file("service-account.json").display().to_string();
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../simulators/src/gateways/fcm/schema.json");
    let schema = schema.display().to_string();
    for form in ["fid", "token"] {
        let phone = gateways.register("fcm", &json!({ "form": form })).await?;
        let registration = text(&phone["registration"]);
        let args = [&account, gateways.place("fcm")?, &schema, registration, form];
        let said = client("push_fcm.py", "", &args).await?;
        ensure!(said["same_schema"] == true, "schema.json isn't Google's schema any more");
        ensure!(text(&said["accepted"]["name"]).starts_with("projects/"), "{said}");
        for (what, status, code) in [
            ("nobody", 400, "INVALID_ARGUMENT"),
            ("two", 400, "INVALID_ARGUMENT"),
            ("unknown", 404, "UNREGISTERED"),
            ("nonsense", 400, "INVALID_ARGUMENT"),
            ("reserved", 400, "INVALID_ARGUMENT"),
            ("large", 400, "INVALID_ARGUMENT"),
            ("odd_field", 400, ""),
            ("odd_value", 400, ""),
        ] {
            ensure!(said[what][0] == status && said[what][1] == code, "{what}: {said}");
        }
        let came = gateways.accepted_when("fcm", registration, |came| came.len() == 1).await?;
        ensure!(came[0]["id"] == "push-1" && came[0]["collapse"] == "alarm-7", "{}", came[0]);
        ensure!(came[0]["title"] == "Battery low" && came[0]["payload"][form] == registration, "{}", came[0]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn apns_is_what_node_apn_expects() -> Result<()> {
    let gateways = Gateways::start(&[])?;
    let (phone, gone) =
        (gateways.register("apns", &json!({})).await?, gateways.register("apns", &json!({})).await?);
    let (token, gone) = (text(&phone["token"]), text(&gone["token"]));
    gateways.unregister("apns", gone).await?;
    let (ca, key) = (gateways.file("ca.pem"), gateways.file("apns.p8"));
    let (ca, key) = (ca.display().to_string(), key.display().to_string());
    let settings = std::fs::read_to_string(gateways.file("push.toml"))?;
    let setting = |name: &str| {
        let line = settings.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_prefix("= "));
        line.map(|value| value.trim_matches('"').to_owned()).with_context(|| format!("no {name}"))
    };
    let (key_id, team, topic) = (setting("key_id")?, setting("team_id")?, setting("topic")?);
    let args = [gateways.host("apns")?, &ca, &key, &key_id, &team, &topic, token, gone];
    let said = client("push_apns.mjs", "apn", &args).await?;
    for what in ["accepted", "again", "quiet"] {
        ensure!(said[what] == "sent", "{what}: {said}");
    }
    for (what, status, reason) in [
        ("loud", 400, "BadPriority"),
        ("other_topic", 400, "DeviceTokenNotForTopic"),
        ("no_topic", 400, "MissingTopic"),
        ("long_key", 400, "BadCollapseId"),
        ("large", 413, "PayloadTooLarge"),
        ("nobody", 400, "BadDeviceToken"),
        ("gone", 410, "Unregistered"),
        ("stranger", 403, "InvalidProviderToken"),
    ] {
        ensure!(said[what] == json!([status, reason]), "{what}: {said}");
    }
    let came = gateways.accepted_when("apns", token, |came| came.len() == 3).await?;
    let first = &came[2];
    ensure!(first["id"] == "123e4567-e89b-12d3-a456-4266554400a0" && first["attempts"] == 2, "{first}");
    ensure!(first["collapse"] == "alarm-7" && first["payload"]["alarm"] == 7, "{first}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn web_push_is_what_pywebpush_expects() -> Result<()> {
    let gateways = Gateways::start(&[])?;
    let (open, gone) =
        (gateways.register("web_push", &json!({})).await?, gateways.register("web_push", &json!({})).await?);
    gateways.unregister("web_push", text(&gone["registration"])).await?;
    let said = client("push_web.py", "", &[&open.to_string(), &gone.to_string()]).await?;
    for (what, status) in [
        ("accepted", 201),
        ("gone", 410),
        ("unknown", 404),
        ("other_keys", 400),
        ("other_service", 403),
        ("too_long", 403),
        ("no_contact", 403),
        ("long_topic", 400),
        ("odd_urgency", 400),
        ("large", 413),
    ] {
        ensure!(said[what] == status, "{what}: {said}");
    }
    let came =
        gateways.accepted_when("web_push", text(&open["registration"]), |came| came.len() == 1).await?;
    let expected = json!({ "title": "Battery low", "id": "push-1" });
    ensure!(came[0]["payload"] == expected && came[0]["collapse"] == "alarm-7", "{}", came[0]);
    ensure!(
        came[0]["headers"] == json!({ "ttl": "3600", "urgency": "high", "topic": "alarm-7" }),
        "{}",
        came[0]
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_what_standardwebhooks_expects() -> Result<()> {
    let gateways = Gateways::start(&[])?;
    let secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let hook = gateways.register("webhook", &json!({ "secret": secret })).await?;
    let said = client("push_webhook.py", "", &[text(&hook["url"]), secret]).await?;
    let expected = json!({ "accepted": 204, "other_secret": 401, "old": 401, "changed": 401 });
    ensure!(said == expected, "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_fail_as_they_are_told() -> Result<()> {
    let gateways = Gateways::start(&[])?;
    let phone = gateways.register("ntfy", &json!({ "topic": "alarms" })).await?;
    let ntfy = Api::new(gateways.host("ntfy")?);
    let message = json!({ "topic": "alarms", "title": "Battery low", "message": "14 %" });
    let publish = || ntfy.send(Method::POST, "/", &message);
    let fault = json!({ "registration": "alarms", "status": 429, "retry_after_s": 7, "times": 1 });
    gateways.fail("ntfy", &fault).await?;
    let limited = publish().await?;
    ensure!(limited.status() == 429 && limited.headers()["retry-after"] == "7", "{limited:?}");
    ensure!(limited.json::<Value>().await?["code"] == 42901);
    ensure!(publish().await?.status() == 200);

    gateways.fail("ntfy", &json!({ "reset": true, "times": 1 })).await?;
    ensure!(publish().await.is_err(), "the connection should break off");
    gateways.fail("ntfy", &json!({ "status": 200, "body": "<html>", "times": 1 })).await?;
    ensure!(publish().await?.text().await? == "<html>");
    ensure!(publish().await?.json::<Value>().await?["event"] == "message");

    let came = gateways.received("ntfy", text(&phone["registration"])).await?;
    let answers: Vec<_> = came.iter().rev().map(|one| one["answered"].clone()).collect();
    ensure!(answers == [json!(429), json!(200), json!(0), json!(200), json!(200)], "{came:?}");
    ensure!(came[0]["attempts"] == 5 && came[0]["accepted"] == 3, "{}", came[0]);
    let summary = gateways.summary("ntfy").await?;
    ensure!(summary["distinct"] == 1 && summary["failed_on_purpose"] == 2, "{summary}");
    ensure!(gateways.fail("fcm", &json!({ "error": "Unregistered" })).await.is_err(), "APNs says that");
    Ok(())
}
