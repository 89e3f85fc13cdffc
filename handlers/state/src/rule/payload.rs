//! What is sent when something happened to an alarm, in the languages of those who are told.

use serde_json::{Value, json};

use super::{CompiledRule, REPORTED_BYTES_MAX};
use crate::alarm::{Alarm, Event, What};
use crate::document::size_of;
use crate::{Timestamp, Twin};

/// Longest title of a push, in characters.
const TITLE_CHARS_MAX: usize = 256;
/// Longest text of a push, in characters.
const BODY_CHARS_MAX: usize = 1_024;
/// Longest link of a push, in characters.
const LINK_CHARS_MAX: usize = 2_048;

/// The payloads for one event, each language made when it is first asked for.
pub(super) struct Payloads<'a> {
    rule: &'a CompiledRule,
    twin: &'a Twin,
    /// All but title and body.
    common: Value,
    made: Vec<(String, Value)>,
}

impl<'a> Payloads<'a> {
    pub(super) fn new(
        rule: &'a CompiledRule,
        alarm: &Alarm,
        event: &Event,
        twin: &'a Twin,
        now: Timestamp,
    ) -> Self {
        Self { rule, twin, common: common(rule, alarm, event, twin, now), made: Vec::new() }
    }

    /// The payload in this language, or in that of the rule where it has no other texts.
    pub(super) fn in_language(&mut self, language: &str) -> Value {
        if let Some((_, payload)) = self.made.iter().find(|(made, _)| made == language) {
            return payload.clone();
        }
        let (title, body) = self.rule.texts(language);
        let mut payload = self.common.clone();
        payload["title"] = Value::String(title.render(self.twin, TITLE_CHARS_MAX));
        payload["body"] = Value::String(body.render(self.twin, BODY_CHARS_MAX));
        self.made.push((language.to_owned(), payload.clone()));
        payload
    }
}

/// `reported` is null when it is too large; then `reported_left_out` is there, and true. What can be done from the
/// push itself stands in `actions`; apps that know the ids may use words of their own.
fn common(rule: &CompiledRule, alarm: &Alarm, event: &Event, twin: &Twin, now: Timestamp) -> Value {
    let kind = match event.what {
        What::Reraised => What::Raised,
        What::Unshelved => What::Repeated,
        other => other,
    };
    let fits = size_of(&twin.reported) <= REPORTED_BYTES_MAX;
    let mut payload = json!({
        "type": format!("alarm.{}", kind.as_str()),
        "alarm": {
            "id": alarm.id, "version": event.version, "severity": event.severity, "state": alarm.state(),
            "count": alarm.count,
        },
        "rule": { "id": rule.rule().id, "name": rule.rule().form.name },
        "device": twin.device,
        "title": "",
        "body": "",
        "at": now,
        "reported": if fits { Value::Object(twin.reported.clone()) } else { Value::Null },
        "version": twin.version,
    });
    if let Some(link) = rule.link.as_ref().and_then(|link| link.link(twin, LINK_CHARS_MAX)) {
        payload["link"] = Value::String(link);
    }
    if !event.what.is_update() {
        payload["actions"] =
            json!([{ "id": "ack", "title": "Acknowledge" }, { "id": "shelve", "title": "Shelve for 1 h" }]);
    }
    if !fits {
        payload["reported_left_out"] = Value::Bool(true);
    }
    payload
}
