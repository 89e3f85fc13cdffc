//! Bad input gets the answer of the contract; the service lives on, and others don't notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use statecast_tests::wire::packet;
use statecast_tests::{Api, Service, VERSIONS, Version, Wire, wait};

/// What is wrong, the payload, the code in version 5, and words of the reason.
fn payloads() -> Vec<(&'static str, Vec<u8>, u8, &'static str)> {
    let deep = format!("{}1{}", r#"{"a":"#.repeat(9), "}".repeat(9));
    let very_deep = format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
    let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(65 * 1024));
    vec![
        ("not JSON", b"21.5 degrees".to_vec(), 0x99, "isn't JSON"),
        ("not UTF-8", vec![b'{', b'"', 0xFF, b'"', b':', b'1', b'}'], 0x99, "isn't JSON"),
        ("not an object", b"[1,2]".to_vec(), 0x99, "an array"),
        ("empty", Vec::new(), 0x99, "empty"),
        ("too deep", deep.into_bytes(), 0x97, "deeper than the 8 levels"),
        ("absurdly deep", very_deep.into_bytes(), 0x97, "deeper than the 8 levels"),
        ("too large", large.into_bytes(), 0x97, "65536 are allowed"),
        ("a zero character", br#"{"a":"x\u0000y"}"#.to_vec(), 0x99, "u0000"),
        ("half a surrogate", br#"{"a":"\ud800"}"#.to_vec(), 0x99, "isn't JSON"),
        ("a number too large", br#"{"a":1e999}"#.to_vec(), 0x99, "isn't JSON"),
        ("no time", br#"{"_at":"noon","a":1}"#.to_vec(), 0x99, "_at should be a time"),
        ("no id", br#"{"_id":{},"a":1}"#.to_vec(), 0x99, "_id should be"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_applied_is_acknowledged_and_kept() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    let neighbour = Neighbour::start(&service).await?;
    for version in VERSIONS {
        let device = format!("bad-{version:?}");
        let mut wire = Wire::connect(&service.mqtt, version, &device, &device, "any").await?;
        let topic = format!("devices/{device}/state");
        for (what, payload, code, words) in payloads() {
            for qos in [1, 2] {
                let answer = wire.publish(&topic, &payload, qos).await.context(what)?;
                if version == Version::V5 {
                    ensure!(answer.code == code && answer.reason.contains(words), "{what}: {answer:?}");
                }
            }
            let letter = newest_letter(&api).await?;
            let reason = letter["reason"].as_str().unwrap_or_default();
            ensure!(reason.contains(words) && letter["topic"] == topic.as_str(), "{what}: {letter}");
            ensure!(letter["device"] == device.as_str(), "{what}: {letter}");
            match std::str::from_utf8(&payload) {
                Ok(text) => ensure!(letter["payload"] == text, "{what}"),
                Err(_) => ensure!(letter["payload_base64"].is_string(), "{what}: {letter}"),
            }
        }
        for topic in
            ["devices", "devices/", "devices//state", "devices/a b/state", "devices/a/b/c", "devices/a/foo"]
        {
            let answer = wire.publish(topic, b"{}", 1).await.context(topic)?;
            ensure!(version == Version::V3 || answer.code >= 0x80, "{topic}: {answer:?}");
            let letter = newest_letter(&api).await?;
            ensure!(letter["topic"] == topic && letter["device"].is_null(), "{topic}: {letter}");
        }
        let answer = wire.publish(&topic, br#"{"fine":true}"#, 1).await?;
        ensure!(answer.code == 0, "{answer:?}");
        let twin = api.json(&format!("/v1/devices/{device}")).await?;
        ensure!(twin["reported"] == json!({ "fine": true }), "{twin}");
    }
    neighbour.unharmed().await?;
    service.at_rest().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_twin_grows_no_larger_than_it_may() -> Result<()> {
    let service = Service::start()?;
    let mut wire = Wire::connect(&service.mqtt, Version::V5, "grows", "grows", "any").await?;
    for n in 0..7 {
        let payload = format!(r#"{{"p{n}":"{}"}}"#, "x".repeat(10_000));
        let answer = wire.publish("devices/grows/state", payload.as_bytes(), 1).await?;
        ensure!((answer.code == 0) == (n < 6), "{n}: {answer:?}");
    }
    let answer = wire.publish("devices/grows/state", br#"{"p0":null,"p6":"now there is room"}"#, 1).await?;
    ensure!(answer.code == 0, "{answer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_breaks_the_protocol_is_alone_with_it() -> Result<()> {
    let service = Service::start()?;
    let neighbour = Neighbour::start(&service).await?;
    for version in VERSIONS {
        let open = || Wire::connect(&service.mqtt, version, "", "rude", "any");
        let code = |v5: u8| (version == Version::V5).then_some(v5);

        let mut wire = open().await?;
        let (large, _) = wire.publication("devices/rude/state", &vec![b'x'; 300 * 1024], 1);
        // The connection may be closed before all of it is written.
        drop(wire.send(&large).await);
        ensure!(wire.closed().await.context("too large")? == code(0x95), "too large, {version:?}");

        let mut wire = open().await?;
        let (wild, _) = wire.publication("devices/+/state", b"{}", 1);
        wire.send(&wild).await?;
        ensure!(wire.closed().await.context("wildcard")? == code(0x90), "a wildcard, {version:?}");

        let mut wire = open().await?;
        wire.send(&packet(0x30, &[0, 2, 0xC3, 0x28, 0])).await?;
        ensure!(wire.closed().await.context("UTF-8")?.is_some() == (version == Version::V5), "{version:?}");

        let mut wire = open().await?;
        wire.send(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]).await?;
        wire.closed().await.context("length")?;

        // Half a packet, and then nothing: it has 10 s to go on.
        let mut wire = open().await?;
        let (whole, _) = wire.publication("devices/rude/state", &[b'x'; 2_000], 1);
        wire.send(&whole[..1_000]).await?;
        wire.closed().await.context("half a packet")?;
    }
    for rubbish in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 64], &[0xFF; 64], &[0x10, 0xFF, 0xFF, 0xFF, 0x7F]] {
        let mut wire = Wire::open(&service.mqtt, Version::V3).await?;
        wire.send(rubbish).await?;
        wire.closed().await.with_context(|| format!("{rubbish:?}"))?;
    }
    let dead = service.api().json("/v1/devices/rude").await;
    ensure!(dead.is_err(), "nothing of it was applied: {dead:?}");
    neighbour.unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_reads_harms_nobody() -> Result<()> {
    let service = Service::start()?;
    let mut deaf = Wire::connect(&service.mqtt, Version::V3, "deaf", "deaf", "any").await?;
    ensure!(deaf.subscribe("changes/#", 1).await? == 1);
    let neighbour = Neighbour::start(&service).await?;
    let mut talker = Wire::connect(&service.mqtt, Version::V3, "talker", "talker", "any").await?;
    for n in 0..500 {
        let payload = format!(r#"{{"n":{n},"text":"{}"}}"#, "x".repeat(5_000));
        let answer = talker.publish("devices/talker/state", payload.as_bytes(), 1).await?;
        ensure!(answer.code == 0, "{answer:?}");
    }
    let twin = service.api().json("/v1/devices/talker").await?;
    ensure!(twin["reported"]["n"] == 499, "{twin}");
    // What waited for it has a bound, and it had its chance.
    deaf.closed().await?;
    neighbour.unharmed().await
}

async fn newest_letter(api: &Api) -> Result<Value> {
    Ok(api.json("/v1/dead-letters?limit=1").await?["items"][0].clone())
}

/// Somebody who goes on publishing on one connection, and expects to be acknowledged.
struct Neighbour {
    stop: Arc<AtomicBool>,
    publishing: tokio::task::JoinHandle<Result<u64>>,
    api: Api,
}

impl Neighbour {
    async fn start(service: &Service) -> Result<Self> {
        let mut wire = Wire::connect(&service.mqtt, Version::V5, "good", "good", "any").await?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let publishing = tokio::spawn(async move {
            let mut n = 0;
            while !told.load(Ordering::Relaxed) {
                n += 1;
                let answer =
                    wire.publish("devices/good/state", format!(r#"{{"n":{n}}}"#).as_bytes(), 1).await?;
                ensure!(answer.code == 0, "{answer:?}");
            }
            Ok(n)
        });
        let api = service.api();
        let begun = wait::until("the neighbour's first message", || async {
            api.json("/v1/devices/good").await.ok()
        });
        begun.await?;
        Ok(Self { stop, publishing, api })
    }

    /// It was acknowledged all the time, and all of it is there.
    async fn unharmed(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let n = self.publishing.await??;
        let history = self.api.history("good").await?;
        let there = history.iter().filter(|entry| entry["kind"] == "state").count();
        ensure!(there as u64 == n, "{n} were acknowledged, {there} are there");
        Ok(())
    }
}
