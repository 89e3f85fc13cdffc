//! What a fleet may do to an index: types that change, names without end, documents as large as they may be.

use std::time::Instant;

use serde_json::{Map, Value, json};
use statecast_state::query::Query;
use statecast_state::{Position, TenantId, Twin};

use super::fleet::{Fleet, Running, document, empty, key, now};
use crate::{Question, Search, Settings};

#[tokio::test]
async fn types_that_change() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::of(3);
    let index = Running::start(dir.path(), &fleet).await;
    let mixed =
        [json!(7), json!("7"), json!("seven"), json!(true), json!([7, "seven"]), json!({"x": 7}), json!(7.5)];
    for round in 0..mixed.len() {
        for (device, value) in mixed.iter().cycle().skip(round).take(mixed.len()).enumerate() {
            fleet.report(&format!("m{device}"), &json!({ "p": value }));
        }
        // Each round in segments of its own, where the property has other types.
        index.caught_up(&fleet).await;
        let totals =
            ["p:7", "p:>7", "p:seven", "p:true", "has:p", "p.x:7", "seven"].map(|query| index.total(query));
        assert_eq!(totals, [3, 1, 2, 1, 7, 1, 2], "round {round}");
        let kinds = index.ids("has:p", "p");
        let at = |value: usize| format!("m{}", (mixed.len() + value - round) % mixed.len());
        let numbers: Vec<_> = [at(0), at(4), at(6)].into();
        assert_eq!(kinds[2], numbers[2], "numbers first, the largest last");
        assert_eq!(kinds[5..], [at(3), at(5)], "truths before what has no value");
    }
    index.search.rebuild().await.unwrap();
    assert_eq!(["p:7", "p:>7", "p:seven", "p:true"].map(|query| index.total(query)), [3, 1, 2, 1]);
    index.stop().await;
}

#[tokio::test]
async fn ten_thousand_names() {
    const DEVICES: usize = 1_000;
    const EACH: usize = 10;
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::of(0);
    let state = |device: usize, round: usize| {
        let names = (0..EACH).map(|n| (format!("p{}", device * EACH + n), json!(n + round)));
        Value::Object(names.collect::<Map<_, _>>())
    };
    for device in 0..DEVICES {
        fleet.report(&format!("d{device:04}"), &state(device, 0));
    }
    let index = Running::start(dir.path(), &fleet).await;
    index.caught_up(&fleet).await;
    let begun = Instant::now();
    for round in 1..=5 {
        for device in 0..DEVICES {
            fleet.report(&format!("d{device:04}"), &state(device, round));
        }
        index.caught_up(&fleet).await;
    }
    eprintln!("5 rounds of {DEVICES} devices: {:?}", begun.elapsed());
    assert_eq!((index.total("has:p9999"), index.total("p9999:14"), index.total("p9999:13")), (1, 1, 0));
    assert_eq!(index.ids("p1234:>=0 OR p17:>5", "-p1234,id"), ["d0123", "d0001"]);
    let begun = Instant::now();
    assert_eq!(index.total("p5000:>0"), 1);
    eprintln!("a range over one of the names: {:?}", begun.elapsed());
    index.stop().await;
    let begun = Instant::now();
    let index = Running::start(dir.path(), &fleet).await;
    index.caught_up(&fleet).await;
    eprintln!("opened in {:?}", begun.elapsed());
    assert_eq!(index.total("has:p0"), 1);
    index.stop().await;
}

#[tokio::test]
async fn documents_of_64_kib() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::of(10);
    let index = Running::start(dir.path(), &fleet).await;
    let many: Map<_, _> = (0..2_900).map(|n| (format!("property{n:04}"), json!(n))).collect();
    let words: Vec<_> = (0..9_000).map(|n| format!("w{n:05}")).collect();
    let deep = (0..3_000).map(|n| json!({ "n": n, "s": "x" })).collect::<Vec<_>>();
    for (device, state) in [
        ("many", Value::Object(many)),
        ("long", json!({ "text": words.join(" ") })),
        ("array", json!({ "list": deep })),
    ] {
        assert!(state.to_string().len() > 50_000 && state.to_string().len() <= 65_536, "{device}");
        for _ in 0..3 {
            fleet.report(device, &state);
            index.caught_up(&fleet).await;
        }
    }
    assert_eq!(index.ids("property2899:2899", ""), ["many"]);
    assert_eq!(index.ids("\"w08998 w08999\"", ""), ["long"]);
    assert_eq!(index.ids("list.n:2999 list.s:x", "-list.n"), ["array"]);
    assert_eq!(index.verify(&fleet).await.unwrap().differed(), 0);
    index.stop().await;
}

/// Who adds documents waits while so many are on their way to the writer.
const QUEUE: usize = 10_000;

#[test]
fn more_devices_are_written_twice_than_wait_to_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let search = Search::open(dir.path(), Settings::default()).unwrap();
    let mut generation = empty(&search);
    // A segment is full after some thousands of them.
    let devices = |round: usize| {
        (0..QUEUE * 2).map(move |device| {
            let key = key(&format!("d{device:05}"));
            let reported =
                document(&json!({ "round": round, "device": device, "text": format!("t{device} r{round}") }));
            let twin = Twin { reported, ..Twin::new(key.device.clone()) };
            (key, Some(twin.into()))
        })
    };
    generation.write(devices(1)).unwrap();
    generation.write(devices(2)).unwrap();
    generation.commit(Position(1)).unwrap();
    search.show(generation.view(Position(1)));
    let total = |query: &str| {
        let query = Query::parse(query).unwrap();
        search.search(&Question::new(&TenantId::default(), &query, now())).unwrap().total
    };
    assert_eq!([total(""), total("round:2"), total("round:1")], [QUEUE * 2, QUEUE * 2, 0]);
}

#[test]
fn more_for_a_commit_than_there_is_memory_for() {
    const DEVICES: usize = 300;
    let dir = tempfile::tempdir().unwrap();
    let search = Search::open(dir.path(), Settings::default()).unwrap();
    let mut generation = empty(&search);
    let words: Vec<_> = (0..9_000).map(|n| format!("w{n:05}")).collect();
    let words = words.join(" ");
    let devices = |round: usize| {
        let reported = document(&json!({ "round": round, "text": words }));
        (0..DEVICES).map(move |device| {
            let key = key(&format!("d{device:03}"));
            let twin = Twin { reported: reported.clone(), ..Twin::new(key.device.clone()) };
            (key, Some(twin.into()))
        })
    };
    // Within a commit each device is written, and written again.
    for round in [1, 3] {
        generation.write(devices(round)).unwrap();
        generation.write(devices(round + 1)).unwrap();
        generation.commit(Position(1)).unwrap();
        search.show(generation.view(Position(1)));
        assert!(search.status().segments > 1, "it was too much for one");
        let total = |query: &str| {
            let query = Query::parse(query).unwrap();
            search.search(&Question::new(&TenantId::default(), &query, now())).unwrap().total
        };
        let last = format!("round:{}", round + 1);
        assert_eq!([total(""), total(&last), total("w08999")], [DEVICES; 3]);
    }
}
