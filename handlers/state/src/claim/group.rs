//! The payload of a push that goes for several: that of the first, and the others named in it.

use serde_json::{Value, json};

/// Alarms that are named; the others are only counted.
pub const NAMED_MAX: usize = 5;
/// Longest title of one that is named, in characters.
const TITLE_CHARS_MAX: usize = 60;

/// The payload of the first, as one for `count` alarms of which `others` are some. Words come from the rules alone, so
/// that it is in the language of the person. It has no buttons, as each would be for one alarm: it opens the list.
pub fn payload(first: &Value, others: &[Value], count: usize) -> Value {
    let named = || std::iter::once(first).chain(others).take(NAMED_MAX);
    let more = count.saturating_sub(named().count());
    let mut lines: Vec<String> = named().map(title).collect();
    lines.extend((more > 0).then(|| format!("+{more}")));
    let mut payload = first.clone();
    payload["title"] = json!(format!("{} (+{})", title(first), count.saturating_sub(1)));
    payload["body"] = json!(lines.join("\n"));
    payload["reported"] = Value::Null;
    payload["actions"] = json!([]);
    payload["group"] = json!({ "count": count, "alarms": named().map(member).collect::<Vec<_>>() });
    payload
}

fn member(payload: &Value) -> Value {
    let alarm = &payload["alarm"];
    json!({
        "id": alarm["id"], "version": alarm["version"], "severity": alarm["severity"], "device": payload["device"],
        "title": title(payload),
    })
}

fn title(payload: &Value) -> String {
    payload["title"].as_str().unwrap_or_default().chars().take(TITLE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(n: u32) -> Value {
        json!({
            "title": format!("pump-{n} is low"), "body": "x", "device": format!("pump-{n}"), "reported": {"a": 1},
            "actions": [{"id": "ack"}], "alarm": {"id": n, "version": 1, "severity": "minor", "state": "active"},
        })
    }

    #[test]
    fn the_first_speaks_for_all() {
        let two = payload(&one(1), &[one(2)], 2);
        assert_eq!(
            (&two["title"], &two["body"]),
            (&json!("pump-1 is low (+1)"), &json!("pump-1 is low\npump-2 is low"))
        );
        assert_eq!(
            (&two["alarm"]["id"], &two["actions"], &two["reported"]),
            (&json!(1), &json!([]), &Value::Null)
        );
        assert_eq!(
            two["group"]["alarms"][1],
            json!({"id":2,"version":1,"severity":"minor","device":"pump-2","title":"pump-2 is low"})
        );
    }

    #[test]
    fn only_some_are_named() {
        let others: Vec<Value> = (2..50).map(one).collect();
        let many = payload(&one(1), &others, 90);
        assert_eq!(many["group"]["alarms"].as_array().map(Vec::len), Some(NAMED_MAX));
        assert!(many["body"].as_str().is_some_and(|body| body.ends_with("\n+85")));
        assert!(many.to_string().len() < 2_000);
    }
}
