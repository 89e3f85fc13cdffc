//! Limits of the MQTT side as an operator sees them: set in the configuration, counted under their own names, and
//! no end of the service.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use statecast_tests::{Service, VERSIONS, Version, Wire, wait};

/// A service with this configuration.
fn start(config: &str) -> Result<Service> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("config.toml");
    std::fs::write(&path, config)?;
    Service::start_with(&["--config", &path.display().to_string()])
}

/// How often a limit took effect.
async fn limited(service: &Service, limit: &str) -> Result<u64> {
    let metrics = service.api().get("/metrics").await?.text().await?;
    let name = format!("statecast_mqtt_limited_total{{limit=\"{limit}\"}} ");
    Ok(metrics.lines().find_map(|line| line.strip_prefix(&name)).map_or(Ok(0), str::parse)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_set_told_and_counted() -> Result<()> {
    let service = start("dev = true\n[mqtt]\nconnections_per_address_max = 2\n")?;
    let one = Wire::connect(&service.mqtt, Version::V3, "1", "a", "").await?;
    let _two = Wire::connect(&service.mqtt, Version::V5, "2", "b", "").await?;
    for (version, code) in [(Version::V3, 3), (Version::V5, 0x97)] {
        let mut third = Wire::open(&service.mqtt, version).await?;
        ensure!(third.hello("3", Some(("c", ""))).await? == code);
    }
    ensure!(limited(&service, "connections_per_address_max").await? == 2);
    one.disconnect().await?;
    let again = || async { Wire::connect(&service.mqtt, Version::V5, "3", "c", "").await.ok() };
    wait::until("there is room again", again).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_is_locked_out() -> Result<()> {
    let service = start("[mqtt]\nlogin_failures_per_name_max = 3\n")?;
    let api = service.api().with_key(&service.key("default").await?);
    let token = api.register("pump").await?;
    for _ in 0..3 {
        let mut wire = Wire::open(&service.mqtt, Version::V5).await?;
        ensure!(wire.hello("", Some(("pump", "a guess"))).await? == 0x86);
    }
    for (version, code) in VERSIONS.into_iter().zip([5, 0x9F]) {
        let mut wire = Wire::open(&service.mqtt, version).await?;
        ensure!(wire.hello("x", Some(("pump", &token))).await? == code, "{version:?}");
    }
    ensure!(limited(&service, "login_failures_per_name_max").await? == 2);
    let other = api.register("valve").await?;
    Wire::connect(&service.mqtt, Version::V5, "", "valve", &other).await?;
    Ok(())
}

/// When there are no more files to open, who is connected is served, and who waits gets in when there are some again.
#[tokio::test(flavor = "multi_thread")]
async fn without_files_to_open_it_waits_and_recovers() -> Result<()> {
    const SPARE: usize = 20;
    let service = Service::start()?;
    let mut early = Wire::connect(&service.mqtt, Version::V5, "early", "early", "").await?;
    ensure!(early.publish("devices/early/state", br#"{"n":1}"#, 1).await?.code == 0);
    let open = std::fs::read_dir(format!("/proc/{}/fd", service.pid()))?.count();
    let set = Command::new("prlimit")
        .args(["--pid", &service.pid().to_string(), &format!("--nofile={}:", open + SPARE)])
        .status()
        .context("start prlimit")?;
    ensure!(set.success(), "prlimit says {set}");
    let mut flood = Vec::new();
    for _ in 0..3 * SPARE {
        flood.push(Wire::open(&service.mqtt, Version::V5).await?);
    }
    for n in 2..20 {
        let payload = format!(r#"{{"n":{n}}}"#);
        ensure!(early.publish("devices/early/state", payload.as_bytes(), 1).await?.code == 0);
    }
    drop(flood);
    let mut late = Wire::connect(&service.mqtt, Version::V5, "late", "late", "").await?;
    ensure!(late.publish("devices/late/state", br#"{"n":1}"#, 1).await?.code == 0);
    let metrics = service.api().get("/metrics").await?.text().await?;
    ensure!(metrics.contains("statecast_mqtt_refused_total{reason=\"accept\"}"), "it did run out");
    Ok(())
}
