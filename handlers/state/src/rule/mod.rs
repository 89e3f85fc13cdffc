//! Rules: who is told what when a twin enters or leaves a query, or its device is absent.
//!
//! A [`Rule`] is what a person wrote; a [`CompiledRule`] is one that was checked; a [`RuleSet`] is all that a
//! tenant has, and [`RuleSet::fire`] says which pushes a change of a twin causes. All of it is pure, so that a
//! change that is tried again causes the same pushes, with the same ids.
//!
//! - [`receiver`]: where a push can go
//! - [`template`]: title and body, with values of the twin
//! - [`span`]: how long something lasts
//! - `fire`: which rules a change fires, and the pushes
//! - `absence`: which rules fire because a device was absent, and when to look

pub mod receiver;
pub mod template;
pub mod span;
mod fire;
mod absence;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

pub use fire::{REPORTED_BYTES_MAX, RuleSet};
pub use receiver::{ApnsEnvironment, FcmForm, Receiver, ReceiverKind};
pub use span::Span;
pub use template::Template;

use crate::{Query, QueryError};

/// Longest name of a rule, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Longest title, as written, in bytes.
pub const TITLE_BYTES_MAX: usize = 256;
/// Longest body, as written, in bytes.
pub const BODY_BYTES_MAX: usize = 1_024;
/// Most receivers that a rule can name.
pub const RECEIVERS_MAX: usize = 64;
/// Longest time to live of a push: a week, in seconds.
pub const TTL_S_MAX: u32 = 7 * 24 * 3_600;

/// Shortest absence that a rule can be about: what is looked for more often than it is worth.
pub const FOR_MIN: Span = Span::from_secs(5);
/// Longest one: four weeks.
pub const FOR_MAX: Span = Span::from_secs(28 * 24 * 3_600);

/// A rule, as it is stored and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Which rule, within its tenant.
    pub id: Uuid,
    /// What people call it.
    pub name: String,
    /// Which twins it is about, in the query language. Without times relative to now.
    pub query: String,
    /// When it fires.
    pub on: On,
    /// For how long the device wasn't seen when a rule of absence fires; none for all others.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub lasting: Option<Span>,
    /// The title of a push: a [`Template`].
    pub title: String,
    /// The text of a push: a [`Template`].
    pub body: String,
    /// Who is told; all enabled receivers when empty.
    pub receivers: Vec<Uuid>,
    /// A rule that isn't enabled never fires.
    pub enabled: bool,
    /// Seconds after which a push that couldn't be delivered is given up; 1 to [`TTL_S_MAX`].
    pub ttl_s: u32,
}

/// What is sent to create or replace a rule: a rule without an id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleForm {
    /// See [`Rule::name`].
    pub name: String,
    /// See [`Rule::query`].
    pub query: String,
    /// See [`Rule::on`]; `enter` when left out.
    #[serde(default)]
    pub on: On,
    /// See [`Rule::lasting`]; like `10m`.
    #[serde(rename = "for", default)]
    pub lasting: Option<Span>,
    /// See [`Rule::title`].
    pub title: String,
    /// See [`Rule::body`]; empty when left out.
    #[serde(default)]
    pub body: String,
    /// See [`Rule::receivers`]; empty when left out.
    #[serde(default)]
    pub receivers: Vec<Uuid>,
    /// See [`Rule::enabled`]; true when left out.
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// See [`Rule::ttl_s`]; a day when left out.
    #[serde(default = "a_day")]
    pub ttl_s: u32,
}

fn enabled() -> bool {
    true
}

fn a_day() -> u32 {
    24 * 3_600
}

impl RuleForm {
    /// The rule with this id.
    pub fn into_rule(self, id: Uuid) -> Rule {
        let Self { name, query, on, lasting, title, body, receivers, enabled, ttl_s } = self;
        Rule { id, name, query, on, lasting, title, body, receivers, enabled, ttl_s }
    }
}

/// When a rule fires. A twin that doesn't exist matches no query.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum On {
    /// The twin matches, and didn't before.
    #[default]
    Enter,
    /// The twin doesn't match, and did before. A removed one leaves.
    Leave,
    /// The twin matches, and its device wasn't seen for as long as the rule says, see [`RuleSet::absences`].
    Absence,
}

impl On {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enter => "enter",
            Self::Leave => "leave",
            Self::Absence => "absence",
        }
    }
}

/// Why a rule can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RuleError {
    /// The query isn't one.
    #[error("query: {0}")]
    Query(#[from] QueryError),
    /// The query has a time relative to now.
    #[error(
        "query: a rule is evaluated when a device changes, so it can't use a time relative to now; for \
         devices that are silent there is `\"on\": \"absence\"` with `for`"
    )]
    RelativeTime,
    /// Title or body isn't a template.
    #[error("{part}, column {column}: {message}")]
    Template {
        /// `title` or `body`.
        part: &'static str,
        /// Where, in characters from 1.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// A rule of absence, and only such a one, says for how long.
    #[error("for, like \"10m\", belongs to rules on absence, and to no others")]
    Lasting,
    /// A number or a length is out of range.
    #[error("{what} must be {allowed}")]
    Range {
        /// Which part of the rule.
        what: &'static str,
        /// What is allowed, in words.
        allowed: String,
    },
}

/// A rule that was checked, with its query and its templates ready for use.
#[derive(Debug, Clone)]
pub struct CompiledRule {
    rule: Rule,
    query: Query,
    title: Template,
    body: Template,
}

impl CompiledRule {
    /// Checks a rule: its query, its templates, its limits.
    ///
    /// # Errors
    /// `RuleError`, for the first thing that is wrong.
    pub fn new(rule: Rule) -> Result<Self, RuleError> {
        length("name", &rule.name, 1, NAME_BYTES_MAX)?;
        length("title", &rule.title, 1, TITLE_BYTES_MAX)?;
        length("body", &rule.body, 0, BODY_BYTES_MAX)?;
        if rule.receivers.len() > RECEIVERS_MAX {
            return Err(RuleError::Range { what: "receivers", allowed: format!("at most {RECEIVERS_MAX}") });
        }
        if !(1..=TTL_S_MAX).contains(&rule.ttl_s) {
            return Err(RuleError::Range { what: "ttl_s", allowed: format!("1 to {TTL_S_MAX} seconds") });
        }
        if rule.lasting.is_some() != (rule.on == On::Absence) {
            return Err(RuleError::Lasting);
        }
        if rule.lasting.is_some_and(|span| !(FOR_MIN..=FOR_MAX).contains(&span)) {
            return Err(RuleError::Range { what: "for", allowed: format!("{FOR_MIN} to {FOR_MAX}") });
        }
        let query = Query::parse(&rule.query)?;
        if query.needs().time {
            return Err(RuleError::RelativeTime);
        }
        let template = |part, text: &str| {
            Template::parse(text).map_err(|bad| RuleError::Template {
                part,
                column: bad.column,
                message: bad.message,
            })
        };
        let (title, body) = (template("title", &rule.title)?, template("body", &rule.body)?);
        Ok(Self { rule, query, title, body })
    }

    /// The rule as it was written.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Its query.
    pub fn query(&self) -> &Query {
        &self.query
    }
}

fn length(what: &'static str, text: &str, min: usize, max: usize) -> Result<(), RuleError> {
    if (min..=max).contains(&text.len()) {
        return Ok(());
    }
    Err(RuleError::Range { what, allowed: format!("{min} to {max} bytes long, not {}", text.len()) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]
    use super::*;
    use serde_json::{Value, json};

    fn form(changes: Value) -> serde_json::Result<RuleForm> {
        let mut form = json!({"name":"low","query":"battery:<20","title":"{device} is low"});
        form.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        serde_json::from_value(form)
    }

    fn error(changes: Value) -> String {
        CompiledRule::new(form(changes).unwrap().into_rule(Uuid::nil())).unwrap_err().to_string()
    }

    #[test]
    fn a_form_has_defaults_and_nothing_unknown() {
        let rule = form(json!({})).unwrap().into_rule(Uuid::nil());
        assert_eq!((rule.on, rule.enabled, rule.ttl_s, rule.body.as_str()), (On::Enter, true, 86_400, ""));
        assert_eq!(serde_json::from_value::<Rule>(serde_json::to_value(&rule).unwrap()).unwrap(), rule);
        assert!(form(json!({"quary":"x"})).unwrap_err().to_string().contains("quary"));
        assert!(form(json!({"on":"change"})).is_err());
    }

    #[test]
    fn what_is_wrong_is_found_when_the_rule_is_saved() {
        assert_eq!(
            error(json!({"query":"battery<20"})).split(';').next().unwrap(),
            "query: column 8: a comparison stands behind a field and a colon"
        );
        assert!(error(json!({"query":"a -seen:>-1h"})).contains("relative to now"));
        assert!(error(json!({"title":"{device"})).starts_with("title, column 1: "));
        assert!(error(json!({"body":"ok }"})).starts_with("body, column 4: "));
        assert_eq!(error(json!({"ttl_s":0})), "ttl_s must be 1 to 604800 seconds");
        for bad in [json!({"on":"absence"}), json!({"for":"10m"})] {
            assert!(error(bad).starts_with("for, like"));
        }
        assert_eq!(error(json!({"on":"absence","for":"1s"})), "for must be 5s to 4w");
        assert!(form(json!({"on":"absence","for":"ten"})).is_err());
        assert_eq!(error(json!({"name":""})), "name must be 1 to 128 bytes long, not 0");
        assert!(error(json!({"receivers":vec![Uuid::nil(); 65]})).starts_with("receivers must be"));
        assert!(
            CompiledRule::new(form(json!({"query":"seen:>2026-01-01"})).unwrap().into_rule(Uuid::nil()))
                .is_ok()
        );
    }
}
