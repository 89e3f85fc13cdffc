//! Rules: what a change of a device costs when there are 10 of them, and when there are 10,000.
//!
//! In this process and on one core, with the code that the service uses: from outside, ten thousand rules would
//! disappear in the cost of a message. A tenth of the rules is about one device, half about a site, the rest about a
//! model, and ten about the whole fleet; each compares a value that devices report.

use std::hint::black_box;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use statecast_state::query::Percolator;
use statecast_state::{DeviceId, Query, Timestamp, Twin};

use crate::machine;
use crate::results::{Results, median};

/// How many rules there are.
const COUNTS: [usize; 4] = [10, 100, 1_000, 10_000];
/// Rules about the whole fleet, however many there are.
const FLEET_WIDE: usize = 10;
/// Devices, sites and models of the fleet.
const DEVICES: usize = 100_000;
const SITES: usize = 500;
const MODELS: usize = 50;
/// Changes that are tried in turn.
const CHANGES: usize = 1_000;
/// How long each round lasts, and how many there are.
const ROUND: Duration = Duration::from_millis(500);
const ROUNDS: usize = 5;

/// Measures microseconds for each change.
///
/// # Errors
/// When a query isn't one.
pub(crate) fn measure(results: &mut Results) -> Result<()> {
    machine::wait_for_quiet()?;
    let mut chance = StdRng::seed_from_u64(1);
    let now = Timestamp::from(SystemTime::now());
    let changes = (0..CHANGES).map(|_| change(&mut chance)).collect::<Result<Vec<_>>>()?;
    for count in COUNTS {
        let queries: Vec<Query> = (0..count)
            .map(|number| Query::parse(&rule(number, &mut chance)).context("a rule"))
            .collect::<Result<_>>()?;
        let percolator = Percolator::new(&queries);
        let differs = |number: u32, before: &Twin, after: &Twin| {
            let query = &queries[number as usize];
            query.matches(before, now) != query.matches(after, now)
        };
        let chosen = per_change(&changes, |before, after| {
            let affected = percolator.affected(Some(before), Some(after));
            affected.into_iter().filter(|number| differs(*number, before, after)).count()
        })?;
        let name = format!("rules_us_per_change_{count}");
        results.add(&name, chosen, "which rules a change fires, in memory, on one core");
        if Some(&count) == COUNTS.last() {
            #[expect(clippy::cast_possible_truncation, reason = "a small count")]
            let all = per_change(&changes, |before, after| {
                (0..count as u32).filter(|number| differs(*number, before, after)).count()
            })?;
            results.add(
                &format!("ratio_rules_evaluated_all_{count}"),
                all / chosen,
                "without the index of rules",
            );
        }
    }
    Ok(())
}

/// The median of some rounds, in microseconds.
fn per_change(changes: &[(Twin, Twin)], mut fired: impl FnMut(&Twin, &Twin) -> usize) -> Result<f64> {
    let round = |_| {
        let (begun, mut tried) = (Instant::now(), 0_u32);
        for (before, after) in changes.iter().cycle() {
            black_box(fired(before, after));
            tried += 1;
            if begun.elapsed() >= ROUND {
                break;
            }
        }
        begun.elapsed().as_secs_f64() * 1e6 / f64::from(tried)
    };
    median((0..ROUNDS).map(round).collect())
}

/// What a device reports, and what it reports next.
fn change(chance: &mut StdRng) -> Result<(Twin, Twin)> {
    let device = format!("device-{}", chance.random_range(0..DEVICES));
    let mut twin = Twin::new(DeviceId::parse(&device).context("a device id")?);
    twin.version = 1;
    twin.tags.insert("site".into(), json!(format!("site-{}", chance.random_range(0..SITES))));
    let model = format!("model-{}", chance.random_range(0..MODELS));
    let mut report = |twin: &mut Twin| {
        twin.reported.insert("model".into(), json!(model));
        twin.reported.insert("battery".into(), json!(chance.random_range(0..100)));
        twin.reported.insert("temperature".into(), json!(chance.random_range(-200..400) as f64 / 10.0));
        twin.reported.insert("uptime".into(), json!(chance.random_range(0..1_000_000)));
    };
    report(&mut twin);
    let mut next = twin.clone();
    report(&mut next);
    next.version = 2;
    Ok((twin, next))
}

/// The query of a rule.
fn rule(number: usize, chance: &mut StdRng) -> String {
    let (battery, temperature) = (chance.random_range(5..30), chance.random_range(20..38));
    match (number, number % 10) {
        (..FLEET_WIDE, _) => format!("battery:<{battery}"),
        (_, 0) => format!("id:device-{} battery:<{battery}", chance.random_range(0..DEVICES)),
        (_, 1..=5) => format!("tags.site:site-{} temperature:>{temperature}", chance.random_range(0..SITES)),
        _ => format!("model:model-{} battery:<{battery}", chance.random_range(0..MODELS)),
    }
}
