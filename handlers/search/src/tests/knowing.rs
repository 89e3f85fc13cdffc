//! What a fleet is known to have: fields, values, words, and what was perhaps meant. Never another tenant's.

use serde_json::json;
use statecast_state::query::{Field, Query};
use statecast_state::{DeviceKey, Position, TenantId, Twin};

use super::finding::index_of;
use super::fleet::{document, empty, key, now};
use crate::{Kind, Question, Search, Settings};

fn fields(search: &Search, tenant: &TenantId, part: &str) -> Vec<(String, usize)> {
    let found = search.fields(tenant, part, 10).unwrap();
    found.into_iter().map(|known| (known.field.to_string(), known.devices)).collect()
}

fn meant(search: &Search, tenant: &TenantId, query: &str) -> Option<(String, usize)> {
    let query = Query::parse(query).unwrap();
    let meant = search.did_you_mean(&Question::new(tenant, &query, now())).unwrap();
    meant.map(|meant| (meant.query, meant.total))
}

#[test]
fn fields_values_and_words_are_those_of_the_fleet() {
    let dir = tempfile::tempdir().unwrap();
    let search = index_of(
        dir.path(),
        &[
            json!({"battery": 20, "site": "North Hall", "wifi": {"rssi": -70}}),
            json!({"battery": 20, "site": "north hall", "seen": true, "Rate": 1.5}),
            json!({"battery": "low", "site": "South", "a:b": 1}),
        ],
    );
    let tenant = TenantId::default();
    let named = |part: &str| fields(&search, &tenant, part);
    assert_eq!(named("ba"), [("battery".to_owned(), 3)]);
    let all = named("");
    assert_eq!(all[..2], [("battery".to_owned(), 3), ("site".to_owned(), 3)]);
    assert!(all.iter().all(|(field, _)| field != "a:b"), "a query can't name it");
    assert_eq!(
        named("r"),
        ["Rate", "reported.seen", "battery", "wifi.rssi"]
            .map(|name| { (name.to_owned(), if name == "battery" { 3 } else { 1 }) }),
        "what begins so comes first"
    );
    let kinds = |name: &str| search.fields(&tenant, name, 1).unwrap()[0].kinds.clone();
    assert_eq!(kinds("battery"), [Kind::Number, Kind::Text]);
    assert_eq!(kinds("reported.seen"), [Kind::Truth]);
    assert_eq!(kinds("wifi"), []);

    let values =
        |field: &str, start: &str| search.values(&tenant, &Field::Reported(field.into()), start, 10).unwrap();
    assert_eq!(values("site", "NOR"), [(json!("north hall"), 2)]);
    assert_eq!(values("battery", ""), [(json!(20), 2), (json!("low"), 1)]);
    assert_eq!(values("Rate", "1."), [(json!(1.5), 1)]);
    assert_eq!(values("seen", "t"), [(json!(true), 1)]);
    assert_eq!(values("nothing", ""), []);
    assert_eq!(search.words(&tenant, "H", 10).unwrap(), [("hall".to_owned(), 2)]);
}

#[test]
fn what_was_replaced_is_not_known() {
    let dir = tempfile::tempdir().unwrap();
    let search = Search::open(dir.path(), Settings::default()).unwrap();
    let mut generation = empty(&search);
    for state in [json!({"old": "gone", "new": 7}), json!({"new": "there"})] {
        let twin = Twin { reported: document(&state), ..Twin::new(key("d").device) };
        generation.write([(key("d"), Some(twin.into()))]).unwrap();
        generation.commit(Position(1)).unwrap();
    }
    search.show(generation.view(Position(1)));
    let tenant = TenantId::default();
    assert_eq!(fields(&search, &tenant, ""), [("new".to_owned(), 1)]);
    assert_eq!(search.fields(&tenant, "new", 1).unwrap()[0].kinds, [Kind::Text]);
    assert_eq!(search.words(&tenant, "gon", 10).unwrap(), []);
    assert_eq!(meant(&search, &tenant, "gome"), None);
}

#[test]
fn spelling_is_helped_from_the_fleet() {
    let dir = tempfile::tempdir().unwrap();
    let search = index_of(
        dir.path(),
        &[
            json!({"kind": "thermostat", "site": "front door", "floor": 1}),
            json!({"kind": "thermostat", "site": "front yard"}),
            json!({"kind": "valve", "site": "fronts"}),
        ],
    );
    let tenant = TenantId::default();
    let meant = |query: &str| meant(&search, &tenant, query);
    let to = |query: &str, total| Some((query.to_owned(), total));
    assert_eq!(meant("themrostta"), to("thermostat", 2), "two exchanges in a long word");
    assert_eq!(meant("vlave"), to("valve", 1));
    assert_eq!(meant("vvavle"), None, "two differences in a short word");
    assert_eq!(meant("frony"), to("front", 2), "of the near ones that of most devices");
    assert_eq!(meant("kind:thermostart -floor:1"), to("kind:thermostat -floor:1", 1));
    assert_eq!(meant("site:\"frontdoor\""), to("site:\"front door\"", 1));
    assert_eq!(meant("\"fromt door\" OR valv"), to("\"front door\" OR valve", 2));
    assert_eq!(meant("valve thermostat"), None, "each is known");
    assert_eq!(meant("-themostat xyz"), None);
    assert_eq!(meant("id:d99"), None, "an id isn't spelled");
    assert_eq!(meant("vlave floor:1"), None, "corrected it finds nothing either");
}

#[test]
fn a_tenant_is_told_nothing_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let search = Search::open(dir.path(), Settings::default()).unwrap();
    let mut generation = empty(&search);
    // Names that would meet if the tenant weren't a part of its own.
    let tenants = ["a", "ab", "b"].map(|tenant| TenantId::parse(tenant).unwrap());
    for tenant in &tenants {
        let key = DeviceKey::new(tenant.clone(), key("d").device);
        let state = json!({ format!("secret-of-{tenant}"): format!("word-of-{tenant}"), "shared": 1 });
        let twin = Twin { reported: document(&state), ..Twin::new(key.device.clone()) };
        generation.write([(key, Some(twin.into()))]).unwrap();
    }
    generation.commit(Position(1)).unwrap();
    search.show(generation.view(Position(1)));
    for tenant in &tenants {
        let own = format!("secret-of-{tenant}");
        assert_eq!(fields(&search, tenant, ""), [(own.clone(), 1), ("shared".to_owned(), 1)]);
        let value = search.values(tenant, &Field::Reported(own), "", 10).unwrap();
        assert_eq!(value, [(json!(format!("word-of-{tenant}")), 1)]);
        for other in tenants.iter().filter(|other| *other != tenant) {
            let field = Field::Reported(format!("secret-of-{other}"));
            assert_eq!(search.values(tenant, &field, "", 10).unwrap(), []);
        }
        let words = search.words(tenant, "", 10).unwrap();
        let expected = ["d".to_owned(), "of".to_owned(), tenant.to_string(), "word".to_owned()];
        let mut words: Vec<_> = words.into_iter().map(|(word, _)| word).collect();
        words.sort();
        let mut expected = expected.to_vec();
        expected.sort();
        assert_eq!(words, expected);
    }
    assert_eq!(meant(&search, &tenants[2], "word-of-ac"), None);
}
