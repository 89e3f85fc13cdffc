//! Rehearsals: what a rule would have done, before it does it.

use std::time::{Duration, Instant, SystemTime};

use axum::extract::State;
use serde::{Deserialize, Serialize};
use statecast_state::rule::{CompiledRule, Rehearsal, Rehearsed, RuleForm};
use statecast_state::{DeviceId, TenantId, Timestamp};
use statecast_store::Store;
use tokio::sync::Semaphore;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::Http;
use super::auth::{Caller, Rules};
use super::extract::Json;
use super::problem::Problem;

/// The period where nothing is said, in microseconds: a week.
const PERIOD_US: i64 = 7 * 24 * 3_600 * 1_000_000;
/// Examples where nothing is said, and at most.
const EXAMPLES: usize = 10;
const EXAMPLES_MAX: usize = 100;
/// Devices, and rows of history, that are read at a time: a few megabytes.
const DEVICES_MAX: usize = 200;
const ROWS_MAX: usize = 5_000;
/// Rows that are read in all, and how long it may take: then it says that it was cut.
const ALL_ROWS_MAX: usize = 1_000_000;
const TIME_MAX: Duration = Duration::from_secs(20);
/// Devices with too long a history that are named.
const TOO_LONG_MAX: usize = 100;
/// One at a time.
static REHEARSING: Semaphore = Semaphore::const_new(1);

pub(super) fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new().routes(routes!(rehearse))
}

/// What is to be rehearsed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Draft {
    /// The rule, as it would be saved.
    #[schema(value_type = Object)]
    rule: RuleForm,
    /// From when on (RFC 3339); a week ago where nothing is said.
    #[schema(value_type = Option<String>)]
    from: Option<Timestamp>,
    /// Until when; now where nothing is said.
    #[schema(value_type = Option<String>)]
    to: Option<Timestamp>,
    /// Examples; at most 100, 10 where nothing is said.
    limit: Option<usize>,
}

/// What it came to.
#[derive(Serialize, ToSchema)]
struct Outcome {
    #[serde(flatten)]
    #[schema(value_type = Object)]
    found: Rehearsed,
    /// Why not all devices were looked at; null when they were.
    cut: Option<String>,
    /// Devices that were left out because their history is too long; at most 100 are named.
    #[schema(value_type = Vec<String>)]
    too_long: Vec<DeviceId>,
}

/// Runs a rule over the stored history, and says how often it would have raised an alarm, when, for which devices, and
/// who would have been told what. Nothing is saved and nobody is told.
///
/// It counts as if nobody had acknowledged anything and the service had never been away; devices that were removed are
/// not there any more.
#[utoipa::path(post, path = "/v1/rules/rehearse", request_body = Draft, responses((status = 200, body = Outcome), (status = 400, body = Problem)), tag = "rules")]
async fn rehearse(
    State(http): State<Http>,
    caller: Caller<Rules>,
    Json(draft): Json<Draft>,
) -> Result<axum::Json<Outcome>, Problem> {
    let now: Timestamp = SystemTime::now().into();
    let to = draft.to.unwrap_or(now).min(now);
    let from = draft.from.unwrap_or(to.plus_micros(-PERIOD_US));
    if from >= to {
        return Err(Problem::bad_request("from must be before to, and before now"));
    }
    let rule = CompiledRule::new(draft.rule.into_rule(Uuid::nil()))
        .map_err(|error| Problem::bad_request(error.to_string()))?;
    let _turn = REHEARSING
        .try_acquire()
        .map_err(|_| Problem::unavailable("another rehearsal is under way: one at a time"))?;
    let set = http.rulebook.draft(&caller.tenant, rule).await?;
    let examples_max = draft.limit.unwrap_or(EXAMPLES).min(EXAMPLES_MAX);
    let rehearsal = Rehearsal::new(set, from, to, examples_max);
    Ok(axum::Json(run(&http.store, &caller.tenant, rehearsal).await?))
}

/// Goes through all devices, page by page, while there is time.
async fn run(store: &Store, tenant: &TenantId, mut rehearsal: Rehearsal) -> Result<Outcome, Problem> {
    let (begun, begins_at) = (Instant::now(), rehearsal.begins_at());
    let (mut after, mut rows, mut too_long) = (None, 0, Vec::new());
    let cut = loop {
        let page = store.courses(tenant, after.as_ref(), begins_at, DEVICES_MAX, ROWS_MAX).await?;
        rows += page.rows;
        too_long.extend(page.too_long);
        too_long.truncate(TOO_LONG_MAX);
        // A page can take longer than other requests should wait for this thread.
        let walk = tokio::task::spawn_blocking(move || {
            for course in page.items {
                rehearsal.device(course.before, &course.changes);
            }
            rehearsal
        });
        rehearsal = walk.await.map_err(|_| Problem::unavailable("the rehearsal failed"))?;
        let Some(next) = page.next else { break None };
        if rows >= ALL_ROWS_MAX {
            break Some(format!("{ALL_ROWS_MAX} changes were read, up to the device {next}"));
        }
        if begun.elapsed() >= TIME_MAX {
            break Some(format!("it took {} s, up to the device {next}", TIME_MAX.as_secs()));
        }
        after = Some(next);
    };
    Ok(Outcome { found: rehearsal.finish(), cut, too_long })
}
