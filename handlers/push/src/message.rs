//! What a push says, as far as the channels care: a look at it, and at its payload as a rule made it.

use serde_json::{Map, Value};
use statecast_state::alarm::Severity;
use statecast_state::{Push, PushKind, Timestamp};

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

/// One push.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a> {
    push: &'a Push,
    payload: &'a Value,
}

impl<'a> Message<'a> {
    pub(crate) fn of(push: &'a Push) -> Self {
        Self { push, payload: &push.payload }
    }

    /// The same with a payload of which something was cut.
    pub(crate) fn cut(self, payload: &'a Value) -> Self {
        Self { payload, ..self }
    }

    fn text(self, pointer: &str) -> Option<&'a str> {
        self.payload.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
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
        self.push.alarm_version
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

    /// How soon.
    pub(crate) fn urgency(self) -> Urgency {
        match self.push.severity {
            _ if self.push.urgent => Urgency::High,
            Severity::Info => Urgency::Low,
            Severity::Warning | Severity::Minor => Urgency::Normal,
            Severity::Major | Severity::Critical => Urgency::High,
        }
    }

    /// It only brings what a phone shows up to date, and makes no sound.
    pub(crate) fn is_silent(self) -> bool {
        self.push.kind == PushKind::Update
    }

    /// The buttons: id and title.
    pub(crate) fn actions(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let actions = self.payload.get("actions").and_then(Value::as_array);
        actions.into_iter().flatten().filter_map(|action| {
            let text = |key| action.get(key).and_then(Value::as_str);
            Some((text("id")?, text("title")?))
        })
    }

    /// All but title and body, for the app to act on.
    pub(crate) fn data(self) -> Map<String, Value> {
        let mut data = self.payload.as_object().cloned().unwrap_or_default();
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
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;
    use statecast_state::{DeviceId, Position};
    use uuid::Uuid;

    /// A push of version 3 of alarm `a1`.
    pub(crate) fn push(kind: PushKind, severity: Severity) -> Push {
        let at = Timestamp::from_micros(0);
        Push {
            id: Uuid::nil(),
            rule: Uuid::nil(),
            receiver: Uuid::nil(),
            device: DeviceId::parse("boiler").unwrap(),
            position: Position(1),
            payload: json!({"type":"alarm.raised","alarm":{"id":"a1","version":3},"rule":{"id":"r1","name":"hot"},
                "device":"boiler","title":"boiler is hot","body":"90 °C","token":"t","reported":null,"version":7,
                "link":"https://state.example/alarms/a1",
                "actions":[{"id":"ack","title":"Acknowledge"},{"id":"shelve","title":"Later"},{"id":"dance","title":"x"}]}),
            created_at: at,
            deadline: Timestamp::from_micros(90_000_000),
            due_at: at,
            kind,
            alarm: None,
            alarm_version: 3,
            step: 0,
            person: None,
            severity,
            urgent: false,
            hold: None,
        }
    }

    #[test]
    fn what_is_missing_has_a_sensible_stand_in() {
        let mut push = push(PushKind::Alarm, Severity::Warning);
        push.payload = json!({"type":"rule.enter","rule":{"name":"low"},"title":"","device":"pump"});
        let message = Message::of(&push);
        assert_eq!((message.title(), message.body()), ("low", ""));
        assert_eq!((message.urgency(), message.is_silent()), (Urgency::Normal, false));
        assert_eq!((message.collapse(), message.actions().count()), (None, 0));
        assert_eq!(message.cut(&Value::Null).title(), "Statecast");
    }

    #[test]
    fn severity_and_kind_say_how_soon_and_how_loud() {
        let critical = push(PushKind::Alarm, Severity::Critical);
        assert_eq!(
            (Message::of(&critical).urgency(), Message::of(&critical).is_silent()),
            (Urgency::High, false)
        );
        let update = push(PushKind::Update, Severity::Info);
        assert_eq!((Message::of(&update).urgency(), Message::of(&update).is_silent()), (Urgency::Low, true));
        let urgent = Push { urgent: true, ..update };
        assert_eq!(Message::of(&urgent).urgency(), Urgency::High);
    }
}
