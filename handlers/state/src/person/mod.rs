//! People: who is told, in which language, and when they don't want to be.
//!
//! A [`Person`] is what is stored and shown, a [`CompiledPerson`] one that was checked, with its time zone and its
//! queries ready for use. Three things may keep an alarm from a person, and each leaves its trace:
//!
//! - *least severity*: what is less severe is not told. Nothing is above critical, so this never hides what is critical.
//! - *mutes*: alarms of a device, of a rule or of devices that a query finds are not told, however severe: a mute is
//!   said on purpose, and may end by itself.
//! - *quiet hours*: what comes within them is told when they end. What is critical is told at once, unless the person
//!   says otherwise with `hold_critical`.
//!
//! Read it in this order:
//!
//! - [`window`]: quiet hours, in the time zone of the person
//! - [`mute`]: what a person doesn't want to hear of
//! - [`audience`]: finding people by their tags

pub mod window;
pub mod mute;
pub mod audience;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use audience::Audience;
pub use mute::{Mute, Muted};
pub use window::{Day, TimeOfDay, Window};

use crate::alarm::Severity;
use crate::document::size_of;
use crate::names::{BadName, TENANT_ID_BYTES_MAX, check};
use crate::{Document, QueryError, Timestamp, Twin};

/// Longest name for people, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Longest language, in bytes: what BCP 47 asks programs to take.
pub const LANGUAGE_BYTES_MAX: usize = 35;
/// Most quiet hours of a person.
pub const WINDOWS_MAX: usize = 14;
/// Most mutes of a person.
pub const MUTES_MAX: usize = 100;
/// Largest tags, in bytes of JSON.
pub const TAGS_BYTES_MAX: usize = 4_096;

/// Somebody who can be told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Person {
    /// Who, within its tenant, see [`check_id`].
    pub id: String,
    /// What the person may change, and what others say of it.
    #[serde(flatten)]
    pub form: PersonForm,
}

/// What is sent to make or replace a person: a person without an id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PersonForm {
    /// For people.
    pub name: String,
    /// BCP 47, like `en` or `de-AT`: which texts of a rule are taken.
    pub language: String,
    /// IANA, like `Europe/Berlin`: what quiet hours are in.
    pub time_zone: String,
    /// Quiet hours.
    pub quiet: Vec<Window>,
    /// Quiet hours hold what is critical too.
    pub hold_critical: bool,
    /// What is less severe isn't told.
    pub least_severity: Severity,
    /// What isn't told.
    pub mutes: Vec<Mute>,
    /// What the audience of a rule asks for.
    pub tags: Document,
}

impl Default for PersonForm {
    fn default() -> Self {
        Self {
            name: String::new(),
            language: "en".into(),
            time_zone: "UTC".into(),
            quiet: Vec::new(),
            hold_critical: false,
            least_severity: Severity::Info,
            mutes: Vec::new(),
            tags: Document::new(),
        }
    }
}

/// What a person may change by itself: what is left out stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PersonPatch {
    /// See [`PersonForm::language`].
    pub language: Option<String>,
    /// See [`PersonForm::time_zone`].
    pub time_zone: Option<String>,
    /// See [`PersonForm::quiet`].
    pub quiet: Option<Vec<Window>>,
    /// See [`PersonForm::hold_critical`].
    pub hold_critical: Option<bool>,
    /// See [`PersonForm::least_severity`].
    pub least_severity: Option<Severity>,
    /// See [`PersonForm::mutes`].
    pub mutes: Option<Vec<Mute>>,
}

impl PersonPatch {
    /// Changes what it names.
    pub fn apply(self, form: &mut PersonForm) {
        fn set<T>(to: &mut T, from: Option<T>) {
            if let Some(from) = from {
                *to = from;
            }
        }
        set(&mut form.language, self.language);
        set(&mut form.time_zone, self.time_zone);
        set(&mut form.quiet, self.quiet);
        set(&mut form.hold_critical, self.hold_critical);
        set(&mut form.least_severity, self.least_severity);
        set(&mut form.mutes, self.mutes);
    }
}

/// Whether a text can name a person: 1-63 characters of `a-z 0-9 -`, as for a tenant.
///
/// # Errors
/// `BadName` when it is empty, too long, or holds another character.
pub fn check_id(text: &str) -> Result<(), BadName> {
    let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    check("a person", text, TENANT_ID_BYTES_MAX, "a-z 0-9 -", ok).map(drop)
}

/// Why a person can't be stored.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PersonError {
    /// The id is no name.
    #[error(transparent)]
    Id(#[from] BadName),
    /// A length or a number is out of range.
    #[error("{what} must be {allowed}")]
    Range {
        /// Which part.
        what: &'static str,
        /// What is allowed, in words.
        allowed: String,
    },
    /// The language isn't written as BCP 47 has it.
    #[error("language must be a tag like `en` or `de-AT`, not {0:?}")]
    Language(String),
    /// There is no such time zone.
    #[error("time_zone must be a name of the IANA database like `Europe/Berlin`, not {0:?}")]
    TimeZone(String),
    /// A mute that would hold for everything.
    #[error("mutes[{0}] needs a `query`, a `rule` or a `device`")]
    Mute(usize),
    /// The query of a mute.
    #[error("mutes[{0}].query: {1}")]
    MuteQuery(usize, QueryError),
}

/// A person that was checked.
#[derive(Debug, Clone)]
pub struct CompiledPerson {
    person: Person,
    zone: TimeZone,
    mutes: Vec<Muted>,
    /// What an audience looks at: the tags, as if a device had reported them.
    pub(crate) likeness: Twin,
}

impl CompiledPerson {
    /// Checks a person.
    ///
    /// # Errors
    /// `PersonError`, for the first thing that is wrong.
    pub fn new(person: Person) -> Result<Self, PersonError> {
        check_id(&person.id)?;
        let form = &person.form;
        at_most("name", "bytes", form.name.len(), NAME_BYTES_MAX)?;
        at_most("quiet", "windows", form.quiet.len(), WINDOWS_MAX)?;
        at_most("mutes", "of them", form.mutes.len(), MUTES_MAX)?;
        at_most("tags", "bytes of JSON", size_of(&form.tags), TAGS_BYTES_MAX)?;
        if !is_language(&form.language) {
            return Err(PersonError::Language(form.language.clone()));
        }
        let zone =
            TimeZone::get(&form.time_zone).map_err(|_| PersonError::TimeZone(form.time_zone.clone()))?;
        let mutes = form.mutes.iter().enumerate().map(|(n, mute)| Muted::new(n, mute));
        let mutes = mutes.collect::<Result<_, _>>()?;
        let likeness = audience::likeness(&person)?;
        Ok(Self { person, zone, mutes, likeness })
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.person.id
    }

    /// The person as stored.
    pub fn form(&self) -> &PersonForm {
        &self.person.form
    }

    /// Whether the person wants to hear of nothing that is as little severe as this.
    pub fn is_below(&self, severity: Severity) -> bool {
        severity < self.person.form.least_severity
    }

    /// Until when something of this severity that comes now is held; none when it is told at once. The moment is
    /// after `now`, and outside of all quiet hours, unless these go on for longer than [`window::QUIET_MAX_US`].
    pub fn quiet_until(&self, severity: Severity, now: Timestamp) -> Option<Timestamp> {
        let form = &self.person.form;
        if severity == Severity::Critical && !form.hold_critical {
            return None;
        }
        window::quiet_until(&form.quiet, &self.zone, now)
    }

    /// The first mute that keeps alarms of this rule about this device from the person; none when there is none.
    pub fn muted(&self, rule: uuid::Uuid, twin: &Twin, now: Timestamp) -> Option<&Mute> {
        self.mutes.iter().find(|mute| mute.holds(rule, twin, now)).map(Muted::mute)
    }
}

fn at_most(what: &'static str, unit: &str, found: usize, max: usize) -> Result<(), PersonError> {
    if found <= max {
        return Ok(());
    }
    Err(PersonError::Range { what, allowed: format!("at most {max} {unit}, not {found}") })
}

/// Subtags of 1-8 letters and digits, the first one of letters only (RFC 5646, 2.1, as far as it matters here).
fn is_language(text: &str) -> bool {
    let subtag = |tag: &str| (1..=8).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphanumeric());
    let primary = text.split('-').next().unwrap_or_default();
    text.len() <= LANGUAGE_BYTES_MAX
        && text.split('-').all(subtag)
        && primary.len() >= 2
        && primary.bytes().all(|b| b.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};
    use uuid::Uuid;

    fn person(form: Value) -> Result<CompiledPerson, PersonError> {
        let form = serde_json::from_value(form).unwrap();
        CompiledPerson::new(Person { id: "anna".into(), form })
    }

    #[test]
    fn a_person_is_flat_in_json_and_has_defaults() {
        let anna: Person = serde_json::from_value(json!({"id":"anna"})).unwrap();
        assert_eq!(anna.form, PersonForm::default());
        let json = serde_json::to_value(&anna).unwrap();
        assert_eq!((&json["id"], &json["time_zone"]), (&json!("anna"), &json!("UTC")));
        assert_eq!(serde_json::from_value::<Person>(json).unwrap(), anna);
        assert!(serde_json::from_value::<PersonForm>(json!({"langauge":"de"})).is_err());
    }

    #[test]
    fn what_is_wrong_is_said() {
        let error = |form| person(form).unwrap_err().to_string();
        assert!(error(json!({"time_zone":"Europe/Berlyn"})).contains("Berlyn"));
        assert!(error(json!({"language":"d"})).contains("like `en`"));
        assert!(error(json!({"language":"1de"})).contains("like `en`"));
        assert!(error(json!({"mutes":[{}]})).starts_with("mutes[0] needs"));
        assert!(
            error(json!({"mutes":[{"device":"a"},{"query":"a<"}]})).starts_with("mutes[1].query: column")
        );
        assert!(error(json!({"tags":{"x":"y".repeat(5_000)}})).starts_with("tags must be at most"));
        assert!(check_id("Anna").is_err() && check_id("").is_err() && check_id("anna-2").is_ok());
        for good in ["en", "de-AT", "zh-Hant-TW", "EN"] {
            assert!(is_language(good), "{good}");
        }
    }

    #[test]
    fn what_is_critical_passes_quiet_hours_unless_the_person_says_otherwise() {
        let noon = Timestamp::parse("2026-11-23T12:00:00Z").unwrap();
        let all_day = json!([{"from":"00:00","to":"00:00"}]);
        let anna = person(json!({ "quiet": all_day })).unwrap();
        assert!(anna.quiet_until(Severity::Major, noon).is_some());
        assert_eq!(anna.quiet_until(Severity::Critical, noon), None);
        let sound = person(json!({ "quiet": all_day, "hold_critical": true })).unwrap();
        assert!(sound.quiet_until(Severity::Critical, noon).is_some());
    }

    #[test]
    fn the_least_severity_never_hides_what_is_critical() {
        let strict = person(json!({"least_severity":"critical"})).unwrap();
        assert!(strict.is_below(Severity::Major) && !strict.is_below(Severity::Critical));
        assert!(!person(json!({})).unwrap().is_below(Severity::Info));
    }

    #[test]
    fn a_person_changes_only_what_it_names() {
        let mut form = PersonForm { name: "Anna".into(), ..PersonForm::default() };
        let patch: PersonPatch =
            serde_json::from_value(json!({"language":"de","mutes":[{"device":"a"}]})).unwrap();
        patch.apply(&mut form);
        assert_eq!((form.name.as_str(), form.language.as_str(), form.mutes.len()), ("Anna", "de", 1));
        assert_eq!(form.time_zone, "UTC");
        assert!(serde_json::from_value::<PersonPatch>(json!({"tags":{"role":"admin"}})).is_err());
    }

    #[test]
    fn mutes_hold_for_their_time() {
        let anna = person(json!({"mutes":[{"device":"pump","until":"2026-11-23T12:00:00Z"}]})).unwrap();
        let twin = Twin::new(crate::DeviceId::parse("pump").unwrap());
        let noon = Timestamp::parse("2026-11-23T12:00:00Z").unwrap();
        assert!(anna.muted(Uuid::nil(), &twin, noon.plus_micros(-1)).is_some());
        assert!(anna.muted(Uuid::nil(), &twin, noon).is_none());
    }
}
