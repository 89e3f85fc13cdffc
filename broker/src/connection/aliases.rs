//! Short names for topics that a v5 client is sent (MQTT 5, 3.3.2.3.4).

use std::collections::HashMap;
use std::sync::Arc;

use mqtt_protocol_core::mqtt::packet::{Properties, PropertiesParse as _, Property};

/// How a publish says where it belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// By its topic.
    Topic,
    /// By its topic, which from now on has this alias.
    Introduced(u16),
    /// By an alias that the client knows.
    Alias(u16),
}

/// The aliases that one client knows. The first topics that it is sent get one, and keep it: to give it to
/// another topic would cost more bytes than it saves, unless that topic stays.
pub(super) struct Aliases {
    max: u16,
    known: HashMap<Arc<str>, u16>,
}

impl Aliases {
    /// None yet, and never more than so many.
    pub(super) fn new(max: u16) -> Self {
        Self { max, known: HashMap::new() }
    }

    /// How the next publish on a topic names it.
    pub(super) fn naming(&self, topic: &str) -> Naming {
        if self.max == 0 {
            return Naming::Topic;
        }
        if let Some(alias) = self.known.get(topic) {
            return Naming::Alias(*alias);
        }
        match u16::try_from(self.known.len()) {
            Ok(known) if known < self.max => Naming::Introduced(known + 1),
            _ => Naming::Topic,
        }
    }

    /// A publish was sent that named its topic so.
    pub(super) fn sent(&mut self, topic: &Arc<str>, naming: Naming) {
        if let Naming::Introduced(alias) = naming {
            self.known.insert(Arc::clone(topic), alias);
        }
    }
}

/// Does a v5 CONNECT say in so many words that the client takes no topic aliases? The codec panics on a Topic Alias
/// Maximum of 0, so it is shown a 1, which isn't used.
pub(super) fn takes_no_aliases(packet: &mut [u8], header: usize) -> bool {
    const BEFORE_PROPERTIES_BYTES: usize = 10;
    if packet.get(header..header + 7) != Some(&b"\0\x04MQTT\x05"[..]) {
        return false;
    }
    let Some(rest) = packet.get(header + BEFORE_PROPERTIES_BYTES..) else { return false };
    let Ok((properties, _)) = Properties::parse(rest) else { return false };
    if !properties.iter().any(|one| matches!(one, Property::TopicAliasMaximum(max) if max.val() == 0)) {
        return false;
    }
    let len_bytes = rest.iter().position(|byte| byte & 0x80 == 0).map_or(0, |at| at + 1);
    let mut at = header + BEFORE_PROPERTIES_BYTES + len_bytes;
    for property in &properties {
        if let Property::TopicAliasMaximum(_) = property
            && let Some(low) = packet.get_mut(at + 2)
        {
            *low = 1;
        }
        at += property.size();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_topics_get_an_alias() {
        let mut aliases = Aliases::new(2);
        for (topic, naming) in [
            ("a", Naming::Introduced(1)),
            ("a", Naming::Alias(1)),
            ("b", Naming::Introduced(2)),
            ("c", Naming::Topic),
            ("b", Naming::Alias(2)),
        ] {
            assert_eq!(aliases.naming(topic), naming);
            aliases.sent(&topic.into(), naming);
        }
        assert_eq!(Aliases::new(0).naming("a"), Naming::Topic);
    }
}
