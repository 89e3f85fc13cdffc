//! What happens to the requests of a twin. The open ones are part of the twin; each function changes them there, and
//! gives those that changed, as they are to be stored.

use std::sync::Arc;

use super::{Asked, Requested, Step};
use crate::document::size_of;
use crate::{Document, Refusal, Timestamp, Twin};

/// What may change requests after they were made.
#[derive(Debug, Clone, Copy)]
pub enum Happened<'a> {
    /// The device reported something; the twin has it already.
    Reported,
    /// The device refuses everything that it was told up to this version.
    Rejected {
        /// The version that the device names.
        version: u64,
        /// Why, in its words.
        reason: &'a str,
    },
    /// The device acknowledged what it was told with this version.
    Received {
        /// The version.
        version: u64,
    },
    /// Time has passed.
    Passed,
}

/// How much may be open.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Open requests of one device.
    pub count_max: usize,
    /// The patches of all of them together, in bytes of JSON.
    pub bytes_max: usize,
}

/// Makes a request of a patch that was just merged into `desired`. What of the older ones is no longer desired is
/// superseded. One that the device already meets is applied at once.
///
/// # Errors
/// `Refusal::Requests` when the device has too many that are open, `Refusal::TooLarge` when their patches are too large.
pub fn ask(
    twin: &mut Twin,
    asked: &Asked,
    patch: &Document,
    now: Timestamp,
    bounds: Bounds,
) -> Result<Vec<Arc<Requested>>, Refusal> {
    let Asked { id, by, person, deadline } = asked.clone();
    let reason = format!("request {id} asks for something else");
    let wanted = std::mem::take(&mut twin.desired);
    let mut changed =
        end(twin, now, |open| (!open.is_met_by(&wanted)).then(|| (Step::Superseded, Some(reason.clone()))));
    twin.desired = wanted;
    let requested = Requested {
        id,
        device: twin.device.clone(),
        version: twin.version + 1,
        patch: patch.clone(),
        by,
        person,
        state: Step::Requested,
        reason: None,
        requested_at: now,
        sent_at: None,
        ended_at: None,
        deadline,
    };
    if requested.is_met_by(&twin.reported) {
        changed.push(Arc::new(requested.ended(Step::Applied, None, now)));
        return Ok(changed);
    }
    let bytes: usize = twin.requests.iter().map(|open| size_of(&open.patch)).sum();
    if twin.requests.len() >= bounds.count_max {
        return Err(Refusal::Requests(twin.requests.len()));
    }
    let bytes = bytes + size_of(patch);
    if bytes > bounds.bytes_max {
        let allowed = bounds.bytes_max;
        let text = format!("the open requests would have {bytes} bytes together, and {allowed} are allowed");
        return Err(Refusal::TooLarge(text));
    }
    let requested = Arc::new(requested);
    twin.requests.push(requested.clone());
    changed.push(requested);
    Ok(changed)
}

/// What becomes of the open requests when something happens.
pub fn follow(twin: &mut Twin, happened: Happened<'_>, now: Timestamp) -> Vec<Arc<Requested>> {
    if twin.requests.is_empty() {
        return Vec::new();
    }
    match happened {
        Happened::Reported => {
            let reported = std::mem::take(&mut twin.reported);
            let changed = end(twin, now, |open| open.is_met_by(&reported).then_some((Step::Applied, None)));
            twin.reported = reported;
            changed
        }
        Happened::Rejected { version, reason } => end(twin, now, |open| {
            (open.version <= version).then(|| (Step::Rejected, Some(reason.to_owned())))
        }),
        Happened::Passed => end(twin, now, |open| (open.deadline <= now).then_some((Step::TimedOut, None))),
        Happened::Received { version } => {
            let mut changed = Vec::new();
            for open in &mut twin.requests {
                if open.state == Step::Requested && open.version <= version {
                    *open = Arc::new(Requested { state: Step::Sent, sent_at: Some(now), ..(**open).clone() });
                    changed.push(open.clone());
                }
            }
            changed
        }
    }
}

/// Ends those for which there is an outcome.
fn end(
    twin: &mut Twin,
    now: Timestamp,
    outcome: impl Fn(&Requested) -> Option<(Step, Option<String>)>,
) -> Vec<Arc<Requested>> {
    let mut ended = Vec::new();
    twin.requests.retain(|open| match outcome(open) {
        Some((state, reason)) => {
            ended.push(Arc::new(open.ended(state, reason, now)));
            false
        }
        None => true,
    });
    ended
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{DeviceId, patch};
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use uuid::Uuid;

    const BOUNDS: Bounds = Bounds { count_max: 4, bytes_max: 1_000 };

    fn document(value: Value) -> Document {
        serde_json::from_value(value).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    fn lamp(reported: Value) -> Twin {
        Twin { version: 1, reported: document(reported), ..Twin::new(DeviceId::parse("lamp").unwrap()) }
    }

    /// Asks as the handler does: merge, ask, and the version rises.
    fn want(twin: &mut Twin, id: u128, wanted: Value) -> Result<Vec<(u128, Step)>, Refusal> {
        let wanted = document(wanted);
        patch::merge(&mut twin.desired, &wanted);
        let asked = Asked { id: Uuid::from_u128(id), by: "app".into(), person: None, deadline: at(100) };
        let changed = ask(twin, &asked, &wanted, at(1), BOUNDS)?;
        twin.version += 1;
        Ok(steps(&changed))
    }

    fn then(twin: &mut Twin, happened: Happened<'_>, now: Timestamp) -> Vec<(u128, Step)> {
        let changed = follow(twin, happened, now);
        assert!(changed.iter().all(|one| one.ended_at.is_some() != one.state.is_open()));
        twin.version += 1;
        steps(&changed)
    }

    fn steps(changed: &[Arc<Requested>]) -> Vec<(u128, Step)> {
        changed.iter().map(|one| (one.id.as_u128(), one.state)).collect()
    }

    #[test]
    fn applied_only_when_the_device_reports_all_of_it() {
        let mut twin = lamp(json!({"level":1}));
        assert_eq!(want(&mut twin, 1, json!({"level":2,"fade":{"ms":100}})), Ok(vec![(1, Step::Requested)]));
        assert_eq!(then(&mut twin, Happened::Received { version: 1 }, at(2)), [], "what it had before");
        assert_eq!(then(&mut twin, Happened::Received { version: 2 }, at(2)), [(1, Step::Sent)]);
        assert_eq!(then(&mut twin, Happened::Received { version: 9 }, at(3)), [], "once is enough");
        twin.reported = document(json!({"level":2}));
        assert_eq!(then(&mut twin, Happened::Reported, at(4)), []);
        twin.reported = document(json!({"level":2.0,"fade":{"ms":100,"more":1}}));
        assert_eq!(then(&mut twin, Happened::Reported, at(5)), [(1, Step::Applied)]);
        assert_eq!(then(&mut twin, Happened::Passed, at(500)), [], "it is over");
    }

    #[test]
    fn what_is_so_already_is_applied_at_once() {
        let mut twin = lamp(json!({"level":1}));
        assert_eq!(want(&mut twin, 1, json!({"level":1})), Ok(vec![(1, Step::Applied)]));
        assert_eq!(want(&mut twin, 2, json!({"colour":null})), Ok(vec![(2, Step::Applied)]));
        assert!(twin.requests.is_empty());
    }

    #[test]
    fn a_newer_one_supersedes_what_is_no_longer_desired() {
        let mut twin = lamp(json!({}));
        want(&mut twin, 1, json!({"level":2,"colour":"red"})).unwrap();
        want(&mut twin, 2, json!({"fade":1})).unwrap();
        assert_eq!(
            want(&mut twin, 3, json!({"level":3})),
            Ok(vec![(1, Step::Superseded), (3, Step::Requested)])
        );
        assert_eq!(want(&mut twin, 4, json!({"level":3})), Ok(vec![(4, Step::Requested)]), "both may be met");
        assert_eq!(
            want(&mut twin, 5, json!({"level":null})),
            Ok(vec![(3, Step::Superseded), (4, Step::Superseded), (5, Step::Applied)])
        );
        assert_eq!(twin.requests.len(), 1);
    }

    #[test]
    fn a_refusal_is_of_all_that_was_told_up_to_it() {
        let mut twin = lamp(json!({}));
        want(&mut twin, 1, json!({"level":900})).unwrap();
        let told = twin.version;
        want(&mut twin, 2, json!({"fade":1})).unwrap();
        let refusal = Happened::Rejected { version: told, reason: "100 is the most" };
        let changed = follow(&mut twin, refusal, at(3));
        assert_eq!(steps(&changed), [(1, Step::Rejected)]);
        assert_eq!(changed[0].reason.as_deref(), Some("100 is the most"));
        assert_eq!(then(&mut twin, Happened::Passed, at(99)), []);
        assert_eq!(then(&mut twin, Happened::Passed, at(100)), [(2, Step::TimedOut)]);
    }

    #[test]
    fn what_is_open_is_bounded() {
        let mut twin = lamp(json!({}));
        for id in 0..4 {
            want(&mut twin, id, json!({ format!("p{id}"): 1 })).unwrap();
        }
        assert_eq!(want(&mut twin, 9, json!({"x":1})), Err(Refusal::Requests(4)));
        assert!(want(&mut twin, 9, json!({"p0":2})).is_ok(), "in place of the one that it supersedes");
        let mut twin = lamp(json!({}));
        assert!(matches!(want(&mut twin, 1, json!({"x":"x".repeat(1_000)})), Err(Refusal::TooLarge(_))));
    }

    proptest! {
        /// Whatever happens: a request ends once, an open one is desired and not met, and none is forgotten.
        #[test]
        fn every_request_comes_to_one_end(steps in prop::collection::vec((0_u8..5, 0_u8..3, 0_u8..3), 1..60)) {
            let mut twin = lamp(json!({}));
            let (mut made, mut over) = (0_u128, Vec::new());
            for (second, (what, name, value)) in (0_i64..).zip(steps) {
                let wanted = document(json!({ format!("p{name}"): value }));
                let now = at(second);
                let changed = match what {
                    0 | 1 => {
                        patch::merge(&mut twin.desired, &wanted);
                        made += 1;
                        let id = Uuid::from_u128(made);
                        let asked = Asked { id, by: String::new(), person: None, deadline: at(second + 9) };
                        ask(&mut twin, &asked, &wanted, now, Bounds { count_max: 99, bytes_max: 9_999 }).unwrap()
                    }
                    2 => {
                        patch::merge(&mut twin.reported, &wanted);
                        follow(&mut twin, Happened::Reported, now)
                    }
                    3 => {
                        let version = twin.version;
                        follow(&mut twin, Happened::Received { version }, now)
                    }
                    _ => follow(&mut twin, Happened::Passed, now),
                };
                twin.version += 1;
                over.extend(changed.iter().filter(|one| !one.state.is_open()).map(|one| one.id.as_u128()));
                for open in &twin.requests {
                    prop_assert!(open.state.is_open() && open.is_met_by(&twin.desired));
                    prop_assert!(!open.is_met_by(&twin.reported));
                }
            }
            let mut all = over.clone();
            all.extend(twin.requests.iter().map(|open| open.id.as_u128()));
            all.sort_unstable();
            prop_assert_eq!(all, (1..=made).collect::<Vec<_>>());
        }
    }
}
