//! When time alone may make a query change its mind about a twin: `seen:>-1h` stops matching an hour after the last
//! message.
//!
//! The law: from `now` until the moment that [`turns`] gives, that one excluded, the outcome is the same; if it
//! gives none, for ever.

use serde_json::Value;

use super::ast::Expr;
use super::eval;
use super::fields::{Field, any_value};
use super::moment::{self, Moment};
use super::range::Range;
use super::text;
use crate::{Timestamp, Twin};

/// The next moment after `now` at which the outcome may be another although the twin stays as it is.
pub(super) fn turns(expr: &Expr, twin: &Twin, now: Timestamp) -> Option<Timestamp> {
    if settled(expr, twin, now).is_some() {
        return None;
    }
    let mut next: Option<Timestamp> = None;
    expr.visit(&mut |leaf| {
        let Expr::Within { field, range: Range::Times(limits) } = leaf else { return };
        for end in limits.ends().into_iter().flatten() {
            let Moment::Relative(offset) = end else { continue };
            any_time(field, twin, &mut |time| {
                // The limit meets the time, and a microsecond later it has passed it.
                let meets = time.plus_micros(-offset);
                let due = [meets, meets.plus_micros(1)].into_iter().find(|moment| *moment > now);
                next = next.into_iter().chain(due).min();
            });
        }
    });
    next
}

/// The outcome where it is the same at any time.
fn settled(expr: &Expr, twin: &Twin, now: Timestamp) -> Option<bool> {
    let outcomes = |members: &[Expr], decisive: bool| {
        let mut all = Some(!decisive);
        for member in members {
            match settled(member, twin, now) {
                Some(outcome) if outcome == decisive => return Some(decisive),
                Some(_) => {}
                None => all = None,
            }
        }
        all
    };
    match expr {
        Expr::And(members) => outcomes(members, false),
        Expr::Or(members) => outcomes(members, true),
        Expr::Not(inner) => settled(inner, twin, now).map(|outcome| !outcome),
        Expr::Within { range, .. } if range.is_relative() => None,
        leaf => Some(eval::matches(leaf, twin, now)),
    }
}

/// What fulfils a query, or doesn't, at one time or another: conditions that are relative to now say what they must.
pub(super) fn ever(expr: &Expr, fulfilled: bool) -> Expr {
    let all = |members: &[Expr]| members.iter().map(|member| ever(member, fulfilled)).collect();
    match expr {
        Expr::And(members) => Expr::And(all(members)),
        Expr::Or(members) => Expr::Or(all(members)),
        Expr::Not(inner) => Expr::Not(Box::new(ever(inner, !fulfilled))),
        Expr::Within { range, .. } if range.is_relative() && fulfilled => Expr::All,
        Expr::Within { range, .. } if range.is_relative() => Expr::Not(Box::new(Expr::All)),
        leaf => leaf.clone(),
    }
}

/// Calls `f` with each time that a twin has in a field.
fn any_time(field: &Field, twin: &Twin, f: &mut impl FnMut(Timestamp)) {
    if *field == Field::Seen {
        return twin.received_at.into_iter().for_each(f);
    }
    let Some((document, path)) = field.locate(twin) else { return };
    any_value(document, path, &mut |value| {
        let time = match value {
            Value::Number(number) => number.as_f64().and_then(moment::of_number),
            Value::String(text) => moment::of_text(&text::start(text)),
            _ => None,
        };
        time.into_iter().for_each(&mut *f);
        false
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::query::{Query, samples};
    use proptest::prelude::*;

    #[test]
    fn an_hour_of_silence() {
        let query = Query::parse("seen:>-1h").unwrap();
        let now = samples::now();
        let twin = Twin { received_at: Some(now), ..Twin::new(crate::DeviceId::parse("d").unwrap()) };
        let hour = now.plus_micros(3_600_000_000);
        assert_eq!(query.turns(&twin, now), Some(hour));
        assert!(query.matches(&twin, hour.plus_micros(-1)) && !query.matches(&twin, hour));
        assert_eq!(query.turns(&twin, hour.plus_micros(1)), None);
        let query = Query::parse("battery:<15 seen:>-1h").unwrap();
        assert_eq!(query.turns(&twin, now), None, "whenever it was seen, it has no battery");
        assert_eq!(query.ever().text(), "battery:<15 *");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// The law of this module.
        #[test]
        fn until_it_turns_nothing_changes(
            text in samples::queries(),
            twin in samples::twin(),
            part in 0.0..1.0_f64,
            start in -90_000_000_000_i64..90_000_000_000,
        ) {
            let Ok(query) = Query::parse(&text) else { return Ok(()) };
            let now = samples::now().plus_micros(start);
            let turns = query.turns(&twin, now).unwrap_or(now.plus_micros(400 * 86_400_000_000));
            #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a moment in between")]
            let between = now.plus_micros((turns.micros_since(now) as f64 * part) as i64);
            for moment in [between.min(turns.plus_micros(-1)), turns.plus_micros(-1)] {
                prop_assert_eq!(query.matches(&twin, moment), query.matches(&twin, now), "{}", query.text());
            }
            if query.matches(&twin, now) || query.turns(&twin, now).is_some() {
                prop_assert!(query.ever().matches(&twin, now), "{}", query.ever().text());
            }
        }
    }
}
