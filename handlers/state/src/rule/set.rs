//! All rules of a tenant, ready to be asked which of them a change concerns.

use std::collections::HashMap;

use uuid::Uuid;

use super::directory::{Addressees, Candidate};
use super::{CompiledRule, Directory, On, Receiver, Span};
use crate::person::CompiledPerson;
use crate::query::Percolator;
use crate::{DeviceKey, TenantId, Timestamp, Twin};

/// The rules and receivers of one tenant. Made anew when one of them changes.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    tenant: TenantId,
    /// Who there is to be told.
    pub(super) directory: Directory,
    /// The enabled rules, and then the others: what people were told by them is brought up to date.
    pub(super) rules: Vec<CompiledRule>,
    /// How many are enabled.
    enabled: usize,
    /// Whom each of them means, in the same order.
    addressees: Vec<Addressees>,
    /// Where each of them stands, by its id.
    places: HashMap<Uuid, usize>,
    /// The enabled rules that only pass changes on, with who gets them.
    pub(super) forwards: Vec<(CompiledRule, Vec<Uuid>)>,
    /// Their queries, in the same order.
    pub(super) forwarding: Percolator,
    /// All their queries, those of their levels too.
    pub(super) queries: Percolator,
    /// The place of the rule that each of the queries belongs to.
    pub(super) owners: Vec<usize>,
    /// The places of those on change: each change of what a device that matches reports concerns them.
    pub(super) on_change: Vec<usize>,
    /// Their queries, in the same order.
    pub(super) changing: Percolator,
    /// The shortest `for` of those on absence, in microseconds; none without one.
    pub(super) absence_us_min: Option<i64>,
}

impl RuleSet {
    /// Puts a set together. What isn't enabled raises nothing, and passes nothing on.
    pub fn new(
        tenant: TenantId,
        rules: Vec<CompiledRule>,
        receivers: &[Receiver],
        people: Vec<CompiledPerson>,
    ) -> Self {
        let (alarms, forwards): (Vec<_>, Vec<_>) = rules.into_iter().partition(|rule| rule.rule.form.alarm);
        let (mut rules, disabled): (Vec<_>, Vec<_>) =
            alarms.into_iter().partition(|rule| rule.rule.form.enabled);
        let enabled = rules.len();
        let named = |rule: CompiledRule| {
            let named = |one: &&Receiver| one.enabled && rule.rule.form.receivers.contains(&one.id);
            let ids = receivers.iter().filter(named).map(|one| one.id).collect();
            (rule, ids)
        };
        let forwards: Vec<_> =
            forwards.into_iter().filter(|rule| rule.rule.form.enabled).map(named).collect();
        let forwarding = Percolator::new(forwards.iter().map(|(rule, _)| &rule.query));
        let (mut queries, mut owners, mut on_change) = (Vec::new(), Vec::new(), Vec::new());
        for (place, rule) in rules.iter().enumerate() {
            let all = rule.levels.iter().map(|(_, query)| query).chain([&rule.query]);
            queries.extend(all.map(|query| (place, query)));
            on_change.extend((rule.rule.form.on == On::Change).then_some(place));
        }
        let changing = Percolator::new(on_change.iter().map(|place: &usize| &rules[*place].query));
        owners.extend(queries.iter().map(|(place, _)| *place));
        let queries = Percolator::new(queries.into_iter().map(|(_, query)| query));
        let absences = rules.iter().filter(|rule| rule.rule.form.on == On::Absence);
        let absence_us_min = absences.filter_map(|rule| rule.rule.form.lasting).map(Span::as_micros).min();
        rules.extend(disabled);
        let places = rules.iter().enumerate().map(|(place, rule)| (rule.rule.id, place)).collect();
        let directory = Directory::new(receivers, people);
        let addressees = directory.addressees(rules.iter().map(|rule| &rule.rule.form));
        Self {
            tenant,
            directory,
            addressees,
            rules,
            enabled,
            places,
            forwards,
            forwarding,
            queries,
            owners,
            on_change,
            changing,
            absence_us_min,
        }
    }

    /// Who there is to be told.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Whom a rule of the set means at first (step 0), or with a step of its escalation.
    pub(super) fn addressees(&self, rule: Uuid, step: u32) -> &[Candidate] {
        let known = self.places.get(&rule).and_then(|place| self.addressees.get(*place));
        known.map_or(&[], |addressees| addressees.of_step(step))
    }

    /// Whether no change can raise an alarm.
    pub fn is_empty(&self) -> bool {
        self.enabled == 0
    }

    /// What the rule is about; none when it doesn't exist or isn't enabled.
    pub fn on(&self, rule: Uuid) -> Option<On> {
        self.rule(rule).map(|rule| rule.rule.form.on)
    }

    /// Whether the query of the rule matches; false when it doesn't exist or isn't enabled.
    pub fn matches(&self, rule: Uuid, twin: &Twin, now: Timestamp) -> bool {
        self.rule(rule).is_some_and(|rule| rule.query.matches(twin, now))
    }

    /// The rules that are enabled.
    pub(super) fn enabled(&self) -> &[CompiledRule] {
        &self.rules[..self.enabled]
    }

    /// A rule that is enabled.
    pub(super) fn rule(&self, id: Uuid) -> Option<&CompiledRule> {
        self.places.get(&id).filter(|place| **place < self.enabled).map(|place| &self.rules[*place])
    }

    /// A rule, enabled or not.
    pub(super) fn any_rule(&self, id: Uuid) -> Option<&CompiledRule> {
        self.places.get(&id).map(|place| &self.rules[*place])
    }

    pub(super) fn key(&self, twin: &Twin) -> DeviceKey {
        DeviceKey::new(self.tenant.clone(), twin.device.clone())
    }
}
