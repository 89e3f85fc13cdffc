//! What a payload says, as far as the channels care: a look at the JSON that a rule made, without changing it.

use serde_json::{Map, Value};
use statecast_state::Timestamp;

/// How soon a person should see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Urgency {
    /// When the phone is looked at.
    Low,
    /// Soon.
    Normal,
    /// Now.
    High,
}

/// One payload.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a>(&'a Value);

impl<'a> Message<'a> {
    pub(crate) fn of(payload: &'a Value) -> Self {
        Self(payload)
    }

    fn text(self, pointer: &str) -> Option<&'a str> {
        self.0.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// The first line; the name of the rule where the template gave nothing.
    pub(crate) fn title(self) -> &'a str {
        self.text("/title").or(self.text("/rule/name")).or(self.text("/device")).unwrap_or("Statecast")
    }

    /// The text below it; may be empty.
    pub(crate) fn body(self) -> &'a str {
        self.text("/body").unwrap_or_default()
    }

    /// What a later message about the same replaces on the phone: the alarm.
    pub(crate) fn collapse(self) -> Option<&'a str> {
        self.text("/alarm/id")
    }

    /// Which state of the alarm it tells of: a client drops what is older than what it has.
    pub(crate) fn alarm_version(self) -> u64 {
        self.0.pointer("/alarm/version").and_then(Value::as_u64).unwrap_or_default()
    }

    /// What messages are shown together by.
    pub(crate) fn thread(self) -> Option<&'a str> {
        self.text("/rule/id")
    }

    /// The deep link.
    pub(crate) fn link(self) -> Option<&'a str> {
        self.text("/link")
    }

    /// The signed token that lets whoever has this message answer it.
    pub(crate) fn token(self) -> Option<&'a str> {
        self.text("/token")
    }

    /// How soon, by the severity of the alarm.
    pub(crate) fn urgency(self) -> Urgency {
        match self.text("/alarm/severity") {
            Some("info") => Urgency::Low,
            Some("major" | "critical") => Urgency::High,
            _ => Urgency::Normal,
        }
    }

    /// It only brings what a phone shows up to date, and should make no sound: what people did, and that it is over.
    pub(crate) fn is_silent(self) -> bool {
        let updates = ["alarm.acknowledged", "alarm.cleared", "alarm.shelved", "alarm.unshelved"];
        self.text("/type").is_some_and(|kind| updates.contains(&kind))
    }

    /// The buttons: id and title.
    pub(crate) fn actions(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let actions = self.0.get("actions").and_then(Value::as_array);
        actions.into_iter().flatten().filter_map(|action| {
            let text = |key| action.get(key).and_then(Value::as_str);
            Some((text("id")?, text("title")?))
        })
    }

    /// All but title and body, for the app to act on.
    pub(crate) fn data(self) -> Map<String, Value> {
        let mut data = self.0.as_object().cloned().unwrap_or_default();
        data.remove("title");
        data.remove("body");
        data
    }
}

/// Whole seconds until a moment, none less than 0.
pub(crate) fn seconds_until(moment: Timestamp, now: Timestamp) -> i64 {
    moment.micros_since(now).max(0) / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_missing_has_a_sensible_stand_in() {
        let payload = json!({"type":"rule.enter","rule":{"name":"low"},"title":"","device":"pump"});
        let message = Message::of(&payload);
        assert_eq!((message.title(), message.body()), ("low", ""));
        assert_eq!((message.urgency(), message.is_silent()), (Urgency::Normal, false));
        assert_eq!((message.collapse(), message.actions().count()), (None, 0));
        assert_eq!(Message::of(&Value::Null).title(), "Statecast");
    }

    #[test]
    fn severity_and_type_say_how_soon_and_how_loud() {
        let message =
            |kind: &str, severity: &str| json!({"type":kind,"alarm":{"id":"a","severity":severity}});
        let critical = message("alarm.raised", "critical");
        assert_eq!(
            (Message::of(&critical).urgency(), Message::of(&critical).is_silent()),
            (Urgency::High, false)
        );
        let cleared = message("alarm.cleared", "info");
        assert_eq!(
            (Message::of(&cleared).urgency(), Message::of(&cleared).is_silent()),
            (Urgency::Low, true)
        );
    }
}
