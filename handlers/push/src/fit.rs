//! Makes a payload fit into what a channel takes, by leaving out in a fixed order what is worth least: the reported
//! state, then the longer half of the text, again and again, then which alarms were grouped, the name of the rule, the longer half of the title,
//! the buttons, the link. What says which alarm it is, and the token to answer it with, always stays. Whatever is cut,
//! the result is a whole document, and whole characters.

use bytes::Bytes;
use serde_json::Value;

/// A text is halved no further than this, in characters; then it goes.
const TEXT_CHARS_MIN: usize = 32;
/// A title is halved no further than this, in characters.
const TITLE_CHARS_MIN: usize = 16;
/// What stands where something was cut.
const CUT: char = '…';

/// The payload in the form of a channel, at most so many bytes of JSON. `form` makes the form from a payload of which
/// parts may be missing.
///
/// # Errors
/// A sentence, when nothing is left that could be cut.
pub(crate) fn fit(
    payload: &Value,
    bytes_max: usize,
    form: impl Fn(&Value) -> Value,
) -> Result<Bytes, String> {
    let whole = form(payload).to_string();
    if whole.len() <= bytes_max {
        return Ok(whole.into());
    }
    let mut payload = payload.clone();
    while shorten(&mut payload) {
        let shorter = form(&payload).to_string();
        if shorter.len() <= bytes_max {
            return Ok(shorter.into());
        }
    }
    let left = form(&payload).to_string().len();
    Err(format!("the payload has {left} bytes with all left out that can be, and may have {bytes_max}"))
}

/// Leaves out the next thing. False when there is none.
fn shorten(payload: &mut Value) -> bool {
    if !payload["reported"].is_null() {
        payload["reported"] = Value::Null;
        payload["reported_left_out"] = true.into();
        return true;
    }
    if halve(payload, "body", TEXT_CHARS_MIN) || remove(payload, "body") {
        return true;
    }
    let group = payload.get_mut("group").and_then(Value::as_object_mut);
    if group.and_then(|group| group.remove("alarms")).is_some() {
        return true;
    }
    let named = payload.get_mut("rule").and_then(Value::as_object_mut).and_then(|rule| rule.remove("name"));
    named.is_some()
        || halve(payload, "title", TITLE_CHARS_MIN)
        || remove(payload, "actions")
        || remove(payload, "link")
}

/// Keeps the first half of a text. False when it is too short for that already, or no text.
fn halve(payload: &mut Value, key: &str, chars_min: usize) -> bool {
    let Some(text) = payload.get(key).and_then(Value::as_str) else { return false };
    let chars = text.chars().count();
    if chars <= chars_min {
        return false;
    }
    let kept: String = text.chars().take((chars / 2).max(chars_min - 1)).chain([CUT]).collect();
    payload[key] = kept.into();
    true
}

fn remove(payload: &mut Value, key: &str) -> bool {
    payload.as_object_mut().and_then(|payload| payload.remove(key)).is_some()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn payload(body: &str, title: &str, reported: usize) -> Value {
        json!({"type":"alarm.raised","alarm":{"id":"0b7e","version":3},"rule":{"id":"77","name":"low"},
            "device":"pump","title":title,"body":body,"actions":[{"id":"ack","title":"Acknowledge"}],
            "link":"https://example.org/a","token":"t","reported":{"x":"y".repeat(reported)},"version":4})
    }

    #[test]
    fn nothing_is_cut_that_fits() {
        let payload = payload("a", "b", 10);
        assert_eq!(fit(&payload, payload.to_string().len(), Value::clone).unwrap(), payload.to_string());
    }

    #[test]
    fn what_is_worth_least_goes_first() {
        let cut = |body: usize, title: usize, reported: usize, bytes_max: usize| -> Value {
            let payload = payload(&"b".repeat(body), &"t".repeat(title), reported);
            serde_json::from_slice(&fit(&payload, bytes_max, Value::clone).unwrap()).unwrap()
        };
        let first = cut(100, 40, 500, 500);
        assert_eq!((&first["reported"], first["body"].as_str().unwrap().len()), (&Value::Null, 100));
        assert_eq!(first["reported_left_out"], true);
        let second = cut(1_000, 40, 500, 500);
        assert!(second["body"].as_str().unwrap().ends_with('…') && second["rule"]["name"] == "low");
        let last = cut(1_000, 400, 500, 200);
        assert!(last.get("body").is_none() && last.get("actions").is_none(), "{last}");
        assert_eq!((&last["alarm"]["version"], &last["token"]), (&json!(3), &json!("t")));
        assert!(fit(&payload("", "", 0), 100, Value::clone).unwrap_err().contains("may have 100"));
    }

    proptest! {
        /// Whatever a device sends, what comes out is small enough and whole.
        #[test]
        fn what_fits_is_whole(body in ".{0,2000}", title in ".{0,300}", reported in 0_usize..20_000) {
            let payload = payload(&body, &title, reported);
            let wrapped = |payload: &Value| json!({"data": payload.to_string()});
            let fitted = fit(&payload, 1_000, wrapped).unwrap();
            prop_assert!(fitted.len() <= 1_000);
            let outer: Value = serde_json::from_slice(&fitted).unwrap();
            let inner: Value = serde_json::from_str(outer["data"].as_str().unwrap()).unwrap();
            prop_assert_eq!(&inner["alarm"], &payload["alarm"]);
        }
    }
}
