//! Who there is to be told in a tenant: its people and its receivers, and who of them a rule means.
//!
//! That is worked out when rules, people or receivers change, and not when an alarm is raised.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use super::{Escalation, Receiver, RuleForm};
use crate::person::{Audience, CompiledPerson};

/// People and receivers of a tenant.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    receivers: Vec<Way>,
    people: Vec<CompiledPerson>,
    by_person: HashMap<String, usize>,
}

/// A receiver, as far as it matters to who is told.
#[derive(Debug, Clone)]
pub(super) struct Way {
    pub(super) id: Uuid,
    /// Whose it is.
    pub(super) person: Option<usize>,
    pub(super) live: bool,
    /// Why it can't be told; none when it is enabled.
    pub(super) disabled: Option<String>,
    /// What is the same for two receivers that reach the same; none where that can't be.
    pub(super) endpoint: Option<String>,
}

/// Somebody whom a rule means.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Candidate {
    /// By this receiver.
    Way(usize),
    /// A person without any receiver.
    Unreachable(usize),
    /// A person who doesn't exist.
    Unknown(String),
}

/// What a rule, or a step of its escalation, says about who is told.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Named<'a> {
    receivers: &'a [Uuid],
    people: &'a [String],
    audience: Option<&'a str>,
}

impl<'a> From<&'a RuleForm> for Named<'a> {
    fn from(form: &'a RuleForm) -> Self {
        Self { receivers: &form.receivers, people: &form.people, audience: form.audience.as_deref() }
    }
}

impl<'a> From<&'a Escalation> for Named<'a> {
    fn from(step: &'a Escalation) -> Self {
        Self { receivers: &step.receivers, people: &step.people, audience: step.audience.as_deref() }
    }
}

/// Whom a rule means: at first, and with each step of its escalation.
#[derive(Debug, Clone)]
pub(super) struct Addressees(Vec<Arc<[Candidate]>>);

impl Addressees {
    /// Those of the rule itself for step 0, else those of that step alone.
    pub(super) fn of_step(&self, step: u32) -> &[Candidate] {
        self.0.get(step as usize).map_or(&[], |step| step)
    }
}

impl Directory {
    /// Puts it together. A receiver of a person who isn't there belongs to nobody.
    pub fn new(receivers: &[Receiver], people: Vec<CompiledPerson>) -> Self {
        let ids = people.iter().enumerate().map(|(n, person)| (person.id().to_owned(), n));
        let by_person: HashMap<String, usize> = ids.collect();
        let way = |receiver: &Receiver| Way {
            id: receiver.id,
            person: receiver.person.as_ref().and_then(|person| by_person.get(person).copied()),
            live: receiver.kind.is_followed(),
            disabled: (!receiver.enabled)
                .then(|| receiver.disabled_reason.clone().unwrap_or_else(|| "by hand".to_owned())),
            endpoint: receiver.kind.endpoint().map(str::to_owned),
        };
        Self { receivers: receivers.iter().map(way).collect(), people, by_person }
    }

    /// Whether a receiver is one that follows live.
    pub fn is_live(&self, receiver: Uuid) -> bool {
        self.receivers.iter().any(|way| way.id == receiver && way.live)
    }

    /// The enabled receivers of a person.
    pub(super) fn receivers_of(&self, person: &str) -> impl Iterator<Item = Uuid> {
        let number = self.by_person.get(person).copied();
        let theirs = move |way: &&Way| number.is_some() && way.person == number && way.disabled.is_none();
        self.receivers.iter().filter(theirs).map(|way| way.id)
    }

    pub(super) fn way(&self, number: usize) -> &Way {
        &self.receivers[number]
    }

    pub(super) fn person(&self, number: usize) -> &CompiledPerson {
        &self.people[number]
    }

    /// Whom each of these rules means. Rules that mean the same share the list.
    pub(super) fn addressees<'a>(&self, rules: impl Iterator<Item = &'a RuleForm>) -> Vec<Addressees> {
        let mut known: HashMap<(Named<'a>, bool), Arc<[Candidate]>> = HashMap::new();
        let mut list = |named: Named<'a>, is_rule: bool| {
            let list = known.entry((named, is_rule));
            list.or_insert_with(|| self.candidates(&named, is_rule).into()).clone()
        };
        rules
            .map(|form| {
                let first = list(form.into(), true);
                let steps = form.escalation.iter().map(|step| list(step.into(), false));
                Addressees(std::iter::once(first).chain(steps).collect())
            })
            .collect()
    }

    /// Whom a rule means. One that names nobody means all receivers that are enabled; a step that names nobody,
    /// nobody.
    fn candidates(&self, named: &Named<'_>, is_rule: bool) -> Vec<Candidate> {
        let Named { receivers, people, audience } = named;
        let ways = || self.receivers.iter().enumerate();
        if is_rule && receivers.is_empty() && people.is_empty() && audience.is_none() {
            let enabled = ways().filter(|(_, way)| way.disabled.is_none());
            return enabled.map(|(number, _)| Candidate::Way(number)).collect();
        }
        let mut meant = vec![false; self.people.len()];
        let mut found = Vec::new();
        for id in *people {
            match self.by_person.get(id) {
                Some(number) => meant[*number] = true,
                None => found.push(Candidate::Unknown(id.clone())),
            }
        }
        // It was checked when the rule was saved.
        if let Some(Ok(audience)) = audience.map(Audience::parse) {
            let people = self.people.iter().zip(&mut meant);
            people.for_each(|(person, meant)| *meant |= audience.has(person));
        }
        let mut reached = vec![false; self.people.len()];
        for (number, way) in ways() {
            if let Some(person) = way.person.filter(|person| meant[*person]) {
                reached[person] = true;
                found.push(Candidate::Way(number));
            } else if receivers.contains(&way.id) {
                found.push(Candidate::Way(number));
            }
        }
        let unreachable = meant.iter().zip(&reached).enumerate();
        let unreachable = unreachable.filter(|(_, (meant, reached))| **meant && !**reached);
        found.extend(unreachable.map(|(number, _)| Candidate::Unreachable(number)));
        found
    }
}
