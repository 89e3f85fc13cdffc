//! From the device to the phone and back, by every channel: a device reports, its people are told within a second, one
//! of them answers from the message itself, the other phone is brought up to date, the device obeys, and the request says
//! so. And what providers do wrong: nothing is lost by it, and nobody else waits.

use std::fs;
use std::time::{Duration, Instant, SystemTime};

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

/// Devices that are reported of while a provider is down.
const WAITING: usize = 200;
/// How long an acknowledgement may take meanwhile, on a busy machine.
const PUBACK_MAX: Duration = Duration::from_secs(2);

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

    /// Phones of a person, or of nobody, and a rule that tells them of what this channel is to be tried with.
    async fn phones(
        &self,
        channel: &'static str,
        names: &[&str],
        person: Option<&str>,
    ) -> Result<Vec<Phone>> {
        let api = self.service.api();
        let mut made = Vec::new();
        for name in names {
            made.push(Phone::new(&self.gateways, &api, channel, name, person).await?);
        }
        let receivers: Vec<&str> = made.iter().map(|phone| phone.receiver.as_str()).collect();
        let mut rule = json!({
            "name": channel, "query": format!("channel:{channel} battery:<20"), "severity": "critical",
            "title": "{device}", "body": "{battery} % are left",
            "link": format!("http://{}/#/devices/{{device}}", self.service.http),
        });
        match person {
            Some(person) => rule["people"] = json!([person]),
            None => rule["receivers"] = json!(receivers),
        }
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
    let person = channel.replace('_', "-");
    api.call(Method::PUT, &format!("/v1/people/{person}"), &json!({ "name": channel })).await?;
    let phones = world.phones(channel, &["hers", "her other fid"], Some(&person)).await?;
    let mut took = TimeDelta::MAX;
    let mut last = None;
    for trial in 0..TRIALS {
        let device = format!("{person}-{trial}");
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
    ensure!(alarm["acknowledged_by"] == person, "{alarm}");
    // What only the app sees, as an update with Firebase is, has no other key than the alarm.
    let replaces = |note: &Note| note.collapse.is_none() || note.collapse == told.collapse;
    let same = |note: &Note| note.alarm == told.alarm && replaces(note);
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
    let path = format!("/v1/requests/{request}?wait=30s");
    let outcome: Value = answer(&api, Method::GET, &path, &told, &Value::Null).await?.json().await?;
    ensure!(outcome["state"] == "applied", "{outcome}");
    let done = format!("{device}: done");
    for phone in &phones {
        let is_done = |notes: &[Note]| notes.iter().any(|note| note.title == done);
        phone.told_when(&world.gateways, is_done).await.context("who asked is told the outcome")?;
    }
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
        let phones = world.phones(channel, &["gone", "kept"], None).await?;
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
    // A token of Firebase's is good for one or two of them.
    let world = World::start(settings, &["--token-lifetime", "2s"])?;
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
        (
            "ntfy",
            vec![
                json!({ "error": "42901", "retry_after_s": 1 }),
                json!({ "status": 500 }),
                json!({ "reset": true }),
            ],
        ),
    ] {
        let phones = world.phones(channel, &["hers"], None).await?;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_keeps_nobody_waiting() -> Result<()> {
    let settings = "retry_base_ms = 200\nretry_max_ms = 1000\nrest_max_ms = 1000";
    let world = World::start(settings, &[])?;
    let (api, gateways) = (world.service.api(), &world.gateways);
    let down = Phone::new(gateways, &api, "fcm", "down", None).await?;
    let up = Phone::new(gateways, &api, "webhook", "up", None).await?;
    let rule = json!({ "name": "low", "query": "battery:<20", "severity": "critical", "title": "{device}" });
    api.call(Method::POST, "/v1/rules", &rule).await?;
    gateways.fail("fcm", &json!({ "status": 503 })).await?;
    let mut wire = world.device("first").await?;
    let mut slowest = Duration::ZERO;
    for number in 0..WAITING {
        let begun = Instant::now();
        report(&mut wire, &format!("d{number}"), &json!({ "battery": 14 })).await?;
        slowest = slowest.max(begun.elapsed());
    }
    up.told_when(gateways, |notes| notes.len() == WAITING).await.context("who isn't down is told")?;
    let tried = gateways.summary("fcm").await?;
    ensure!(tried["accepted"] == 0 && tried["total"].as_u64() > Some(0), "{tried}");
    eprintln!("{slowest:?} for the slowest PUBACK, {} attempts while it was down", tried["total"]);
    ensure!(slowest < PUBACK_MAX, "devices wait for a provider: {slowest:?}");

    gateways.fail("fcm", &json!({})).await?;
    let told =
        down.told_when(gateways, |notes| notes.len() == WAITING).await.context("once it is up again")?;
    ensure!(told.iter().all(|note| note.accepted == 1), "somebody was told twice");
    let dead = api.json("/v1/deliveries?state=dead").await?;
    ensure!(dead["items"] == json!([]), "{dead}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_of_ours_is_said_and_costs_nobody_a_phone() -> Result<()> {
    let world = World::start("", &[])?;
    let api = world.service.api();
    let phones = world.phones("apns", &["hers"], None).await?;
    world.gateways.fail("apns", &json!({ "error": "DeviceTokenNotForTopic", "times": 1 })).await?;
    for device in ["lost", "told"] {
        let mut wire = world.device(device).await?;
        report(&mut wire, device, &json!({ "channel": "apns", "battery": 14 })).await?;
        if device == "lost" {
            wait::until("a delivery that is given up", || async {
                let dead = api.json("/v1/deliveries?state=dead").await.ok()?;
                dead.to_string().contains("DeviceTokenNotForTopic").then_some(())
            })
            .await?;
        }
    }
    phones[0].told_when(&world.gateways, |notes| notes.iter().any(|note| note.title == "told")).await?;
    Ok(())
}
