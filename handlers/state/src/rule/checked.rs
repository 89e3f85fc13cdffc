//! What is wrong with a rule, found when it is saved; and a rule that was checked, ready for use.

use std::collections::BTreeMap;

use thiserror::Error;

use super::{
    ABSENCE_MIN, BODY_BYTES_MAX, LINK_BYTES_MAX, NAME_BYTES_MAX, On, PARTS_MAX, QUERY_BYTES_MAX,
    RECEIVERS_MAX, REPEAT_COUNT_MAX, Rule, RuleForm, SPAN_MAX, SPAN_MIN, Span, TITLE_BYTES_MAX, TTL_S_MAX,
    Template,
};
use crate::alarm::{Severity, Terms};
use crate::person::Audience;
use crate::{Query, QueryError, Timestamp, Twin};

/// Longest title that is shown, in characters.
const TITLE_CHARS_MAX: usize = 256;
/// Longest text that is shown, in characters.
const BODY_CHARS_MAX: usize = 1_024;

/// Why a rule can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RuleError {
    /// The query isn't one.
    #[error("query: {0}")]
    Query(#[from] QueryError),
    /// The query of a level isn't one.
    #[error("levels, number {0}, query: {1}")]
    Level(usize, QueryError),
    /// The query has a time relative to now.
    #[error(
        "query: a rule is evaluated when a device changes, so it can't use a time relative to now; for \
         devices that are silent there is `\"on\": \"absence\"` with `for`"
    )]
    RelativeTime,
    /// A text isn't a template.
    #[error("{part}, column {column}: {message}")]
    Template {
        /// Which: `title`, `body`, `link`, `texts.de.title` ...
        part: String,
        /// Where, in characters from 1.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// A rule of absence says for how long.
    #[error("a rule on absence needs for, like \"10m\"")]
    Lasting,
    /// What is over as soon as it happens can't last.
    #[error("{0} doesn't belong to a rule on change: its alarms are over as soon as they are raised")]
    Momentary(&'static str),
    /// What has no alarms has no use for all that is about them.
    #[error(
        "a rule without alarms (`\"alarm\": false`) is one on change and names its receivers; {0} doesn't belong to it"
    )]
    Forward(&'static str),
    /// An audience isn't a query over people.
    #[error("audience: {0}")]
    Audience(QueryError),
    /// The steps of an escalation must come one after the other.
    #[error("escalation, number {0}: after must be longer than in the step before")]
    Order(usize),
    /// A step of an escalation must tell somebody.
    #[error("escalation, number {0}: it needs receivers, people or an audience")]
    Nobody(usize),
    /// A number or a length is out of range.
    #[error("{what} must be {allowed}")]
    Range {
        /// Which part of the rule.
        what: &'static str,
        /// What is allowed, in words.
        allowed: String,
    },
}

/// A rule that was checked, with its queries and its templates ready for use.
#[derive(Debug, Clone)]
pub struct CompiledRule {
    pub(super) rule: Rule,
    pub(super) query: Query,
    /// The worst first.
    pub(super) levels: Vec<(Severity, Query)>,
    pub(super) title: Template,
    pub(super) body: Template,
    pub(super) link: Option<Template>,
    /// Title and text by language.
    pub(super) texts: BTreeMap<String, (Template, Template)>,
}

impl CompiledRule {
    /// Checks a rule: its queries, its templates, its limits.
    ///
    /// # Errors
    /// `RuleError`, for the first thing that is wrong.
    pub fn new(rule: Rule) -> Result<Self, RuleError> {
        let form = &rule.form;
        check_lengths(form)?;
        check_spans(form)?;
        check_escalation(form)?;
        check_forward(form)?;
        let query = Query::parse(&form.query)?;
        let mut levels = Vec::with_capacity(form.levels.len());
        for (number, level) in (1..).zip(&form.levels) {
            let query = Query::parse(&level.query).map_err(|error| RuleError::Level(number, error))?;
            levels.push((level.severity, query));
        }
        if levels.iter().map(|(_, query)| query).chain([&query]).any(|query| query.needs().time) {
            return Err(RuleError::RelativeTime);
        }
        levels.sort_by_key(|(severity, _)| std::cmp::Reverse(*severity));
        let (title, body) = (template("title", &form.title)?, template("body", &form.body)?);
        let link = form.link.as_deref().map(|link| template("link", link)).transpose()?;
        let mut texts = BTreeMap::new();
        for (language, text) in &form.texts {
            let title = template(&format!("texts.{language}.title"), &text.title)?;
            let body = template(&format!("texts.{language}.body"), &text.body)?;
            texts.insert(language.clone(), (title, body));
        }
        Ok(Self { levels, link, texts, query, title, body, rule })
    }

    /// The rule as it was written.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Its query.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// What it says about time. For a rule of absence, how long it takes is part of its condition.
    pub(super) fn terms(&self) -> Terms<'_> {
        let form = &self.rule.form;
        Terms {
            lasting: form.lasting.filter(|_| form.on != On::Absence),
            cooldown: form.cooldown,
            repeat: form.repeat,
            repeat_max: form.repeat_max,
            escalation: &form.escalation,
        }
    }

    /// Title and body in a language, by its tag or else by the part of it before the first `-`; as they were written
    /// for all where the rule doesn't have that language.
    pub fn texts(&self, language: &str) -> (&Template, &Template) {
        let broader = language.split('-').next().unwrap_or_default();
        let found = self.texts.get(language).or_else(|| self.texts.get(broader));
        found.map_or((&self.title, &self.body), |(title, body)| (title, body))
    }

    /// Title and body for a twin, as they were written for all.
    pub(super) fn text(&self, twin: &Twin) -> (String, String) {
        (self.title.render(twin, TITLE_CHARS_MAX), self.body.render(twin, BODY_CHARS_MAX))
    }

    /// How bad it is for a twin: the worst of the levels that match, or what the rule says.
    pub fn severity(&self, twin: &Twin, now: Timestamp) -> Severity {
        let worst = self.levels.iter().find(|(_, query)| query.matches(twin, now));
        worst.map_or(self.rule.form.severity, |(severity, _)| *severity)
    }
}

fn template(part: &str, text: &str) -> Result<Template, RuleError> {
    Template::parse(text).map_err(|bad| RuleError::Template {
        part: part.to_owned(),
        column: bad.column,
        message: bad.message,
    })
}

fn check_lengths(form: &RuleForm) -> Result<(), RuleError> {
    length("name", &form.name, 1, NAME_BYTES_MAX)?;
    length("title", &form.title, 1, TITLE_BYTES_MAX)?;
    length("body", &form.body, 0, BODY_BYTES_MAX)?;
    form.link.iter().try_for_each(|link| length("link", link, 1, LINK_BYTES_MAX))?;
    form.levels
        .iter()
        .try_for_each(|level| length("the query of a level", &level.query, 0, QUERY_BYTES_MAX))?;
    for (language, text) in &form.texts {
        let is_tag = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if !(2..=35).contains(&language.len()) || !language.chars().all(is_tag) {
            return Err(range("a key of texts", "a language tag such as de or pt-BR"));
        }
        length("a title in texts", &text.title, 1, TITLE_BYTES_MAX)?;
        length("a body in texts", &text.body, 0, BODY_BYTES_MAX)?;
    }
    count("levels", form.levels.len(), PARTS_MAX)?;
    count("texts", form.texts.len(), PARTS_MAX)?;
    count("escalation", form.escalation.len(), PARTS_MAX)?;
    audience(&form.people, form.receivers.len(), form.audience.as_deref())?;
    if !(1..=TTL_S_MAX).contains(&form.ttl_s) {
        return Err(range("ttl_s", &format!("1 to {TTL_S_MAX} seconds")));
    }
    if form.repeat_max > REPEAT_COUNT_MAX {
        return Err(range("repeat_max", &format!("at most {REPEAT_COUNT_MAX}")));
    }
    Ok(())
}

fn audience(people: &[String], receivers: usize, audience: Option<&str>) -> Result<(), RuleError> {
    count("receivers", receivers, RECEIVERS_MAX)?;
    count("people", people.len(), RECEIVERS_MAX)?;
    people.iter().try_for_each(|person| length("the id of a person", person, 1, NAME_BYTES_MAX))?;
    audience.into_iter().try_for_each(|query| {
        length("audience", query, 1, QUERY_BYTES_MAX)?;
        Audience::parse(query).map(drop).map_err(RuleError::Audience)
    })
}

fn check_spans(form: &RuleForm) -> Result<(), RuleError> {
    if form.on == On::Absence && form.lasting.is_none() {
        return Err(RuleError::Lasting);
    }
    if form.on == On::Change {
        let given = [("for", form.lasting.is_some()), ("repeat", form.repeat.is_some())];
        let given = given.into_iter().chain([("escalation", !form.escalation.is_empty())]);
        if let Some((what, _)) = given.into_iter().find(|(_, given)| *given) {
            return Err(RuleError::Momentary(what));
        }
    }
    let lasting_min = if form.on == On::Absence { ABSENCE_MIN } else { SPAN_MIN };
    span("for", form.lasting, lasting_min)?;
    span("cooldown", form.cooldown, SPAN_MIN)?;
    span("repeat", form.repeat, SPAN_MIN)
}

fn check_forward(form: &RuleForm) -> Result<(), RuleError> {
    let wrong = [
        ("on", form.on != On::Change),
        ("receivers", form.receivers.is_empty()),
        ("people", !form.people.is_empty()),
        ("audience", form.audience.is_some()),
        ("cooldown", form.cooldown.is_some()),
        ("levels", !form.levels.is_empty()),
    ];
    match wrong.into_iter().find(|(_, wrong)| *wrong && !form.alarm) {
        Some((what, _)) => Err(RuleError::Forward(what)),
        None => Ok(()),
    }
}

fn check_escalation(form: &RuleForm) -> Result<(), RuleError> {
    let mut before = None;
    for (number, step) in (1..).zip(&form.escalation) {
        span("after", Some(step.after), SPAN_MIN)?;
        if before >= Some(step.after) {
            return Err(RuleError::Order(number));
        }
        before = Some(step.after);
        audience(&step.people, step.receivers.len(), step.audience.as_deref())?;
        if step.people.is_empty() && step.receivers.is_empty() && step.audience.is_none() {
            return Err(RuleError::Nobody(number));
        }
    }
    Ok(())
}

fn span(what: &'static str, given: Option<Span>, min: Span) -> Result<(), RuleError> {
    match given {
        Some(span) if !(min..=SPAN_MAX).contains(&span) => Err(range(what, &format!("{min} to {SPAN_MAX}"))),
        _ => Ok(()),
    }
}

fn count(what: &'static str, given: usize, max: usize) -> Result<(), RuleError> {
    if given > max { Err(range(what, &format!("at most {max}"))) } else { Ok(()) }
}

fn length(what: &'static str, text: &str, min: usize, max: usize) -> Result<(), RuleError> {
    if (min..=max).contains(&text.len()) {
        return Ok(());
    }
    Err(range(what, &format!("{min} to {max} bytes long, not {}", text.len())))
}

fn range(what: &'static str, allowed: &str) -> RuleError {
    RuleError::Range { what, allowed: allowed.to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]
    use super::*;
    use serde_json::{Value, json};
    use uuid::Uuid;

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
        let said = &rule.form;
        assert_eq!((said.on, said.enabled, said.ttl_s, said.body.as_str()), (On::Enter, true, 86_400, ""));
        assert_eq!((said.severity, said.repeat_max), (Severity::Warning, 10));
        let json = serde_json::to_value(&rule).unwrap();
        assert_eq!(json["name"], "low", "it is flat");
        assert_eq!(serde_json::from_value::<Rule>(json).unwrap(), rule);
        assert!(form(json!({"quary":"x"})).unwrap_err().to_string().contains("quary"));
        assert!(form(json!({"on":"exit"})).is_err());
        assert!(form(json!({"severity":"bad"})).is_err());
    }

    #[test]
    fn everything_is_stored_and_read_back() {
        let rule = form(json!({"on":"leave","for":"10s","cooldown":"1h","severity":"minor",
            "levels":[{"severity":"critical","query":"battery:<5"}],"texts":{"de":{"title":"{device} ist leer"}},
            "link":"https://example.org/{device}","people":["ada"],"audience":"team:ops","repeat":"5m",
            "escalation":[{"after":"10m","people":["bob"]},{"after":"1h","audience":"role:boss"}]}))
        .unwrap()
        .into_rule(Uuid::from_u128(1));
        let json = serde_json::to_value(&rule).unwrap();
        assert_eq!(serde_json::from_value::<Rule>(json).unwrap(), rule);
        let rule = CompiledRule::new(rule).unwrap();
        assert_eq!(rule.texts("de-AT"), rule.texts("de"));
        assert_ne!(rule.texts("de"), rule.texts("fr"));
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
        assert!(error(json!({"link":"https://{"})).starts_with("link, column 9: "));
        assert!(error(json!({"texts":{"de":{"title":"{}"}}})).starts_with("texts.de.title, column 2: "));
        assert!(error(json!({"texts":{"ü":{"title":"x"}}})).contains("a language tag"));
        assert_eq!(error(json!({"ttl_s":0})), "ttl_s must be 1 to 604800 seconds");
        assert_eq!(error(json!({"on":"absence"})), "a rule on absence needs for, like \"10m\"");
        assert_eq!(error(json!({"on":"absence","for":"1s"})), "for must be 5s to 4w");
        assert_eq!(error(json!({"for":"0s"})), "for must be 1s to 4w");
        assert!(form(json!({"on":"absence","for":"ten"})).is_err());
        assert_eq!(error(json!({"name":""})), "name must be 1 to 128 bytes long, not 0");
        assert!(error(json!({"receivers":vec![Uuid::nil(); 65]})).starts_with("receivers must be"));
        let later = form(json!({"query":"seen:>2026-01-01"})).unwrap();
        assert!(CompiledRule::new(later.into_rule(Uuid::nil())).is_ok());
    }

    #[test]
    fn levels_and_steps_are_checked() {
        let level = |query: &str| json!({"levels":[{"severity":"major","query":query}]});
        assert!(error(level("a:>")).starts_with("levels, number 1, query: column"));
        assert!(error(level("seen:<-1h")).contains("relative to now"));
        for wrong in [
            json!({"for":"1s"}),
            json!({"repeat":"1s"}),
            json!({"escalation":[{"after":"1s","people":["a"]}]}),
        ] {
            let mut changes = json!({"on":"change"});
            changes.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
            assert!(error(changes).contains("doesn't belong to a rule on change"));
        }
        let steps = |first: &str, second: &str| json!({"escalation":[{"after":first,"people":["a"]},{"after":second,"people":["b"]}]});
        assert!(error(steps("10m", "10m")).starts_with("escalation, number 2: after must be longer"));
        assert_eq!(error(steps("0s", "1m")), "after must be 1s to 4w");
        assert!(error(json!({"escalation":[{"after":"1m"}]})).contains("it needs receivers"));
    }

    #[test]
    fn the_worst_level_that_matches_counts() {
        let levels = json!({"severity":"minor","levels":[
            {"severity":"info","query":"battery:>15"},{"severity":"critical","query":"battery:<5"}]});
        let rule = CompiledRule::new(form(levels).unwrap().into_rule(Uuid::nil())).unwrap();
        let severity = |battery: u32| {
            let mut twin = Twin::new(crate::DeviceId::parse("pump").unwrap());
            twin.reported.insert("battery".into(), json!(battery));
            rule.severity(&twin, Timestamp::from_micros(0))
        };
        assert_eq!([18, 10, 3].map(severity), [Severity::Info, Severity::Minor, Severity::Critical]);
    }
}
