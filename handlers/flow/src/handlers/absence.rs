//! Time has passed, and nothing came from the device.

use serde_json::json;
use statecast_state::{Body, Document, Kind, Refusal, Report};

use super::{Context, Draft, Handler};

/// Fires the rules of absence whose time has come. A device that was seen meanwhile, or that no rule is about, stays
/// as it is, and nothing is written.
pub(super) struct Absence;

impl Handler for Absence {
    fn name(&self) -> &'static str {
        "rules"
    }

    fn handle(&self, report: &Report, context: &Context<'_>, draft: &mut Draft) -> Result<(), Refusal> {
        if report.body != Body::Absence {
            return Ok(());
        }
        let fired = fire(report, context, draft);
        if fired {
            let seen = draft.twin.as_ref().and_then(|twin| twin.received_at);
            let patch = Document::from_iter([("seen".to_owned(), json!(seen))]);
            draft.done(Kind::Absence, &patch, Document::new());
        }
        Ok(())
    }
}

/// Adds what rules of absence have to tell of the twin as it is now; gives whether there was anything.
pub(super) fn fire(report: &Report, context: &Context<'_>, draft: &mut Draft) -> bool {
    let Some(rules) = context.rules.of(&report.key.tenant) else { return false };
    let Some(twin) = &mut draft.twin else { return false };
    let (fired, pushes) = rules.absences(twin, report.received_at, context.started_at);
    twin.absences.extend(&fired);
    draft.pushes.extend(pushes);
    !fired.is_empty()
}
