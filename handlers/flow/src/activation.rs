//! The short-lived task of a device: it takes what is in the mailbox, works out what changes, has it committed,
//! answers, and ends when the mailbox is empty.
//!
//! *States*: take -> stage -> commit -> answer, again until nothing is left.
//! *Guarantee*: everything that was asked is answered after its commit, in the order in which it was posted;
//! each write rests on the twin that the previous one left. While the database is out, it waits.
//! *Panic*: a handler that panics is tried once more, then its message becomes a dead letter. Should this task
//! itself die, its mailbox goes with it (see [`crate::dispatcher`]).

use std::sync::Arc;

use statecast_state::{Change, DeviceKey, Refusal};
use tracing::{debug, warn};

use crate::cache::Known;
use crate::committer::Verdict;
use crate::deadlines;
use crate::dispatcher::Limits;
use crate::flow::Shared;
use crate::request::{Answer, Applied, Ask, Request};
use stage::{Fate, Stage, Staged};

mod stage;

/// What is committed together of one device. A change takes several times the memory of its payload, and many
/// devices may have a backlog at the same time.
const TAKE_MAX: Limits = Limits { count: 100, bytes: 128 * 1024 };
/// Lost guards after which a message is given up.
const LOST_MAX: usize = 20;

/// Empties the mailbox of a device.
pub(crate) async fn run(shared: Arc<Shared>, key: DeviceKey) {
    let abandon = Abandon { shared: &shared, key: &key };
    let mut known = match shared.twins.get(&key) {
        Some(known) => Some(known),
        None => shared.loader.load(&key).await,
    };
    while let Some(now) = known {
        match shared.mailboxes.take(&key, TAKE_MAX) {
            Some(requests) => known = apply(&shared, &key, now, requests).await,
            None => return std::mem::forget(abandon),
        }
    }
}

/// Closes the mailbox when the task ends without having emptied it.
struct Abandon<'a> {
    shared: &'a Shared,
    key: &'a DeviceKey,
}

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        debug!(device = %self.key, "activation ended early; its devices will send again");
        self.shared.mailboxes.abandon(self.key);
    }
}

/// Applies requests in order and answers them. Gives what is known of the device afterwards; none when the
/// process is stopping.
async fn apply(shared: &Shared, key: &DeviceKey, mut known: Known, requests: Vec<Request>) -> Option<Known> {
    let mut waiting = requests;
    let mut lost = 0;
    loop {
        let Staged { changes, dead_letters, fates, twin, left, remembered } =
            Stage::new(shared, key, &known).run(&waiting, lost >= LOST_MAX);
        let changed = changes.len();
        let verdict = if changes.is_empty() && dead_letters.is_empty() {
            Verdict::Committed(Vec::new())
        } else {
            shared.committer.commit(changes, dead_letters).await?
        };
        match verdict {
            Verdict::Committed(committed) => {
                deadlines::watch(&shared.timers, &committed);
                shared.timers.follow(key, &committed);
                known.twin = twin;
                known.left = left;
                for (id, received_at) in remembered {
                    known.recent.remember(id, received_at);
                }
                // Before the answers: who has one reads what it is about.
                shared.twins.put(key, known.clone());
                answer(shared, waiting, fates, &committed);
                return Some(known);
            }
            Verdict::Lost => {
                lost += 1;
                warn!(device = %key, lost, "the twin changed under its activation: reading it again");
                waiting = answer_refused(waiting, fates);
                known = shared.loader.load(key).await?;
            }
            Verdict::Poison(reason) if changed == 1 => {
                // Exactly one of them made the change: that one is kept as a dead letter, the others stay.
                let poisonous = fates.iter().take_while(|fate| !fate.changed()).count();
                let poisonous = poisonous - fates[..poisonous].iter().filter(|fate| fate.refused()).count();
                waiting = answer_refused(waiting, fates);
                refuse(shared, key, waiting.remove(poisonous), Refusal::Poison(reason)).await?;
            }
            Verdict::Poison(_) => {
                // Which of them it is shows when each is committed by itself.
                for request in answer_refused(waiting, fates) {
                    known = Box::pin(apply(shared, key, known, vec![request])).await?;
                }
                return Some(known);
            }
        }
    }
}

/// Answers those that were refused, whose dead letters are durable whatever became of the changes beside them.
/// Gives back the others.
fn answer_refused(requests: Vec<Request>, fates: Vec<Fate>) -> Vec<Request> {
    let mut others = Vec::with_capacity(requests.len());
    for (request, fate) in requests.into_iter().zip(fates) {
        match fate {
            Fate::Refused(why) => request.answer.refused(why),
            _ => others.push(request),
        }
    }
    others
}

/// Answers every request by its fate; the changes are in the order of those that made one.
fn answer(shared: &Shared, requests: Vec<Request>, fates: Vec<Fate>, committed: &[Arc<Change>]) {
    for (request, fate) in requests.into_iter().zip(fates) {
        match fate {
            Fate::Changed(index) => match committed.get(index) {
                Some(change) => request.answer.applied(Applied {
                    position: change.position,
                    twin: change.after.clone(),
                    before: change.before.clone(),
                }),
                // The committer answers with all changes or none.
                None => drop(request),
            },
            Fate::Unchanged(twin) => request.answer.applied(Applied {
                position: shared.feed.watermark(),
                before: twin.clone(),
                twin,
            }),
            Fate::Refused(why) => request.answer.refused(why),
        }
    }
}

/// Keeps a request of a device as a dead letter, and refuses it.
async fn refuse(shared: &Shared, key: &DeviceKey, request: Request, why: Refusal) -> Option<()> {
    warn!(device = %key, %why, "kept as a dead letter");
    if let (Ask::Message(message), Answer::Device(_)) = (&request.ask, &request.answer) {
        let letter = stage::dead_letter(key, message, &why);
        shared.committer.commit(Vec::new(), vec![letter]).await?;
    }
    request.answer.refused(why);
    Some(())
}
