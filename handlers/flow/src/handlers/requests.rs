//! What becomes of what was asked of a device.

use serde_json::{Value, json};
use statecast_state::request::track::{Happened, follow};
use statecast_state::{Body, Document, Kind, Refusal, Report};

use super::{Context, Draft, Handler};

/// Follows the open requests of a device through what happens to it. What changes nothing of them writes nothing.
pub(super) struct Requests;

impl Handler for Requests {
    fn name(&self) -> &'static str {
        "desired"
    }

    fn handle(&self, report: &Report, context: &Context<'_>, draft: &mut Draft) -> Result<(), Refusal> {
        let Some(twin) = &mut draft.twin else { return Ok(()) };
        let happened = match &report.body {
            Body::State(_) => Happened::Reported,
            Body::Rejected { version, reason } => Happened::Rejected { version: *version, reason },
            Body::Received { version } => Happened::Received { version: *version },
            Body::Overdue => Happened::Passed,
            _ => return Ok(()),
        };
        let changed = follow(twin, happened, report.received_at);
        if draft.kind.is_none() && !changed.is_empty() {
            let noted: Vec<Value> =
                changed.iter().map(|one| json!({ "id": one.id, "state": one.state })).collect();
            let patch = Document::from_iter([("requests".to_owned(), Value::Array(noted))]);
            draft.done(Kind::Request, &patch, Document::new());
        }
        draft.requests = changed;
        tell(report, context, draft);
        Ok(())
    }
}

/// Has people told what became of what they asked for.
pub(super) fn tell(report: &Report, context: &Context<'_>, draft: &mut Draft) {
    let asked_by_people = draft.requests.iter().filter(|one| one.person.is_some() && !one.state.is_open());
    let mut pushes = Vec::new();
    for requested in asked_by_people {
        pushes.extend(context.rules.of(&report.key.tenant).outcome(requested, report.received_at));
    }
    draft.pushes.extend(pushes);
}
