//! Alarms: what people are to take note of, and their answer.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use statecast_state::alarm::{Alarm, Event, Severity};
use statecast_state::rule::{SPAN_MAX, SPAN_MIN, Span, Wish};
use statecast_state::{Body, DeviceId, DeviceKey, Report, Timestamp};
use statecast_store::{AlarmFilter, AlarmRow};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::actor::Actor;
use super::auth::{Caller, Read, Write};
use super::extract::{Json, Path, Query};
use super::problem::Problem;
use super::{Http, Page, page_after, page_size, position_header};

/// Events of an alarm that are shown, at most.
const EVENTS_MAX: usize = 1_000;
/// Longest note, in bytes.
const NOTE_BYTES_MAX: usize = 1_024;

pub(super) fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(read))
        .routes(routes!(acknowledge))
        .routes(routes!(shelve))
        .routes(routes!(unshelve))
}

/// Whether the condition of an alarm holds.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Standing {
    /// It holds.
    Active,
    /// It doesn't.
    Cleared,
}

/// An alarm.
#[derive(Serialize, ToSchema)]
#[schema(as = Alarm)]
struct Shown {
    /// Names it.
    id: Uuid,
    /// Its rule.
    rule: Uuid,
    /// Of which device it is.
    #[schema(value_type = String)]
    device: DeviceId,
    /// Rises with each event but an escalation. Who acknowledges says which they saw.
    version: u64,
    /// Whether its condition holds.
    state: Standing,
    /// How bad it is: `info`, `warning`, `minor`, `major` or `critical`; the worst since it was last raised.
    #[schema(value_type = String)]
    severity: Severity,
    /// How often it was raised.
    count: u64,
    /// When it was last raised.
    #[schema(value_type = Option<String>)]
    raised_at: Option<Timestamp>,
    /// When it was last cleared; null while it is active.
    #[schema(value_type = Option<String>)]
    cleared_at: Option<Timestamp>,
    /// When somebody took note of it; null while nobody has.
    #[schema(value_type = Option<String>)]
    acknowledged_at: Option<Timestamp>,
    /// Who did.
    acknowledged_by: Option<String>,
    /// What they said about it.
    acknowledged_note: String,
    /// Until when nobody is told; null while it isn't shelved.
    #[schema(value_type = Option<String>)]
    shelved_until: Option<Timestamp>,
    /// How often people were told again because nobody took note.
    repeats: u32,
    /// Which steps of the escalation were told; 0 for none.
    step: u32,
    /// When time alone changes it next; null when it doesn't.
    #[schema(value_type = Option<String>)]
    due_at: Option<Timestamp>,
}

impl Shown {
    fn new(device: DeviceId, alarm: Alarm) -> Self {
        Self {
            id: alarm.id,
            rule: alarm.rule,
            device,
            version: alarm.version,
            state: if alarm.active { Standing::Active } else { Standing::Cleared },
            severity: alarm.severity,
            count: alarm.count,
            raised_at: alarm.raised_at,
            cleared_at: alarm.cleared_at,
            acknowledged_at: alarm.acknowledged_at,
            acknowledged_by: alarm.acknowledged_by,
            acknowledged_note: alarm.acknowledged_note,
            shelved_until: alarm.shelved_until,
            repeats: alarm.repeats,
            step: alarm.step,
            due_at: alarm.due_at,
        }
    }
}

impl From<AlarmRow> for Shown {
    fn from(row: AlarmRow) -> Self {
        Self::new(row.device, row.alarm)
    }
}

/// Which alarms.
#[derive(Deserialize, IntoParams)]
struct Which {
    /// Only those in this state: `active` or `cleared`.
    #[param(inline)]
    state: Option<Standing>,
    /// Only those that somebody has taken note of, or not.
    acknowledged: Option<bool>,
    /// Only those that are at least this bad.
    #[param(value_type = Option<String>)]
    severity: Option<Severity>,
    /// Only those of this device.
    device: Option<String>,
    /// Only those of this rule.
    rule: Option<Uuid>,
    /// Items at most; 1 to 1,000, 100 where nothing is said.
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists alarms, the last raised first.
#[utoipa::path(get, path = "/v1/alarms", params(Which), responses((status = 200, body = Page<Shown>)), tag = "alarms")]
async fn list(
    State(http): State<Http>,
    caller: Caller<Read>,
    Query(which): Query<Which>,
) -> Result<axum::Json<Page<Shown>>, Problem> {
    let device = which.device.as_deref().map(DeviceId::parse).transpose();
    let device = device.map_err(|bad| Problem::bad_request(bad.to_string()))?;
    let limit = page_size(which.limit);
    let filter = AlarmFilter {
        active: which.state.map(|state| state == Standing::Active),
        acknowledged: which.acknowledged,
        severity: which.severity,
        device: device.as_ref(),
        rule: which.rule,
        before: page_after(which.cursor.as_deref(), read_cursor)?,
    };
    let rows = http.store.alarms(&caller.tenant, filter, limit).await?;
    let items = rows.into_iter().map(Shown::from).collect();
    Ok(axum::Json(Page::of(items, limit, |alarm: &Shown| {
        let raised = alarm.raised_at.map_or(0, Timestamp::as_micros);
        format!("{raised}.{}", alarm.id)
    })))
}

fn read_cursor(text: &str) -> Option<(Timestamp, Uuid)> {
    let (micros, id) = text.split_once('.')?;
    Some((Timestamp::from_micros(micros.parse().ok()?), id.parse().ok()?))
}

/// An alarm, and what happened to it.
#[derive(Serialize, ToSchema)]
#[schema(as = AlarmAndEvents)]
struct Told {
    #[serde(flatten)]
    alarm: Shown,
    /// The last first: `{version, step, what, severity, at, by, note, until}`; at most 1,000.
    #[schema(value_type = Vec<Object>)]
    events: Vec<Event>,
}

/// Reads an alarm, with what happened to it.
#[utoipa::path(get, path = "/v1/alarms/{id}", params(("id" = Uuid, Path)), responses((status = 200, body = Told), (status = 404, body = Problem)), tag = "alarms")]
async fn read(
    State(http): State<Http>,
    caller: Caller<Read>,
    Path(id): Path<Uuid>,
) -> Result<Response, Problem> {
    let row = http.store.alarm(&caller.tenant, id).await?.ok_or_else(|| unknown(id))?;
    let events = http.store.alarm_events(&caller.tenant, id, EVENTS_MAX).await?;
    let position = row.position;
    Ok((position_header(position), axum::Json(Told { alarm: row.into(), events })).into_response())
}

/// What somebody has taken note of.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Acknowledgement {
    /// The version that they saw.
    version: u64,
    /// What they say about it; at most 1,024 bytes.
    #[serde(default)]
    note: String,
}

/// Takes note of an alarm: it is no longer repeated nor escalated. The same again changes nothing; when it was raised
/// again or became worse since the version that was seen, it is refused. Also with the key of a person who was told of
/// the alarm, and with the ticket that came with a push; the same for shelving.
#[utoipa::path(post, path = "/v1/alarms/{id}/ack", params(("id" = Uuid, Path)), request_body = Acknowledgement, responses((status = 200, body = Shown), (status = 404, body = Problem), (status = 409, body = Problem)), tag = "alarms")]
async fn acknowledge(
    State(http): State<Http>,
    actor: Actor<Write>,
    Path(id): Path<Uuid>,
    Json(said): Json<Acknowledgement>,
) -> Result<Response, Problem> {
    submit(&http, &actor, id, Wish::Acknowledge(said.version), said.note).await
}

/// For how long nobody is to be told.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Shelving {
    /// The version that they saw; when it was raised again or became worse since, it is refused. Not asked for.
    version: Option<u64>,
    /// Until when (RFC 3339); at most 4 weeks from now. Either this or `for`.
    #[schema(value_type = Option<String>)]
    until: Option<Timestamp>,
    /// For how long, like `2h`; 1 s to 4 weeks.
    #[serde(rename = "for")]
    #[schema(value_type = Option<String>)]
    lasting: Option<Span>,
    /// What they say about it; at most 1,024 bytes.
    #[serde(default)]
    note: String,
}

/// Tells nobody of an alarm for a while. If it is still active then, and nobody took note, people are told again.
#[utoipa::path(post, path = "/v1/alarms/{id}/shelve", params(("id" = Uuid, Path)), request_body = Shelving, responses((status = 200, body = Shown), (status = 404, body = Problem), (status = 409, body = Problem)), tag = "alarms")]
async fn shelve(
    State(http): State<Http>,
    actor: Actor<Write>,
    Path(id): Path<Uuid>,
    Json(said): Json<Shelving>,
) -> Result<Response, Problem> {
    let until = match (said.until, said.lasting) {
        (Some(until), None) => until,
        (None, Some(span)) => now().plus_micros(span.as_micros()),
        _ => return Err(Problem::bad_request("say until when, or for how long: `until` or `for`")),
    };
    let left = until.micros_since(now());
    if !(1..=SPAN_MAX.as_micros()).contains(&left) {
        return Err(Problem::bad_request(format!("an alarm is shelved for {SPAN_MIN} to {SPAN_MAX}")));
    }
    submit(&http, &actor, id, Wish::Shelve(until, said.version), said.note).await
}

/// What somebody says about it.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Remark {
    /// At most 1,024 bytes.
    #[serde(default)]
    note: String,
}

/// Ends the shelving of an alarm. Where it isn't shelved, nothing changes.
#[utoipa::path(post, path = "/v1/alarms/{id}/unshelve", params(("id" = Uuid, Path)), request_body = Remark, responses((status = 200, body = Shown), (status = 404, body = Problem)), tag = "alarms")]
async fn unshelve(
    State(http): State<Http>,
    actor: Actor<Write>,
    Path(id): Path<Uuid>,
    Json(said): Json<Remark>,
) -> Result<Response, Problem> {
    submit(&http, &actor, id, Wish::Unshelve, said.note).await
}

/// Has it done in the mailbox of the device, like everything that writes.
async fn submit(
    http: &Http,
    actor: &Actor<Write>,
    id: Uuid,
    wish: Wish,
    note: String,
) -> Result<Response, Problem> {
    if note.len() > NOTE_BYTES_MAX || note.contains('\0') {
        return Err(Problem::bad_request(format!(
            "a note has at most {NOTE_BYTES_MAX} bytes, none of them zero"
        )));
    }
    actor.may_alarm(http, id).await?;
    let row = http.store.alarm(actor.tenant(), id).await?.ok_or_else(|| unknown(id))?;
    let key = DeviceKey::new(actor.tenant().clone(), row.device);
    let body = Body::Alarm { id, wish, by: actor.by(), note };
    let report = Report { key: key.clone(), body, device_time: None, message: None, received_at: now() };
    let applied = http.flow.submit(report).await.ok_or_else(Problem::stopping)??;
    let twin = applied.twin.ok_or_else(|| unknown(id))?;
    let alarm = twin.alarms.iter().find(|alarm| alarm.id == id).ok_or_else(|| unknown(id))?;
    let shown = Shown::new(key.device, alarm.clone());
    Ok((position_header(applied.position), axum::Json(shown)).into_response())
}

fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}

fn unknown(id: Uuid) -> Problem {
    Problem::not_found(format!("no alarm {id}"))
}
