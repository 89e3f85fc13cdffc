//! The built-in handlers: synchronous and pure, from a twin and a report to what is to change.
//!
//! Each is a file behind one trait. An invocation, one report through one handler, is what usage counts.
//!
//! - [`reported`]: the device reported state
//! - [`desired`]: what a device should be, and its refusal
//! - [`requests`]: what becomes of what was asked of a device
//! - [`presence`]: a connection opened or closed
//! - [`registry`]: registration, tags, removal
//! - [`alarms`]: what time, a person or a changed rule does to alarms
//! - [`rules`]: last: what the changes of the others do to alarms, and who is told

mod reported;
mod desired;
mod requests;
mod presence;
mod registry;
mod alarms;
mod rules;

use std::sync::Arc;

use statecast_state::alarm::{Alarm, Event};
use statecast_state::document::Limits;
use statecast_state::request::Requested;
use statecast_state::rule::{Fired, Moment};
use statecast_state::{
    Body, Decision, DeviceId, Document, Kind, Presence, Push, Refusal, Report, Timestamp, Twin,
};

pub use rules::Rules;

/// How far ahead of our clock a device time is believed, in microseconds.
const AHEAD_MAX_US: i64 = 5 * 60 * 1_000_000;

/// What a handler may know besides the twin and the report.
pub struct Context<'a> {
    /// Limits of documents.
    pub limits: &'a Limits,
    /// A state message of an unknown device registers it.
    pub register_unknown: bool,
    /// The presence of a device that becomes known now, if a connection of it is open.
    pub presence: Option<Presence>,
    /// When the service started: absence counts from then at the earliest.
    pub started_at: Timestamp,
    /// Requests of one device that may be open.
    pub requests_max: usize,
    /// The rules of all tenants.
    pub rules: &'a Rules,
    /// The alarms that a device had when it was removed: they go on when it comes again.
    pub left: &'a [Alarm],
}

impl Context<'_> {
    /// The twin of a device that becomes known now.
    fn newborn(&self, device: &DeviceId) -> Twin {
        let presence = self.presence.clone().unwrap_or_default();
        Twin { presence, alarms: self.left.to_vec(), ..Twin::new(device.clone()) }
    }

    /// When rules are looked at.
    fn moment(&self, report: &Report) -> Moment {
        Moment { now: report.received_at, started_at: self.started_at }
    }
}

/// What handlers did so far.
pub struct Draft {
    /// The committed twin; none when there is none.
    pub before: Option<Arc<Twin>>,
    /// The twin that would result; none when there is none, or no longer.
    pub twin: Option<Twin>,
    /// What was done; none when nothing was.
    pub kind: Option<Kind>,
    /// What was asked for.
    pub patch: Document,
    /// What undoes it.
    pub inverse: Document,
    /// A property kept a newer value.
    pub stale: bool,
    /// The requests for desired state that were made or changed.
    pub requests: Vec<Arc<Requested>>,
    /// Who is to be told.
    pub pushes: Vec<Push>,
    /// Who is not, and why.
    pub decisions: Vec<Decision>,
    /// The alarms that changed, as they are now.
    pub alarms: Vec<Alarm>,
    /// What happened to them.
    pub events: Vec<Event>,
}

impl Draft {
    /// Nothing is done yet.
    pub fn new(before: Option<Arc<Twin>>) -> Self {
        let twin = before.as_deref().cloned();
        Self {
            before,
            twin,
            kind: None,
            patch: Document::new(),
            inverse: Document::new(),
            stale: false,
            requests: Vec::new(),
            pushes: Vec::new(),
            decisions: Vec::new(),
            alarms: Vec::new(),
            events: Vec::new(),
        }
    }

    fn done(&mut self, kind: Kind, patch: &Document, inverse: Document) {
        self.kind = Some(kind);
        self.patch = patch.clone();
        self.inverse = inverse;
    }

    /// Gives the twin the version that it will have.
    fn number(&mut self) {
        let version = self.before.as_ref().map_or(0, |twin| twin.version);
        if let Some(twin) = &mut self.twin {
            twin.version = version + 1;
        }
    }

    /// Takes in what became of alarms.
    fn fire(&mut self, fired: Fired) {
        if let Some(twin) = &mut self.twin {
            twin.keep(&fired.alarms);
        }
        self.alarms.extend(fired.alarms);
        self.events.extend(fired.events);
        self.pushes.extend(fired.told.pushes);
        self.decisions.extend(fired.told.decisions);
    }

    fn existing(&mut self, report: &Report) -> Result<&mut Twin, Refusal> {
        self.twin.as_mut().ok_or_else(|| Refusal::UnknownDevice(report.key.device.to_string()))
    }
}

/// A pure function from a twin and a report to what is to change.
pub trait Handler: Sync {
    /// The name in `/v1/usage`.
    fn name(&self) -> &'static str;
    /// Adds to the draft what the report asks for.
    ///
    /// # Errors
    /// `Refusal` when the report can never be applied.
    fn handle(&self, report: &Report, context: &Context<'_>, draft: &mut Draft) -> Result<(), Refusal>;
}

/// The handlers that a report goes through, in order.
pub fn of(body: &Body) -> &'static [&'static dyn Handler] {
    match body {
        Body::State(_) => &[&reported::Reported, &requests::Requests, &rules::Fire],
        Body::Desired { .. } => &[&desired::Desired, &rules::Fire],
        Body::Rejected { .. } => &[&desired::Rejected, &requests::Requests, &rules::Fire],
        Body::Received { .. } | Body::Overdue => &[&requests::Requests],
        Body::Presence(_) => &[&presence::Presence, &rules::Fire],
        Body::Due | Body::Review(_) | Body::Alarm { .. } => &[&alarms::Alarms],
        Body::Register { .. } | Body::Tags { .. } | Body::Remove => &[&registry::Registry, &rules::Fire],
    }
}

/// The time at which a report counts: what the device gave, unless it is too far ahead to be believed.
pub fn effective_time(report: &Report) -> (Timestamp, bool) {
    match report.device_time {
        Some(given) if given.micros_since(report.received_at) <= AHEAD_MAX_US => (given, true),
        _ => (report.received_at, false),
    }
}

fn check_version(expected: Option<u64>, twin: &Twin) -> Result<(), Refusal> {
    match expected {
        Some(expected) if expected != twin.version => {
            Err(Refusal::Version { expected, current: twin.version })
        }
        _ => Ok(()),
    }
}
