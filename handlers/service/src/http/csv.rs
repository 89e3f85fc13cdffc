//! Twins as CSV (RFC 4180): a header, lines that end with CRLF, quotes where they are needed.
//!
//! A spreadsheet takes text that begins with one of `= + - @`, a tab or a carriage return for a formula, and what a
//! device reports must not become one: such text is written behind an apostrophe. Numbers are written as they are.

use std::borrow::Cow;

use serde_json::Value;
use statecast_state::Twin;
use statecast_state::query::Field;
use statecast_state::query::fields::any_value;

/// Writes the names of the columns.
pub(super) fn header(out: &mut Vec<u8>, columns: &[Field]) {
    record(out, columns.iter().map(|column| guarded(column.to_string())));
}

/// Writes a twin: of each field the first value, arrays and objects as JSON, nothing for what it doesn't have.
pub(super) fn row(out: &mut Vec<u8>, columns: &[Field], twin: &Twin) {
    record(out, columns.iter().map(|column| cell(column, twin)));
}

fn cell(column: &Field, twin: &Twin) -> String {
    match (column, column.locate(twin)) {
        // An id may begin with a minus.
        (Field::Id, _) => guarded(twin.device.to_string()),
        (Field::Online, _) => twin.presence.online.to_string(),
        (Field::Seen, _) => twin.received_at.map(|time| time.to_string()).unwrap_or_default(),
        (_, None) => String::new(),
        (_, Some((document, path))) => {
            let mut cell = String::new();
            any_value(document, path, &mut |value| {
                cell = match value {
                    Value::String(text) => guarded(text.clone()),
                    Value::Null => String::new(),
                    other => other.to_string(),
                };
                true
            });
            cell
        }
    }
}

fn guarded(text: String) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { format!("'{text}") } else { text }
}

fn record(out: &mut Vec<u8>, cells: impl Iterator<Item = String>) {
    let start = out.len();
    for (nth, cell) in cells.enumerate() {
        if nth > 0 {
            out.push(b',');
        }
        out.extend_from_slice(quoted(&cell).as_bytes());
    }
    if out.len() == start {
        // A line without anything isn't a record for those who read it.
        out.extend_from_slice(b"\"\"");
    }
    out.extend_from_slice(b"\r\n");
}

fn quoted(cell: &str) -> Cow<'_, str> {
    if cell.contains([',', '"', '\r', '\n']) || cell.starts_with(' ') || cell.ends_with(' ') {
        format!("\"{}\"", cell.replace('"', "\"\"")).into()
    } else {
        cell.into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;
    use statecast_state::DeviceId;
    use statecast_state::query::list;

    use super::*;

    #[test]
    fn a_twin_is_a_line() {
        let reported = json!({
            "text": "a \"b\", c", "lines": "a\r\nb", "formula": "=1+1", "number": -5, "list": [1, "x"], "no": null,
            "inner": {"at": "@home"}, "plain": "a=b", "on": true,
        });
        let reported = reported.as_object().unwrap().clone();
        let twin = Twin { reported, ..Twin::new(DeviceId::parse("-d").unwrap()) };
        let columns = "id,online,seen,text,lines,formula,number,list,no,inner.at,plain,on,missing,tags.x";
        let columns = list::fields(columns, 20).unwrap();
        let mut out = Vec::new();
        header(&mut out, &columns);
        row(&mut out, &columns, &twin);
        let expected = "id,online,seen,text,lines,formula,number,list,no,inner.at,plain,on,missing,tags.x\r\n\
            '-d,false,,\"a \"\"b\"\", c\",\"a\r\nb\",'=1+1,-5,\"[1,\"\"x\"\"]\",,'@home,a=b,true,,\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let mut out = Vec::new();
        row(&mut out, &columns[12..13], &twin);
        assert_eq!(out, b"\"\"\r\n", "an empty line would be passed over");
    }
}
