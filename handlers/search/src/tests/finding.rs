use serde_json::json;
use statecast_state::query::{Field, Query, Sort};
use statecast_state::{Position, TenantId, Twin};

use super::fleet::{document, empty, key, now};
use crate::{FacetCounts, Search, SearchError, Settings};

fn index(dir: &std::path::Path) -> Search {
    let search = Search::open(dir, Settings::default()).unwrap();
    let mut generation = empty(&search);
    let states = [
        json!({"kind": "door", "floor": 1, "open": true, "list": ["a", "A", "b"]}),
        json!({"kind": "Door", "floor": 1.0, "open": false, "list": ["b"]}),
        json!({"kind": "meter", "floor": "1"}),
        json!({"kind": 7}),
    ];
    for (nth, state) in states.into_iter().enumerate() {
        let key = key(&format!("d{nth}"));
        let twin = Twin { reported: document(&state), ..Twin::new(key.device.clone()) };
        generation.write([(&key, &Some(twin.into()))]).unwrap();
        generation.commit(Position(1)).unwrap();
    }
    search.show(generation.view(Position(1)));
    search
}

#[test]
fn facets_count_devices() {
    let dir = tempfile::tempdir().unwrap();
    let search = index(dir.path());
    let facets = ["kind", "floor", "open", "list", "nothing"].map(|path| Field::Reported(path.into()));
    let query = Query::parse("-kind:7").unwrap();
    let found = search.search(&TenantId::default(), &query, &[], 1, None, &facets, now()).unwrap();
    let values: Vec<_> = found.facets.into_iter().map(|FacetCounts { values, .. }| values).collect();
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
    let query = Query::parse("").unwrap();
    let page = |sort: &str, cursor: Option<&str>| {
        let sort = Sort::parse(sort).unwrap();
        search.search(&TenantId::default(), &query, &sort, 3, cursor, &[], now())
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
    for query in ["", "kind:door", "-kind:door"] {
        let query = Query::parse(query).unwrap();
        assert_eq!(search.search(&stranger, &query, &[], 10, None, &[], now()).unwrap().total, 0);
    }
}
