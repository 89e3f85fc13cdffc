//! What a connection costs: memory while it is idle, with a subscription, as a device; and how fast they come.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use statecast_tests::wait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::registered::Registered;
use crate::results::Results;
use crate::{machine, packets, stage};

/// Devices, each with up to four connections at a time: a process may have 20,000 files open.
const DEVICES: usize = 4_500;
/// Connections that are being opened at the same time.
const OPENING: usize = 64;
/// SUBACK of packet 1 with QoS 1 granted.
const SUBACK: [u8; 5] = [0x90, 3, 0, 1, 1];

/// Measures on a service of its own: memory that a load once used would hide what connections take.
///
/// # Errors
/// When anything fails.
pub(crate) async fn measure(results: &mut Results) -> Result<()> {
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let count = DEVICES as f64;
    #[expect(clippy::cast_precision_loss, reason = "bytes of memory")]
    let each = |before: u64, after: u64| after.saturating_sub(before) as f64 / count;

    let mut registered = Registered::start(DEVICES).await?;
    // Started anew, it has nothing in its caches: what is measured then is all that devices take.
    ensure!(registered.service.stop()?, "the service didn't stop well");
    registered.service.restart()?;
    machine::wait_for_quiet()?;
    let service = &registered.service;
    let resident = || machine::resting(|| service.resident_bytes());
    let empty = resident()?;

    let begun = Instant::now();
    let first = registered.connect_all(0..DEVICES, "first", OPENING).await?;
    let means = "CONNECT with a token to CONNACK, 64 at a time";
    results.add("connects_per_s", count / begun.elapsed().as_secs_f64(), means);
    let online = || async {
        let found = stage::search(&registered.api, "online:true").await.ok()?;
        (found["total"] == DEVICES).then_some(())
    };
    wait::until("all devices online in the index", online).await?;
    let means = "the same, until presence is committed and searchable";
    results.add("devices_online_per_s", count / begun.elapsed().as_secs_f64(), means);
    let means = "of 4,500 idle devices, each: connection, twin in the cache, presence in feed and index";
    results.add("idle_device_bytes", each(empty, resident()?), means);

    // More connections of the same devices. The second of each take up what work has left free; from then on memory
    // grows by what a connection takes.
    let second = registered.connect_all(0..DEVICES, "second", OPENING).await?;
    let before = resident()?;
    let third = registered.connect_all(0..DEVICES, "third", OPENING).await?;
    let idle = resident()?;
    let means = "of 4,500 idle connections beside 9,000, each, resident";
    results.add("idle_connection_bytes", each(before, idle), means);
    let mut fourth = registered.connect_all(0..DEVICES, "fourth", OPENING).await?;
    subscribe_all(&mut fourth).await?;
    let means = "of 4,500 with a subscription to their own topic beside 13,500, the same";
    results.add("subscribed_connection_bytes", each(idle, resident()?), means);
    drop((first, second, third, fourth));
    Ok(())
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
