//! What becomes of a push when its time has come: nothing is cancelled when things change, so it is looked here
//! whether it is still worth sending.
//!
//! - Its receiver is disabled or gone: it is dead.
//! - A later version of its alarm exists: it is *superseded*. So acknowledging, clearing and shelving an alarm cancels
//!   everything that waits, and the latest wins at each receiver.
//! - It only says what became of an alarm that the receiver was never told of: it is *needless*.
//! - It was held for a live receiver of the same person, which confirmed: that is as good, it is *confirmed*.
//! - It isn't urgent, and its person is told of other alarms by the same receiver now: they become one push. One of
//!   them, the leader, goes for all; the others are *grouped*. What comes soon after such a push waits until it may be
//!   one of the next, so that a hundred alarms of a minute aren't a hundred rings of a phone.
//!
//! A push that goes for others is sent again as it was, whatever became of its own alarm meanwhile: the others have
//! nothing else. One that was tried is never put into a group: it may have arrived.
//!
//! - [`group`]: the payload of a push that goes for several

pub mod group;

use std::collections::HashMap;

use uuid::Uuid;

use crate::{PushKind, TenantId, Timestamp};

/// Most pushes that go with another.
pub const GROUP_MAX: usize = 100;

/// Why a push waits although its alarm is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hold {
    /// The person has quiet hours.
    Quiet,
    /// A live receiver of the person is told first.
    Live,
    /// The receiver was told only a moment ago: it may become one of a group.
    Group,
}

impl Hold {
    /// The name in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Live => "live",
            Self::Group => "group",
        }
    }

    /// Reads the name back.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Quiet, Self::Live, Self::Group].into_iter().find(|hold| hold.as_str() == text)
    }
}

/// What counts of a push that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Which push.
    pub id: Uuid,
    /// What it is for.
    pub kind: PushKind,
    /// It isn't grouped.
    pub urgent: bool,
    /// Attempts that were begun.
    pub attempt: u32,
    /// After this moment it is given up.
    pub deadline: Timestamp,
    /// Why it waited.
    pub hold: Option<Hold>,
    /// Its receiver is there, and enabled.
    pub reachable: bool,
    /// It goes for others too.
    pub leads: bool,
    /// The version of the alarm that it tells of; 0 without one.
    pub alarm_version: u64,
    /// The version of this alarm now; none when there is no such alarm any more.
    pub alarm_now: Option<u64>,
    /// Something of this alarm was tried at its receiver before.
    pub told_before: bool,
    /// A live receiver of the person confirmed that it has the same.
    pub confirmed: bool,
    /// The receiver of a person, where pushes can be grouped.
    pub groups_at: Option<(TenantId, Uuid)>,
    /// When something that could be grouped was last sent to this receiver.
    pub told_at: Option<Timestamp>,
}

/// Why a push is no longer worth sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stale {
    /// Its receiver is disabled or gone.
    Unreachable,
    /// A later version of its alarm exists.
    Superseded,
    /// It updates what the receiver was never told.
    Needless,
    /// A live receiver of the person confirmed that it has it.
    Confirmed,
}

/// What becomes of a push whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is sent, alone or for others.
    Send,
    /// It isn't worth it.
    Drop(Stale),
    /// It goes with this one.
    Join(Uuid),
    /// It waits until then, to go with others.
    Wait(Timestamp),
}

impl Due {
    /// Why it isn't worth sending, if it isn't.
    pub fn stale(&self) -> Option<Stale> {
        if !self.reachable {
            return Some(Stale::Unreachable);
        }
        if self.leads {
            return None;
        }
        if self.alarm_now.is_some_and(|now| now > self.alarm_version) {
            return Some(Stale::Superseded);
        }
        if self.kind == PushKind::Update && self.attempt == 0 && !self.told_before {
            return Some(Stale::Needless);
        }
        (self.hold == Some(Hold::Live) && self.attempt == 0 && self.confirmed).then_some(Stale::Confirmed)
    }

    /// The receiver at which it may go with others, if it may.
    pub fn may_join(&self) -> Option<&(TenantId, Uuid)> {
        let fresh = self.attempt == 0 && !self.leads && !self.urgent && self.kind == PushKind::Alarm;
        self.groups_at.as_ref().filter(|_| fresh)
    }
}

/// What becomes of pushes whose time has come, in their order. What can be grouped is sent to a receiver at most once
/// in `interval_us`.
pub fn fates(dues: &[Due], now: Timestamp, interval_us: i64) -> Vec<Fate> {
    let mut leaders = Leaders::new();
    dues.iter().map(|due| fate(due, &mut leaders, now, interval_us)).collect()
}

/// Who goes for others at each receiver, and for how many.
type Leaders<'a> = HashMap<&'a (TenantId, Uuid), (Uuid, usize)>;

fn fate<'a>(due: &'a Due, leaders: &mut Leaders<'a>, now: Timestamp, interval_us: i64) -> Fate {
    if let Some(stale) = due.stale() {
        return Fate::Drop(stale);
    }
    let Some(receiver) = due.may_join() else { return Fate::Send };
    if let Some((leader, members)) = leaders.get_mut(receiver)
        && *members < GROUP_MAX
    {
        *members += 1;
        return Fate::Join(*leader);
    }
    let next = due.told_at.map(|at| at.plus_micros(interval_us));
    if let Some(next) = next.filter(|next| now < *next && *next < due.deadline) {
        return Fate::Wait(next);
    }
    leaders.insert(receiver, (due.id, 0));
    Fate::Send
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn due(id: u128) -> Due {
        Due {
            id: Uuid::from_u128(id),
            kind: PushKind::Alarm,
            urgent: false,
            attempt: 0,
            deadline: at(1_000),
            hold: None,
            reachable: true,
            leads: false,
            alarm_version: 3,
            alarm_now: Some(3),
            told_before: false,
            confirmed: false,
            groups_at: Some((TenantId::default(), Uuid::nil())),
            told_at: None,
        }
    }

    fn fates_of(dues: &[Due]) -> Vec<Fate> {
        fates(dues, at(100), 5_000_000)
    }

    fn join(id: u128) -> Fate {
        Fate::Join(Uuid::from_u128(id))
    }

    #[test]
    fn what_was_overtaken_is_not_sent() {
        assert_eq!(Due { alarm_now: Some(4), ..due(1) }.stale(), Some(Stale::Superseded));
        assert_eq!(Due { alarm_now: None, ..due(1) }.stale(), None);
        let update = Due { kind: PushKind::Update, ..due(1) };
        assert_eq!(update.stale(), Some(Stale::Needless));
        assert_eq!(Due { told_before: true, ..update.clone() }.stale(), None);
        assert_eq!(Due { attempt: 1, ..update }.stale(), None, "it was needed when it was first tried");
        let held = Due { hold: Some(Hold::Live), confirmed: true, ..due(1) };
        assert_eq!(held.stale(), Some(Stale::Confirmed));
        assert_eq!(Due { hold: Some(Hold::Quiet), ..held.clone() }.stale(), None);
        assert_eq!(Due { confirmed: false, ..held }.stale(), None);
        let leader = Due { leads: true, alarm_now: Some(9), ..due(1) };
        assert_eq!(leader.stale(), None);
        assert_eq!(Due { reachable: false, ..leader }.stale(), Some(Stale::Unreachable));
    }

    #[test]
    fn what_can_be_grouped_goes_with_the_first() {
        let urgent = Due { urgent: true, ..due(2) };
        let tried = Due { attempt: 1, ..due(3) };
        let update = Due { kind: PushKind::Update, told_before: true, ..due(4) };
        let elsewhere = Due { groups_at: Some((TenantId::default(), Uuid::max())), ..due(5) };
        let nobodys = Due { groups_at: None, ..due(6) };
        let stale = Due { alarm_now: Some(9), ..due(7) };
        let dues = [due(1), urgent, tried, update, elsewhere, nobodys, stale, due(8)];
        let send = Fate::Send;
        assert_eq!(
            fates_of(&dues),
            [send, send, send, send, send, send, Fate::Drop(Stale::Superseded), join(1)]
        );
    }

    #[test]
    fn what_comes_soon_after_waits() {
        let told = |seconds| Due { told_at: Some(at(seconds)), ..due(1) };
        assert_eq!(fates_of(&[told(95)]), [Fate::Send]);
        assert_eq!(fates_of(&[told(96), told(96)]), [Fate::Wait(at(101)), Fate::Wait(at(101))]);
        assert_eq!(fates_of(&[Due { deadline: at(101), ..told(96) }]), [Fate::Send], "it would be too late");
        assert_eq!(fates(&[told(100)], at(100), 0), [Fate::Send], "never, if the settings say so");
    }

    #[test]
    fn a_group_has_an_end() {
        let dues: Vec<Due> = (0..250).map(due).collect();
        let sent = fates_of(&dues).into_iter().filter(|fate| *fate == Fate::Send).count();
        assert_eq!(sent, 3, "101, 101 and 48");
    }
}
