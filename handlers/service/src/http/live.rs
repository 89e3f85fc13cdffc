//! Server-sent events over the feed: what `/v1/changes` and `/v1/deliveries/live` have in common.
//!
//! *Guarantee*: a client sees, in order and without a gap, everything after the position at which it begins; where
//! that can't be, a `reset` event says so. `id:` is the position, and `Last-Event-ID` resumes after it.
//! *Bound*: a client holds one read of the feed or of the past. It ends when the client goes, its key is revoked or
//! expires, or the service stops.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use serde::Serialize;
use statecast_flow::{Feed, Read};
use statecast_state::{Change, Position, Timestamp};
use statecast_store::StoreError;
use tracing::warn;

use super::Http;
use super::auth::{Caller, Needs};
use super::problem::Problem;

/// Changes read from the feed at a time.
pub(super) const READ_MAX: usize = 256;
/// A comment is sent after this silence, so that both ends notice a dead connection.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(15);

/// A live stream, as a response.
pub(super) type Events =
    Sse<axum::response::sse::KeepAliveStream<BoxStream<'static, Result<Event, Infallible>>>>;

/// What a client is told.
pub(super) trait Teller: Send + 'static {
    /// The next events of what there is already, for a client that asked for it; none when that is all. Asked at
    /// the beginning, unless the client resumes, and after each reset. Changes after `position` are told then.
    fn present(
        &mut self,
        _position: Position,
    ) -> impl Future<Output = Result<Option<Vec<Event>>, StoreError>> + Send {
        std::future::ready(Ok(None))
    }

    /// Whether what happened since an earlier position can be told; otherwise who comes back begins anew.
    fn resumes(&self) -> bool {
        true
    }

    /// The events of a change that was just committed.
    fn tell(&mut self, change: &Change) -> Vec<Event>;

    /// When time alone may be worth an event; none when it never is.
    fn due(&self) -> Option<Timestamp> {
        None
    }

    /// The events that time alone brought, once it is due. Everything up to `position` was told.
    fn pass(&mut self, _position: Position) -> impl Future<Output = Result<Vec<Event>, StoreError>> + Send {
        std::future::ready(Ok(Vec::new()))
    }

    /// The events of what was committed after a position and is no longer in memory, up to another, and how far
    /// they reach; none when that can't be told any more.
    fn past(
        &mut self,
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
    let resumes = match headers.get("last-event-id") {
        Some(id) => {
            let id = id.to_str().ok().and_then(|id| id.parse().ok()).map(Position);
            Some(id.ok_or_else(|| Problem::bad_request("Last-Event-ID takes the id of an event"))?)
        }
        None => None,
    };
    let after = resumes.unwrap_or(feed.watermark());
    let mut follower =
        Follower { feed, teller, after, presenting: resumes.is_none(), ready: VecDeque::new() };
    if resumes.is_some() && !follower.teller.resumes() {
        follower.reset(follower.feed.watermark());
    }
    let events = stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok(event), follower))
    });
    Ok(Sse::new(events.take_until(end).boxed()).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

/// Returns when the service stops, or the key of the caller is worth nothing any more.
pub(super) async fn ended<S: Needs>(http: Http, caller: Caller<S>) {
    http.stop.run_until_cancelled(caller.gone(&http.gate)).await;
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
    /// The client is being told what there is already.
    presenting: bool,
    ready: VecDeque<Event>,
}

impl<T: Teller> Follower<T> {
    /// The next event; none when the client is better off coming again.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.presenting {
                self.present().await?;
                continue;
            }
            if self.after > self.feed.watermark() {
                // From another life of the database: nothing after it can be told from what is before it.
                self.reset(self.feed.watermark());
                continue;
            }
            if !self.wait().await {
                match self.teller.pass(self.after).await {
                    Ok(events) => self.ready.extend(events),
                    Err(error) => {
                        warn!(%error, "a live stream could not go on");
                        return None;
                    }
                }
                continue;
            }
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
                        return None;
                    }
                },
            }
        }
    }

    /// Waits for the next change, or until time is due; true for a change.
    async fn wait(&self) -> bool {
        let Some(due) = self.teller.due() else {
            self.feed.wait_after(self.after).await;
            return true;
        };
        let micros = due.micros_since(SystemTime::now().into());
        let left = Duration::from_micros(u64::try_from(micros).unwrap_or(0));
        tokio::time::timeout(left, self.feed.wait_after(self.after)).await.is_ok()
    }

    async fn present(&mut self) -> Option<()> {
        match self.teller.present(self.after).await {
            Ok(Some(events)) => self.ready.extend(events),
            Ok(None) => self.presenting = false,
            Err(error) => {
                warn!(%error, "a live stream could not begin");
                return None;
            }
        }
        Some(())
    }

    fn reset(&mut self, position: Position) {
        self.after = position;
        self.presenting = true;
        self.ready.push_back(event("reset", position, &serde_json::json!({ "position": position })));
    }
}
