//! Two evaluators, one meaning: random queries over the whole language, of random fleets that were written, replaced
//! and removed in many commits, find in the index what they find in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use statecast_state::query::Query;
use statecast_state::{DeviceId, DeviceKey, Position, TenantId, Twin};

use super::fleet::{empty, ids, now};
use super::samples::{query, twin};
use crate::{Search, Settings};

/// What happens to a fleet, in order: to which device, what it then is (none: it is removed), and whether the
/// index commits.
type History = Vec<(u8, Option<Twin>, bool)>;

fn history() -> impl Strategy<Value = History> {
    let step = (0_u8..24, proptest::option::weighted(0.85, twin()), proptest::bool::weighted(0.4));
    vec(step, 1..48)
}

/// What the fleet is in the end.
fn fleet(history: &History) -> BTreeMap<String, Arc<Twin>> {
    let mut fleet = BTreeMap::new();
    for (number, twin, _) in history {
        let device = format!("d-{number}");
        match twin {
            Some(twin) => {
                let twin = Twin { device: DeviceId::parse(&device).unwrap(), ..twin.clone() };
                fleet.insert(device, Arc::new(twin));
            }
            None => _ = fleet.remove(&device),
        }
    }
    fleet
}

/// The index that followed it. A stranger, with a name that begins like the tenant's, has what the fleet has not.
fn index(dir: &std::path::Path, history: &History) -> Search {
    let search = Search::open(dir, Settings::default()).unwrap();
    let mut generation = empty(&search);
    let stranger = TenantId::parse("default2").unwrap();
    for (number, twin, commits) in history {
        let device = DeviceId::parse(&format!("d-{number}")).unwrap();
        let own = DeviceKey::new(TenantId::default(), device.clone());
        let other = DeviceKey::new(stranger.clone(), device.clone());
        let twin = twin.clone().map(|twin| Arc::new(Twin { device, ..twin }));
        generation.write([(own, twin.clone()), (other, twin)]).unwrap();
        if *commits {
            generation.commit(Position(1)).unwrap();
        }
    }
    generation.commit(Position(1)).unwrap();
    search.show(generation.view(Position(1)));
    search
}

/// Cases where nothing is said; `PROPTEST_CASES` says otherwise.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn both_evaluators_agree(history in history(), queries in vec(query(), 100)) {
        let dir = tempfile::tempdir().unwrap();
        let (search, fleet) = (index(dir.path(), &history), fleet(&history));
        for text in queries {
            let Ok(query) = Query::parse(&text) else { continue };
            let matches = |twin: &&Arc<Twin>| query.matches(twin, now());
            let mut expected: Vec<_> =
                fleet.values().filter(matches).map(|twin| twin.device.to_string()).collect();
            expected.sort();
            // Found, and known from before.
            for _ in 0..2 {
                prop_assert_eq!(&ids(&search, &text, "", 50), &expected, "{}", text);
            }
        }
    }

    /// What a person is told about names is true.
    #[test]
    fn the_index_knows_the_names_of_a_tenant(history in history()) {
        let dir = tempfile::tempdir().unwrap();
        let (search, fleet) = (index(dir.path(), &history), fleet(&history));
        let tenant = TenantId::default();
        for field in search.properties(&tenant).unwrap() {
            prop_assert!(search.has_field(&tenant, &field).unwrap());
            // Some names can't be written in a query.
            if let Ok(query) = Query::parse(&format!("has:{field}")) {
                prop_assert!(fleet.values().any(|twin| query.matches(twin, now())), "{}", field);
            }
        }
        prop_assert!(search.properties(&TenantId::parse("defaul").unwrap()).unwrap().is_empty());
    }
}

/// Queries are worth their time only if most of them are understood, and many find something.
#[test]
fn random_queries_are_mostly_well_made_and_find_something() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut understood, mut found, total) = (0, 0, 2_000);
    for _ in 0..total {
        let (query, twins) = (query(), vec(twin(), 8)).new_tree(&mut runner).unwrap().current();
        let Ok(query) = Query::parse(&query) else { continue };
        understood += 1;
        let matching = twins.iter().filter(|twin| query.matches(twin, now())).count();
        found += usize::from(matching > 0 && matching < twins.len());
    }
    assert!(understood * 10 > total * 9, "{understood} of {total}");
    assert!(found * 5 > total, "{found} of {total} find some devices and not others");
}
