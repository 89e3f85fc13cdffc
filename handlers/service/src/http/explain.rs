//! Why did somebody (not) get this? Every decision about an alarm in order, as codes and in words.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use statecast_state::alarm::{Event, What};
use statecast_state::claim::Hold;
use statecast_state::{Decision, Timestamp, Verdict};
use statecast_store::explain::{Explanation, Question};
use statecast_store::outbox::{PushRow, PushState};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::Http;
use super::actor::Actor;
use super::auth::Rules;
use super::extract::{Path, Query};
use super::problem::Problem;

/// Rows of each kind that are looked at, at most.
const ROWS_MAX: usize = 1_000;

pub(super) fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new().routes(routes!(explain))
}

/// About whom, and about which version.
#[derive(Deserialize, IntoParams)]
struct Which {
    /// Only what is about this person.
    person: Option<String>,
    /// Only what is about this version of the alarm.
    version: Option<u64>,
}

/// What was decided about an alarm.
#[derive(Serialize, ToSchema)]
struct Explained {
    /// Persons with a receiver, or either without the other, for whom it was decided: `sent + explained + waiting`.
    candidates: usize,
    /// Accepted by the provider, or by the receiver itself.
    sent: usize,
    /// Not sent, and a step says why; sent with another one included.
    explained: usize,
    /// Neither yet.
    waiting: usize,
    /// There is more than is shown: ask for a `version`.
    truncated: bool,
    /// Step by step.
    steps: Vec<Step>,
}

/// One decision, or one thing that happened.
#[derive(Debug, Serialize, ToSchema)]
struct Step {
    /// When.
    #[schema(value_type = String)]
    at: Timestamp,
    /// Which version of the alarm it is about.
    version: u64,
    /// Which step of the escalation; 0 before the first.
    step: u32,
    /// A stable word for it.
    code: &'static str,
    /// The same for people.
    text: String,
    /// About whom; none for all.
    person: Option<String>,
    /// By which receiver; none for none, or for all.
    receiver: Option<Uuid>,
    /// The notification that it is about.
    push: Option<Uuid>,
}

/// Explains who was told of an alarm, who wasn't, and why: every decision in order. Codes: `matched`, `worse`,
/// `repeated`, `escalated`, `shelved`, `unshelved`, `acknowledged`, `cleared`; `no_receiver`, `disabled`, `cooldown`,
/// `below_severity`, `muted`, `duplicate`, `quiet`; `live_first`, `group_wait`, `waiting`, `retry`, `grouped`,
/// `superseded`, `needless`, `confirmed`, `dead`, `sent`, `received`, `opened`. A person with the key of its own app is
/// told what was decided about itself.
#[utoipa::path(get, path = "/v1/alarms/{id}/explain", params(("id" = Uuid, Path), Which), responses((status = 200, body = Explained), (status = 404, body = Problem)), tag = "alarms")]
async fn explain(
    State(http): State<Http>,
    actor: Actor<Rules>,
    Path(alarm): Path<Uuid>,
    Query(which): Query<Which>,
) -> Result<axum::Json<Explained>, Problem> {
    let (person, own) = match &actor {
        Actor::App(_) => (which.person.as_deref(), false),
        Actor::Person(me) => (Some(me.person.as_str()), true),
        Actor::Holder(_) => return Err(Problem::forbidden("a ticket explains nothing: use a key")),
    };
    let question = Question { alarm, person, version: which.version };
    let found = http.store.explain(actor.tenant(), question, ROWS_MAX).await?;
    // A person is told of what was decided about it, and of no other alarm.
    let decided = found.decisions.iter().any(|one| one.person.is_some()) || !found.pushes.is_empty();
    if found.events.is_empty() || (own && !decided) {
        return Err(Problem::not_found(format!("no alarm {alarm}")));
    }
    Ok(axum::Json(Explained::of(found)))
}

impl Explained {
    fn of(found: Explanation) -> Self {
        let Explanation { events, decisions, pushes } = found;
        let count = |is: fn(PushState) -> bool| pushes.iter().filter(|row| is(row.state)).count();
        let sent = count(|state| state == PushState::Delivered);
        let waiting = count(|state| state == PushState::Waiting);
        let candidates = decisions.len() + pushes.len();
        let truncated = [events.len(), decisions.len(), pushes.len()].contains(&ROWS_MAX);
        let told = events.into_iter().map(of_event).chain(decisions.into_iter().map(of_decision));
        let mut steps: Vec<Step> = told.chain(pushes.iter().flat_map(of_push)).collect();
        // Stable: what has the same time stays as it was told, the event before what follows from it.
        steps.sort_by_key(|step| (step.version, step.at));
        Self { candidates, sent, explained: candidates - sent - waiting, waiting, truncated, steps }
    }
}

fn of_event(event: Event) -> Step {
    let by = event.by.map(|by| format!(" by {by}")).unwrap_or_default();
    let until = event.until.map(|until| format!(" until {until}")).unwrap_or_default();
    let note = if event.note.is_empty() { String::new() } else { format!(": {}", event.note) };
    let severity = event.severity.as_str();
    let (code, text) = match event.what {
        What::Raised => {
            ("matched", format!("the rule holds for the device: the alarm is raised, {severity}"))
        }
        What::Reraised => ("matched", format!("the rule holds again: the alarm is raised again, {severity}")),
        What::Worse => ("worse", format!("it became {severity}")),
        What::Repeated => ("repeated", "nobody acknowledged it: it is told again".to_owned()),
        What::Escalated => ("escalated", format!("nobody acknowledged it: step {} is told", event.step)),
        What::Acknowledged => ("acknowledged", format!("acknowledged{by}{note}")),
        What::Cleared => ("cleared", "the rule no longer holds: the alarm is cleared".to_owned()),
        What::Shelved => ("shelved", format!("shelved{by}{until}{note}")),
        What::Unshelved => ("unshelved", format!("no longer shelved{by}")),
    };
    let (at, version, step) = (event.at, event.version, event.step);
    Step { at, version, step, code, text, person: None, receiver: None, push: None }
}

fn of_decision(decision: Decision) -> Step {
    let (code, text) = match decision.verdict {
        Verdict::NoReceiver => ("no_receiver", "nobody is there to be told"),
        Verdict::Disabled => ("disabled", "the receiver is disabled"),
        Verdict::Shelved => ("shelved", "not told: the alarm is shelved"),
        Verdict::Cooldown => ("cooldown", "not told: it was raised only a short time before"),
        Verdict::Muted => ("muted", "not told: the person muted it"),
        Verdict::Quiet => ("quiet", "not told: quiet hours"),
        Verdict::BelowSeverity => ("below_severity", "not told: the person wants to hear of worse only"),
        Verdict::Duplicate => ("duplicate", "not told again"),
    };
    let text = match decision.detail.as_str() {
        "" => text.to_owned(),
        detail => format!("{text} ({detail})"),
    };
    let Decision { at, version, step, person, receiver, .. } = decision;
    Step { at, version, step, code, text, person, receiver, push: None }
}

/// What became of a push: why it waited, how it ended, and what the app said.
fn of_push(row: &PushRow) -> Vec<Step> {
    let push = &row.push;
    let mut steps = Vec::new();
    let mut say = |at: Timestamp, code, text: String| {
        let (person, receiver) = (push.person.clone(), Some(push.receiver));
        let (version, step) = (push.alarm_version, push.step);
        steps.push(Step { at, version, step, code, text, person, receiver, push: Some(push.id) });
    };
    match push.hold {
        Some(Hold::Quiet) => say(push.created_at, "quiet", "held: the person has quiet hours".to_owned()),
        Some(Hold::Live) => {
            say(
                push.created_at,
                "live_first",
                "held: a live receiver of the person is told first".to_owned(),
            );
        }
        Some(Hold::Group) => say(
            push.created_at,
            "group_wait",
            "held: the receiver was told a moment before, so it may become one of a group".to_owned(),
        ),
        None => {}
    }
    let answer = row.error.as_deref().unwrap_or_default();
    let done_at = row.done_at.unwrap_or(push.due_at);
    let (code, text) = match row.foreseen.unwrap_or(row.state) {
        PushState::Waiting if row.attempt == 0 => ("waiting", format!("waits until {}", push.due_at)),
        PushState::Waiting if answer.is_empty() => {
            ("waiting", format!("attempt {} is under way", row.attempt))
        }
        PushState::Waiting => {
            ("retry", format!("attempt {} failed ({answer}), again at {}", row.attempt, push.due_at))
        }
        PushState::Delivered => {
            let status = row.status.map(|status| format!(" ({status})")).unwrap_or_default();
            ("sent", format!("accepted at attempt {}{status}", row.attempt))
        }
        PushState::Dead => ("dead", format!("given up after {} attempts: {answer}", row.attempt)),
        PushState::Superseded => ("superseded", "not sent: the alarm has gone on since".to_owned()),
        PushState::Needless => ("needless", "not sent: nothing was told that had to be updated".to_owned()),
        PushState::Confirmed => ("confirmed", "not sent: a live receiver of the person has it".to_owned()),
        PushState::Grouped => {
            let leader = row.leader.map(|leader| format!(": {leader}")).unwrap_or_default();
            ("grouped", format!("went with another notification{leader}"))
        }
    };
    say(if row.state == PushState::Waiting { push.created_at } else { done_at }, code, text);
    if let Some(at) = row.received_at {
        say(at, "received", "the app has it".to_owned());
    }
    if let Some(at) = row.opened_at {
        say(at, "opened", "the person opened it".to_owned());
    }
    steps
}
