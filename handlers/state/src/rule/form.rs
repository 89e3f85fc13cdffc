//! What a person writes to have a rule.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Span;
use crate::alarm::Severity;

/// A rule, as it is stored and shown: the form, flat, with an id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Which rule, within its tenant.
    pub id: Uuid,
    /// What a person wrote.
    #[serde(flatten)]
    pub form: RuleForm,
}

/// What is sent to create or replace a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleForm {
    /// What people call it.
    pub name: String,
    /// Which twins it is about, in the query language. Without times relative to now.
    pub query: String,
    /// What its alarms are about; `enter` when left out.
    #[serde(default)]
    pub on: On,
    /// How long the condition has to hold without a break before the alarm is raised; for a rule of absence, how long
    /// the device wasn't seen. Like `10m`.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub lasting: Option<Span>,
    /// After an alarm was raised it isn't raised again for so long; if its condition holds then, it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooldown: Option<Span>,
    /// How bad it is where no level matches; `warning` when left out.
    #[serde(default)]
    pub severity: Severity,
    /// How bad it is for which twins: of those that match, the worst counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<Level>,
    /// The title of a push: a [`super::Template`].
    pub title: String,
    /// The text of a push: a [`super::Template`]; empty when left out.
    #[serde(default)]
    pub body: String,
    /// The same in other languages, by language tag such as `de`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub texts: BTreeMap<String, Text>,
    /// What a push opens: a [`super::Template`] of an address; none when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Which receivers are told. Without any, without people and without an audience: all that are enabled.
    #[serde(default)]
    pub receivers: Vec<Uuid>,
    /// Which people are told, by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<String>,
    /// Which other people are told: a query over people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// While nobody acknowledges it, those who were told are told again after each of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<Span>,
    /// How often at most; 10 when left out.
    #[serde(default = "ten")]
    pub repeat_max: u32,
    /// Who else is told while nobody acknowledges it, the earliest step first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub escalation: Vec<Escalation>,
    /// False for a rule on change that only passes on what devices report: it has no alarms, and its receivers get each
    /// report. True when left out.
    #[serde(default = "enabled")]
    pub alarm: bool,
    /// A rule that isn't enabled has no alarms; true when left out.
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// Seconds after which a push that couldn't be delivered is given up; a day when left out.
    #[serde(default = "a_day")]
    pub ttl_s: u32,
}

fn enabled() -> bool {
    true
}

fn a_day() -> u32 {
    24 * 3_600
}

fn ten() -> u32 {
    10
}

impl RuleForm {
    /// The rule with this id.
    pub fn into_rule(self, id: Uuid) -> Rule {
        Rule { id, form: self }
    }
}

/// What the alarms of a rule are about. A twin that doesn't exist matches no query.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum On {
    /// The twin matches.
    #[default]
    Enter,
    /// The twin doesn't match any more, and did before. A removed one leaves.
    Leave,
    /// What a twin that matches reports changed: an alarm that is over as soon as it is raised.
    Change,
    /// The twin matches, and its device wasn't seen for as long as the rule says.
    Absence,
}

impl On {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enter => "enter",
            Self::Leave => "leave",
            Self::Change => "change",
            Self::Absence => "absence",
        }
    }
}

/// How bad it is for some twins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// How bad.
    pub severity: Severity,
    /// For which, in the query language. Without times relative to now.
    pub query: String,
}

/// Title and text in one language: templates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// The title.
    pub title: String,
    /// The text; empty when left out.
    #[serde(default)]
    pub body: String,
}

/// One step: who else is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Escalation {
    /// After nobody acknowledged the alarm for so long, counted from when it was raised.
    pub after: Span,
    /// Which receivers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub receivers: Vec<Uuid>,
    /// Which people, by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<String>,
    /// Which other people: a query over people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
}
