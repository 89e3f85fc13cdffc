//! Text with values of a twin: `{device} has {battery} % left in {tags.site}`.
//!
//! `{device}` is the id of the device; any other name is a field as in the query language, so `{wifi.rssi}` is a
//! property of `reported`, and `{desired.x}`, `{tags.x}`, `{online}`, `{seen}` are what they are there. What the
//! twin doesn't have is written `-`. A brace itself is written twice: `{{`, `}}`.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::Twin;
use crate::query::Field;
use crate::query::fields::any_value;

/// Longest value of a field in a rendered text, in characters; a longer one is cut, and ends with `…`.
pub const VALUE_CHARS_MAX: usize = 256;

/// All but what RFC 3986 calls unreserved.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Field),
}

/// Why a text isn't a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadTemplate {
    /// Where, in characters from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl Template {
    /// Checks a text.
    ///
    /// # Errors
    /// `BadTemplate` when a brace isn't closed or opened, or what stands between two isn't a field.
    pub fn parse(text: &str) -> Result<Self, BadTemplate> {
        let bad = |index: usize, message: String| BadTemplate { column: index + 1, message };
        let chars: Vec<char> = text.chars().collect();
        let (mut parts, mut plain, mut at) = (Vec::new(), String::new(), 0);
        while let Some(c) = chars.get(at) {
            match (c, chars.get(at + 1)) {
                ('{', Some('{')) | ('}', Some('}')) => {
                    plain.push(*c);
                    at += 2;
                }
                ('}', _) => {
                    return Err(bad(at, "this brace was never opened; a brace itself is written }}".into()));
                }
                ('{', _) => {
                    let Some(length) = chars[at + 1..].iter().position(|c| *c == '}') else {
                        return Err(bad(at, "this brace isn't closed; a brace itself is written {{".into()));
                    };
                    let name: String = chars[at + 1..][..length].iter().collect();
                    let field = match name.as_str() {
                        "device" => Field::Id,
                        "" => return Err(bad(at + 1, "the name of a field is expected".into())),
                        name => {
                            Field::parse(name).map_err(|error| bad(at + 1 + error.offset, error.message))?
                        }
                    };
                    parts.extend((!plain.is_empty()).then(|| Part::Text(std::mem::take(&mut plain))));
                    parts.push(Part::Field(field));
                    at += length + 2;
                }
                (c, _) => {
                    plain.push(*c);
                    at += 1;
                }
            }
        }
        parts.extend((!plain.is_empty()).then_some(Part::Text(plain)));
        Ok(Self(parts))
    }

    /// The link for a twin: its values are percent-encoded (RFC 3986), but for one that the link begins with. None when it
    /// is longer, as what is cut leads elsewhere, and when such a value doesn't lead to a page.
    pub fn link(&self, twin: &Twin, chars_max: usize) -> Option<String> {
        let mut link = String::new();
        for (nth, part) in self.0.iter().enumerate() {
            match part {
                Part::Text(plain) => link.push_str(plain),
                Part::Field(field) if nth == 0 => link.push_str(&value(field, twin)),
                Part::Field(field) => link.extend(utf8_percent_encode(&value(field, twin), ENCODED)),
            }
        }
        // Which app a link opens is for the rule to say.
        let by_rule = matches!(self.0.first(), Some(Part::Text(_)));
        let leads = ["https://", "http://"].iter().any(|scheme| link.starts_with(scheme));
        ((by_rule || leads) && link.chars().count() <= chars_max).then_some(link)
    }

    /// The text for a twin, of at most `chars_max` characters; a longer one is cut, and ends with `…`.
    pub fn render(&self, twin: &Twin, chars_max: usize) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Field(field) => text.push_str(&cut(value(field, twin), VALUE_CHARS_MAX)),
            }
        }
        cut(text, chars_max)
    }
}

fn value(field: &Field, twin: &Twin) -> String {
    let missing = || "-".to_owned();
    match field {
        Field::Id => twin.device.to_string(),
        Field::Online => twin.presence.online.to_string(),
        Field::Seen => twin.received_at.map_or_else(missing, |time| time.to_string()),
        property => {
            let mut found = None;
            if let Some((document, path)) = property.locate(twin) {
                any_value(document, path, &mut |value| {
                    found = Some(match value {
                        Value::String(text) => text.clone(),
                        other => other.to_string(),
                    });
                    true
                });
            }
            found.unwrap_or_else(missing)
        }
    }
}

fn cut(mut text: String, chars_max: usize) -> String {
    if text.chars().nth(chars_max).is_some() {
        let keep = text.char_indices().nth(chars_max - 1).map_or(0, |(at, _)| at);
        text.truncate(keep);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{DeviceId, Timestamp};
    use serde_json::json;

    fn render(text: &str) -> String {
        let mut twin = Twin::new(DeviceId::parse("pump-1").unwrap());
        twin.reported = serde_json::from_value(
            json!({"battery":12.5,"wifi":{"rssi":-70},"id":"x","list":[1,2],"long":"é".repeat(300)}),
        )
        .unwrap();
        twin.tags = serde_json::from_value(json!({"site":"Süd"})).unwrap();
        twin.received_at = Some(Timestamp::from_micros(0));
        Template::parse(text).unwrap().render(&twin, 400)
    }

    #[test]
    fn a_link_leads_where_it_should() {
        let mut twin = Twin::new(DeviceId::parse("pump-1").unwrap());
        twin.reported = json!({ "name": "a&b/ü", "page": "https://x.org/?a=1", "bad": "javascript:x" })
            .as_object()
            .unwrap()
            .clone();
        let link = |text: &str| Template::parse(text).unwrap().link(&twin, 60);
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(link("https://e.org/{device}?n={name}"), some("https://e.org/pump-1?n=a%26b%2F%C3%BC"));
        assert_eq!(link("{page}#{device}"), some("https://x.org/?a=1#pump-1"));
        assert_eq!(link("app://alarms/{device}"), some("app://alarms/pump-1"));
        assert_eq!(link("{bad}"), None);
        assert_eq!(link("https://e.org/{name}{name}{name}{name}{name}{name}"), None, "too long");
    }

    #[test]
    fn fields_are_filled_in() {
        assert_eq!(
            render("{device}: {battery} % at {tags.site}, {wifi.rssi} dBm, {reported.id} {list} {wifi}"),
            r#"pump-1: 12.5 % at Süd, -70 dBm, x [1,2] {"rssi":-70}"#
        );
        assert_eq!(render("{seen} {online} {desired.x}"), "1970-01-01T00:00:00Z false -");
        assert_eq!(render("{{device}} 100 %"), "{device} 100 %");
        assert_eq!(render("{long}"), format!("{}…", "é".repeat(255)));
        assert_eq!(render(&"x".repeat(401)), format!("{}…", "x".repeat(399)));
        assert_eq!(render(""), "");
    }

    #[test]
    fn mistakes_are_found_at_their_column() {
        let column = |text: &str| Template::parse(text).unwrap_err().column;
        assert_eq!(column("é {"), 3);
        assert_eq!(column("a } b"), 3);
        assert_eq!(column("a {}"), 4);
        assert_eq!(column("{a b}"), 3);
        assert_eq!(column("{a{b}"), 3);
        assert_eq!(column("{tags}"), 2);
    }
}
