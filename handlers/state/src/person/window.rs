//! Quiet hours: windows of local time on some days of the week.
//!
//! A window begins on its days at `from` and lasts until the next `to`: with `from` 22:00 and `to` 07:00 until the
//! next morning, with both the same for 24 hours. Where clocks are put forward, a time that doesn't exist is read
//! with the offset before: what begins or ends at 02:30 does so at 03:30, after as many hours as on other days. Where
//! they are put back, a window that ends at a time that comes twice ends at the second.

use std::fmt;

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Timestamp;

/// Nothing is held for longer by quiet hours that never end: longer than any push lives. In microseconds: 8 days.
pub const QUIET_MAX_US: i64 = 8 * 24 * 3_600 * 1_000_000;

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names of the days")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl From<Weekday> for Day {
    fn from(day: Weekday) -> Self {
        match day {
            Weekday::Monday => Self::Mon,
            Weekday::Tuesday => Self::Tue,
            Weekday::Wednesday => Self::Wed,
            Weekday::Thursday => Self::Thu,
            Weekday::Friday => Self::Fri,
            Weekday::Saturday => Self::Sat,
            Weekday::Sunday => Self::Sun,
        }
    }
}

/// Hours and minutes of a day, written `07:30`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay {
    hour: i8,
    minute: i8,
}

impl TimeOfDay {
    /// Reads `00:00` to `23:59`.
    pub fn parse(text: &str) -> Option<Self> {
        let (hour, minute) = text.split_once(':')?;
        let number = |text: &str, max: i8| {
            let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|number: &i8| digits && *number <= max)
        };
        Some(Self { hour: number(hour, 23)?, minute: number(minute, 59)? })
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.hour, self.minute)
    }
}

impl Serialize for TimeOfDay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("expected a time of day like 07:30"))
    }
}

/// Quiet hours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// The days on which it begins; every day when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<Day>,
    /// When it begins.
    pub from: TimeOfDay,
    /// When it ends: on the same day if that is later than `from`, else on the next.
    pub to: TimeOfDay,
}

impl Window {
    /// When it ends, if the moment is within it. A window lasts for a day at most, so it began today or yesterday.
    fn end(&self, zone: &TimeZone, moment: jiff::Timestamp) -> Option<jiff::Timestamp> {
        let today = zone.to_datetime(moment).date();
        let ends = [today.yesterday().ok()?, today].into_iter().filter_map(|date| {
            let (begin, end) = self.of(zone, date)?;
            (begin <= moment && moment < end).then_some(end)
        });
        ends.max()
    }

    /// From when to when it is, if it begins on this date.
    fn of(&self, zone: &TimeZone, date: Date) -> Option<(jiff::Timestamp, jiff::Timestamp)> {
        if !self.days.is_empty() && !self.days.contains(&date.weekday().into()) {
            return None;
        }
        let last = if self.to > self.from { date } else { date.tomorrow().ok()? };
        let at =
            |date: Date, time: TimeOfDay| zone.to_ambiguous_timestamp(date.at(time.hour, time.minute, 0, 0));
        Some((at(date, self.from).compatible().ok()?, at(last, self.to).later().ok()?))
    }
}

/// Until when it is quiet, if it is now: the end of this window, or of those that follow it without a gap.
pub(super) fn quiet_until(windows: &[Window], zone: &TimeZone, now: Timestamp) -> Option<Timestamp> {
    let begin = jiff::Timestamp::from_microsecond(now.as_micros()).ok()?;
    let mut until = begin;
    while until.as_microsecond() - begin.as_microsecond() < QUIET_MAX_US {
        match windows.iter().filter_map(|window| window.end(zone, until)).max() {
            Some(end) => until = end,
            None => break,
        }
    }
    (until > begin).then(|| Timestamp::from_micros(until.as_microsecond()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn until(windows: serde_json::Value, zone: &str, now: &str) -> Option<String> {
        let windows: Vec<Window> = serde_json::from_value(windows).unwrap();
        let until = quiet_until(&windows, &TimeZone::get(zone).unwrap(), at(now))?;
        Some(until.to_string())
    }

    fn berlin(now: &str) -> Option<String> {
        until(json!([{"from":"22:00","to":"07:00"}]), "Europe/Berlin", now)
    }

    #[test]
    fn nights_are_quiet_in_the_zone_of_the_person() {
        assert_eq!(berlin("2026-11-22T20:59:59Z"), None);
        assert_eq!(berlin("2026-11-22T21:00:00Z").as_deref(), Some("2026-11-23T06:00:00Z"));
        assert_eq!(berlin("2026-11-23T05:59:59Z").as_deref(), Some("2026-11-23T06:00:00Z"));
        assert_eq!(berlin("2026-11-23T06:00:00Z"), None);
        assert_eq!(berlin("2026-07-01T20:00:00Z").as_deref(), Some("2026-07-02T05:00:00Z"));
    }

    #[test]
    fn a_window_belongs_to_the_day_on_which_it_begins() {
        let friday = json!([{"days":["fri"],"from":"22:00","to":"07:00"}]);
        assert!(until(friday.clone(), "UTC", "2026-11-21T06:00:00Z").is_some(), "a Saturday morning");
        assert!(until(friday, "UTC", "2026-11-20T06:00:00Z").is_none(), "a Friday morning");
    }

    #[test]
    fn windows_that_touch_are_one() {
        let weekend = json!([{"days":["fri"],"from":"18:00","to":"00:00"},{"days":["sat","sun"],"from":"00:00","to":"00:00"}]);
        assert_eq!(until(weekend, "UTC", "2026-11-20T19:00:00Z").as_deref(), Some("2026-11-23T00:00:00Z"));
        let always = until(json!([{"from":"00:00","to":"00:00"}]), "UTC", "2026-11-20T19:00:00Z");
        assert!(at(&always.unwrap()).micros_since(at("2026-11-20T19:00:00Z")) >= QUIET_MAX_US);
    }

    #[test]
    fn clocks_are_put_forward_and_back() {
        // 2026-03-29 at 02:00 Berlin goes to 03:00; 2026-10-25 at 03:00 back to 02:00.
        let night = |now: &str| until(json!([{"from":"22:00","to":"02:30"}]), "Europe/Berlin", now);
        assert_eq!(
            night("2026-03-28T23:00:00Z").as_deref(),
            Some("2026-03-29T01:30:00Z"),
            "03:30 summer time"
        );
        assert_eq!(
            night("2026-10-24T22:00:00Z").as_deref(),
            Some("2026-10-25T01:30:00Z"),
            "the second 02:30"
        );
        assert_eq!(night("2026-10-25T00:45:00Z").as_deref(), Some("2026-10-25T01:30:00Z"), "the first 02:45");
        let gap = |now: &str| until(json!([{"from":"02:15","to":"02:45"}]), "Europe/Berlin", now);
        assert_eq!(gap("2026-03-29T00:59:00Z"), None);
        assert_eq!(gap("2026-03-29T01:20:00Z").as_deref(), Some("2026-03-29T01:45:00Z"));
        let fold = |now: &str| until(json!([{"from":"02:15","to":"02:45"}]), "Europe/Berlin", now);
        assert_eq!(fold("2026-10-25T00:15:00Z").as_deref(), Some("2026-10-25T01:45:00Z"));
    }

    #[test]
    fn times_are_written_in_full() {
        for wrong in ["", "7:30", "07:60", "24:00", "0730", "07:30:00", "+1:00", "-0:00"] {
            assert_eq!(TimeOfDay::parse(wrong), None, "{wrong}");
        }
        assert_eq!(TimeOfDay::parse("07:05").unwrap().to_string(), "07:05");
        assert!(serde_json::from_value::<Window>(json!({"from":"22:00"})).is_err());
    }

    fn any_window() -> impl Strategy<Value = Window> {
        let days = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun];
        let time = (0..24_i8, 0..60_i8).prop_map(|(hour, minute)| TimeOfDay { hour, minute });
        (proptest::sample::subsequence(days.to_vec(), 0..3), time.clone(), time)
            .prop_map(|(days, from, to)| Window { days, from, to })
    }

    /// Quiet or not, the slow way, where no clock is ever changed.
    fn is_quiet(windows: &[Window], now: Timestamp) -> bool {
        let minutes = |time: TimeOfDay| i64::from(time.hour) * 60 + i64::from(time.minute);
        let days = [Day::Thu, Day::Fri, Day::Sat, Day::Sun, Day::Mon, Day::Tue, Day::Wed];
        let minute = now.as_micros() / 60_000_000;
        windows.iter().any(|window| {
            let length = match minutes(window.to) - minutes(window.from) {
                length @ 1.. => length,
                other => other + 1_440,
            };
            (0..7).any(|day| {
                let begins = day * 1_440 + minutes(window.from);
                let on = window.days.is_empty() || window.days.contains(&days[usize::try_from(day).unwrap()]);
                on && (minute - begins).rem_euclid(7 * 1_440) < length
            })
        })
    }

    proptest! {
        #[test]
        fn it_is_quiet_until_then_and_no_longer(
            windows in proptest::collection::vec(any_window(), 0..4),
            minute in 29_000_000..29_020_000_i64,
        ) {
            let now = Timestamp::from_micros(minute * 60_000_000);
            let until = quiet_until(&windows, &TimeZone::UTC, now);
            prop_assert_eq!(until.is_some(), is_quiet(&windows, now));
            if let Some(until) = until {
                let minutes = until.micros_since(now) / 60_000_000;
                for minute in 0..minutes {
                    prop_assert!(is_quiet(&windows, now.plus_micros(minute * 60_000_000)));
                }
                prop_assert!(until.micros_since(now) >= QUIET_MAX_US || !is_quiet(&windows, until));
            }
        }

        #[test]
        fn wherever_clocks_are_changed_it_ends_outside(
            windows in proptest::collection::vec(any_window(), 0..4),
            minute in 29_000_000..29_600_000_i64,
            zone in proptest::sample::select(vec!["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu"]),
        ) {
            let (zone, now) = (TimeZone::get(zone).unwrap(), Timestamp::from_micros(minute * 60_000_000));
            if let Some(until) = quiet_until(&windows, &zone, now) {
                prop_assert!(until > now);
                prop_assert!(until.micros_since(now) >= QUIET_MAX_US || quiet_until(&windows, &zone, until).is_none());
            }
        }
    }
}
