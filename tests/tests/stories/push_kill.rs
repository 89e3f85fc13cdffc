//! The service is killed while it tells people, again and again: everything is told, and what is told again has the
//! same id.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::json;
use statecast_tests::{Api, Gateways, Note, Phone, Service};

use crate::agreement::report;

/// How often the service is killed.
const KILLS: usize = 20;
/// Devices for which the rule fires before each kill. A phone is told of one after the other, and the gateway takes its
/// time: so a kill hits some on their way, and some before it.
const DEVICES: usize = 6;
/// What was claimed by a killed service is claimed again a minute later; the last of them after two, at worst.
const TOLD_MAX: Duration = Duration::from_secs(240);

#[tokio::test(flavor = "multi_thread")]
async fn each_push_arrives_under_one_id() -> Result<()> {
    let gateways = Gateways::start(&["--latency", "50ms..100ms"])?;
    let settings = gateways.file("push.toml").display().to_string();
    let mut service = Service::start_with(&["--dev", "--config", &settings])?;
    let api = service.api();
    let mut phones = Vec::new();
    for channel in ["webhook", "fcm", "apns", "web_push"] {
        phones.push(Phone::new(&gateways, &api, channel, channel, None).await?);
    }
    let rule = json!({ "name": "alarm", "query": "alarm:true", "title": "{device}", "severity": "critical" });
    api.call(Method::POST, "/v1/rules", &rule).await?;
    for kill in 0..KILLS {
        let before = total(&gateways, &phones).await?;
        for number in 0..DEVICES {
            report(&api, &format!("d{kill}-{number}"), &json!({ "alarm": true })).await?;
        }
        // One more each time, so that the kills hit different moments.
        let enough = before + 1 + kill % DEVICES;
        until("some are told", || async { Ok(total(&gateways, &phones).await? >= enough) }).await?;
        service.kill()?;
        service.restart()?;
    }
    let all = KILLS * DEVICES * phones.len();
    until("all are told", || async { Ok(distinct(&gateways, &phones).await? >= all) }).await?;
    until("nothing waits", || nothing_waits(&api)).await?;
    let dead = api.json("/v1/deliveries?state=dead").await?;
    ensure!(dead["items"] == json!([]), "{dead}");

    let mut again = 0;
    for phone in &phones {
        let told = phone.told(&gateways).await?;
        let mut ids: HashMap<&str, HashSet<&str>> = HashMap::new();
        for note in &told {
            ids.entry(&note.title).or_default().insert(&note.id);
        }
        ensure!(ids.len() == KILLS * DEVICES, "{} was told of {} devices", phone.channel, ids.len());
        let twice = ids.iter().find(|(_, ids)| ids.len() != 1);
        ensure!(twice.is_none(), "{} was told under several ids: {twice:?}", phone.channel);
        again += told.iter().map(|note| note.accepted - 1).sum::<u64>();
    }
    eprintln!("{all} were told, {again} of them again");
    Ok(())
}

async fn told(gateways: &Gateways, phones: &[Phone]) -> Result<Vec<Vec<Note>>> {
    let mut all = Vec::new();
    for phone in phones {
        all.push(phone.told(gateways).await?);
    }
    Ok(all)
}

/// How many messages were accepted, each time counted.
async fn total(gateways: &Gateways, phones: &[Phone]) -> Result<usize> {
    let mut total = 0;
    for phone in phones {
        let accepted = gateways.summary(phone.channel).await?["accepted"].as_u64().context("a count")?;
        total += usize::try_from(accepted)?;
    }
    Ok(total)
}

/// How many messages were accepted, those that came again counted once.
async fn distinct(gateways: &Gateways, phones: &[Phone]) -> Result<usize> {
    Ok(told(gateways, phones).await?.iter().map(Vec::len).sum())
}

async fn nothing_waits(api: &Api) -> Result<bool> {
    let waiting = api.json("/v1/deliveries?state=waiting").await?;
    Ok(waiting["items"].as_array().context("items")?.is_empty())
}

async fn until<F>(what: &str, holds: impl Fn() -> F) -> Result<()>
where
    F: Future<Output = Result<bool>>,
{
    let begun = Instant::now();
    while !holds().await? {
        ensure!(begun.elapsed() < TOLD_MAX, "waited {TOLD_MAX:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
