//! Server-sent events over the feed: what `/v1/changes` and `/v1/deliveries/live` have in common.
//!
//! *Guarantee*: a client sees, in order and without a gap, everything after the position at which it begins; where
//! that can't be, a `reset` event says so. `id:` is the position, and `Last-Event-ID` resumes after it.
//! *Bound*: a client holds one read of the feed at most. It ends when the client goes, its key is revoked or
//! expires, or the service stops.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use serde::Serialize;
use statecast_flow::{Feed, Read};
use statecast_state::{Change, Position};
use statecast_store::StoreError;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::auth::{Caller, Needs};
use super::problem::Problem;
use crate::access::Gate;

/// Changes read from the feed at a time.
pub(super) const READ_MAX: usize = 256;
/// A comment is sent after this silence, so that both ends notice a dead connection.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// A live stream, as a response.
pub(super) type Events =
    Sse<axum::response::sse::KeepAliveStream<BoxStream<'static, Result<Event, Infallible>>>>;

/// What a client is told.
pub(super) trait Teller: Send + 'static {
    /// The events of a change that was just committed.
    fn tell(&self, change: &Change) -> Vec<Event>;

    /// The events of what was committed after a position and is no longer in memory, up to another, and how far
    /// they reach; none when that can't be told any more.
    fn past(
        &self,
        after: Position,
        upto: Position,
    ) -> impl Future<Output = Result<Option<(Vec<Event>, Position)>, StoreError>> + Send;
}

/// Follows the feed for one client, from now on or from after its `Last-Event-ID`.
///
/// # Errors
/// `Problem` when the header is no position.
pub(super) fn follow(
    feed: Feed,
    headers: &HeaderMap,
    end: impl Future<Output = ()> + Send + 'static,
    teller: impl Teller + Sync,
) -> Result<Events, Problem> {
    let after = match headers.get("last-event-id") {
        Some(id) => {
            let id = id.to_str().ok().and_then(|id| id.parse().ok()).map(Position);
            id.ok_or_else(|| Problem::bad_request("Last-Event-ID takes the id of an event"))?
        }
        None => feed.watermark(),
    };
    let follower = Follower { feed, teller, after, ready: VecDeque::new() };
    let events = stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await;
        Some((Ok(event), follower))
    });
    Ok(Sse::new(events.take_until(end).boxed()).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

/// Returns when the service stops, or the key of the caller is worth nothing any more.
pub(super) async fn ended<S: Needs>(stop: CancellationToken, gate: Arc<Gate>, caller: Caller<S>) {
    stop.run_until_cancelled(caller.gone(&gate)).await;
}

/// An event that carries JSON.
pub(super) fn event(name: &str, position: Position, data: &impl Serialize) -> Event {
    let data = serde_json::to_string(data).unwrap_or_default();
    Event::default().event(name).id(position.to_string()).data(data)
}

struct Follower<T> {
    feed: Feed,
    teller: T,
    after: Position,
    ready: VecDeque<Event>,
}

impl<T: Teller> Follower<T> {
    async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return event;
            }
            if self.after > self.feed.watermark() {
                // From another life of the database: nothing after it can be told from what is before it.
                self.reset(self.feed.watermark());
                continue;
            }
            self.feed.wait_after(self.after).await;
            match self.feed.read(self.after, READ_MAX) {
                Read::Changes(changes, upto) => {
                    self.ready.extend(changes.iter().flat_map(|change| self.teller.tell(change)));
                    self.after = upto;
                }
                Read::Behind(upto) => match self.teller.past(self.after, upto).await {
                    Ok(Some((events, reached))) => {
                        self.ready.extend(events);
                        self.after = reached;
                    }
                    Ok(None) => self.reset(upto),
                    Err(error) => {
                        warn!(%error, "a live stream could not catch up");
                        self.reset(upto);
                    }
                },
            }
        }
    }

    fn reset(&mut self, position: Position) {
        self.after = position;
        self.ready.push_back(event("reset", position, &serde_json::json!({ "position": position })));
    }
}
