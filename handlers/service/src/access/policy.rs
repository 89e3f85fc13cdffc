//! A policy: patterns of topics that may be published to, and of those that may be subscribed to and received. What
//! no pattern allows is denied, so an empty policy denies all (CVE-2018-12550), and a malformed one is never saved
//! (CVE-2018-12551).

use statecast_store::PolicyRow;
use thiserror::Error;

use super::pattern::{BadPattern, OWN, Pattern};

/// The policy of devices that name none.
pub const DEVICES: &str = "default";
/// The policy of API keys that name none.
pub const APPS: &str = "apps";
/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// Most patterns of each kind.
const PATTERNS_MAX: usize = 100;

/// What a device may do where its tenant says nothing else: report its own state, and see what it should be.
const DEVICES_BUILT_IN: (&[&str], &[&str]) =
    (&["devices/{device}/state", "devices/{device}/desired/rejected"], &["devices/{device}/#"]);
/// What a key may do where its tenant says nothing else: see all of its tenant, and speak for no device. Its scopes
/// bound that further.
const APPS_BUILT_IN: (&[&str], &[&str]) = (&["#"], &["#", "devices/#", "changes/#"]);

/// Why a policy is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadPolicy {
    /// A pattern is malformed.
    #[error("{list}[{index}], {bad}")]
    Pattern {
        /// `publish` or `subscribe`.
        list: &'static str,
        /// Which one, from 0.
        index: usize,
        /// Where in it, and why.
        bad: BadPattern,
    },
    /// Too many of them.
    #[error("{list} has at most {PATTERNS_MAX} patterns")]
    TooMany {
        /// `publish` or `subscribe`.
        list: &'static str,
    },
}

/// A policy, ready to be asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    publish: Box<[Pattern]>,
    subscribe: Box<[Pattern]>,
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// Says which pattern is wrong, where, and how.
    pub fn parse(row: &PolicyRow) -> Result<Self, BadPolicy> {
        Ok(Self { publish: parse("publish", &row.publish)?, subscribe: parse("subscribe", &row.subscribe)? })
    }

    /// Does it allow to publish to the topic, for this device?
    pub fn publishes(&self, topic: &str, device: Option<&str>) -> bool {
        allows(&self.publish, topic, device)
    }

    /// Does it allow to subscribe with the filter, or to be sent what is published to a topic, for this device?
    pub fn subscribes(&self, filter: &str, device: Option<&str>) -> bool {
        allows(&self.subscribe, filter, device)
    }
}

fn parse(list: &'static str, patterns: &[String]) -> Result<Box<[Pattern]>, BadPolicy> {
    if patterns.len() > PATTERNS_MAX {
        return Err(BadPolicy::TooMany { list });
    }
    let parse = |(index, text): (usize, &String)| {
        Pattern::parse(text).map_err(|bad| BadPolicy::Pattern { list, index, bad })
    };
    patterns.iter().enumerate().map(parse).collect()
}

fn allows(patterns: &[Pattern], filter: &str, device: Option<&str>) -> bool {
    let one_covers = |filter: &str| patterns.iter().any(|pattern| pattern.covers(filter, device));
    if !one_covers(filter) {
        return false;
    }
    // A wildcard on the first level of a filter, unlike one of a pattern, does match the service's own topics.
    match filter.strip_prefix('+') {
        Some(rest) => OWN.iter().all(|own| one_covers(&format!("{own}{rest}"))),
        None if filter == "#" => OWN.iter().all(|own| one_covers(&format!("{own}/#"))),
        None => true,
    }
}

/// The policy that a tenant has under this name without ever having saved one.
pub fn built_in(row: &mut PolicyRow) -> bool {
    let (publish, subscribe) = match row.name.as_str() {
        DEVICES => DEVICES_BUILT_IN,
        APPS => APPS_BUILT_IN,
        _ => return false,
    };
    let owned = |patterns: &[&str]| patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
    (row.publish, row.subscribe) = (owned(publish), owned(subscribe));
    true
}

/// Is this a name for a policy: 1-64 of `A-Z a-z 0-9 . _ -`?
pub fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use statecast_state::TenantId;

    fn row(name: &str, publish: &[&str], subscribe: &[&str]) -> PolicyRow {
        let owned = |patterns: &[&str]| patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        let (publish, subscribe) = (owned(publish), owned(subscribe));
        PolicyRow { tenant: TenantId::default(), name: name.to_owned(), publish, subscribe }
    }

    fn built(name: &str) -> Policy {
        let mut row = row(name, &[], &[]);
        assert!(built_in(&mut row));
        Policy::parse(&row).expect("what is built in is right")
    }

    #[test]
    fn nothing_is_allowed_by_nothing() {
        let nothing = Policy::parse(&row("p", &[], &[])).expect("empty is fine");
        for topic in ["a", "#", "devices/d/state", "+/d/state", "$SYS/x"] {
            assert!(!nothing.publishes(topic, Some("d")) && !nothing.subscribes(topic, Some("d")), "{topic}");
        }
    }

    #[test]
    fn a_device_speaks_for_itself_only() {
        let policy = built(DEVICES);
        let a = Some("a");
        assert!(policy.publishes("devices/a/state", a) && policy.publishes("devices/a/desired/rejected", a));
        for topic in ["devices/ab/state", "devices/b/state", "changes/a", "chat/room", "devices/a/other"] {
            assert!(!policy.publishes(topic, a), "{topic}");
        }
        for filter in ["devices/a/desired", "devices/a/+", "devices/a/#", "devices/a/presence"] {
            assert!(policy.subscribes(filter, a), "{filter}");
        }
        for filter in ["devices/+/desired", "#", "+/a/state", "devices/b/desired", "changes/a", "chat/#"] {
            assert!(!policy.subscribes(filter, a), "{filter}");
        }
    }

    #[test]
    fn an_app_sees_all_and_speaks_for_no_device() {
        let policy = built(APPS);
        for filter in ["#", "+/d/state", "devices/#", "changes/+", "chat/room", "devices/d/state"] {
            assert!(policy.subscribes(filter, None), "{filter}");
        }
        assert!(!policy.subscribes("$SYS/#", None));
        assert!(policy.publishes("chat/room", None));
        assert!(!policy.publishes("devices/d/state", None) && !policy.publishes("changes/d", None));
    }

    #[test]
    fn a_wildcard_needs_all_that_it_reaches() {
        let some = Policy::parse(&row("p", &[], &["+/x", "devices/#"])).expect("a policy");
        assert!(!some.subscribes("+/x", None), "changes/x isn't allowed");
        let all = Policy::parse(&row("p", &[], &["+/x", "devices/#", "changes/x"])).expect("a policy");
        assert!(all.subscribes("+/x", None));
        assert!(!all.subscribes("#", None));
    }

    #[test]
    fn a_malformed_one_says_where() {
        let bad = Policy::parse(&row("p", &["a"], &["a", "b/c#"])).expect_err("malformed");
        assert_eq!(bad.to_string(), "subscribe[1], column 3: a wildcard takes a whole level");
        let many = vec!["a"; PATTERNS_MAX + 1];
        assert!(Policy::parse(&row("p", &many, &[])).is_err());
    }

    #[test]
    fn names_are_checked() {
        assert!(is_name("gateways.v2") && !is_name("") && !is_name("a b") && !is_name(&"x".repeat(65)));
    }
}
