//! What is different where the session outlasts the connection: what was there before is picked up, queued messages are
//! sent until they are acknowledged, and answers wait until what they say is durable.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::first::{Asked, what_comes_first};
use super::subscribe::Filtered;
use super::write::dropped;
use super::{Session, Waited, packets};
use crate::QoS;
use crate::delivery::Exchanged;
use crate::ending::Ending;
use crate::expiry::Expiry;
use crate::outbox::Letter;
use crate::session::lasting::Due;
use crate::session::{Next, Writes};
use crate::topics::{self, Filter};

/// What a client sees first that is back.
pub(super) struct PickedUp {
    letters: Vec<Letter>,
}

impl Session {
    /// Picks up a session where the connection before left it. Subscriptions that the client may no longer have end.
    pub(super) fn pick_up(&mut self) {
        let Some(lasting) = self.lasting.clone() else { return };
        self.unreleased.extend(lasting.unreleased());
        let hub = Arc::clone(&self.hub);
        let desk = hub.writer.desk();
        let mut writes = Writes::default();
        let mut asked = Vec::new();
        for (filter, options) in lasting.subscriptions() {
            let Filter { pattern, group } = topics::take_apart(&filter);
            if !self.peer.client.grants.may_subscribe(pattern) {
                hub.take_from_trees(&filter, &self.subscriber());
                writes.list.push(lasting.unsubscribe(&filter));
                continue;
            }
            let filtered = Filtered::of_session(options, pattern);
            // Of what is there already, a client that is back sees again only where the newest counts.
            if topics::reach(pattern, &hub.config).own && group.is_none() {
                asked.push(Asked::own(&filter));
            }
            self.filters.insert(filter, filtered);
        }
        desk.enter(writes, || ());
        if asked.is_empty() {
            return;
        }
        let letters = what_comes_first(hub, Arc::clone(&self.peer.client), asked, self.patterns());
        self.subscribing = true;
        self.wait = Some(Box::pin(async move {
            let letters = letters.await.into_iter().filter(|letter| letter.latest_only).collect();
            Waited::PickedUp(PickedUp { letters })
        }));
    }

    /// Queues what the client sees first before what came since.
    pub(super) fn picked_up(&mut self, PickedUp { letters }: PickedUp) {
        self.subscribing = false;
        self.peer.outbox.lock().push_first(letters);
    }

    /// Sends the next answer that was due, or the next message of the queue. False when nothing may leave.
    pub(super) fn forward_queued(&mut self) -> Result<bool, Ending> {
        let Some(lasting) = self.lasting.clone() else { return Ok(false) };
        let version = self.codec.version();
        match lasting.next_due() {
            Some(Due::Release(id)) => {
                if self.codec.is_in_use(id) {
                    self.codec.send(packets::pubrel(version, id)?)?;
                } else {
                    self.codec.resume_release(id)?;
                }
                return Ok(true);
            }
            Some(Due::Complete(id, known)) => {
                self.codec.send(packets::pubcomp(version, id, known)?)?;
                return Ok(true);
            }
            None => {}
        }
        if !self.window_is_open() {
            return Ok(false);
        }
        match lasting.next() {
            None => return Ok(false),
            Some(Next::Release { id }) => self.codec.resume_release(id)?,
            Some(Next::Publish { id, letter, again }) => self.send_queued(id, &letter, again)?,
        }
        Ok(true)
    }

    /// Sends a message of the queue, unless it has run out, the client may no longer see it, or takes none that long.
    fn send_queued(&mut self, id: u16, letter: &Letter, again: bool) -> Result<(), Ending> {
        let left_s = letter.expiry.map(Expiry::left);
        // An exchange that has begun is finished: the client may have the message already.
        let begun = again && letter.qos == QoS::ExactlyOnce;
        if left_s == Some(None) && !begun {
            dropped("expired");
            return self.acknowledged(id);
        }
        if !self.peer.client.grants.may_receive(&letter.topic) {
            dropped("not allowed");
            return self.acknowledged(id);
        }
        self.codec.use_packet_id(id)?;
        if !self.send_letter(letter, Some(id), again, left_s.flatten())? {
            dropped("too large");
            self.codec.return_packet_id(id);
            return self.acknowledged(id);
        }
        Ok(())
    }

    /// A publish is not to be told back, if it had a mark. Gives its topic and mark.
    pub(super) fn unmark(&mut self, id: u16) -> Option<(Arc<str>, u64)> {
        let at = self.marked.iter().position(|(marked, ..)| *marked == id)?;
        let (_, topic, mark) = self.marked.swap_remove(at);
        Some((topic, mark))
    }

    /// The client has a message and needs no more of it, or isn't to have it.
    pub(super) fn acknowledged(&mut self, id: u16) -> Result<(), Ending> {
        if let Some((topic, mark)) = self.unmark(id) {
            self.hub.sessions.received(&self.peer.client, &topic, mark);
        }
        if let Some(write) = self.lasting.as_ref().and_then(|lasting| lasting.acknowledged(id)) {
            // Should this be lost in a crash, the client gets the message again, as it may at quality 1, or the PUBREL.
            self.hub.writer.note(write);
        }
        Ok(())
    }

    /// The client has a message at quality 2. It must not get it again: PUBREL leaves when that is durable.
    pub(super) fn received(&mut self, id: u16) -> Result<(), Ending> {
        let noted =
            self.lasting.as_ref().and_then(|lasting| Some((Arc::clone(lasting), lasting.received(id)?)));
        let Some((lasting, (number, write))) = noted else {
            return Ok(self.codec.send(packets::pubrel(self.codec.version(), id)?)?);
        };
        let writes = Writes { list: vec![write], ..Writes::default() };
        self.hub.writer.desk().enter(writes, move || lasting.released(number));
        Ok(())
    }

    /// The exchange of a publish at quality 2, if it outlasts the connection.
    pub(super) fn exchanged(&self, packet: u16, qos: QoS, ends_when_refused: bool) -> Option<Exchanged> {
        let session = self.lasting.clone().filter(|_| qos == QoS::ExactlyOnce)?;
        Some(Exchanged { session, packet, ends_when_refused })
    }

    /// Ends an exchange at quality 2: PUBCOMP leaves when that is durable.
    pub(super) fn complete(&mut self, packet: u16, known: bool) -> bool {
        let Some(lasting) = self.lasting.clone() else { return false };
        let desk = self.hub.writer.desk();
        let mut writes = Writes::default();
        lasting.complete(packet, &mut writes);
        let connection = self.peer.client.connection;
        desk.enter(writes, move || lasting.owe(connection, Due::Complete(packet, known)));
        true
    }

    /// Publishes wait to be delivered until something is durable.
    pub(super) fn is_delivering(&self) -> bool {
        self.lasting.as_ref().is_some_and(|lasting| lasting.delivering.load(Ordering::Acquire) > 0)
    }
}
