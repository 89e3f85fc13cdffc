//! Rules: which alarms a device has, and who is told what about them.
//!
//! A [`Rule`] is what a person wrote; a [`CompiledRule`] is one that was checked; a [`RuleSet`] is all that a
//! tenant has, and [`RuleSet::fire`] says what a change of a twin does to the alarms of its device, and which pushes
//! follow. All of it is pure, so that a change that is tried again does the same, with the same ids.
//!
//! - `form`: what a person writes
//! - `checked`: what is wrong with it, and the rule ready for use
//! - [`receiver`]: where a push can go
//! - [`template`]: title, body and link, with values of the twin
//! - [`span`]: how long something lasts
//! - `set`: all rules of a tenant
//! - `fire`: what a change, time or a person does to alarms
//! - `work`: which conditions hold
//! - `absence`: which devices are absent, and when to look
//! - [`directory`]: who there is to be told, and whom a rule means
//! - `payload`: what is sent
//! - `tell`: who is told of what happened to an alarm, and who isn't
//! - `outcome`: telling a person what became of what they asked for
//! - [`forward`]: rules that only pass changes on
//! - [`rehearsal`]: what a draft rule would have done

pub mod receiver;
pub mod template;
pub mod span;
mod form;
mod checked;
mod set;
mod fire;
mod work;
mod absence;
pub mod directory;
mod payload;
mod tell;
mod outcome;
pub mod forward;
pub mod rehearsal;

pub use checked::{CompiledRule, RuleError};
pub use directory::Directory;
pub use fire::{Fired, Moment, Wish};
pub use form::{Escalation, Level, On, Rule, RuleForm, Text};
pub use receiver::{ApnsEnvironment, FcmForm, Receiver, ReceiverKind};
pub use rehearsal::{Rehearsal, Rehearsed};
pub use set::RuleSet;
pub use span::Span;
pub use tell::{LIVE_FIRST_US, Told};
pub use template::Template;

/// Longest name of a rule, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Longest title, as written, in bytes.
pub const TITLE_BYTES_MAX: usize = 256;
/// Longest body, as written, in bytes.
pub const BODY_BYTES_MAX: usize = 1_024;
/// Longest link, as written, in bytes.
pub const LINK_BYTES_MAX: usize = 1_024;
/// Longest query of a level or an audience, in bytes.
pub const QUERY_BYTES_MAX: usize = 4_096;
/// Most receivers, and most people, that a rule or a step of its escalation can name.
pub const RECEIVERS_MAX: usize = 64;
/// Most levels, steps of an escalation, and languages of a rule.
pub const PARTS_MAX: usize = 16;
/// A larger `reported` is left out of a push, so that a push stays below 20 kB. In bytes of JSON.
pub const REPORTED_BYTES_MAX: usize = 10 * 1_024;
/// Longest time to live of a push: a week, in seconds.
pub const TTL_S_MAX: u32 = 7 * 24 * 3_600;
/// Most repetitions of an alarm that nobody acknowledges.
pub const REPEAT_COUNT_MAX: u32 = 1_000;

/// Shortest of the spans of a rule.
pub const SPAN_MIN: Span = Span::from_secs(1);
/// Longest of them: four weeks.
pub const SPAN_MAX: Span = Span::from_secs(28 * 24 * 3_600);
/// Shortest absence that a rule can be about: what is looked for more often than it is worth.
pub const ABSENCE_MIN: Span = Span::from_secs(5);
