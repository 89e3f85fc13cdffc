//! Export of all devices that match, as CSV or NDJSON, in constant memory whatever their number.
//!
//! One task a client: it reads a page of ids from the index, their twins from the database, writes them, and goes on
//! behind the last id. Between two pages nothing is held open: no snapshot of the index, no connection of the database.
//!
//! *Guarantee*: the header `Statecast-Position` is a position that the index had reached when the export began. A device
//! that matched from then on, and kept its values of the sort keys, is in it exactly once, as it was at that position or
//! later; each line matched when it was read. An answer that is complete ends as its encoding says; one that
//! isn't breaks off.
//! *Bound*: two frames that wait for the reader; one that takes none for a minute is left. A client that goes away ends
//! the task.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde::Deserialize;
use statecast_search::{Found, Question};
use statecast_state::query::{Field, Query as Search, Sort, SortKey, list};
use statecast_state::{TenantId, Timestamp, Twin};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::warn;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::auth::{Caller, Read};
use super::extract::Query;
use super::live::ended;
use super::problem::Problem;
use super::{Http, csv, position_header, search};

/// Ids that are read from the index at a time: as many as it gives, as each page is a search.
const PAGE: usize = statecast_search::find::LIMIT_MAX;
/// Twins that are read from the database at a time.
const TWINS_MAX: usize = 200;
/// A frame is sent when it has this many bytes; a twin more may be in it.
const FRAME_BYTES: usize = 64 * 1024;
/// Frames that wait for the reader.
const FRAMES_MAX: usize = 2;
/// A reader that takes nothing for so long is left.
const STALL_MAX: Duration = Duration::from_secs(60);
/// Columns at most.
const COLUMNS_MAX: usize = 100;

pub(super) fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new().routes(routes!(export))
}

/// What to export.
#[derive(Deserialize, IntoParams)]
struct Asked {
    /// A query; empty for all devices.
    #[serde(default)]
    q: String,
    /// Fields to sort by, as in a search.
    #[serde(default)]
    sort: String,
    /// `ndjson` (a twin a line, where nothing is said) or `csv`.
    #[serde(default)]
    #[param(inline)]
    format: Format,
    /// The columns of CSV: fields, at most 100, with commas between. Where nothing is said: `id,online,seen`, and the
    /// properties that most devices have.
    #[serde(default)]
    columns: String,
    /// A position that the export must include, or `now`, as in a search.
    #[serde(default)]
    after: String,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Ndjson,
    Csv,
}

/// Streams all devices that match. `Statecast-Position` tells as of when; devices that change meanwhile may be told as
/// they are later.
#[utoipa::path(get, path = "/v1/search/export", params(Asked), responses((status = 200, description = "text/csv or application/x-ndjson"), (status = 400, body = Problem), (status = 503, body = Problem)), tag = "search")]
async fn export(
    State(http): State<Http>,
    caller: Caller<Read>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let query = Search::parse(&asked.q)?;
    let sort = Sort::parse(&asked.sort).map_err(Problem::in_parameter("sort"))?;
    let columns = list::fields(&asked.columns, COLUMNS_MAX);
    let mut columns = columns.map_err(Problem::in_parameter("columns"))?;
    let permit = http.gates.export()?;
    search::wait(&http, &asked.after).await?;
    if columns.is_empty() && asked.format == Format::Csv {
        columns = usual_columns(&http, &caller.tenant).await?;
    }
    let now = SystemTime::now().into();
    let plan = Plan { tenant: caller.tenant.clone(), query, sort, format: asked.format, columns, now };
    let end = ended(http.clone(), caller);
    let task = Export { http, plan: Arc::new(plan) };
    // The first page before the answer, so that what can't be done is a status.
    let first = task.page(None).await?;
    let position = first.position;
    let (sender, receiver) = mpsc::channel(FRAMES_MAX);
    tokio::spawn(async move {
        let _permit = permit;
        tokio::select! {
            ran = task.run(first, sender) => if let Err(Ended::Failed(problem)) = ran {
                warn!(detail = problem.detail, "an export broke off");
            },
            () = end => {}
        }
    });
    let (kind, name) = match asked.format {
        Format::Csv => ("text/csv; charset=utf-8; header=present", "attachment; filename=\"devices.csv\""),
        Format::Ndjson => ("application/x-ndjson", "attachment; filename=\"devices.ndjson\""),
    };
    let headers: [(HeaderName, HeaderValue); 2] = [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (CONTENT_DISPOSITION, HeaderValue::from_static(name)),
    ];
    Ok((position_header(position), headers, body(receiver)).into_response())
}

/// What every device has, and the properties with single values that most have, by name.
async fn usual_columns(http: &Http, tenant: &TenantId) -> Result<Vec<Field>, Problem> {
    let (index, tenant) = (http.search.clone(), tenant.clone());
    let mut columns = vec![Field::Id, Field::Online, Field::Seen];
    let rest = COLUMNS_MAX - columns.len();
    let known = tokio::task::spawn_blocking(move || index.fields(&tenant, "", rest))
        .await
        .map_err(|_| Problem::unavailable("the search failed"))??;
    let mut fields: Vec<_> =
        known.into_iter().filter(|known| !known.kinds.is_empty()).map(|known| known.field).collect();
    fields.sort_unstable();
    columns.extend(fields);
    Ok(columns)
}

/// What is exported, and how.
struct Plan {
    tenant: TenantId,
    query: Search,
    sort: Vec<SortKey>,
    format: Format,
    columns: Vec<Field>,
    now: Timestamp,
}

/// A part of the answer.
enum Frame {
    Bytes(Bytes),
    /// That was all of it.
    End,
}

/// Why an export ended early.
enum Ended {
    /// The reader went, or takes nothing.
    Reader,
    Failed(Problem),
}

struct Export {
    http: Http,
    plan: Arc<Plan>,
}

impl Export {
    async fn run(&self, first: Found, sender: mpsc::Sender<Frame>) -> Result<(), Ended> {
        let mut buffer = Vec::with_capacity(FRAME_BYTES);
        if self.plan.format == Format::Csv {
            csv::header(&mut buffer, &self.plan.columns);
        }
        let mut page = first;
        loop {
            for ids in page.ids.chunks(TWINS_MAX) {
                let twins = self.http.store.by_ids(&self.plan.tenant, ids).await;
                // One that was removed or changed since the index saw it may not match any more.
                let twins = twins.map_err(|error| Ended::Failed(error.into()))?.into_iter().flatten();
                for twin in twins.filter(|twin| self.plan.query.matches(twin, self.plan.now)) {
                    self.write(&mut buffer, &twin)?;
                    if buffer.len() >= FRAME_BYTES {
                        let frame = std::mem::replace(&mut buffer, Vec::with_capacity(FRAME_BYTES));
                        send(&sender, Frame::Bytes(frame.into())).await?;
                    }
                }
            }
            let Some(cursor) = page.next_cursor else { break };
            page = self.page(Some(cursor)).await.map_err(Ended::Failed)?;
        }
        send(&sender, Frame::Bytes(buffer.into())).await?;
        send(&sender, Frame::End).await
    }

    fn write(&self, buffer: &mut Vec<u8>, twin: &Twin) -> Result<(), Ended> {
        match self.plan.format {
            Format::Csv => csv::row(buffer, &self.plan.columns, twin),
            Format::Ndjson => {
                let failed = |_| Ended::Failed(Problem::unavailable("a twin can't be written"));
                serde_json::to_writer(&mut *buffer, twin).map_err(failed)?;
                buffer.push(b'\n');
            }
        }
        Ok(())
    }

    async fn page(&self, cursor: Option<String>) -> Result<Found, Problem> {
        let (index, plan) = (self.http.search.clone(), self.plan.clone());
        let found = tokio::task::spawn_blocking(move || {
            let question = Question::new(&plan.tenant, &plan.query, plan.now);
            index.search(&Question { sort: &plan.sort, limit: PAGE, cursor: cursor.as_deref(), ..question })
        });
        Ok(found.await.map_err(|_| Problem::unavailable("the search failed"))??)
    }
}

async fn send(sender: &mpsc::Sender<Frame>, frame: Frame) -> Result<(), Ended> {
    match timeout(STALL_MAX, sender.send(frame)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Ended::Reader),
    }
}

/// The frames as a body, which breaks off when the last doesn't say that it is the last.
fn body(frames: mpsc::Receiver<Frame>) -> Body {
    Body::from_stream(stream::unfold(Some(frames), |frames| async {
        let mut frames = frames?;
        match frames.recv().await {
            Some(Frame::Bytes(bytes)) => Some((Ok(bytes), Some(frames))),
            Some(Frame::End) => None,
            None => Some((Err(std::io::Error::other("the export broke off")), None)),
        }
    }))
}
