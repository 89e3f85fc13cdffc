//! The one thread that speaks to the router. All calls of rumqttd's links block, so none is made from a task.
//!
//! A publish is done with when the router has it for sure: behind each batch a canary is sent, and when it comes
//! out the router has taken what was before it. What a dying router may not have taken is given to the next one,
//! once: a message that two routers died with is refused, in case it is what they died of.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use rumqttd::local::{LinkBuilder, LinkError, LinkRx, LinkTx};
use rumqttd::protocol::{Disconnect, DisconnectReasonCode, Packet, Publish};
use rumqttd::{Router as Rumqttd, RouterConfig, Strategy};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::command::{Command, HandBack, Pending};
use super::{Feed, feeder};
use crate::Refused;

/// The name that the canary has in the router: no client's, they begin with `r/`.
pub(super) const CANARY: &str = "canary";
/// How much the router keeps for each filter until all links have read it: two segments, each closed when it is
/// this long, in bytes.
const SEGMENT_BYTES: usize = 512 * 1024;
const SEGMENTS: usize = 2;
/// Messages that the router moves to one link at a time; more than about 200 wait for the link.
const BATCH: u64 = 200;
/// Most commands between two canaries.
const COMMANDS: usize = 200;
/// So many routers may die with a message before it is refused.
const DEATHS_MAX: u8 = 2;

/// The router is dead.
#[derive(Debug)]
pub(super) struct Dead;

impl From<LinkError> for Dead {
    fn from(_: LinkError) -> Self {
        Self
    }
}

/// Makes a link of this name.
type Connect = Box<dyn Fn(&str) -> Result<(LinkTx, LinkRx), Dead> + Send>;

/// A router, and its links.
pub(super) struct Pump {
    connect: Connect,
    runtime: Handle,
    /// It is given up.
    stop: CancellationToken,
    /// How feeders tell that they stopped reading.
    left: mpsc::WeakUnboundedSender<Command>,
    /// The link of each open feed.
    by_feed: HashMap<u64, u64>,
    links: HashMap<u64, Link>,
    last_link: u64,
    /// Names that may be used again: rumqttd remembers each name for ever.
    names: Vec<String>,
    /// The link that publishes for all.
    publisher: LinkTx,
    last_canary: u64,
    /// A message was published behind the last canary.
    unmarked: bool,
    /// What was published, in order, with the number of the first canary behind it.
    unconfirmed: VecDeque<(u64, Pending)>,
}

struct Link {
    tx: LinkTx,
    name: String,
    feed: u64,
}

impl Pump {
    /// Starts a router. The other end of the publishing link is returned: there the canaries arrive.
    pub(super) fn start(
        links_max: usize,
        left: mpsc::WeakUnboundedSender<Command>,
        runtime: Handle,
        stop: CancellationToken,
        todo: &HandBack,
    ) -> Result<(Self, LinkRx), Dead> {
        let config = RouterConfig {
            // Links that were closed and not yet forgotten take room too.
            max_connections: links_max.saturating_mul(2).saturating_add(2),
            max_outgoing_packet_count: BATCH,
            max_segment_size: SEGMENT_BYTES,
            max_segment_count: SEGMENTS,
            custom_segment: None,
            initialized_filters: None,
            shared_subscriptions_strategy: Strategy::RoundRobin,
        };
        let router = Rumqttd::new(0, config).spawn();
        let connect: Connect = Box::new(move |name| {
            let (tx, rx, _) = LinkBuilder::new(name, router.clone()).build()?;
            Ok((tx, rx))
        });
        let (mut publisher, canaries) = connect("publisher")?;
        publisher.subscribe(CANARY)?;
        let pump = Self {
            connect,
            runtime,
            stop,
            left,
            by_feed: HashMap::new(),
            links: HashMap::new(),
            last_link: todo.last_link,
            names: Vec::new(),
            publisher,
            last_canary: todo.last_canary,
            unmarked: false,
            unconfirmed: VecDeque::new(),
        };
        Ok((pump, canaries))
    }

    /// Carries commands out until the router dies, or until it is told to stop; hands back what is left. None
    /// when nobody can send commands any more.
    pub(super) fn run(mut self, feeds: &[Arc<Feed>], mut todo: HandBack) -> Option<HandBack> {
        let repeated = feeds.iter().try_for_each(|feed| {
            let patterns: Vec<Arc<str>> = feed.patterns.lock().keys().cloned().collect();
            patterns.iter().try_for_each(|pattern| self.subscribe(feed, pattern))
        });
        if repeated.is_ok() {
            while self.batch(&mut todo)? {}
        }
        let died_with = self.unconfirmed.into_iter().filter_map(|(_, mut pending)| {
            pending.deaths += 1;
            if pending.deaths < DEATHS_MAX {
                return Some(Command::Publish(pending));
            }
            pending.receipt.refuse(Refused::Other("the router failed on it".into()));
            None
        });
        let mut unfinished: VecDeque<Command> = died_with.collect();
        unfinished.append(&mut todo.unfinished);
        todo.unfinished = unfinished;
        Some(HandBack { last_link: self.last_link, last_canary: self.last_canary, ..todo })
    }

    /// Waits for commands, carries out all that are there, and sends a canary behind them. False when the router
    /// is dead, or is to be given up; none when nobody can send commands any more.
    fn batch(&mut self, todo: &mut HandBack) -> Option<bool> {
        let mut next = todo.unfinished.pop_front();
        if next.is_none() {
            next = Some(todo.commands.blocking_recv()?);
        }
        for _ in 0..COMMANDS {
            let Some(command) = next else { break };
            if self.stop.is_cancelled() {
                todo.unfinished.push_front(command);
                return Some(false);
            }
            if let Some(command) = self.carry_out(command) {
                todo.unfinished.push_front(command);
                return Some(false);
            }
            next = todo.unfinished.pop_front().or_else(|| todo.commands.try_recv().ok());
        }
        if let Some(command) = next {
            todo.unfinished.push_front(command);
        }
        Some(!self.unmarked || self.send_canary().is_ok())
    }

    /// Carries out one command; gives it back if the router is dead.
    fn carry_out(&mut self, command: Command) -> Option<Command> {
        let done = match &command {
            Command::Publish(pending) => self.publish(pending.topic.clone(), pending.envelope.clone()),
            Command::Subscribe { feed, pattern, .. } => self.subscribe(feed, pattern),
            Command::Unsubscribe { feed, pattern } => self.unsubscribe(feed, pattern),
            Command::Left { link } => self.disconnect(*link),
            // It is sent behind the batch.
            Command::Canary | Command::Seen { .. } => Ok(()),
            #[cfg(test)]
            Command::Kill => self.publish("é/x".into(), Bytes::new()),
        };
        if done.is_err() {
            return Some(command);
        }
        match command {
            Command::Publish(pending) => {
                self.unmarked = true;
                self.unconfirmed.push_back((self.last_canary + 1, pending));
            }
            // The connection may be gone by now.
            Command::Subscribe { done, .. } => drop(done.send(())),
            Command::Canary => self.unmarked = true,
            Command::Seen { number } => self.confirm(number),
            _ => {}
        }
        None
    }

    /// Accepts what was published before a canary that came out.
    fn confirm(&mut self, number: u64) {
        while self.unconfirmed.front().is_some_and(|(canary, _)| *canary <= number) {
            if let Some((_, pending)) = self.unconfirmed.pop_front() {
                pending.receipt.accept();
            }
        }
    }

    fn publish(&mut self, topic: String, payload: Bytes) -> Result<(), Dead> {
        send(&mut self.publisher, Packet::Publish(Publish::new(Bytes::from(topic), payload, false), None))
    }

    fn send_canary(&mut self) -> Result<(), Dead> {
        self.last_canary += 1;
        self.unmarked = false;
        self.publish(CANARY.into(), Bytes::copy_from_slice(&self.last_canary.to_be_bytes()))
    }

    fn subscribe(&mut self, feed: &Arc<Feed>, pattern: &str) -> Result<(), Dead> {
        if feed.closed.is_cancelled() {
            return Ok(());
        }
        let number = match self.by_feed.get(&feed.id) {
            Some(number) => *number,
            None => self.link(feed)?,
        };
        if let Some(link) = self.links.get_mut(&number) {
            link.tx.subscribe(feed.name(pattern))?;
        }
        Ok(())
    }

    fn unsubscribe(&mut self, feed: &Feed, pattern: &str) -> Result<(), Dead> {
        let link = self.by_feed.get(&feed.id).and_then(|link| self.links.get_mut(link));
        link.map_or(Ok(()), |link| Ok(link.tx.unsubscribe(feed.name(pattern)).map(drop)?))
    }

    /// Makes a link for a feed, and a task that reads it.
    fn link(&mut self, feed: &Arc<Feed>) -> Result<u64, Dead> {
        let name = self.names.pop().unwrap_or_else(|| format!("link{}", self.links.len()));
        let (tx, rx) = (self.connect)(&name)?;
        self.last_link += 1;
        let number = self.last_link;
        self.runtime.spawn(feeder::run(rx, Arc::clone(feed), number, self.left.clone()));
        self.links.insert(number, Link { tx, name, feed: feed.id });
        self.by_feed.insert(feed.id, number);
        Ok(number)
    }

    /// Ends a link whose task has ended. Never before: that task may still tell the router that it is ready, and
    /// the router would die of hearing it from a link that it no longer knows.
    fn disconnect(&mut self, number: u64) -> Result<(), Dead> {
        let Some(mut link) = self.links.remove(&number) else { return Ok(()) };
        if self.by_feed.get(&link.feed) == Some(&number) {
            self.by_feed.remove(&link.feed);
        }
        let reason_code = DisconnectReasonCode::NormalDisconnection;
        send(&mut link.tx, Packet::Disconnect(Disconnect { reason_code }, None))?;
        self.names.push(link.name);
        Ok(())
    }
}

/// Sends a packet into the router. rumqttd calls this async, but it blocks, and is done when it returns.
fn send(link: &mut LinkTx, packet: Packet) -> Result<(), Dead> {
    match link.send(packet).now_or_never() {
        Some(sent) => Ok(sent.map(drop)?),
        None => Ok(()),
    }
}
