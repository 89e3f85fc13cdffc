//! Works out, without waiting for anything, what the requests of one device change.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::counter;
use statecast_state::alarm::Alarm;
use statecast_state::{Change, DeviceKey, MessageId, Position, Refusal, Report, Timestamp, Twin};
use statecast_store::DeadLetter;
use tracing::error;

use crate::cache::{Known, Recent};
use crate::decode;
use crate::flow::Shared;
use crate::handlers::{self, Context, Draft, Handler};
use crate::metering::Counts;
use crate::request::{Answer, Ask, Message, Request};

/// How often a report is tried when a handler panics on it.
const TRIES: usize = 2;

/// What is to be committed, and what each request will be told then.
pub(super) struct Staged {
    pub(super) changes: Vec<Change>,
    pub(super) dead_letters: Vec<DeadLetter>,
    /// One for each request.
    pub(super) fates: Vec<Fate>,
    /// The twin once they are committed.
    pub(super) twin: Option<Arc<Twin>>,
    /// The alarms of a device that doesn't exist any more.
    pub(super) left: Vec<Alarm>,
    /// The idempotency keys of the changes.
    pub(super) remembered: Vec<(MessageId, Timestamp)>,
}

/// What becomes of a request once everything before it is durable.
pub(super) enum Fate {
    /// It made the change with this index.
    Changed(usize),
    /// It was applied before, or there was nothing to do.
    Unchanged(Option<Arc<Twin>>),
    /// It can't be applied.
    Refused(Refusal),
}

impl Fate {
    pub(super) fn changed(&self) -> bool {
        matches!(self, Self::Changed(_))
    }

    pub(super) fn refused(&self) -> bool {
        matches!(self, Self::Refused(_))
    }
}

/// The work on one device.
pub(super) struct Stage<'a> {
    shared: &'a Shared,
    key: &'a DeviceKey,
    /// The keys of the messages before these.
    recent: &'a Recent,
    twin: Option<Arc<Twin>>,
    left: Vec<Alarm>,
    remembered: Vec<(MessageId, Timestamp)>,
    changes: Vec<Change>,
    dead_letters: Vec<DeadLetter>,
    counted: Vec<(&'static str, Counts)>,
}

impl<'a> Stage<'a> {
    pub(super) fn new(shared: &'a Shared, key: &'a DeviceKey, known: &'a Known) -> Self {
        Self {
            shared,
            key,
            recent: &known.recent,
            twin: known.twin.clone(),
            left: known.left.clone(),
            remembered: Vec::new(),
            changes: Vec::new(),
            dead_letters: Vec::new(),
            counted: Vec::new(),
        }
    }

    /// Stages requests in order; all are refused when `give_up`.
    pub(super) fn run(mut self, requests: &[Request], give_up: bool) -> Staged {
        let mut fates = Vec::with_capacity(requests.len());
        for request in requests {
            let fate = if give_up { Err(Refusal::Contended) } else { self.request(&request.ask) };
            let fate = fate.unwrap_or_else(|why| {
                // Only what came from a device is kept: a caller is told, and has it still.
                if let (Ask::Message(message), Answer::Device(_)) = (&request.ask, &request.answer) {
                    self.dead_letters.push(dead_letter(self.key, message, &why));
                    counter!("statecast_dead_letters_total").increment(1);
                }
                Fate::Refused(why)
            });
            fates.push(fate);
        }
        self.shared.meter.add(&self.key.tenant, &self.counted);
        let Self { changes, dead_letters, twin, left, remembered, .. } = self;
        Staged { changes, dead_letters, fates, twin, left, remembered }
    }

    fn request(&mut self, ask: &Ask) -> Result<Fate, Refusal> {
        match ask {
            Ask::Report(report) => self.report(report),
            Ask::Message(message) => {
                let report = decode::message(self.key, message, &self.shared.settings.limits)?;
                self.report(&report)
            }
        }
    }

    fn report(&mut self, report: &Report) -> Result<Fate, Refusal> {
        if report.message.is_some_and(|id| self.applied(id)) {
            counter!("statecast_repeated_messages_total").increment(1);
            return Ok(Fate::Unchanged(self.twin.clone()));
        }
        let draft = self.handle(report)?;
        let Some(kind) = draft.kind else { return Ok(Fate::Unchanged(self.twin.clone())) };
        let version = self.twin.as_ref().map_or(0, |twin| twin.version);
        let after = draft.twin.map(|mut twin| {
            twin.version = version + 1;
            Arc::new(twin)
        });
        if let (Some(before), None) = (&draft.before, &after) {
            let mut last = Twin::clone(before);
            last.keep(&draft.alarms);
            self.left = last.alarms;
        }
        let (effective, believed) = handlers::effective_time(report);
        self.changes.push(Change {
            key: self.key.clone(),
            position: Position::default(),
            kind,
            before: draft.before,
            after: after.clone(),
            patch: draft.patch,
            inverse: draft.inverse,
            stale: draft.stale,
            ahead: report.device_time.is_some() && !believed,
            received_at: report.received_at,
            device_time: believed.then_some(effective),
            message: report.message,
            requests: draft.requests,
            pushes: draft.pushes,
            decisions: draft.decisions,
            alarms: draft.alarms,
            events: draft.events,
        });
        self.twin = after;
        self.remembered.extend(report.message.map(|id| (id, report.received_at)));
        Ok(Fate::Changed(self.changes.len() - 1))
    }

    /// Whether a message with this key was applied before, or is about to be.
    fn applied(&self, id: MessageId) -> bool {
        self.recent.contains(id) || self.remembered.iter().any(|(known, _)| *known == id)
    }

    /// Sends a report through its handlers. A handler that panics may have left the draft half done, so the
    /// second try begins anew.
    fn handle(&mut self, report: &Report) -> Result<Draft, Refusal> {
        let shared = self.shared;
        let context = Context {
            limits: &shared.settings.limits,
            register_unknown: shared.settings.register_unknown,
            presence: if self.twin.is_none() { shared.connections.presence(self.key) } else { None },
            started_at: shared.started_at,
            requests_max: shared.settings.requests_max,
            rules: &shared.rules,
            left: &self.left.clone(),
        };
        let mut failed = "";
        for _ in 0..TRIES {
            let mut draft = Draft::new(self.twin.clone());
            match handlers::of(&report.body)
                .iter()
                .try_for_each(|handler| self.invoke(*handler, report, &context, &mut draft))
            {
                Ok(()) => return Ok(draft),
                Err(Failure::Refused(why)) => return Err(why),
                Err(Failure::Panicked(handler)) => failed = handler,
            }
        }
        Err(Refusal::Handler(failed))
    }

    /// One invocation, metered.
    fn invoke(
        &mut self,
        handler: &dyn Handler,
        report: &Report,
        context: &Context<'_>,
        draft: &mut Draft,
    ) -> Result<(), Failure> {
        let name = handler.name();
        let started = Instant::now();
        let outcome = match catch_unwind(AssertUnwindSafe(|| handler.handle(report, context, draft))) {
            Ok(result) => result.map_err(Failure::Refused),
            Err(_) => {
                error!(handler = name, "a handler panicked");
                counter!("statecast_handler_panics_total", "handler" => name).increment(1);
                Err(Failure::Panicked(name))
            }
        };
        self.count(name, started.elapsed(), outcome.is_err());
        outcome
    }

    fn count(&mut self, handler: &'static str, wall: Duration, failed: bool) {
        if let Some((_, counts)) = self.counted.iter_mut().find(|(counted, _)| *counted == handler) {
            return counts.add(wall, failed);
        }
        let mut counts = Counts::default();
        counts.add(wall, failed);
        self.counted.push((handler, counts));
    }
}

/// Why an invocation came to nothing.
enum Failure {
    Refused(Refusal),
    Panicked(&'static str),
}

/// What is kept of a message that can't be applied.
pub(super) fn dead_letter(key: &DeviceKey, message: &Message, why: &Refusal) -> DeadLetter {
    DeadLetter {
        tenant: key.tenant.clone(),
        device: Some(key.device.to_string()),
        topic: message.topic.to_string(),
        payload: message.payload.clone(),
        reason: why.to_string(),
        received_at: message.received_at,
    }
}
