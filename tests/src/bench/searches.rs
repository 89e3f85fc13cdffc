//! Searches over HTTP in a large fleet that reports meanwhile, at half of what the service can do.

use std::time::{Duration, Instant};

use anyhow::Result;
use reqwest::Method;
use statecast_tests::Api;

use crate::latency::{self, at};
use crate::load::{FLOOD, Load};
use crate::results::Results;
use crate::{Pace, machine, packets, rival, stage, table};

/// Clients when it is counted how many are answered, and when it is measured how fast.
const MANY: usize = 16;
const FEW: usize = 2;
/// How long the index may take to have everything that the full load brought.
const CAUGHT_UP_MAX: Duration = Duration::from_secs(60);
/// The parameters of a search.
type Asked = Vec<(&'static str, String)>;
/// The values of `site`, and how many there are of `battery`.
const SITES: [&str; 4] = ["north", "south", "east", "west"];
const BATTERIES: usize = 101;
/// How far apart the turns of clients begin, so that they don't ask the same.
const APART: usize = 1_009;

/// Two clauses that one device in a hundred fulfils, and an order. One of five kinds by turns, each time with other
/// values: 1,500 different ones.
fn narrow(turn: usize) -> Asked {
    let (site, from) = (SITES[turn % SITES.len()], turn / 5 % (BATTERIES - 3));
    let to = from + 3;
    let others = SITES.into_iter().filter(|other| *other != site).collect::<Vec<_>>().join(" OR ");
    let (query, sort) = match turn % 5 {
        0 => (format!("site:{site} battery:{from}..{to}"), "-temperature,id"),
        1 => (format!("mode:heat battery:{from}"), "temperature"),
        2 => (format!("type:thermostat battery:{from}..{from}.5"), "-uptime,id"),
        3 => (format!("battery:{from}..{to} -site:({others})"), "id"),
        _ => (format!("{site} battery:({from} OR {} OR {} OR {to})", from + 1, from + 2), "-temperature"),
    };
    vec![("q", query), ("sort", sort.to_owned())]
}

/// The same, but a fifth to a third of the fleet matches.
fn broad(turn: usize) -> Asked {
    let (site, from) = (SITES[turn % SITES.len()], turn / 4 % 70);
    let (query, sort) = match turn % 4 {
        0 => (format!("type:thermostat battery:{from}..{}", from + 20), ""),
        1 => (format!("site:{site} mode:heat"), "-battery,id"),
        2 => (
            format!("temperature:{0}.{1}..{2}.{1} -site:{site}", 12 + from / 10, from % 10, 18 + from / 10),
            "",
        ),
        _ => (format!("{site} firmware:1.2.*"), ""),
    };
    vec![("q", query), ("sort", sort.to_owned())]
}

/// What is asked beside: the devices of each site, with the percentiles of their batteries.
fn facet(_turn: usize) -> Asked {
    [("facets", "site"), ("facet_stats", "battery"), ("limit", "1")]
        .map(|(name, value)| (name, value.into()))
        .into()
}

/// Measures with half of the load that such a fleet can bring.
///
/// # Errors
/// When a search fails.
pub(crate) async fn measure(pace: &Pace, results: &mut Results) -> Result<()> {
    let (service, _) = table::filled(pace.searched_devices).await?;
    machine::wait_for_quiet()?;
    results.add(
        "memory_ns",
        machine::memory_ns(),
        "a read in 8 MiB that waits for the one before; 40 when others rest",
    );
    let api = service.api();
    let load = Load::start(&service.mqtt, pace.searched_devices, None)?;
    load.rate(FLOOD);
    load.throughput(pace.warm_up)?;
    let most = load.throughput(pace.flood)?;
    results.add("durable_msgs_per_s_100k", most, "of so many devices, each in its turn");
    stage::drain(&load)?;
    let position = stage::report(&api, &packets::device(0), 0).await?;
    stage::indexed(&service, position, CAUGHT_UP_MAX).await?;
    let per_s = most / 2.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive rate")]
    load.rate(per_s as u64);
    tokio::time::sleep(pace.warm_up).await;
    let fleet = format!("{} devices, {per_s:.0} messages/s meanwhile", pace.searched_devices);
    let searchable = latency::probe(&api, pace.latency).await?;
    results.add("searchable_p50_ms_at_50", at(&searchable, 0.5), "committed to found by a search, half load");
    let means = format!("the same, of {} probes; {fleet}", searchable.len());
    results.add("searchable_p99_ms_at_50", at(&searchable, 0.99), &means);
    let times = run(&api, narrow, FEW, pace.searches).await?;
    results.add(
        "search_p50_ms",
        at(&times, 0.5),
        "2 clients, pages of 20, two clauses that 1 % matches, sorted; same load",
    );
    results.add("search_p99_ms", at(&times, 0.99), "the same");
    let times = run(&api, broad, FEW, pace.searches).await?;
    results.add("search_broad_p50_ms", at(&times, 0.5), "the same, but 20 to 30 % match");
    results.add("search_broad_p99_ms", at(&times, 0.99), "the same");
    let times = run(&api, facet, 1, pace.searches).await?;
    results.add(
        "facet_p50_ms",
        at(&times, 0.5),
        "1 client, sites of the whole fleet, with percentiles; same load",
    );
    results.add("facet_p99_ms", at(&times, 0.99), "the same");
    let times = run(&api, narrow, MANY, pace.searches).await?;
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let per_s = times.len() as f64 / pace.searches.as_secs_f64();
    results.add("searches_per_s", per_s, "16 clients, same load");
    rival::measure(&service, pace.searches / 2, results).await?;
    stage::drain(&load)?;
    load.stop()
}

/// The times of all searches, sorted, in milliseconds.
async fn run(api: &Api, asked: fn(usize) -> Asked, clients: usize, time: Duration) -> Result<Vec<f64>> {
    let until = Instant::now() + time;
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..clients {
        let api = api.clone();
        tasks.spawn(async move {
            let mut times = Vec::new();
            for turn in client * APART.. {
                if Instant::now() > until {
                    break;
                }
                let request = api.request(Method::GET, "/v1/search").query(&asked(turn));
                let begun = Instant::now();
                request.send().await?.error_for_status()?.bytes().await?;
                times.push(begun.elapsed().as_secs_f64() * 1_000.0);
            }
            Ok::<_, anyhow::Error>(times)
        });
    }
    let mut all = Vec::new();
    while let Some(times) = tasks.join_next().await {
        all.extend(times??);
    }
    all.sort_by(f64::total_cmp);
    Ok(all)
}
