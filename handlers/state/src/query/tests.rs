//! Mistakes: where they are found, what is expected there, and what is suggested.

#![allow(clippy::unwrap_used)]

use super::text::{START_BYTES_MAX, TOKEN_BYTES_MAX, WHOLE_BYTES_MAX};
use super::{CLAUSES_MAX, DEPTH_MAX, QUERY_BYTES_MAX, Query};

#[test]
fn errors_say_where_and_what_instead() {
    for (query, column, suggestion) in [
        // Signs of other languages, and what is missing.
        ("battery<20", 8, Some("battery:<20")),
        ("battery==20", 8, Some("battery:20")),
        ("battery!=20", 9, Some("-battery:20")),
        ("<20", 1, None),
        ("a && b", 3, Some("AND")),
        ("a || b", 3, Some("OR")),
        ("!lab", 1, Some("-lab")),
        ("!online:true", 1, Some("-online:VALUE")),
        ("battery:=20", 9, Some("battery:20")),
        ("battery:=>20", 9, Some("battery:>=20")),
        ("site:!lab", 6, Some("-site:lab")),
        ("site:<>lab", 6, Some("-site:lab")),
        ("battery:", 9, Some("battery:VALUE")),
        ("battery: <20", 9, Some("battery:<20")),
        ("site: \"a b\"", 6, Some("site:\"a b\"")),
        // Limits.
        ("é battery:<x", 12, None),
        ("uptime:>2h", 9, Some("uptime:>7200")),
        ("uptime:1h..2h", 8, Some("uptime:3600..2h")),
        ("due:<-1hour", 6, Some("due:<-1h")),
        ("due:<2026-11-22T10:00:00", 6, Some("due:<2026-11-22T10:00:00Z")),
        ("due:<2026-13-45", 6, None),
        ("battery:24..18", 9, Some("battery:18..24")),
        ("due:now..-1h", 5, Some("due:-1h..now")),
        ("firmware:v2..1.9", 10, Some("firmware:1.9..v2")),
        ("a:1..-1h", 3, None),
        ("a:-1..1.2.3", 3, None),
        ("battery:..", 9, Some("battery:1..2")),
        ("path:../etc", 8, Some("path:\"../etc\"")),
        // Names.
        (":x", 1, None),
        ("a..b:1", 1, None),
        ("a<b:1", 2, None),
        ("tags:lab", 1, Some("tags.NAME")),
        ("has:", 5, Some("has:VALUE")),
        ("has:\"x\"", 5, None),
        ("has:a*", 6, None),
        // Built-in fields.
        ("online:ture", 8, Some("online:true")),
        ("online:no", 8, Some("online:false")),
        ("online:yes", 8, Some("online:true")),
        ("online:\"true\"", 8, Some("online:true")),
        ("online:(true OR maybe)", 17, Some("online:false")),
        ("seen:>1h", 7, Some("seen:>-1h")),
        ("seen:<-1hour", 7, Some("seen:<-1h")),
        ("seen:1h..now", 6, Some("seen:-1h..now")),
        ("seen:-1h", 6, Some("seen:>-1h")),
        ("seen:1h", 6, Some("seen:>-1h")),
        ("seen:-1h..-2h", 6, Some("seen:-2h..-1h")),
        ("seen:2026-11-23..2026-11-22", 6, Some("seen:2026-11-22..2026-11-23")),
        ("seen:<-99999999999999999w", 7, None),
        ("seen:yesterday", 6, Some("seen:>-1d")),
        ("seen:>5", 7, Some("seen:>-5h")),
        ("id:<5", 4, Some("id:BEGINNING*")),
        // Words.
        ("fo*o", 3, Some("FIELD:fo*o")),
        ("front-do*", 1, Some("FIELD:front-do*")),
        ("front-do~", 1, None),
        ("word~3", 6, Some("word~2")),
        ("abcdefghijklmnopqrstuvwxyzabcdefghi~", 1, None),
        ("!!", 1, None),
        ("\"\"", 1, None),
        ("a \"b", 3, None),
        ("a\"b\"", 2, None),
        ("\"a\"b", 4, None),
        // Putting together.
        ("(a", 1, None),
        ("a)", 2, None),
        ("a ()", 4, None),
        ("b(c)", 2, None),
        ("OR a", 1, Some("\"OR\"")),
        ("a AND", 6, None),
        ("a OR OR b", 6, Some("\"OR\"")),
        ("a -", 3, None),
        ("NOT", 4, None),
        ("site:(a OR", 11, None),
        ("site:(a b:(c))", 11, None),
        ("site:(a", 1, None),
    ] {
        let error = Query::parse(query).expect_err(query);
        assert_eq!((error.column, error.suggestion.as_deref()), (column, suggestion), "{query}: {error}");
        assert!(error.expected.is_some(), "{query}: {error}");
    }
    assert_eq!(
        Query::parse("online:ture").unwrap_err().to_string(),
        "column 8: \"ture\" is neither true nor false; expected true or false; did you mean online:true?"
    );
}

#[test]
fn a_suggested_clause_is_understood() {
    for query in [
        "battery<20",
        "a!=b",
        "seen:>1h",
        "uptime:>2h",
        "path:../etc",
        "online:nope",
        "due:>-3days",
        "seen:7",
    ] {
        let suggestion = Query::parse(query).unwrap_err().suggestion.unwrap();
        assert!(Query::parse(&suggestion).is_ok(), "{query}: {suggestion}");
    }
}

/// What the documentation shows is understood, and its limits are the true ones.
#[test]
fn the_documentation_is_true() {
    let text = include_str!("../../../../docs/query-language.md");
    let examples = text.split("```query\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert!(examples.lines().count() >= 5);
    let cells = text.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = cells.flat_map(|row| row.split('|').next().unwrap().split('`').step_by(2).map(str::trim));
    for example in examples.lines().chain(cells.filter(|example| !example.is_empty())) {
        assert!(Query::parse(example).is_ok(), "{example}");
    }
    for limit in
        ["at most 1,024 bytes, 64 clauses, and 16 levels", "1,024 bytes\nare equal to nothing", "255 bytes"]
    {
        assert!(text.contains(limit), "{limit}");
    }
    assert_eq!((QUERY_BYTES_MAX, CLAUSES_MAX, DEPTH_MAX), (1_024, 64, 16));
    assert_eq!((WHOLE_BYTES_MAX, TOKEN_BYTES_MAX, START_BYTES_MAX), (1_024, 255, 128));
}
