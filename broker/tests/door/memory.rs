//! Keeps sessions in memory, as a database would: a batch is written at once or not at all, and only what is written is
//! there for the next broker.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use statecast_broker::{
    Batch, Kept, KeptExchange, KeptSession, KeptSubscription, NotWritten, QueuedMessage, RetainedMessage,
    SessionId,
};

#[derive(Default)]
pub struct Memory(Mutex<State>);

#[derive(Default, Clone)]
struct State {
    /// Nothing can be written at present.
    away: bool,
    /// It was looked at as after a crash: what its broker holds is of no interest any more.
    crashed: bool,
    sessions: BTreeMap<SessionId, KeptSession>,
    subscriptions: BTreeMap<(SessionId, Arc<str>), KeptSubscription>,
    queued: BTreeMap<(SessionId, u64), QueuedMessage>,
    exchanges: BTreeMap<(SessionId, u16), KeptExchange>,
    retained: BTreeMap<(Arc<str>, Arc<str>), RetainedMessage>,
}

impl Memory {
    /// What is there now.
    pub fn kept(&self) -> Kept {
        let State { sessions, subscriptions, queued, exchanges, retained, .. } = self.0.lock().clone();
        Kept {
            sessions: sessions.into_values().collect(),
            subscriptions: subscriptions.into_values().collect(),
            queued: queued.into_values().collect(),
            exchanges: exchanges.into_values().collect(),
            retained: retained.into_values().collect(),
        }
    }

    /// What a crash at this moment would leave.
    pub fn crash(&self) -> Arc<Self> {
        let left = State { away: false, ..self.0.lock().clone() };
        self.0.lock().crashed = true;
        Arc::new(Self(Mutex::new(State { crashed: false, ..left })))
    }

    /// Did it crash?
    pub fn has_crashed(&self) -> bool {
        self.0.lock().crashed
    }

    /// From now on nothing can be written, or it can again.
    pub fn set_away(&self, away: bool) {
        self.0.lock().away = away;
    }

    pub fn write(&self, batch: &Batch) -> Result<(), NotWritten> {
        let mut state = self.0.lock();
        if state.away {
            return Err(NotWritten::Later("away".into()));
        }
        let Kept { sessions, subscriptions, queued, exchanges, retained } = batch.kept.clone();
        let State { sessions: s, subscriptions: f, queued: q, exchanges: e, retained: r, .. } = &mut *state;
        s.extend(sessions.into_iter().map(|one| (one.id.clone(), one)));
        f.extend(subscriptions.into_iter().map(|one| ((one.session.clone(), one.filter.clone()), one)));
        q.extend(queued.into_iter().map(|one| ((one.session.clone(), one.number), one)));
        e.extend(exchanges.into_iter().map(|one| ((one.session.clone(), one.packet), one)));
        r.extend(retained.into_iter().map(|one| ((one.realm.clone(), one.message.topic.clone()), one)));
        batch.unsubscribed.iter().for_each(|key| drop(f.remove(key)));
        for key in &batch.released {
            q.entry(key.clone()).and_modify(|one| one.released = true);
        }
        batch.acknowledged.iter().for_each(|key| drop(q.remove(key)));
        batch.completed.iter().for_each(|key| drop(e.remove(key)));
        batch.removed.iter().for_each(|key| drop(r.remove(key)));
        for id in &batch.ended {
            s.remove(id);
            f.retain(|(session, _), _| session != id);
            q.retain(|(session, _), _| session != id);
            e.retain(|(session, _), _| session != id);
        }
        Ok(())
    }
}
