//! Registration, tags, removal.

use statecast_state::{Body, Document, Kind, Refusal, Report, patch};

use super::{Context, Draft, Handler, check_version};

/// What people do to the registry of devices.
pub(super) struct Registry;

impl Handler for Registry {
    fn name(&self) -> &'static str {
        "registry"
    }

    fn handle(&self, report: &Report, context: &Context<'_>, draft: &mut Draft) -> Result<(), Refusal> {
        match &report.body {
            Body::Register { tags } => {
                let twin = draft.twin.get_or_insert_with(|| context.newborn(&report.key.device));
                let inverse = patch::merge(&mut twin.tags, tags);
                context.limits.check_twin(twin)?;
                draft.done(Kind::Registered, tags, inverse);
            }
            Body::Tags { patch: change, if_version } => {
                let twin = draft.existing(report)?;
                check_version(*if_version, twin)?;
                let inverse = patch::merge(&mut twin.tags, change);
                context.limits.check_twin(twin)?;
                draft.done(Kind::Tags, change, inverse);
            }
            Body::Remove => {
                draft.existing(report)?;
                draft.twin = None;
                draft.done(Kind::Removed, &Document::new(), Document::new());
            }
            _ => {}
        }
        Ok(())
    }
}
