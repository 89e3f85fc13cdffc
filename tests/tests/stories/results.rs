//! What a search tells besides the devices: pages that hold while the fleet changes, figures, what matched, what was
//! meant, what completes a query, and all of it as a file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use statecast_tests::{Api, Service};

use crate::agreement::{index_agrees, ready, report};

/// Asks for a path below `/v1/search` with parameters, of an index that has all that was written.
async fn ask(api: &Api, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
    let request = api.request(Method::GET, &format!("/v1/search{path}")).query(parameters);
    let answer = request.send().await?;
    let (status, text) = (answer.status(), answer.text().await?);
    ensure!(status.is_success(), "{parameters:?}: {status} {text}");
    Ok(serde_json::from_str(&text)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_highlights_and_help_with_spelling() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    for (device, state) in [
        (
            "p1",
            json!({"kind": "pump", "site": "north hall", "battery": 12, "installed": "2026-11-20T10:30:00Z"}),
        ),
        (
            "p2",
            json!({"kind": "pump", "site": "north hall", "battery": 48, "installed": "2026-11-20T10:40:00Z"}),
        ),
        ("p3", json!({"kind": "pump", "site": "yard", "battery": 90, "note": "<b>Pump</b> pump"})),
        ("v1", json!({"kind": "valve", "site": "yard", "battery": "empty"})),
    ] {
        report(&api, device, &state).await?;
    }
    let found = ask(
        &api,
        "",
        &[
            ("q", "battery:*"),
            ("after", "now"),
            ("stats", "battery"),
            ("histograms", "battery:50,installed:1h"),
            ("facets", "site"),
            ("facet_stats", "battery"),
        ],
    )
    .await?;
    let stats = &found["stats"]["battery"];
    for (name, expected) in
        [("devices", 4), ("count", 3), ("cardinality", 4), ("min", 12), ("max", 90), ("mean", 50)]
    {
        ensure!(stats[name] == expected, "{name} in {stats}");
    }
    ensure!(stats["percentiles"]["50"] == 48, "{stats}");
    ensure!(
        found["histograms"]
            == json!({
                "battery": {"interval": 50, "buckets": [{"from": 0, "count": 2}, {"from": 50, "count": 1}]},
                "installed": {"interval": "1h", "buckets": [{"from": "2026-11-20T10:00:00Z", "count": 2}]},
            }),
        "{}",
        found["histograms"]
    );
    let site = &found["facets"]["site"]["values"][0];
    ensure!(site["value"] == "north hall" && site["count"] == 2, "{site}");
    ensure!(site["stats"]["battery"]["percentiles"]["95"] == 48, "{site}");

    let found = ask(&api, "", &[("q", "pump"), ("sort", "relevance"), ("highlight", "true")]).await?;
    ensure!(found["items"][0]["device"] == "p3", "the one that says it most often: {found}");
    let marked = json!([{"at": "/reported/kind", "ranges": [[0, 4]]}, {"at": "/reported/note", "ranges": [[3, 7], [12, 16]]}]);
    ensure!(found["highlights"][0] == marked, "{}", found["highlights"][0]);

    let found = ask(&api, "", &[("q", "kind:pmup site:yard")]).await?;
    ensure!(found["total"] == 0, "nothing is searched for instead: {found}");
    ensure!(found["did_you_mean"]["query"] == "kind:pump site:yard", "{found}");
    ensure!(found["did_you_mean"]["total"] == 1, "{found}");

    let complete = |q: &'static str| {
        let api = &api;
        async move {
            let found = ask(api, "/complete", &[("q", q)]).await?;
            let items = found["items"].as_array().context("items")?.iter();
            Ok::<_, anyhow::Error>(
                items.map(|item| item["text"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>(),
            )
        }
    };
    ensure!(complete("pump ba").await? == ["battery:"], "{:?}", complete("pump ba").await?);
    let sites = complete("-site:nor").await?;
    ensure!(sites == ["\"north hall\""], "{sites:?}");
    ensure!(complete("has:inst").await? == ["installed"]);
    for (name, value) in [
        ("sort", "a,a"),
        ("stats", "a..b"),
        ("histograms", "battery:0"),
        ("histograms", "battery:0.001"),
        ("sort", "relevance"),
    ] {
        let answer = api.request(Method::GET, "/v1/search").query(&[(name, value)]).send().await?;
        ensure!(answer.status() == 400, "{name}={value}: {}", answer.status());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenant_completes_nothing() -> Result<()> {
    let service = Service::start_with(&[])?;
    let [own, other] = [service.key("own").await?, service.key("other").await?];
    let [own, other] = [own, other].map(|key| service.api().with_key(&key));
    own.call(Method::PUT, "/v1/devices/d1", &json!({"tags": {"secretfield": "secretvalue"}})).await?;
    let found = ask(&own, "", &[("q", "secretvalue"), ("after", "now")]).await?;
    ensure!(found["total"] == 1, "{found}");
    for (q, mine) in [("sec", 2), ("tags.secretfield:", 1), ("has:tags.", 1)] {
        for (api, expected) in [(&own, mine), (&other, 0)] {
            let found = ask(api, "/complete", &[("q", q)]).await?;
            ensure!(found["items"].as_array().map(Vec::len) == Some(expected), "{q}: {found}");
        }
    }
    let found = ask(&other, "", &[("q", "secretvalua")]).await?;
    ensure!(found["did_you_mean"].is_null(), "{found}");
    let found = ask(&own, "", &[("q", "secretvalua")]).await?;
    ensure!(found["did_you_mean"]["query"] == "secretvalue", "{found}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_while_the_fleet_changes() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    for n in 0..120 {
        report(&api, &format!("still{n}"), &json!({"n": n % 7, "word": "calm"})).await?;
        report(&api, &format!("busy{n}"), &json!({"n": n % 7, "word": "calm"})).await?;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (api, stop) = (api.clone(), stop.clone());
        tokio::spawn(async move {
            let mut round = 0;
            while !stop.load(Ordering::Relaxed) {
                round += 1;
                let state =
                    json!({"n": round % 9, "word": if round % 3 == 0 { "other" } else { "calm calm" }});
                report(&api, &format!("busy{}", round % 120), &state).await?;
            }
            Ok::<_, anyhow::Error>(round)
        })
    };
    for sort in ["", "n", "-n,id", "relevance", "relevance,-n"] {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut cursor = String::new();
        loop {
            let parameters =
                [("q", "calm"), ("sort", sort), ("limit", "7"), ("after", "now"), ("cursor", &cursor)];
            let page = ask(&api, "", &parameters).await?;
            for item in page["items"].as_array().context("items")? {
                *seen.entry(item["device"].as_str().context("device")?.to_owned()).or_default() += 1;
            }
            cursor = page["next_cursor"].as_str().context("cursor")?.to_owned();
            if cursor.is_empty() {
                break;
            }
        }
        for n in 0..120 {
            let times = seen.get(&format!("still{n}"));
            ensure!(times == Some(&1), "still{n} came {times:?} times by {sort:?}");
        }
    }
    stop.store(true, Ordering::Relaxed);
    ensure!(writer.await?? > 0, "nothing changed meanwhile");
    Ok(())
}

/// Devices that are exported.
const MANY: usize = 50_000;
/// What the memory may grow by meanwhile: the answer is more than three times as much.
const GROWTH_MAX: u64 = 24 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn fifty_thousand_devices_leave_in_constant_memory() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    ready(&api).await?;
    report(&api, "other", &json!({"kind": "other"})).await?;
    fill(&service, MANY).await?;
    index_agrees(&service, MANY + 1).await?;
    // What a first export needs once, it may keep.
    let path = "/v1/search/export?q=kind:exported";
    drop(api.get(&format!("{path}&sort=-n")).await?.bytes().await?);

    let before = service.resident_bytes()?;
    let mut answer = api.get(path).await?.error_for_status()?;
    let position: u64 = answer.headers().get("Statecast-Position").context("position")?.to_str()?.parse()?;
    ensure!(position > 0, "no position");
    let (mut seen, mut rest, mut most, mut bytes) = (BTreeSet::new(), Vec::new(), 0, 0);
    while let Some(chunk) = answer.chunk().await? {
        bytes += chunk.len() as u64;
        rest.extend_from_slice(&chunk);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let twin: Value = serde_json::from_slice(&line).context("a twin a line")?;
            ensure!(seen.insert(twin["device"].to_string()), "twice: {twin}");
        }
        most = most.max(service.resident_bytes()?);
    }
    ensure!(seen.len() == MANY && rest.is_empty(), "{} of {MANY}", seen.len());
    let growth = most.saturating_sub(before);
    ensure!(bytes > 3 * GROWTH_MAX, "{bytes} bytes aren't enough to tell");
    ensure!(growth < GROWTH_MAX, "{growth} bytes more for an answer of {bytes}");

    // The same as CSV, in the order of a number, by the command.
    let url = format!("http://{}", service.http);
    let arguments =
        ["search", "kind:exported", "--url", &url, "--sort", "-n", "--export", "csv", "--columns", "n,id"];
    let csv = service.cli(&arguments).await?.ok()?;
    let mut lines = csv.lines();
    ensure!(lines.next() == Some("n,id"), "the header");
    let numbers: Vec<usize> =
        lines.map(|line| Ok(line.split(',').next().context("n")?.parse()?)).collect::<Result<_>>()?;
    ensure!(numbers.iter().copied().eq((0..MANY).rev()), "not all, or not in order");
    Ok(())
}

/// Puts devices straight into the table, which is faster than to report them; the index takes them from there.
async fn fill(service: &Service, devices: usize) -> Result<()> {
    let devices = i64::try_from(devices)?;
    sqlx::query(
        "INSERT INTO devices (tenant, device, version, position, reported, desired, tags, reported_at, online, presence_reason)
         SELECT 'default', 'd' || n, 1, 0, jsonb_build_object('kind', 'exported', 'n', n, 'x', repeat('x', 1800)),
                '{}', '{}', '{}', false, ''
         FROM generate_series(0, $1 - 1) AS n",
    )
    .bind(devices)
    .execute(&mut service.database().await?)
    .await?;
    service.api().call(Method::POST, "/v1/index/rebuild", &json!({})).await.map(drop)
}
