//! From the device to the phone and back, by every channel: a device reports, its people are told within a second, one
//! of them answers from the message itself, the other phone is brought up to date, the device obeys, and who asked is
//! told so. And what providers do wrong: nothing is lost by it, and nobody else waits.

use std::fs;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use statecast_tests::phone::CHANNELS;
use statecast_tests::{Api, Gateways, Note, Phone, Service, Version, Wire, wait};

/// How long a message may take from the device to the gateway.
const TOLD_MAX: TimeDelta = TimeDelta::seconds(1);
/// Devices that are reported of, so that one of them meets a moment when nothing else keeps the machine busy.
const TRIALS: usize = 3;

/// Gateways, and a service that uses them.
struct World {
    gateways: Gateways,
    service: Service,
}

impl World {
    /// `settings` are lines of the table `[push]`.
    fn start(settings: &str, gateways: &[&str]) -> Result<Self> {
        let gateways = Gateways::start(gateways)?;
        let path = gateways.file("push.toml");
        let text = fs::read_to_string(&path)?.replace("[push]\n", &format!("[push]\n{settings}\n"));
        fs::write(&path, text)?;
        let service = Service::start_with(&["--dev", "--config", &path.display().to_string()])?;
        Ok(Self { gateways, service })
    }

    /// A person with phones, and a rule that tells them of what this channel is to be tried with.
    async fn person(&self, channel: &'static str, phones: &[&str]) -> Result<Vec<Phone>> {
        let (api, person) = (self.service.api(), channel.replace('_', "-"));
        api.call(Method::PUT, &format!("/v1/people/{person}"), &json!({ "name": channel })).await?;
        let mut made = Vec::new();
        for name in phones {
            made.push(Phone::new(&self.gateways, &api, channel, name, Some(&person)).await?);
        }
        let rule = json!({
            "name": channel, "query": format!("channel:{channel} battery:<20"), "severity": "critical",
            "title": "{device}", "body": "{battery} % are left", "people": [person],
            "link": format!("http://{}/#/devices/{{device}}", self.service.http),
        });
        api.call(Method::POST, "/v1/rules", &rule).await?;
        Ok(made)
    }

    async fn device(&self, device: &str) -> Result<Wire> {
        Wire::connect(&self.service.mqtt, Version::V5, device, device, "").await
    }
}

/// Publishes the state of a device.
async fn report(wire: &mut Wire, device: &str, state: &Value) -> Result<()> {
    let answer = wire.publish(&format!("devices/{device}/state"), state.to_string().as_bytes(), 1).await?;
    ensure!(answer.code == 0, "{answer:?}");
    Ok(())
}

/// Calls the service with nothing but what came with a message.
async fn answer(
    api: &Api,
    method: Method,
    path: &str,
    note: &Note,
    body: &Value,
) -> Result<reqwest::Response> {
    let call = api.request(method, path).bearer_auth(&note.token).json(body);
    let answered = call.send().await?;
    ensure!(answered.status().is_success(), "{path}: {}", answered.text().await?);
    Ok(answered)
}

/// The whole way and back. Gives how long the message took to the gateway, at best.
async fn there_and_back(world: &World, channel: &'static str) -> Result<TimeDelta> {
    let api = world.service.api();
    let phones = world.person(channel, &["hers", "her other fid"]).await?;
    let mut took = TimeDelta::MAX;
    let mut last = None;
    for trial in 0..TRIALS {
        let device = format!("{}-{trial}", channel.replace('_', "-"));
        let mut wire = world.device(&device).await?;
        let sent: DateTime<Utc> = SystemTime::now().into();
        report(&mut wire, &device, &json!({ "channel": channel, "battery": 14 })).await?;
        let is_it = |notes: &[Note]| notes.last().is_some_and(|note| note.title == device);
        let told = phones[0].told_when(&world.gateways, is_it).await?.pop().context("a note")?;
        phones[1].told_when(&world.gateways, is_it).await?;
        took = took.min(told.at - sent);
        last = Some((device, wire, told));
    }
    let (device, mut wire, told) = last.context("a trial")?;
    ensure!(!told.token.is_empty() && told.version > 0, "{told:?}");

    let ack = json!({ "version": told.version, "note": "on my way" });
    answer(&api, Method::POST, &format!("/v1/alarms/{}/ack", told.alarm), &told, &ack).await?;
    let alarm = api.json(&format!("/v1/alarms/{}", told.alarm)).await?;
    ensure!(alarm["acknowledged_by"] == channel.replace('_', "-"), "{alarm}");
    let same = |note: &Note| note.title == device && note.collapse == told.collapse;
    let other =
        phones[1].told_when(&world.gateways, |notes| notes.iter().filter(|note| same(note)).count() == 2);
    let update = other.await.context("the other phone is brought up to date")?.pop().context("a note")?;
    ensure!(update.kind.is_empty() || update.kind == "alarm.acknowledged", "{update:?}");

    wire.subscribe(&format!("devices/{device}/desired"), 1).await?;
    wire.message().await.context("what it should be so far")?;
    let path = format!("/v1/devices/{device}/desired");
    let asked = answer(&api, Method::PATCH, &path, &told, &json!({ "saving": true })).await?;
    let request = asked.headers().get("Statecast-Request").context("a request")?.to_str()?.to_owned();
    let wanted: Value = serde_json::from_slice(&wire.message().await?.payload)?;
    ensure!(wanted["desired"] == json!({ "saving": true }), "{wanted}");
    report(&mut wire, &device, &json!({ "saving": true })).await?;
    let outcome = api.json(&format!("/v1/requests/{request}?wait=30s")).await?;
    ensure!(outcome["state"] == "applied", "{outcome}");
    Ok(took)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_channel_reaches_people_and_brings_their_answer_back() -> Result<()> {
    let world = World::start("", &[])?;
    for channel in CHANNELS {
        let took = there_and_back(&world, channel).await.with_context(|| channel.to_owned())?;
        eprintln!("{channel}: {} ms from the device to the gateway", took.num_milliseconds());
        ensure!(took <= TOLD_MAX, "{channel}: {took}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_without_the_app_is_told_nothing_more_and_it_is_said_why() -> Result<()> {
    let world = World::start("", &[])?;
    let api = world.service.api();
    for (channel, reason) in [("fcm", "UNREGISTERED"), ("apns", "Unregistered"), ("web_push", "410")] {
        let phones = world.person(channel, &["gone", "kept"]).await?;
        world.gateways.unregister(channel, &phones[0].registration).await?;
        let device = channel.replace('_', "-");
        let mut wire = world.device(&device).await?;
        report(&mut wire, &device, &json!({ "channel": channel, "battery": 14 })).await?;
        phones[1].told_when(&world.gateways, |notes| notes.len() == 1).await?;
        let path = format!("/v1/receivers/{}", phones[0].receiver);
        let receiver = wait::until("the receiver to be disabled", || async {
            api.json(&path).await.ok().filter(|receiver| receiver["enabled"] == false)
        })
        .await?;
        let why = receiver["disabled_reason"].as_str().unwrap_or_default();
        ensure!(why.contains(reason), "{channel}: {receiver}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_providers_do_wrong_loses_nothing() -> Result<()> {
    let settings = "retry_base_ms = 100\nretry_max_ms = 500\nrest_max_ms = 500\npause_max_ms = 500";
    let world = World::start(settings, &[])?;
    for (channel, faults) in [
        (
            "fcm",
            vec![
                json!({ "status": 503 }),
                json!({ "error": "QUOTA_EXCEEDED", "retry_after_s": 1 }),
                json!({ "error": "UNAUTHENTICATED" }),
                json!({ "status": 200, "body": "<html>it works</html>" }),
                json!({ "reset": true }),
            ],
        ),
        (
            "apns",
            vec![
                json!({ "error": "Shutdown" }),
                json!({ "error": "TooManyRequests", "retry_after_s": 1 }),
                json!({ "error": "ExpiredProviderToken" }),
                json!({ "status": 500, "body": "<html>" }),
                json!({ "reset": true }),
            ],
        ),
        (
            "web_push",
            vec![
                json!({ "status": 503 }),
                json!({ "status": 429, "retry_after_s": 1 }),
                json!({ "reset": true }),
            ],
        ),
        ("ntfy", vec![json!({ "error": "42901" }), json!({ "status": 500 }), json!({ "reset": true })]),
    ] {
        let phones = world.person(channel, &["hers"]).await?;
        for (number, fault) in faults.into_iter().enumerate() {
            let mut few = fault.clone();
            few["times"] = json!(2);
            world.gateways.fail(channel, &few).await?;
            let device = format!("{}-{number}", channel.replace('_', "-"));
            let mut wire = world.device(&device).await?;
            report(&mut wire, &device, &json!({ "channel": channel, "battery": 14 })).await?;
            let is_it = |notes: &[Note]| notes.last().is_some_and(|note| note.title == device);
            let told = phones[0].told_when(&world.gateways, is_it).await;
            let told = told.with_context(|| format!("{channel} {fault}"))?.pop().context("a note")?;
            ensure!(told.accepted == 1 || fault["body"].is_string(), "{channel} {fault}: {told:?}");
        }
    }
    Ok(())
}
