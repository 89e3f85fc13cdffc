//! What time, a person, or a changed rule does to the alarms of a device.

use serde_json::json;
use statecast_state::alarm::{Actor, What};
use statecast_state::rule::{Fired, On, RuleSet};
use statecast_state::{Body, Document, Kind, Refusal, Report};

use super::{Context, Draft, Handler};

/// Looks at the alarms of a device, or does to one of them what a person asks. Where nothing comes of it, nothing is
/// written.
pub(super) struct Alarms;

impl Handler for Alarms {
    fn name(&self) -> &'static str {
        "rules"
    }

    fn handle(&self, report: &Report, context: &Context<'_>, draft: &mut Draft) -> Result<(), Refusal> {
        let rules = context.rules.of(&report.key.tenant);
        draft.number();
        let at = context.moment(report);
        let fired = match (&report.body, &draft.twin) {
            (Body::Due, Some(twin)) => rules.due(twin, at),
            (Body::Review(rule), Some(twin)) => rules.review(twin, *rule, at),
            (Body::Alarm { id, wish, by, note }, Some(twin)) => {
                rules.wish(twin, *id, *wish, Actor { by, note }, at)?
            }
            (Body::Alarm { id, .. }, None) => return Err(Refusal::UnknownAlarm(*id)),
            // The device was removed meanwhile.
            _ => return Ok(()),
        };
        if !fired.alarms.is_empty() {
            let (kind, patch) = entry(&fired, &rules, draft);
            draft.fire(fired);
            draft.done(kind, &patch, Document::new());
        }
        Ok(())
    }
}

/// What history says of it.
fn entry(fired: &Fired, rules: &RuleSet, draft: &Draft) -> (Kind, Document) {
    let raised = fired.events.iter().filter(|event| matches!(event.what, What::Raised | What::Reraised));
    if raised.into_iter().any(|event| rules.on(event.rule) == Some(On::Absence)) {
        let seen = draft.twin.as_ref().and_then(|twin| twin.received_at);
        return (Kind::Absence, Document::from_iter([("seen".to_owned(), json!(seen))]));
    }
    let events = fired.events.iter().map(|event| {
        json!({ "alarm": event.alarm, "rule": event.rule, "what": event.what, "version": event.version, "by": event.by })
    });
    (Kind::Alarm, Document::from_iter([("events".to_owned(), events.collect())]))
}
