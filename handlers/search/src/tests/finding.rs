use serde_json::{Value, json};
use statecast_state::query::{Field, Histogram, Query, Sort};
use statecast_state::{Position, TenantId, Twin};

use super::fleet::{document, empty, key, now};
use crate::facets::{DISTINCT_MAX, FACET_VALUES_MAX};
use crate::{FacetCounts, Question, Search, SearchError, Settings};

fn index(dir: &std::path::Path) -> Search {
    let states = [
        json!({"kind": "door", "floor": 1, "open": true, "list": ["a", "A", "b"]}),
        json!({"kind": "Door", "floor": 1.0, "open": false, "list": ["b"]}),
        json!({"kind": "meter", "floor": "1"}),
        json!({"kind": 7}),
    ];
    index_of(dir, &states)
}

/// The devices `d0`, `d1` and so on with these states, each in a segment of its own.
pub(super) fn index_of(dir: &std::path::Path, states: &[Value]) -> Search {
    let search = Search::open(dir, Settings::default()).unwrap();
    let mut generation = empty(&search);
    for (nth, state) in states.iter().enumerate() {
        let key = key(&format!("d{nth}"));
        let twin = Twin { reported: document(state), ..Twin::new(key.device.clone()) };
        generation.write([(key, Some(twin.into()))]).unwrap();
        generation.commit(Position(1)).unwrap();
    }
    search.show(generation.view(Position(1)));
    search
}

#[test]
fn facets_have_a_bound() {
    let dir = tempfile::tempdir().unwrap();
    let values = |count: usize| (0..count).collect::<Vec<_>>();
    let [most, more] = [DISTINCT_MAX, DISTINCT_MAX + 1].map(values);
    let search = index_of(dir.path(), &[json!({"most": most, "more": more}), json!({"most": most})]);
    let (tenant, query) = (TenantId::default(), Query::parse("").unwrap());
    let facet = |path: &str| {
        let facets = [Field::Reported(path.into())];
        let question = Question { facets: &facets, ..Question::new(&tenant, &query, now()) };
        search.search(&question).map(|found| (found.facets[0].more, found.facets[0].values[0].count))
    };
    assert_eq!(facet("most").unwrap(), (DISTINCT_MAX - FACET_VALUES_MAX, 2));
    assert_eq!(
        facet("more").unwrap_err().to_string(),
        "facets of more than 100,000 different values: narrow the query"
    );
}

#[test]
fn facets_count_devices() {
    let dir = tempfile::tempdir().unwrap();
    let search = index(dir.path());
    let facets = ["kind", "floor", "open", "list", "nothing"].map(|path| Field::Reported(path.into()));
    let (tenant, query) = (TenantId::default(), Query::parse("-kind:7").unwrap());
    let question = Question { facets: &facets, limit: 1, ..Question::new(&tenant, &query, now()) };
    let found = search.search(&question).unwrap();
    let counts =
        |facet: FacetCounts| facet.values.into_iter().map(|value| (value.value, value.count)).collect();
    let values: Vec<Vec<_>> = found.facets.into_iter().map(counts).collect();
    assert_eq!(
        values,
        [
            vec![(json!("door"), 2), (json!("meter"), 1)],
            vec![(json!(1), 2), (json!("1"), 1)],
            vec![(json!(false), 1), (json!(true), 1)],
            vec![(json!("b"), 2), (json!("a"), 1)],
            vec![],
        ]
    );
    assert_eq!((found.total, found.ids.len()), (3, 1));
}

#[test]
fn a_cursor_belongs_to_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let search = index(dir.path());
    let (tenant, query) = (TenantId::default(), Query::parse("").unwrap());
    let page = |sort: &str, cursor: Option<&str>| {
        let sort = Sort::parse(sort).unwrap();
        search.search(&Question { sort: &sort, limit: 3, cursor, ..Question::new(&tenant, &query, now()) })
    };
    let cursor = page("-floor", None).unwrap().next_cursor.unwrap();
    assert_eq!(page("-floor", Some(&cursor)).unwrap().ids.len(), 1);
    for (sort, cursor) in [("floor", cursor.as_str()), ("-floor", "nonsense"), ("-floor", "")] {
        assert!(matches!(page(sort, Some(cursor)), Err(SearchError::Cursor)));
    }
}

#[test]
fn a_tenant_sees_its_own_devices() {
    let dir = tempfile::tempdir().unwrap();
    let search = index(dir.path());
    let stranger = TenantId::parse("stranger").unwrap();
    for query in ["", "kind:door", "-kind:door", "door", "do*", "kind:d*"] {
        let query = Query::parse(query).unwrap();
        assert_eq!(search.search(&Question::new(&stranger, &query, now())).unwrap().total, 0);
    }
}

#[test]
fn statistics_are_of_all_that_matches() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = [
        json!({"site": "a", "t": 1, "at": "2026-11-22T10:59:00Z"}),
        json!({"site": "a", "t": [2, 2.0, "two"], "at": 1_795_345_200}),
        json!({"site": "b", "t": 30, "at": "2026-11-22T14:00:00+02:00"}),
        json!({"site": "b", "t": "thirty", "at": "soon"}),
        json!({"site": ["a", "b"], "t": true}),
        json!({"site": "c"}),
    ];
    let search = index_of(dir.path(), &fleet);
    let (tenant, query) = (TenantId::default(), Query::parse("-site:c").unwrap());
    let [t, site] = ["t", "site"].map(|path| [Field::Reported(path.into())]);
    let histograms = Histogram::parse("t:10,at:1h,seen", 8).unwrap();
    let question = Question::new(&tenant, &query, now());
    let found = search
        .search(&Question { stats: &t, facets: &site, facet_stats: &t, histograms: &histograms, ..question })
        .unwrap();

    let stats = &found.stats[0];
    assert_eq!((stats.devices, stats.count, stats.cardinality), (5, 4, 6), "1 2 30 two thirty true");
    let numbers = stats.numbers.as_ref().unwrap();
    assert_eq!((numbers.min, numbers.max, numbers.mean), (1.0, 30.0, 8.75));
    assert_eq!(numbers.percentiles, [1.0, 1.0, 1.0, 2.0, 2.0, 30.0, 30.0]);
    let by_site: Vec<_> = found.facets[0]
        .values
        .iter()
        .map(|value| (&value.value, value.count, value.stats[0].count, value.stats[0].cardinality))
        .collect();
    assert_eq!(by_site, [(&json!("a"), 3, 3, 4), (&json!("b"), 3, 1, 3)]);
    let counts = |nth: usize| -> Vec<_> {
        found.histograms[nth].buckets.iter().map(|(start, count)| (*start, *count)).collect()
    };
    assert_eq!(counts(0), [(0.0, 3), (10.0, 0), (20.0, 0), (30.0, 1)]);
    let hour = 3_600e6;
    assert_eq!(
        counts(1),
        [(1_795_341_600e6, 1), (1_795_341_600e6 + hour, 1), (1_795_341_600e6 + 2.0 * hour, 1)]
    );
    assert_eq!(counts(2), []);
}

#[test]
fn the_best_match_comes_first() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = [
        json!({"note": "pump"}),
        json!({"note": "pump pump rare"}),
        json!({"note": "valve"}),
        json!({"note": "pump", "more": "pump of a boiler"}),
        json!({"note": "rare"}),
    ];
    let search = index_of(dir.path(), &fleet);
    let ids = |query: &str| super::fleet::ids(&search, query, "relevance", 2);
    assert_eq!(ids("pump OR rare"), ["d1", "d4", "d3", "d0"]);
    assert_eq!(ids("pump*"), ["d1", "d3", "d0"]);
    assert_eq!(ids("\"pump of\" OR note:valve"), ["d3", "d2"], "what has no word comes last");
    let (tenant, sort) = (TenantId::default(), Sort::parse("relevance").unwrap());
    let query = Query::parse("-pump note:valve").unwrap();
    let question = Question { sort: &sort, ..Question::new(&tenant, &query, now()) };
    assert!(matches!(search.search(&question), Err(SearchError::Refused(_))));
}
