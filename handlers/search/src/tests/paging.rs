//! Pages while the fleet changes: what stays as it is comes exactly once.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use statecast_state::query::{Query, Sort};
use statecast_state::{Position, TenantId, Twin};

use super::fleet::{document, empty, key, now};
use crate::{Question, Search, Settings};

const SORTS: &[&str] = &["", "-id", "a", "-a", "a,-b", "relevance", "relevance,-a", "-b,relevance"];
const QUERY: &str = "pump OR valve* OR a:1..3";

fn state() -> impl Strategy<Value = Value> {
    let a =
        prop_oneof![(0..5).prop_map(Value::from), Just(json!("x")), Just(Value::Null), Just(json!([2, "y"]))];
    let words = vec(proptest::sample::select(vec!["pump", "valve", "valves", "other"]), 0..4);
    (a, 0..3, words).prop_map(|(a, b, words)| json!({"a": a, "b": b, "note": words.join(" ")}))
}

/// A device, by its number, and its new state; none removes it.
fn updates() -> impl Strategy<Value = Vec<(usize, Option<Value>)>> {
    vec((0..30_usize, proptest::option::weighted(0.8, state())), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_stays_as_it_is_comes_exactly_once(
        fleet in vec(state(), 5..30),
        rounds in vec(updates(), 1..8),
        sort in proptest::sample::select(SORTS),
        limit in 1..7_usize,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let search = Search::open(dir.path(), Settings::default()).unwrap();
        let mut generation = empty(&search);
        let mut states: BTreeMap<usize, Value> = fleet.into_iter().enumerate().collect();
        let mut write = |updates: &[(usize, Option<Value>)]| {
            for (nth, state) in updates {
                let key = key(&format!("d{nth}"));
                let twin = |state| Twin { reported: document(state), ..Twin::new(key.device.clone()) }.into();
                generation.write([(key.clone(), state.as_ref().map(twin))]).unwrap();
            }
            generation.commit(Position(1)).unwrap();
            search.show(generation.view(Position(1)));
        };
        write(&states.iter().map(|(nth, state)| (*nth, Some(state.clone()))).collect::<Vec<_>>());

        let (tenant, query, sort) = (TenantId::default(), Query::parse(QUERY).unwrap(), Sort::parse(sort).unwrap());
        let matches = |state: &Value| {
            query.matches(&Twin { reported: document(state), ..Twin::new(key("d").device) }, now())
        };
        let mut still: BTreeSet<usize> =
            states.iter().filter(|(_, state)| matches(state)).map(|(nth, _)| *nth).collect();
        let mut seen: Vec<String> = Vec::new();
        let mut cursor: Option<String> = None;
        let mut rounds = rounds.into_iter();
        loop {
            let question = Question::new(&tenant, &query, now());
            let page = search
                .search(&Question { sort: &sort, limit, cursor: cursor.as_deref(), ..question })
                .unwrap();
            seen.extend(page.ids.iter().map(ToString::to_string));
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
            let updates = rounds.next().unwrap_or_default();
            // What is written without a change stays as it is.
            for (nth, state) in &updates {
                if states.get(nth) != state.as_ref() {
                    still.remove(nth);
                }
                match state {
                    Some(state) => states.insert(*nth, state.clone()),
                    None => states.remove(nth),
                };
            }
            write(&updates);
        }
        for nth in still {
            let times = seen.iter().filter(|id| **id == format!("d{nth}")).count();
            prop_assert_eq!(times, 1, "d{} by {:?} in {:?}", nth, sort, seen);
        }
    }
}
