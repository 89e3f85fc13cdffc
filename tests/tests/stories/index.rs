//! The index is derived: deleted, damaged or behind, it comes back from the tables, and ingest never notices.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use reqwest::Method;
use serde_json::json;
use sqlx::Connection;
use statecast_tests::{Api, Fleet, Service, Version, Wire, wait};

use crate::agreement::{index_agrees, metric, ready, report};

/// Devices in the table.
const DEVICES: usize = 60;

async fn fill(api: &Api) -> Result<()> {
    for n in 0..DEVICES {
        report(api, &format!("d{n}"), &json!({ "n": n })).await?;
    }
    Ok(())
}

/// All files of the index that hold documents, largest first.
fn files(service: &Service) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for generation in fs::read_dir(service.dir().join("index"))? {
        let generation = generation?.path();
        if generation.is_dir() {
            for file in fs::read_dir(generation)? {
                let path = file?.path();
                // What is named by a segment and not by its role is the same for all.
                if path.file_name().is_some_and(|name| name.len() > 32) {
                    found.push((fs::metadata(&path)?.len(), path));
                }
            }
        }
    }
    found.sort();
    found.reverse();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Turns over every bit of the middle of a file, in place.
fn damage(path: &Path) -> Result<()> {
    use std::os::unix::fs::FileExt;
    let mut bytes = fs::read(path)?;
    let len = bytes.len();
    bytes[len / 4..len * 3 / 4].iter_mut().for_each(|byte| *byte = !*byte);
    fs::File::options().write(true).open(path)?.write_all_at(&bytes, 0)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_or_damaged_while_stopped_it_is_built_again() -> Result<()> {
    let mut service = Service::start()?;
    fill(&service.api()).await?;
    ensure!(service.stop()?, "it stops in order");
    fs::remove_dir_all(service.dir().join("index"))?;
    service.restart()?;
    index_agrees(&service, DEVICES).await.context("deleted while stopped")?;

    ensure!(service.stop()?, "it stops in order");
    damage(files(&service)?.first().context("a file of the index")?)?;
    service.restart()?;
    index_agrees(&service, DEVICES).await.context("damaged while stopped")?;

    // One that is of an older time than the table catches up.
    ensure!(service.stop()?, "it stops in order");
    let (index, old) = (service.dir().join("index"), service.dir().join("index.old"));
    copy(&index, &old)?;
    service.restart()?;
    report(&service.api(), "late", &json!({ "n": 1 })).await?;
    service.kill()?;
    fs::remove_dir_all(&index)?;
    fs::rename(&old, &index)?;
    service.restart()?;
    index_agrees(&service, DEVICES + 1).await.context("older than the table")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (path, name) = {
            let entry = entry?;
            (entry.path(), entry.file_name())
        };
        if path.is_dir() { copy(&path, &to.join(name))? } else { fs::copy(&path, to.join(name)).map(drop)? }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_or_deleted_while_running_it_holds_up_nobody() -> Result<()> {
    let mut service = Service::start()?;
    let api = service.api();
    fill(&api).await?;
    let mut wire = Wire::connect(&service.mqtt, Version::V5, "d0", "d0", "").await?;
    for (round, what) in [damage_all as fn(&Service) -> Result<()>, delete_all].into_iter().enumerate() {
        let position = report(&api, "d1", &json!({ "round": round })).await?;
        api.json(&format!("/v1/search?limit=1&after={position}")).await.context("the index follows")?;
        what(&service)?;
        for n in 0..50 {
            let answer =
                wire.publish("devices/d0/state", json!({ "n": n }).to_string().as_bytes(), 1).await?;
            ensure!(answer.code == 0, "{answer:?}");
        }
        // Whether a search fails meanwhile depends on what is in memory. An operator can have it built anew.
        api.call(Method::POST, "/v1/index/rebuild", &json!({})).await.context("rebuild")?;
        index_agrees(&service, DEVICES).await.with_context(|| format!("round {round}"))?;
    }
    service.kill()?;
    service.restart()?;
    index_agrees(&service, DEVICES).await
}

fn damage_all(service: &Service) -> Result<()> {
    files(service)?.iter().try_for_each(|path| damage(path))
}

fn delete_all(service: &Service) -> Result<()> {
    files(service)?.iter().try_for_each(|path| Ok(fs::remove_file(path)?))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_is_repaired_without_anybody_asking() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    fill(&api).await?;
    // Behind the back of the feed, as a fault would.
    let tamper = "UPDATE devices SET version = version + 1, reported = '{\"n\": 1000}' WHERE device = 'd7'";
    sqlx::query(tamper).execute(&mut service.database().await?).await?;
    let position = report(&api, "d1", &json!({ "n": 1 })).await?;
    let checked = wait::until("the comparison after the last change", || async {
        let status = api.json("/v1/index").await.ok()?;
        (status["checked"]["position"].as_u64() >= Some(position)).then_some(status)
    })
    .await?;
    ensure!(checked["checked"]["checked"] == DEVICES, "{checked}");
    ensure!(checked["documents"] == DEVICES && checked["building"].is_null(), "{checked}");
    ensure!(api.json("/v1/search?q=n:1000").await?["total"] == 1, "it is found as the table has it");
    ensure!(metric(&api, "statecast_search_repaired_total").await? == 1.0, "it is counted");
    index_agrees(&service, DEVICES).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_finds_it_and_what_is_removed_is_gone() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    ready(&api).await?;
    let fleet = Fleet::start(&service, &["--devices", "500", "--period", "60s", "--speed", "40"])?;
    fleet.under_way().await?;
    try_join_all((0..8).map(|writer| writes_and_finds(&api, writer))).await?;
    fleet.finish().await?;
    service.at_rest().await?;
    index_agrees(&service, 500).await
}

async fn writes_and_finds(api: &Api, writer: usize) -> Result<()> {
    let device = format!("own{writer}");
    for n in 0..20 {
        let position = report(api, &device, &json!({ "counter": n })).await?;
        let path = format!("/v1/search?q=id:{device}%20counter:{n}&after={position}");
        let found = api.json(&path).await?;
        ensure!(found["total"] == 1, "{device} has written {n} and doesn't find it: {found}");
    }
    let removed = api.request(Method::DELETE, &format!("/v1/devices/{device}")).send().await?;
    let position = removed.headers().get("Statecast-Position").context("no position")?.to_str()?;
    let found = api.json(&format!("/v1/search?q=id:{device}&after={position}")).await?;
    ensure!(found["total"] == 0, "{device} is removed and still found: {found}");
    Ok(())
}

/// A row that somebody holds keeps one batch waiting, while another that was begun later commits and is acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_commit_before_it_is_no_difference() -> Result<()> {
    // Compared only when we ask.
    let service = Service::start_with_env(&["--dev"], &[("STATECAST__SEARCH__CHECK_PERCENT", "0")])?;
    let api = service.api();
    for device in ["held", "free", "wrong"] {
        report(&api, device, &json!({ "x": 1 })).await?;
    }
    let saved = json!({ "name": "changed", "query": "x:2" });
    let saved = api.call(Method::POST, "/v1/queries", &saved).await?;
    let path = format!("/v1/queries/{}", saved["id"].as_str().context("id")?);
    api.json("/v1/search?after=now").await?;

    let mut database = service.database().await?;
    let tamper = "UPDATE devices SET version = version + 7 WHERE device = 'wrong'";
    sqlx::query(tamper).execute(&mut database).await?;
    let mut hold = database.begin().await?;
    sqlx::query("SELECT FROM devices WHERE device = 'held' FOR UPDATE").execute(&mut *hold).await?;
    let (of_held, of_check, of_count) = (api.clone(), api.clone(), api.clone());
    let held = tokio::spawn(async move { report(&of_held, "held", &json!({ "x": 2 })).await });
    let waits =
        "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    let look = || async {
        let mut other = service.database().await.ok()?;
        sqlx::query(waits).fetch_optional(&mut other).await.ok()?.map(drop)
    };
    wait::until("a commit that waits for the row", look).await?;
    report(&api, "free", &json!({ "x": 2 })).await?;
    let verified =
        tokio::spawn(async move { of_check.call(Method::POST, "/v1/index/verify", &json!({})).await });
    let counted = tokio::spawn(async move { of_count.json(&path).await });
    // Long enough for the checker to look as often as it does.
    tokio::time::sleep(Duration::from_secs(2)).await;
    hold.rollback().await?;

    held.await??;
    let (verified, counted) = (verified.await??, counted.await??);
    ensure!(verified["different"] == 1 && verified["repaired"] == 1, "only what is wrong: {verified}");
    ensure!(counted["count"] == 2, "{counted}");
    Ok(())
}
