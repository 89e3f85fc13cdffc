//! Clients written by others do what the README says: mosquitto, paho-mqtt and mqtt.js, in both versions.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use statecast_tests::Service;
use statecast_tests::command::{Ran, run};

/// Where `make deps` installs clients, and where the programs are that use them.
pub(crate) fn places() -> Result<(PathBuf, PathBuf)> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let installed = here.join("../target/clients");
    Ok((installed.canonicalize().context("no clients are installed: run `make deps`")?, here.join("clients")))
}

/// A device that someone wants to be something, played by a program; then what the program said is compared with
/// what the service knows.
async fn plays_a_device(service: &Service, device: &str, version: &str, ran: Ran) -> Result<()> {
    let said = ran.ok().with_context(|| format!("{device}: if a client is missing, run `make deps`"))?;
    let said: Value = serde_json::from_str(said.trim()).with_context(|| said.clone())?;
    knows(service, device, version, &said).await
}

/// Compares what a device said that it has seen with what the service knows.
pub(crate) async fn knows(service: &Service, device: &str, version: &str, said: &Value) -> Result<()> {
    ensure!(said["connected"] == true && said["desired"] == json!({ "level": 7 }), "{said}");
    let refused = if version == "5" { 0x99 } else { 0 };
    ensure!(said["refused"][0] == refused, "{said}");
    let twin = service.api().json(&format!("/v1/devices/{device}")).await?;
    ensure!(twin["reported"] == json!({ "level": 7, "qos0": true, "qos1": true, "qos2": true }), "{twin}");
    let letters = service.api().json("/v1/dead-letters?limit=1").await?;
    ensure!(letters["items"][0]["device"] == device, "{letters}");
    Ok(())
}

/// Registers a device, and wants it to be something.
pub(crate) async fn wanted(service: &Service, device: &str) -> Result<()> {
    let api = service.api();
    api.register(device).await?;
    api.call(Method::PATCH, &format!("/v1/devices/{device}/desired"), &json!({ "level": 7 })).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn paho() -> Result<()> {
    let (installed, programs) = places()?;
    let service = Service::start()?;
    let (library, program) = (installed.join("python"), programs.join("device_paho.py"));
    let library = format!("PYTHONPATH={}", library.display());
    for version in ["3.1.1", "5"] {
        let device = format!("paho-{version}");
        wanted(&service, &device).await?;
        let port = service.mqtt_port().to_string();
        let program = program.display().to_string();
        let ran = run("env", &[&library, "python3", &program, "127.0.0.1", &port, version, &device]).await?;
        plays_a_device(&service, &device, version, ran).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn mqtt_js() -> Result<()> {
    let (installed, programs) = places()?;
    let service = Service::start()?;
    let installed = format!("CLIENTS={}", installed.display());
    let program = programs.join("device_mqttjs.mjs").display().to_string();
    let transports =
        [("tcp", format!("mqtt://{}", service.mqtt)), ("ws", format!("ws://{}/mqtt", service.http))];
    for (transport, url) in &transports {
        for version in ["3.1.1", "5"] {
            let device = format!("mqttjs-{transport}-{version}");
            wanted(&service, &device).await?;
            let ran = run("env", &[&installed, "node", &program, url, version, &device]).await?;
            plays_a_device(&service, &device, version, ran).await?;
        }
    }
    Ok(())
}

/// `mosquitto_pub` or `mosquitto_sub`.
async fn mosquitto(service: &Service, what: &str, args: &[&str]) -> Result<Ran> {
    let port = service.mqtt_port().to_string();
    let to = ["-h", "127.0.0.1", "-p", &port];
    run(format!("mosquitto_{what}"), &[&to, args].concat()).await.context("is it installed? run `make deps`")
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_reports_and_learns() -> Result<()> {
    let service = Service::start()?;
    for version in ["mqttv311", "mqttv5"] {
        wanted(&service, version).await?;
        let (state, desired) = (format!("devices/{version}/state"), format!("devices/{version}/desired"));
        let told =
            mosquitto(&service, "sub", &["-V", version, "-t", &desired, "-q", "1", "-C", "1", "-W", "30"])
                .await?;
        let told: Value = serde_json::from_str(&told.ok()?)?;
        ensure!(told["desired"] == json!({ "level": 7 }), "{told}");
        for qos in ["0", "1", "2"] {
            let payload = format!(r#"{{"level":7,"qos{qos}":true}}"#);
            let ran =
                mosquitto(&service, "pub", &["-V", version, "-q", qos, "-t", &state, "-m", &payload]).await?;
            ran.ok().with_context(|| format!("{version}, quality {qos}"))?;
        }
        // At quality 0 nobody says when it is there.
        let reported = json!({ "level": 7, "qos0": true, "qos1": true, "qos2": true });
        service.api().twin_when(version, |twin| twin["reported"] == reported).await?;
        let told =
            mosquitto(&service, "sub", &["-V", version, "-t", &desired, "-C", "1", "-W", "30"]).await?;
        let told: Value = serde_json::from_str(&told.ok()?)?;
        ensure!(told["desired"] == json!({}), "it is as it should be: {told}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_follows_what_others_publish() -> Result<()> {
    let service = Service::start()?;
    for version in ["mqttv311", "mqttv5"] {
        for qos in ["0", "1", "2"] {
            // On a topic of their own, kept for who comes later.
            let topic = format!("chat/{version}/{qos}/room");
            let keep = ["-V", version, "-q", qos, "-t", &topic, "-m", "hello", "-r"];
            mosquitto(&service, "pub", &keep).await?.ok()?;
            let filter = format!("chat/{version}/{qos}/#");
            let follow = ["-V", version, "-q", qos, "-t", &filter, "-v", "-C", "1", "-W", "30"];
            let heard = mosquitto(&service, "sub", &follow).await?.ok()?;
            ensure!(heard.trim() == format!("{topic} hello"), "{heard}");

            // On those of the service: what is published while it follows.
            let (state, changes) =
                (format!("devices/d-{version}-{qos}/state"), format!("changes/d-{version}-{qos}"));
            let follow =
                ["-V", version, "-q", qos, "-t", &changes, "-t", &state, "-v", "-C", "4", "-W", "30"];
            let mut following = Box::pin(mosquitto(&service, "sub", &follow));
            let report = ["-V", version, "-q", qos, "-t", &state, "-m", r#"{"level":1}"#];
            let heard = loop {
                // It doesn't say when it has subscribed, so reports are sent until it has heard enough.
                match tokio::time::timeout(Duration::from_millis(50), &mut following).await {
                    Ok(ran) => break ran?.ok()?,
                    Err(_) => drop(mosquitto(&service, "pub", &report).await?.ok()?),
                }
            };
            ensure!(heard.lines().count() == 4, "{heard}");
            ensure!(heard.lines().any(|line| line == format!(r#"{state} {{"level":1}}"#)), "{heard}");
            let change = heard
                .lines()
                .find_map(|line| line.strip_prefix(&format!("{changes} ")))
                .context("a change")?;
            let change: Value = serde_json::from_str(change)?;
            ensure!(change["patch"] == json!({ "level": 1 }) && change["kind"] == "state", "{change}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_is_told_what_it_may_not() -> Result<()> {
    let service = Service::start_with(&[])?;
    let api = service.api().with_key(&service.key("default").await?);
    let token = api.register("m").await?;
    let publish = ["-u", "m", "-q", "1", "-m", "{}", "-t"];
    let with = |topic, password| [&publish[..], &[topic, "-P", password]].concat();
    for version in ["mqttv311", "mqttv5"] {
        let version = ["-V", version];
        let own =
            mosquitto(&service, "pub", &[&version[..], &with("devices/m/state", &token)].concat()).await?;
        own.ok().context("its own state")?;
        let wrong =
            mosquitto(&service, "pub", &[&version[..], &with("devices/m/state", "wrong")].concat()).await?;
        ensure!(
            wrong.code != Some(0) && wrong.err.to_lowercase().contains("user name or password"),
            "{wrong:?}"
        );
        let other =
            mosquitto(&service, "pub", &[&version[..], &with("devices/n/state", &token)].concat()).await?;
        let refused = other.err.to_lowercase().contains("not authorized");
        ensure!(refused == (version[1] == "mqttv5"), "{other:?}");
    }
    Ok(())
}
