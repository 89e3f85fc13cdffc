//! Whether a twin matches, in memory. Keeps to the definitions in [`super`].

use super::ast::Expr;
use super::fields::{Field, any_text, any_value};
use super::text::{equals, fold, tokens_of};
use crate::{Timestamp, Twin};

/// Whether the twin matches at `now`.
pub(super) fn matches(expr: &Expr, twin: &Twin, now: Timestamp) -> bool {
    match expr {
        Expr::All => true,
        Expr::And(members) => members.iter().all(|member| matches(member, twin, now)),
        Expr::Or(members) => members.iter().any(|member| matches(member, twin, now)),
        Expr::Not(inner) => !matches(inner, twin, now),
        Expr::Word(word) => any_text(twin, &mut |text| tokens_of(&fold(text)).any(|token| token == word)),
        Expr::Prefix(start) => {
            any_text(twin, &mut |text| tokens_of(&fold(text)).any(|token| token.starts_with(start.as_str())))
        }
        Expr::Phrase(words) => any_text(twin, &mut |text| {
            let folded = fold(text);
            let tokens: Vec<&str> = tokens_of(&folded).collect();
            tokens.windows(words.len()).any(|window| window == words)
        }),
        Expr::Exists(Field::Id | Field::Online) => true,
        Expr::Exists(Field::Seen) => twin.received_at.is_some(),
        Expr::Exists(field) => any(field, twin, |_| true),
        Expr::Equals { field: Field::Id, value } => equals(twin.device.as_str(), &value.text),
        Expr::Equals { field, value } => any(field, twin, |found| value.matches(found)),
        Expr::Like { field: Field::Id, pattern } => pattern.matches(twin.device.as_str()),
        Expr::Like { field, pattern } => {
            any(field, twin, |found| found.as_str().is_some_and(|text| pattern.matches(text)))
        }
        Expr::Compare { field, op, number } => {
            any(field, twin, |found| found.as_f64().is_some_and(|found| op.holds(found, *number)))
        }
        Expr::Range { field, from, to } => any(field, twin, |found| {
            found
                .as_f64()
                .is_some_and(|found| from.is_none_or(|from| found >= from) && to.is_none_or(|to| found <= to))
        }),
        Expr::Online(online) => twin.presence.online == *online,
        Expr::Seen(seen) => twin.received_at.is_some_and(|time| seen.matches(time, now)),
    }
}

fn any(field: &Field, twin: &Twin, mut test: impl FnMut(&serde_json::Value) -> bool) -> bool {
    field.locate(twin).is_some_and(|(document, path)| any_value(document, path, &mut test))
}
