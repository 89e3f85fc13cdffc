//! What a connection costs: memory while it is idle, with a subscription, as a device; and how fast they come.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use statecast_tests::wait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::registered::Registered;
use crate::results::Results;
use crate::{machine, packets, stage};

/// Devices, each with two connections at a time.
const DEVICES: usize = 7_500;
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
    let known = resident()?;
    let means = "of 7,500 idle devices, each: connection, twin in the cache, presence in feed and index";
    results.add("idle_device_bytes", each(empty, known), means);

    // What a connection takes is what all give back when they close: what a device takes, known or not, stays.
    let second = registered.connect_all(0..DEVICES, "second", OPENING).await?;
    let open = resident()?;
    drop((first, second));
    let closed = closed(&registered).await?;
    let means = "of 15,000 idle connections, what each gives back when it closes, resident";
    results.add("idle_connection_bytes", each(closed, open) / 2.0, means);
    let mut third = registered.connect_all(0..DEVICES, "third", OPENING).await?;
    subscribe_all(&mut third).await?;
    let open = resident()?;
    drop(third);
    let closed = self::closed(&registered).await?;
    let means = "of 7,500 with a subscription to their own topic, the same";
    results.add("subscribed_connection_bytes", each(closed, open), means);
    Ok(())
}

/// Resident memory when all connections are gone, and the index says so.
async fn closed(registered: &Registered) -> Result<u64> {
    wait::until("nobody online in the index", || async {
        let found = stage::search(&registered.api, "online:true").await.ok()?;
        (found["total"] == 0).then_some(())
    })
    .await?;
    machine::resting(|| registered.service.resident_bytes())
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
