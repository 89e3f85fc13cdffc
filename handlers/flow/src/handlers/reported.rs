//! The device reported state.

use statecast_state::{Body, Kind, Refusal, Report, patch};

use super::{Context, Draft, Handler, effective_time};

/// Merges what the device reported, property by property, each with its time.
pub(super) struct Reported;

impl Handler for Reported {
    fn name(&self) -> &'static str {
        "reported"
    }

    fn handle(&self, report: &Report, context: &Context<'_>, draft: &mut Draft) -> Result<(), Refusal> {
        let Body::State(change) = &report.body else { return Ok(()) };
        if draft.twin.is_none() {
            if !context.register_unknown {
                return Err(Refusal::UnknownDevice(report.key.device.to_string()));
            }
            draft.twin = Some(context.newborn(&report.key.device));
        }
        let twin = draft.existing(report)?;
        let applied = patch::apply_reported(twin, change, effective_time(report).0);
        context.limits.check_twin(twin)?;
        twin.seen(report.received_at);
        draft.stale = applied.stale;
        draft.done(Kind::State, change, applied.inverse);
        Ok(())
    }
}
