//! Whether a twin matches, in memory. Keeps to the definitions in [`super`].

use super::ast::Expr;
use super::fields::{Field, any_text, any_value};
use super::text::{equals, fold, is_near, tokens_of};
use crate::{Timestamp, Twin};

/// Whether the twin matches at `now`.
pub(super) fn matches(expr: &Expr, twin: &Twin, now: Timestamp) -> bool {
    match expr {
        Expr::All => true,
        Expr::And(members) => members.iter().all(|member| matches(member, twin, now)),
        Expr::Or(members) => members.iter().any(|member| matches(member, twin, now)),
        Expr::Not(inner) => !matches(inner, twin, now),
        Expr::Word(word) => any_text(twin, &mut |text| tokens_of(&fold(text)).any(|token| token == word)),
        Expr::Prefix(start) => {
            any_text(twin, &mut |text| tokens_of(&fold(text)).any(|token| token.starts_with(start.as_str())))
        }
        Expr::Fuzzy { word, edits } => {
            any_text(twin, &mut |text| tokens_of(&fold(text)).any(|token| is_near(token, word, *edits)))
        }
        Expr::Phrase(words) => any_text(twin, &mut |text| {
            let folded = fold(text);
            let tokens: Vec<&str> = tokens_of(&folded).collect();
            tokens.windows(words.len()).any(|window| window == words)
        }),
        Expr::Exists(Field::Id | Field::Online) => true,
        Expr::Exists(Field::Seen) => twin.received_at.is_some(),
        Expr::Exists(field) => any(field, twin, |_| true),
        Expr::Equals { field: Field::Id, value } => equals(twin.device.as_str(), &value.text),
        Expr::Equals { field, value } => any(field, twin, |found| value.matches(found)),
        Expr::Like { field: Field::Id, pattern } => pattern.matches(twin.device.as_str()),
        Expr::Like { field, pattern } => {
            any(field, twin, |found| found.as_str().is_some_and(|text| pattern.matches(text)))
        }
        Expr::Within { field: Field::Seen, range } => {
            twin.received_at.is_some_and(|time| range.time(time, now))
        }
        Expr::Within { field, range } => any(field, twin, |found| range.matches(found, now)),
        Expr::Online(online) => twin.presence.online == *online,
    }
}

fn any(field: &Field, twin: &Twin, mut test: impl FnMut(&serde_json::Value) -> bool) -> bool {
    field.locate(twin).is_some_and(|(document, path)| any_value(document, path, &mut test))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::query::{Query, text::WHOLE_BYTES_MAX};
    use crate::{DeviceId, Presence};
    use serde_json::{Value, json};

    fn now() -> Timestamp {
        Timestamp::parse("2026-11-22T18:00:00Z").unwrap()
    }

    fn twin() -> Twin {
        let document = |value: Value| serde_json::from_value(value).unwrap();
        Twin {
            reported: document(json!({
                "type":"Thermostat","battery":19,"temperature":21.5,"code":"20","level":20,"on":true,"word":"TRUE",
                "firmware":"1.2.10","installed":"2026-02-03T10:00:00Z","due":1_795_543_200,"wifi":{"rssi":-70,"ssid":"Front Door"},"a.b":5,
                "list":[1,[2,"x"],{"port":80},null],"empty":{},"nothing":[],"id":"inner","big":9_007_199_254_740_993_u64,
            })),
            desired: document(json!({"mode":"eco"})),
            tags: document(json!({"site":"lab","rooms":["ward-5","Hall"]})),
            presence: Presence { online: true, ..Presence::default() },
            received_at: Some(now().plus_micros(-1_800_000_000)),
            ..Twin::new(DeviceId::parse("pump-07:A").unwrap())
        }
    }

    fn finds(query: &str) -> bool {
        Query::parse(query).unwrap_or_else(|error| panic!("{query}: {error}")).matches(&twin(), now())
    }

    #[test]
    fn what_matches_and_what_does_not() {
        for (query, expected) in [
            ("", true),
            ("*", true),
            // Equality.
            ("type:thermostat", true),
            ("type:thermo", false),
            ("Type:thermostat", false),
            ("reported.type:THERMOSTAT", true),
            ("battery:19", true),
            ("battery:19.0", true),
            ("battery:1.9e1", true),
            ("battery:\"19\"", false),
            ("code:20", true),
            ("code:20.0", false),
            ("code:\"20\"", true),
            ("level:20", true),
            ("on:TRUE", true),
            ("on:\"true\"", false),
            ("word:true", true),
            ("wifi.ssid:\"front door\"", true),
            ("wifi.ssid:\"front\"", false),
            ("wifi:\"front door\"", false),
            ("a.b:5", true),
            ("big:9007199254740992", true),
            // Arrays.
            ("list:1", true),
            ("list:2", true),
            ("list:X", true),
            ("list.port:80", true),
            ("list:80", false),
            ("tags.rooms:hall", true),
            ("list:null", false),
            // Existence.
            ("has:wifi", true),
            ("has:wifi.rssi", true),
            ("wifi:*", true),
            ("has:empty has:nothing", true),
            ("has:error", false),
            ("has:tags.site", true),
            ("has:site", false),
            ("has:id has:online has:seen", true),
            // Patterns.
            ("firmware:1.2.*", true),
            ("firmware:1.2.?", false),
            ("firmware:1.?.1?", true),
            ("battery:1*", false),
            ("type:*MO*", true),
            // Comparisons.
            ("battery:<20", true),
            ("battery:<19", false),
            ("battery:<=19 battery:>=19", true),
            ("battery:>18.9", true),
            ("code:<30 code:20.0..20.5", true),
            ("code:>20", false),
            ("firmware:>=1.2.9 firmware:<1.10 firmware:>1.2", true),
            ("firmware:>1.2.10", false),
            (
                "installed:>2026-01-01 installed:<-30d installed:2026-02-03 installed:2026-02-03T10:00:00Z",
                true,
            ),
            ("installed:2026-02-04", false),
            ("due:<+7d due:>now", true),
            ("due:<+1d", false),
            ("temperature:(>20 <22) type:(x OR thermostat) -type:(x OR y)", true),
            ("type:(x OR y)", false),
            ("type:>0", false),
            ("wifi.rssi:<-60", true),
            ("temperature:18..24", true),
            ("temperature:21.5..21.5", true),
            ("temperature:22..", false),
            ("temperature:..22", true),
            ("wifi.rssi:-80..-60", true),
            ("list:>1", true),
            ("missing:<1", false),
            // Built in.
            ("id:PUMP-07:a", true),
            ("id:pump*", true),
            ("id:pump", false),
            ("reported.id:inner", true),
            ("online:true", true),
            ("online:False", false),
            ("seen:>-1h", true),
            ("seen:<-1h", false),
            ("seen:<-29m seen:>-31m", true),
            ("seen:-1h..", true),
            ("seen:-1h..-45m", false),
            ("seen:2026-11-22", true),
            ("seen:>2026-11-22", false),
            ("seen:>=2026-11-22", true),
            ("seen:<=2026-11-22", true),
            ("seen:<2026-11-22", false),
            ("seen:2026-11-20..2026-11-22", true),
            ("seen:>2026-11-22T17:29:59Z", true),
            ("seen:<2026-11-22T19:29:59+02:00", false),
            ("seen:<=2026-11-22T17:30:00Z", true),
            ("seen:<2026-11-22T17:30:00Z", false),
            // Words.
            ("thermostat", true),
            ("THERMO*", true),
            ("thermo", false),
            ("themrostat~1 termostt~ frnot~1 10~1", true),
            ("termostt~1", false),
            ("eco lab hall", true),
            ("\"front door\"", true),
            ("\"door front\"", false),
            ("ward-5", true),
            ("\"hall ward\"", false),
            ("pump", true),
            ("battery", false),
            ("19", false),
            // Putting together.
            ("-tags.site:lab", false),
            ("-site:lab", true),
            ("NOT battery:>20", true),
            ("--online:true", true),
            ("lab AND eco", true),
            ("lab AND nowhere", false),
            ("nowhere OR lab", true),
            ("nowhere lab OR eco", true),
            ("nowhere (lab OR eco)", false),
            ("-(nowhere OR elsewhere)", true),
            ("and", false),
        ] {
            assert_eq!(finds(query), expected, "{query}");
        }
    }

    #[test]
    fn a_device_that_was_never_heard_matches_no_time() {
        let silent = Twin::new(DeviceId::parse("d").unwrap());
        let finds = |query: &str| Query::parse(query).unwrap().matches(&silent, now());
        assert!(!finds("seen:<-1h") && !finds("seen:>-1h") && !finds("has:seen"));
        assert!(finds("-seen:>-1h") && finds("id:d") && finds("d"));
    }

    #[test]
    fn long_strings_are_found_by_their_words_only() {
        let text = format!("needle {}", "x".repeat(WHOLE_BYTES_MAX));
        let mut twin = twin();
        twin.reported.insert("long".into(), text.into());
        let finds = |query: &str| Query::parse(query).unwrap().matches(&twin, now());
        assert!(finds("needle") && finds("has:long"));
        assert!(!finds("long:needle*"));
    }
}
