//! What a connection costs: memory while it is idle, with a subscription, as a device; and how fast they come.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use statecast_tests::{Service, wait};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::results::Results;
use crate::{load, machine, packets, stage};

/// Connections that are being opened at the same time.
const OPENING: usize = 64;
/// SUBACK of packet 1 with QoS 1 granted.
const SUBACK: [u8; 5] = [0x90, 3, 0, 1, 1];

/// Measures on services of its own: memory that a load once used would hide what connections take.
///
/// # Errors
/// When anything fails.
pub(crate) async fn measure(results: &mut Results) -> Result<()> {
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let count = stage::DEVICES as f64;
    #[expect(clippy::cast_precision_loss, reason = "bytes of memory")]
    let each = |before: u64, after: u64| after.saturating_sub(before) as f64 / count;

    let service = Service::start()?;
    machine::wait_for_quiet()?;
    let resident = || machine::resting(|| service.resident_bytes());
    let empty = resident()?;
    let mut streams = open_all(&service.mqtt, |_| String::new()).await?;
    let idle = resident()?;
    results.add("idle_connection_bytes", each(empty, idle), "of 10,000 idle connections, resident, each");
    subscribe_all(&mut streams).await?;
    let means = "more for one subscription to its own topic each";
    results.add("subscribed_connection_bytes", each(idle, resident()?), means);
    drop(streams);
    drop(service);

    let (service, logins) = registered().await?;
    machine::wait_for_quiet()?;
    let begun = Instant::now();
    let opening = logins.iter().map(|(device, token)| load::open(&service.mqtt, device, device, token));
    let streams: Vec<TcpStream> = stream::iter(opening).buffer_unordered(OPENING).try_collect().await?;
    let means = "CONNECT to CONNACK of devices with tokens, 64 at a time";
    results.add("connects_per_s", count / begun.elapsed().as_secs_f64(), means);
    drop(streams);
    drop(service);

    let service = stage::fleet().await?;
    let resident = || machine::resting(|| service.resident_bytes());
    let silent = resident()?;
    let begun = Instant::now();
    let streams = open_all(&service.mqtt, packets::device).await?;
    let api = service.api();
    let online = || async {
        stage::search(&api, "online:true").await.ok().filter(|found| found["total"] == stage::DEVICES)
    };
    wait::until("all devices online in the index", online).await?;
    let means = "connected, presence committed and searchable";
    results.add("devices_online_per_s", count / begun.elapsed().as_secs_f64(), means);
    let means = "of 10,000 idle devices that were known before, each, with presence in feed and index";
    results.add("idle_device_bytes", each(silent, resident()?), means);
    drop(streams);
    Ok(())
}

/// A service that asks for credentials, and its devices with their tokens.
async fn registered() -> Result<(Service, Vec<(String, String)>)> {
    let service = Service::start_with(&[])?;
    let api = service.api().with_key(&service.key("default").await?);
    let registering = (0..stage::DEVICES).map(|number| {
        let (api, device) = (api.clone(), packets::device(number));
        async move { anyhow::Ok((device.clone(), api.register(&device).await?)) }
    });
    let logins = stream::iter(registering).buffer_unordered(OPENING).try_collect().await?;
    Ok((service, logins))
}

async fn open_all(address: &str, user: impl Fn(usize) -> String) -> Result<Vec<TcpStream>> {
    let opening = (0..stage::DEVICES).map(|number| {
        let user = user(number);
        async move { load::open(address, &format!("idle-{number}"), &user, "").await }
    });
    stream::iter(opening).buffer_unordered(OPENING).try_collect().await
}

async fn subscribe_all(streams: &mut [TcpStream]) -> Result<()> {
    for (number, stream) in streams.iter_mut().enumerate() {
        let filter = format!("devices/{}/desired", packets::device(number));
        stream.write_all(&packets::subscribe(&filter)).await?;
        let mut answer = [0; SUBACK.len()];
        stream.read_exact(&mut answer).await.context("read SUBACK")?;
        ensure!(answer == SUBACK, "SUBACK {answer:02x?}");
    }
    Ok(())
}
