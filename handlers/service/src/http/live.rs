//! Server-sent events over the feed: what `/v1/changes` and `/v1/deliveries/live` have in common.
//!
//! *Guarantee*: a client sees, in order and without a gap, everything after the position at which it begins; where
//! that can't be, a `reset` event says so. `id:` is the position, and `Last-Event-ID` resumes after it; it also comes
//! without an event, at the beginning and while nothing is told, so that who comes back misses nothing and is near.
//! *Bound*: a client holds one read of the feed or of the past. It ends when the client goes, its key is revoked or
//! expires, or the service stops.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::{Duration, Instant, SystemTime};

use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use serde::Serialize;
use serde_json::json;
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

/// While there are changes that nobody is told of, the client learns this often how far it is.
const MARK_PERIOD: Duration = Duration::from_secs(1);

/// A live stream, as a response.
pub(super) type Events =
    Sse<axum::response::sse::KeepAliveStream<BoxStream<'static, Result<Event, Infallible>>>>;

/// What a client is told.
pub(super) trait Teller: Send + 'static {
    /// Begins, at first and after each reset; true when the client is to be told what there is already.
    fn begin(&mut self) -> bool {
        false
    }

    /// The next events of what there is already, and whether that is all. Everything up to `told` was told, and what
    /// follows is told between the calls.
    fn present(
        &mut self,
        _told: Position,
    ) -> impl Future<Output = Result<(Vec<Event>, bool), StoreError>> + Send {
        std::future::ready(Ok((Vec::new(), true)))
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

    /// The events that time alone brought, once it is due.
    fn pass(&mut self) -> impl Future<Output = Result<Vec<Event>, StoreError>> + Send {
        std::future::ready(Ok(Vec::new()))
    }

    /// The events of what was committed after a position and is no longer in memory, up to another, each with its
    /// position, and how far they reach; none when that can't be told any more.
    fn past(
        &mut self,
        after: Position,
        upto: Position,
    ) -> impl Future<Output = Result<Past, StoreError>> + Send;
}

/// Events with their positions, in order, and how far they reach.
pub(super) type Past = Option<(Vec<(Position, Event)>, Position)>;

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
    let now = feed.watermark();
    let mut follower = Follower {
        feed,
        teller,
        after: resumes.unwrap_or(now),
        presenting: false,
        marked: Instant::now(),
        ready: VecDeque::new(),
    };
    match resumes {
        None => follower.begin(),
        Some(_) if !follower.teller.resumes() => follower.reset(now),
        Some(_) => {}
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
pub(super) fn event(name: &str, data: &impl Serialize) -> Event {
    Event::default().event(name).data(serde_json::to_string(data).unwrap_or_default())
}

struct Follower<T> {
    feed: Feed,
    teller: T,
    after: Position,
    /// The client is being told what there is already: until that is done it can't resume, so there are no ids.
    presenting: bool,
    /// When the client last learnt how far it is.
    marked: Instant,
    ready: VecDeque<Event>,
}

impl<T: Teller> Follower<T> {
    /// The next event; none when the client is better off coming again.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if let Err(error) = self.advance().await {
                warn!(%error, "a live stream could not go on");
                return None;
            }
        }
    }

    /// Tells what comes next, if anything.
    async fn advance(&mut self) -> Result<(), StoreError> {
        let now = self.feed.watermark();
        if self.after > now {
            // From another life of the database: nothing after it can be told from what is before it.
            self.reset(now);
            return Ok(());
        }
        if self.presenting && self.after == now {
            let (events, all) = self.teller.present(now).await?;
            self.ready.extend(events);
            if all {
                self.presenting = false;
                self.tell([(now, event("ready", &json!({ "position": now })))]);
            }
            return Ok(());
        }
        if !self.presenting && !self.wait().await {
            let events = self.teller.pass().await?;
            self.tell(events.into_iter().map(|event| (now, event)));
            return Ok(());
        }
        match self.feed.read(self.after, READ_MAX) {
            Read::Changes(changes, upto) => {
                for change in changes {
                    let events = self.teller.tell(&change);
                    self.tell(events.into_iter().map(|event| (change.position, event)));
                }
                self.after = upto;
            }
            Read::Behind(upto) => match self.teller.past(self.after, upto).await? {
                Some((events, reached)) => {
                    self.tell(events);
                    self.after = reached;
                }
                None => self.reset(upto),
            },
        }
        if self.ready.is_empty() && self.marked.elapsed() >= MARK_PERIOD {
            self.mark();
        }
        Ok(())
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

    /// Events that are told, in the order of their positions. Who has the last one of a position has all of it.
    fn tell(&mut self, events: impl IntoIterator<Item = (Position, Event)>) {
        let mut events = events.into_iter().peekable();
        while let Some((position, event)) = events.next() {
            let last = events.peek().is_none_or(|(next, _)| *next != position);
            let event = if last && !self.presenting { event.id(position.to_string()) } else { event };
            self.ready.push_back(event);
            self.marked = Instant::now();
        }
    }

    /// Tells how far the client is, and nothing else.
    fn mark(&mut self) {
        if !self.presenting {
            self.ready.push_back(Event::default().id(self.after.to_string()));
            self.marked = Instant::now();
        }
    }

    fn begin(&mut self) {
        self.presenting = self.teller.begin();
        self.mark();
    }

    fn reset(&mut self, position: Position) {
        self.after = position;
        self.ready.push_back(event("reset", &json!({ "position": position })));
        self.begin();
    }
}
