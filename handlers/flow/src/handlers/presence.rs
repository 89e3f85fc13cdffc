//! A connection of the device opened, or its last one closed.

use serde_json::json;
use statecast_state::{Body, Document, Kind, Presence as State, Refusal, Report};

use super::{Context, Draft, Handler};

/// Notes whether the device is online. Says nothing of a device that isn't registered, nothing new of one that is
/// already known to be so, and nothing that is older than what is known.
pub(super) struct Presence;

impl Handler for Presence {
    fn name(&self) -> &'static str {
        "presence"
    }

    fn handle(&self, report: &Report, _: &Context<'_>, draft: &mut Draft) -> Result<(), Refusal> {
        let Body::Presence(presence) = &report.body else { return Ok(()) };
        let Some(twin) = &mut draft.twin else { return Ok(()) };
        if twin.presence.online == presence.online || !presence.is_after(&twin.presence) {
            return Ok(());
        }
        let inverse = noted(&twin.presence);
        twin.presence.clone_from(presence);
        draft.done(Kind::Presence, &noted(presence), inverse);
        Ok(())
    }
}

fn noted(presence: &State) -> Document {
    Document::from_iter([
        ("online".to_owned(), json!(presence.online)),
        ("since".to_owned(), json!(presence.since)),
        ("reason".to_owned(), json!(presence.reason)),
        ("epoch".to_owned(), json!(presence.epoch)),
        ("seq".to_owned(), json!(presence.seq)),
    ])
}
