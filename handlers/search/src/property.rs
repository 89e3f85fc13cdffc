//! The name of a property as one word, the same in terms and in columns.
//!
//! `r/wifi/rssi` is `wifi.rssi` of `reported`; `d/` and `t/` are `desired` and `tags`. The dot is written as a
//! slash because tantivy splits names of columns at dots; what would be taken for something else is escaped,
//! so that two paths never share a name.

use std::fmt::Write;

use serde_json::Value;
use statecast_state::query::Field;

/// The device id.
pub(crate) const ID: &str = "id";
/// Whether a connection is open.
pub(crate) const ONLINE: &str = "online";
/// When the last message was received.
pub(crate) const SEEN: &str = "seen";

/// The first letter of the names of properties of `reported`, `desired` and `tags`.
pub(crate) const ROOTS: [char; 3] = ['r', 'd', 't'];

/// The name of a field.
pub(crate) fn name(field: &Field) -> String {
    let [reported, desired, tags] = ROOTS;
    match field {
        Field::Id => ID.to_owned(),
        Field::Online => ONLINE.to_owned(),
        Field::Seen => SEEN.to_owned(),
        Field::Reported(path) => below(reported, path),
        Field::Desired(path) => below(desired, path),
        Field::Tags(path) => below(tags, path),
    }
}

/// The name of the property at `path` (names with dots between them) below a root.
pub(crate) fn below(root: char, path: &str) -> String {
    let mut name = String::with_capacity(path.len() + 2);
    name.push(root);
    name.push('/');
    for c in path.chars() {
        match c {
            '.' => name.push('/'),
            '/' | '\\' | '%' | '\0'..='\x1f' => {
                // Writing to a string can't fail.
                let _ = write!(name, "%{:02x}", u32::from(c));
            }
            c => name.push(c),
        }
    }
    name
}

/// The property that has a name; none for what is no name.
pub(crate) fn field(name: &str) -> Option<Field> {
    let (root, name) = name.split_once('/')?;
    let [reported, desired, tags] = ROOTS;
    let make = match root.chars().next()? {
        root if root == reported => Field::Reported,
        root if root == desired => Field::Desired,
        root if root == tags => Field::Tags,
        _ => return None,
    };
    let mut path = String::with_capacity(name.len());
    let mut rest = name.chars();
    while let Some(c) = rest.next() {
        path.push(match c {
            '/' => '.',
            '%' => {
                let (high, low) = (rest.next()?.to_digit(16)?, rest.next()?.to_digit(16)?);
                char::from_u32(high * 16 + low)?
            }
            c => c,
        });
    }
    Some(make(path))
}

/// A number as JSON; whole ones are shown as such.
pub(crate) fn json_number(number: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "compared with the original")]
    let whole = number as i64;
    #[expect(clippy::cast_precision_loss, reason = "compared with the original")]
    if whole as f64 == number { whole.into() } else { number.into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_read_like_paths() {
        assert_eq!(name(&Field::Reported("wifi.rssi".into())), "r/wifi/rssi");
        assert_eq!(name(&Field::Tags("a/b\\c%".into())), "t/a%2fb%5cc%25");
        assert_eq!(name(&Field::Online), "online");
    }

    proptest! {
        #[test]
        fn a_name_tells_its_path(path in "[a/.%\\\\2f\u{1}é]{0,6}") {
            for property in [Field::Reported(path.clone()), Field::Desired(path.clone()), Field::Tags(path)] {
                prop_assert_eq!(field(&name(&property)), Some(property));
            }
        }

        #[test]
        fn no_two_paths_share_a_name(a in "[a/.%\\\\2f\u{1}]{0,6}", b in "[a/.%\\\\2f\u{1}]{0,6}") {
            prop_assert_eq!(below('r', &a) == below('r', &b), a == b);
            prop_assert_eq!(field(&below('t', &a)), Some(Field::Tags(a)));
        }
    }
}
