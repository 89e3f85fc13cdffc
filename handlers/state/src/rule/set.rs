//! All rules of a tenant, ready to be asked which of them a change concerns.

use std::collections::HashMap;

use uuid::Uuid;

use super::{CompiledRule, On, Receiver, Span};
use crate::query::Percolator;
use crate::{DeviceKey, TenantId, Timestamp, Twin};

/// The rules and receivers of one tenant. Made anew when one of them changes.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    tenant: TenantId,
    /// The enabled receivers.
    pub(super) receivers: Vec<Uuid>,
    /// The enabled rules.
    pub(super) rules: Vec<CompiledRule>,
    /// Where each of them stands, by its id.
    places: HashMap<Uuid, usize>,
    /// The enabled rules that only pass changes on, with who gets them.
    pub(super) forwards: Vec<(CompiledRule, Vec<Uuid>)>,
    /// All their queries, those of their levels too.
    pub(super) queries: Percolator,
    /// The place of the rule that each of the queries belongs to.
    pub(super) owners: Vec<usize>,
    /// The places of those on change: each change of what a device reports concerns them.
    pub(super) on_change: Vec<usize>,
    /// The shortest `for` of those on absence, in microseconds; none without one.
    pub(super) absence_us_min: Option<i64>,
}

impl RuleSet {
    /// Puts a set together. What isn't enabled is left out.
    pub fn new(tenant: TenantId, rules: Vec<CompiledRule>, receivers: &[Receiver]) -> Self {
        let enabled = rules.into_iter().filter(|rule| rule.rule.form.enabled);
        let (rules, forwards): (Vec<_>, Vec<_>) = enabled.partition(|rule| rule.rule.form.alarm);
        let receivers: Vec<Uuid> = receivers.iter().filter(|one| one.enabled).map(|one| one.id).collect();
        let named = |rule: CompiledRule| {
            let named =
                receivers.iter().filter(|id| rule.rule.form.receivers.contains(id)).copied().collect();
            (rule, named)
        };
        let forwards = forwards.into_iter().map(named).collect();
        let (mut queries, mut owners, mut on_change) = (Vec::new(), Vec::new(), Vec::new());
        for (place, rule) in rules.iter().enumerate() {
            let all = rule.levels.iter().map(|(_, query)| query).chain([&rule.query]);
            queries.extend(all.map(|query| (place, query)));
            on_change.extend((rule.rule.form.on == On::Change).then_some(place));
        }
        owners.extend(queries.iter().map(|(place, _)| *place));
        let queries = Percolator::new(queries.into_iter().map(|(_, query)| query));
        let absences = rules.iter().filter(|rule| rule.rule.form.on == On::Absence);
        let absence_us_min = absences.filter_map(|rule| rule.rule.form.lasting).map(Span::as_micros).min();
        let places = rules.iter().enumerate().map(|(place, rule)| (rule.rule.id, place)).collect();
        Self { tenant, receivers, rules, forwards, places, queries, owners, on_change, absence_us_min }
    }

    /// Whether no change can raise an alarm.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What the rule is about; none when it doesn't exist or isn't enabled.
    pub fn on(&self, rule: Uuid) -> Option<On> {
        self.rule(rule).map(|rule| rule.rule.form.on)
    }

    /// Whether the query of the rule matches; false when it doesn't exist or isn't enabled.
    pub fn matches(&self, rule: Uuid, twin: &Twin, now: Timestamp) -> bool {
        self.rule(rule).is_some_and(|rule| rule.query.matches(twin, now))
    }

    pub(super) fn rule(&self, id: Uuid) -> Option<&CompiledRule> {
        self.places.get(&id).and_then(|place| self.rules.get(*place))
    }

    pub(super) fn key(&self, twin: &Twin) -> DeviceKey {
        DeviceKey::new(self.tenant.clone(), twin.device.clone())
    }
}
