//! What a connection costs: memory while it is idle, with a subscription, as a device; and how fast they come.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use statecast_tests::wait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::registered::Registered;
use crate::results::Results;
use crate::{machine, packets, stage};

/// Connections, each of a device of its own.
const CONNECTIONS: usize = 15_000;
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
    let count = CONNECTIONS as f64;
    #[expect(clippy::cast_precision_loss, reason = "bytes of memory")]
    let each = |before: u64, after: u64| after.saturating_sub(before) as f64 / count;

    let mut registered = Registered::start(CONNECTIONS).await?;
    // Started anew, it has nothing in its caches: what is measured then is all that devices take.
    ensure!(registered.service.stop()?, "the service didn't stop well");
    registered.service.restart()?;
    machine::wait_for_quiet()?;
    let service = &registered.service;
    let resident = || machine::resting(|| service.resident_bytes());
    let empty = resident()?;
    let begun = Instant::now();
    let mut streams = registered.connect_all(CONNECTIONS, OPENING).await?;
    let means = "CONNECT with a token to CONNACK, 64 at a time";
    results.add("connects_per_s", count / begun.elapsed().as_secs_f64(), means);
    let online = || async {
        let found = stage::search(&registered.api, "online:true").await.ok()?;
        (found["total"] == CONNECTIONS).then_some(())
    };
    wait::until("all devices online in the index", online).await?;
    let means = "the same, until presence is committed and searchable";
    results.add("devices_online_per_s", count / begun.elapsed().as_secs_f64(), means);
    let idle = resident()?;
    let means =
        "of 15,000 idle devices, resident, each: connection, twin in the cache, presence in feed and index";
    results.add("idle_connection_bytes", each(empty, idle), means);
    subscribe_all(&mut streams).await?;
    let means = "more for one subscription to its own topic each";
    results.add("subscribed_connection_bytes", each(idle, resident()?), means);
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
