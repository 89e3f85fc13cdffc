//! Topics and filters: which are valid, and which belong to the service.

use crate::Config;

/// Why a topic or a filter is no good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadTopic {
    /// The protocol forbids it: empty, a wildcard where none may stand, a control character.
    Malformed,
    /// Longer than the configuration allows.
    TooLong,
    /// More levels than the configuration allows.
    TooDeep,
    /// It begins with `$`, which is kept for servers.
    Reserved,
}

/// Checks the topic of a publish (MQTT 5, 4.7).
pub(crate) fn check_topic(topic: &str, config: &Config) -> Result<(), BadTopic> {
    if topic.contains(['+', '#']) {
        return Err(BadTopic::Malformed);
    }
    check_levels(topic, config)
}

fn check_levels(text: &str, config: &Config) -> Result<(), BadTopic> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(BadTopic::Malformed);
    }
    if text.starts_with('$') {
        return Err(BadTopic::Reserved);
    }
    if text.len() > config.topic_bytes_max {
        return Err(BadTopic::TooLong);
    }
    if text.split('/').count() > config.topic_levels_max {
        return Err(BadTopic::TooDeep);
    }
    Ok(())
}

/// A valid filter: what to match, and the group that shares it, if any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Filter<'a> {
    /// What to match, without `$share/group/`.
    pub(crate) pattern: &'a str,
    /// The group of a shared subscription.
    pub(crate) group: Option<&'a str>,
}

/// Checks a filter, and takes a shared one apart (MQTT 5, 4.7 and 4.8.2).
pub(crate) fn check_filter<'a>(text: &'a str, config: &Config) -> Result<Filter<'a>, BadTopic> {
    let (group, pattern) = match text.strip_prefix("$share/") {
        None => (None, text),
        Some(rest) => {
            let (group, pattern) = rest.split_once('/').ok_or(BadTopic::Malformed)?;
            if group.is_empty() || group.contains(['+', '#']) || group.chars().any(char::is_control) {
                return Err(BadTopic::Malformed);
            }
            if group.len() > config.topic_bytes_max {
                return Err(BadTopic::TooLong);
            }
            (Some(group), pattern)
        }
    };
    let mut levels = pattern.split('/').peekable();
    while let Some(level) = levels.next() {
        let last = levels.peek().is_none();
        if level.contains('#') && (level != "#" || !last) || level.contains('+') && level != "+" {
            return Err(BadTopic::Malformed);
        }
    }
    check_levels(pattern, config)?;
    Ok(Filter { pattern, group })
}

/// Takes a valid filter apart.
pub(crate) fn take_apart(filter: &str) -> Filter<'_> {
    let shared = filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/'));
    shared.map_or(Filter { pattern: filter, group: None }, |(group, pattern)| Filter {
        pattern,
        group: Some(group),
    })
}

/// Does the filter match the topic? Both are valid.
pub(crate) fn matches(pattern: &str, topic: &str) -> bool {
    let mut topic = topic.split('/');
    for level in pattern.split('/') {
        if level == "#" {
            return true;
        }
        match topic.next() {
            Some(found) if level == "+" || level == found => {}
            _ => return false,
        }
    }
    topic.next().is_none()
}

/// Where the topics of a filter live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reach {
    /// It may match topics of the service's own.
    pub(crate) own: bool,
    /// It may match topics that go through the router.
    pub(crate) routed: bool,
}

/// Tells whether a valid filter reaches the service's own topics, the routed ones, or both.
pub(crate) fn reach(pattern: &str, config: &Config) -> Reach {
    if config.is_own(pattern) {
        return Reach { own: true, routed: false };
    }
    let own = config.own_topics.iter().any(|prefix| overlaps(pattern, prefix));
    Reach { own, routed: true }
}

/// May the filter match a topic that begins with the prefix? Compared level by level; the last level of the
/// prefix may be the beginning of one.
fn overlaps(pattern: &str, prefix: &str) -> bool {
    let mut levels = pattern.split('/');
    let mut prefix = prefix.split('/').peekable();
    while let Some(wanted) = prefix.next() {
        let last = prefix.peek().is_none();
        match levels.next() {
            Some("#") => return true,
            Some("+") => {}
            Some(level) if last => return level.starts_with(wanted),
            Some(level) if level == wanted => {}
            None => return last && wanted.is_empty(),
            Some(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn config() -> Config {
        Config { own_topics: vec!["devices/".into(), "changes/".into()], ..Config::default() }
    }

    #[test]
    fn topics_are_checked() {
        for good in ["a", "/", "a/b", "é/x", " ", "devices/1/state"] {
            assert_eq!(check_topic(good, &config()), Ok(()), "{good:?}");
        }
        for bad in ["", "a/+", "#", "a\0b", "a\u{7}"] {
            assert_eq!(check_topic(bad, &config()), Err(BadTopic::Malformed), "{bad:?}");
        }
        assert_eq!(check_topic("$SYS/x", &config()), Err(BadTopic::Reserved));
        assert_eq!(check_topic(&"x".repeat(513), &config()), Err(BadTopic::TooLong));
        assert_eq!(check_topic(&"/".repeat(16), &config()), Err(BadTopic::TooDeep));
    }

    #[test]
    fn filters_are_checked() {
        for good in ["#", "+", "a/+/b", "a/#", "+/+", "/", "é/+"] {
            assert_eq!(check_filter(good, &config()), Ok(Filter { pattern: good, group: None }), "{good:?}");
        }
        for bad in ["", "a#", "a/#/b", "a+/b", "##", "$share/g", "$share//a", "$share/+/a", "$share/g/"] {
            assert_eq!(check_filter(bad, &config()), Err(BadTopic::Malformed), "{bad:?}");
        }
        assert_eq!(check_filter("$share/g/a/#", &config()), Ok(Filter { pattern: "a/#", group: Some("g") }));
        assert_eq!(check_filter("$SYS/#", &config()), Err(BadTopic::Reserved));
        assert_eq!(check_filter("$share/g/$SYS/#", &config()), Err(BadTopic::Reserved));
    }

    #[test]
    fn filters_reach_what_they_may_match() {
        let reach = |filter| {
            let Reach { own, routed } = reach(filter, &config());
            (own, routed)
        };
        assert_eq!(reach("devices/1/state"), (true, false));
        assert_eq!(reach("devices/#"), (true, false));
        assert_eq!(reach("chat/#"), (false, true));
        assert_eq!(reach("#"), (true, true));
        assert_eq!(reach("+/1/state"), (true, true));
        assert_eq!(reach("device"), (false, true));
    }

    proptest! {
        /// A filter that matches an own topic is known to reach the own topics, and the same for routed ones.
        #[test]
        fn nothing_is_out_of_reach(
            pattern in "(devices|changes|a|\\+)(/(1|\\+|b)){0,2}(/#)?",
            topic in "(devices|changes|a)(/(1|b)){0,3}",
        ) {
            let config = config();
            if matches(&pattern, &topic) {
                let reach = reach(&pattern, &config);
                let reached = if config.is_own(&topic) { reach.own } else { reach.routed };
                prop_assert!(reached);
            }
        }
    }
}
