//! One connection: a task that reads packets, hands publishes on, and writes acknowledgements and letters.
//!
//! In the order in which a connection lives:
//! - [`connect`]: CONNECT and CONNACK, with [`wish`] (what the client asks for), [`seat`] (its place) and
//!   [`rejected`] (why it isn't let in)
//! - [`frame`], [`codec`], [`strict`]: packets in the bytes of a wire, protocol state, and what that lets pass
//! - [`read`]: which packets are taken now, and which have to wait
//! - [`room`]: what a publish needs
//! - [`publish`], [`subscribe`]: what is done with them, with [`onward`] (where a publish goes) and [`first`] (what a
//!   subscriber sees first)
//! - [`write`]: acknowledgements and letters, with [`packets`] and [`aliases`]
//! - [`lasting`]: what is different where the session outlasts the connection
//! - [`clock`]: its deadlines; [`finish`]: its end
//!
//! The task sleeps in one place, [`Session::run`]; all else is done in between without waiting, so a slow
//! database or subscriber can't keep a client from its PINGRESP. If the task panics, the connection is closed
//! like any other, and counted; no other connection notices.

mod connect;
mod rejected;
mod wish;
mod seat;
mod frame;
mod codec;
mod strict;
mod read;
mod room;
mod publish;
mod onward;
mod subscribe;
mod first;
mod write;
mod lasting;
mod aliases;
mod packets;
mod clock;
mod finish;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::time::{Instant, Sleep, sleep_until};

use self::aliases::Aliases;
use self::clock::Clock;
use self::codec::Codec;
use self::connect::Welcome;
use self::lasting::PickedUp;
use self::publish::Published;
use self::read::Partial;
use self::room::Room;
use self::seat::Seat;
use self::subscribe::{Filtered, Subscribed, Unsubscribed};
use self::wish::Will;
use crate::access::Certificate;
use crate::broker::Hub;
use crate::ending::Ending;
use crate::limits::{Pace, Ticket};
use crate::peer::Peer;
use crate::session::Lasting;
use crate::wire::Wire;

pub(crate) use self::write::WINDOW_MAX;

/// A connection that was accepted, before its first packet.
pub(crate) struct Arrival {
    /// Its bytes.
    pub(crate) stream: Wire,
    /// Where it comes from.
    pub(crate) address: SocketAddr,
    /// Its certificate, if it showed one.
    pub(crate) certificate: Option<Certificate>,
    /// Its place among the open sockets.
    pub(crate) ticket: Ticket,
}

/// Serves one connection until nothing is left of it.
pub(crate) async fn serve(hub: Arc<Hub>, arrival: Arrival) {
    let Arrival { mut stream, address, certificate, ticket } = arrival;
    let greeted = AssertUnwindSafe(connect::greet(&hub, &mut stream, address, certificate, ticket.refused))
        .catch_unwind();
    let welcome = match Box::pin(greeted).await {
        Ok(Some(welcome)) => welcome,
        Ok(None) => return,
        Err(_) => return hub.meters.panicked(),
    };
    let mut session = Box::new(Session::new(Arc::clone(&hub), stream, address, welcome));
    let ending = match AssertUnwindSafe(session.run()).catch_unwind().await {
        Ok(ending) => ending,
        Err(_) => {
            session.hub.meters.panicked();
            Ending::Failed
        }
    };
    tokio::select! {
        () = hub.stopping.cancelled() => {}
        () = hub.passage.go() => {}
        // The other one has waited for its turn already.
        () = session.peer.replaced() => {}
    }
    Box::pin(session.finish(ending)).await;
    drop(ticket);
}

/// The state of an admitted connection; only its task has it. What others may touch is in its [`Peer`].
struct Session {
    hub: Arc<Hub>,
    peer: Arc<Peer>,
    stream: Wire,
    address: SocketAddr,
    codec: Codec,
    /// Bytes that are read and not yet accepted.
    input: Vec<u8>,
    /// Counts them.
    partial: Partial,
    /// Whole packets wait in the input, because there is no room for them yet.
    holding: bool,
    /// What is waited for before the packets in the input can go on.
    wait: Option<BoxFuture<'static, Waited>>,
    /// Room for the first publish in the input, once it was waited for.
    room: Option<Room>,
    /// The first publish in the input, if it had to be parsed to know its topic and still waits.
    aliased: Option<Published>,
    /// Packet ids between PUBLISH and PUBREL at quality 2.
    unreleased: HashSet<u16>,
    /// Most publishes that the client is sent before it acknowledges.
    window: u16,
    /// The client wants to know why something was refused.
    reasons: bool,
    /// Publishes with a mark that wait to be acknowledged: packet id, topic, mark.
    marked: Vec<(u16, Arc<str>, u64)>,
    /// The topic aliases that the client was told.
    aliases: Aliases,
    /// For how long the session is kept when the connection ends, in seconds.
    session_expiry_s: u32,
    /// The session, if it outlasts the connection.
    lasting: Option<Arc<Lasting>>,
    filters: HashMap<Arc<str>, Filtered>,
    /// A SUBSCRIBE waits for its answer, or what a client sees first that is back.
    subscribing: bool,
    will: Option<Will>,
    /// The client said goodbye, but packets from before that are still waiting.
    goodbye: Option<Ending>,
    clock: Clock,
    /// How fast the client publishes.
    pace: Pace,
    timer: Pin<Box<Sleep>>,
    seat: Seat,
}

/// What was waited for.
enum Waited {
    /// Room for a publish, or that there never will be any.
    Room(Result<Room, Ending>),
    /// All that a SUBACK needs.
    Subscribed(Subscribed),
    /// All that an UNSUBACK needs.
    Unsubscribed(Unsubscribed),
    /// What a client sees first that is back.
    PickedUp(PickedUp),
    /// That something is durable, which it never will be.
    InVain,
    /// The client may publish again without being faster than its rate.
    Pace,
}

impl Session {
    fn new(hub: Arc<Hub>, stream: Wire, address: SocketAddr, welcome: Welcome) -> Self {
        let Welcome { codec, seat, wish, input, present } = welcome;
        let now = Instant::now();
        let aliases_max = hub.config.topic_aliases_max;
        let clock = Clock::new(&hub.config, wish.keep_alive_s, now);
        let partial = Partial::new(Arc::clone(&hub));
        let mut session = Self {
            peer: Arc::clone(seat.peer()),
            lasting: seat.lasting.clone(),
            hub,
            stream,
            address,
            codec,
            input,
            partial,
            holding: false,
            wait: None,
            room: None,
            aliased: None,
            unreleased: HashSet::new(),
            window: wish.window.min(write::WINDOW_MAX),
            reasons: wish.reasons,
            marked: Vec::new(),
            aliases: Aliases::new(wish.topic_aliases.min(aliases_max)),
            session_expiry_s: wish.session_expiry_s,
            filters: HashMap::new(),
            subscribing: false,
            will: wish.will,
            goodbye: None,
            pace: Pace::default(),
            timer: Box::pin(sleep_until(clock.next().unwrap_or(now))),
            clock,
            seat,
        };
        if present {
            session.pick_up();
        }
        session
    }

    /// Serves the client until there is a reason to end.
    async fn run(&mut self) -> Ending {
        if self.hub.stopping.is_cancelled() {
            self.peer.stop();
        }
        loop {
            if let Err(ending) = self.turn() {
                return ending;
            }
            let reads = self.may_read();
            let writes = self.has_output();
            let timed = self.arm(reads);
            let bytes_max = self.read_bytes_max();
            let Self { peer, stream, wait, timer, input, codec, .. } = self;
            // At random among what is ready: a flood of letters must not keep the client from being heard.
            tokio::select! {
                () = peer.wake.notified() => {}
                waited = ready(wait), if wait.is_some() => {
                    self.wait = None;
                    if let Err(ending) = self.resume(waited) {
                        return ending;
                    }
                }
                moved = stream.exchange(reads.then_some((input, bytes_max)), &mut codec.output),
                    if reads || writes =>
                {
                    if let Err(ending) = self.moved(&moved) {
                        return ending;
                    }
                }
                () = timer.as_mut(), if timed => {
                    if let Err(ending) = self.check_deadlines(reads) {
                        return ending;
                    }
                }
            }
        }
    }

    /// Does all that can be done without waiting.
    fn turn(&mut self) -> Result<(), Ending> {
        if let Some(ending) = self.peer.ending() {
            return Err(ending);
        }
        self.take_input()?;
        // Each acknowledgement makes room for a publish that waits.
        while self.acknowledge()? && self.holding {
            self.take_input()?;
        }
        self.forward()?;
        self.flush()?;
        if let Some(ending) = self.goodbye
            && !self.holding
        {
            return Err(ending);
        }
        if self.peer.is_stopping() && !self.has_output() && self.peer.receipts.lock().len() == 0 {
            return Err(Ending::Stopping);
        }
        Ok(())
    }

    /// Goes on with what was waited for.
    fn resume(&mut self, waited: Waited) -> Result<(), Ending> {
        match waited {
            Waited::Room(room) => self.room = Some(room?),
            Waited::Subscribed(subscribed) => self.subscribed(subscribed)?,
            Waited::Unsubscribed(unsubscribed) => self.unsubscribed(unsubscribed)?,
            Waited::PickedUp(picked_up) => self.picked_up(picked_up),
            Waited::InVain => return Err(Ending::NotStored),
            Waited::Pace => {}
        }
        Ok(())
    }

    /// Sets the timer to the next deadline. False if there is none.
    fn arm(&mut self, reads: bool) -> bool {
        let partial = reads && !self.holding && !self.input.is_empty();
        self.clock.partial(partial, Instant::now());
        let Some(next) = self.clock.next() else { return false };
        // Later deadlines are looked at when the timer fires: silence is measured without touching it.
        if self.timer.is_elapsed() || next < self.timer.deadline() {
            self.timer.as_mut().reset(next);
        }
        true
    }

    fn check_deadlines(&mut self, reads: bool) -> Result<(), Ending> {
        let now = Instant::now();
        // A client that we owe an answer, or that we don't read, isn't silent by its own fault: an outage of
        // minutes must not fire the wills of a fleet.
        if !reads || self.peer.receipts.lock().len() > 0 {
            self.clock.heard(now);
        }
        self.clock.expired(now).map_or(Ok(()), Err)
    }
}

/// Waits for what is waited for.
async fn ready(wait: &mut Option<BoxFuture<'static, Waited>>) -> Waited {
    match wait {
        Some(wait) => wait.await,
        None => futures::future::pending().await,
    }
}
