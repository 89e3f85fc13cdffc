//! A query as a sentence, so that a person sees how it was understood.

use super::ast::{Expr, Literal};
use super::fields::Field;
use super::moment::{Moment, in_units};
use super::range::{Limits, Range};

/// The sentence, without a capital at its beginning and without a full stop.
pub(super) fn sentence(expr: &Expr) -> String {
    match expr {
        Expr::All => "every device".to_owned(),
        Expr::And(members) => join(members, ", and "),
        Expr::Or(members) => join(members, ", or "),
        Expr::Not(inner) => format!("not ({})", sentence(inner)),
        Expr::Word(word) => format!("some text has the word {word:?}"),
        Expr::Prefix(start) => format!("some text has a word that begins with {start:?}"),
        Expr::Fuzzy { word, edits: 1 } => {
            format!("some text has a word like {word:?}, give or take a letter")
        }
        Expr::Fuzzy { word, edits } => {
            format!("some text has a word like {word:?}, give or take {edits} letters")
        }
        Expr::Phrase(words) => format!("some text has the words {:?}", words.join(" ")),
        Expr::Exists(Field::Seen) => "seen at least once".to_owned(),
        Expr::Exists(field) => format!("has {field}"),
        Expr::Equals { field, value } => format!("{field} is {}", literal(value)),
        Expr::Like { field, pattern } => format!("{field} looks like {pattern}"),
        Expr::Within { field: Field::Seen, range: Range::Times(limits) } => seen(limits),
        Expr::Within { field, range } => format!("{field} is {}", within(range)),
        Expr::Online(true) => "online".to_owned(),
        Expr::Online(false) => "offline".to_owned(),
    }
}

/// Members of AND or OR; one that is itself a list stands in parentheses.
fn join(members: &[Expr], between: &str) -> String {
    let members = members.iter().map(|member| match member {
        Expr::And(_) | Expr::Or(_) => format!("({})", sentence(member)),
        member => sentence(member),
    });
    members.collect::<Vec<_>>().join(between)
}

fn literal(value: &Literal) -> String {
    match (&value.day, value.quoted || value.text.is_empty()) {
        (Some(day), _) => format!("on {day}"),
        (None, true) => format!("the text {:?}", value.text),
        (None, false) => value.text.clone(),
    }
}

fn within(range: &Range) -> String {
    match range {
        Range::Numbers(limits) => amounts(limits),
        Range::Versions(limits) => match limits {
            Limits::Between(from, to) => format!("from version {from} to {to}"),
            Limits::Below(limit) => format!("below version {limit}"),
            Limits::AtMost(limit) => format!("at most version {limit}"),
            Limits::Above(limit) => format!("above version {limit}"),
            Limits::AtLeast(limit) => format!("at least version {limit}"),
        },
        Range::Times(limits) => times(limits),
    }
}

fn amounts(limits: &Limits<impl std::fmt::Display>) -> String {
    match limits {
        Limits::Below(limit) => format!("below {limit}"),
        Limits::AtMost(limit) => format!("at most {limit}"),
        Limits::Above(limit) => format!("above {limit}"),
        Limits::AtLeast(limit) => format!("at least {limit}"),
        Limits::Between(from, to) => format!("from {from} to {to}"),
    }
}

fn times(limits: &Limits<Moment>) -> String {
    match limits {
        Limits::Below(limit) => format!("before {}", moment(*limit)),
        Limits::AtMost(limit) => format!("not after {}", moment(*limit)),
        Limits::Above(limit) => format!("after {}", moment(*limit)),
        Limits::AtLeast(limit) => format!("not before {}", moment(*limit)),
        Limits::Between(from @ Moment::Day(_), to) if from == to => format!("on {}", moment(*from)),
        Limits::Between(from, to) => format!("between {} and {}", moment(*from), moment(*to)),
    }
}

/// What was seen lies in the past, so that it can be said in fewer words.
fn seen(limits: &Limits<Moment>) -> String {
    match limits {
        Limits::Above(Moment::Relative(ago)) | Limits::AtLeast(Moment::Relative(ago)) if *ago < 0 => {
            // The last hour, but the last 2 hours.
            format!("seen within the last {}", span(*ago).trim_start_matches("1 "))
        }
        Limits::Below(Moment::Relative(ago)) | Limits::AtMost(Moment::Relative(ago)) if *ago < 0 => {
            format!("last seen more than {} ago", span(*ago))
        }
        limits => format!("last seen {}", times(limits)),
    }
}

fn moment(moment: Moment) -> String {
    match moment {
        Moment::Relative(0) => "now".to_owned(),
        Moment::Relative(micros) if micros < 0 => format!("{} ago", span(micros)),
        Moment::Relative(micros) => format!("{} from now", span(micros)),
        Moment::Day(_) | Moment::At(_) => moment.to_string(),
    }
}

/// `1 hour`, `90 minutes`.
fn span(micros: i64) -> String {
    let (count, _, unit) = in_units(micros);
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::query::{Query, samples};
    use proptest::prelude::*;

    #[test]
    fn queries_read_like_english() {
        for (query, sentence) in [
            ("", "every device"),
            (
                "type:thermostat battery:<20 -site:lab seen:>-1h",
                "type is thermostat, and battery is below 20, and not (site is lab), and seen within the last hour",
            ),
            (
                "seen:<-90m OR seen:2026-11-22",
                "last seen more than 90 minutes ago, or last seen on 2026-11-22",
            ),
            ("online:false has:error", "offline, and has error"),
            (
                "\"front door\" lab",
                "some text has the words \"front door\", and some text has the word \"lab\"",
            ),
            (
                "wor* OR termostat~",
                "some text has a word that begins with \"wor\", or some text has a word like \"termostat\", give or take 2 letters",
            ),
            (
                "tags.site:(lab OR office) on:true",
                "(tags.site is lab, or tags.site is office), and on is true",
            ),
            (
                "temperature:18..24 firmware:>=v1.10",
                "temperature is from 18 to 24, and firmware is at least version v1.10",
            ),
            ("code:\"20\" model:t-*", "code is the text \"20\", and model looks like t-*"),
            (
                "due:<+7d installed:2026-01-01..-30d",
                "due is before 1 week from now, and installed is between 2026-01-01 and 30 days ago",
            ),
        ] {
            assert_eq!(Query::parse(query).unwrap().sentence(), sentence, "{query}");
        }
    }

    proptest! {
        /// Nothing that was asked is left out.
        #[test]
        fn a_sentence_mentions_each_field_and_value(query in samples::queries()) {
            let Ok(query) = Query::parse(&query) else { return Ok(()) };
            let sentence = query.sentence();
            let mut parts = Vec::new();
            query.expr().visit(&mut |leaf| parts.extend(samples::named(leaf)));
            for part in parts {
                prop_assert!(sentence.contains(&part), "{:?} of {} in {}", part, query.text(), sentence);
            }
        }
    }
}
