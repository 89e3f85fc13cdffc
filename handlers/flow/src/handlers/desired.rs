//! What a device should be, and its refusal.

use serde_json::json;
use statecast_state::request::track::{self, Bounds};
use statecast_state::{Body, Document, Kind, Refusal, Report, patch};

use super::requests::tell;
use super::{Context, Draft, Handler, check_version};

/// Merges what someone wants the device to be, and makes a request of it.
pub(super) struct Desired;

impl Handler for Desired {
    fn name(&self) -> &'static str {
        "desired"
    }

    fn handle(&self, report: &Report, context: &Context<'_>, draft: &mut Draft) -> Result<(), Refusal> {
        let Body::Desired { patch: change, if_version, asked } = &report.body else { return Ok(()) };
        let twin = draft.existing(report)?;
        check_version(*if_version, twin)?;
        let inverse = patch::merge(&mut twin.desired, change);
        context.limits.check_twin(twin)?;
        let bounds = Bounds { count_max: context.requests_max, bytes_max: context.limits.twin_bytes_max };
        draft.requests = track::ask(twin, asked, change, report.received_at, bounds)?;
        draft.done(Kind::Desired, change, inverse);
        tell(report, context, draft);
        Ok(())
    }
}

/// Notes that the device refuses what it should be. The twin stays; the history tells.
pub(super) struct Rejected;

impl Handler for Rejected {
    fn name(&self) -> &'static str {
        "desired"
    }

    fn handle(&self, report: &Report, _: &Context<'_>, draft: &mut Draft) -> Result<(), Refusal> {
        let Body::Rejected { version, reason } = &report.body else { return Ok(()) };
        let twin = draft.existing(report)?;
        twin.seen(report.received_at);
        let mut noted = Document::new();
        noted.insert("version".into(), json!(version));
        noted.insert("reason".into(), json!(reason));
        draft.done(Kind::Rejected, &noted, Document::new());
        Ok(())
    }
}
