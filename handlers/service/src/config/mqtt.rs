//! The settings of the MQTT side: where it listens, and a limit on everything. What reaches one is counted in
//! `statecast_mqtt_limited_total`, under the name of its setting.
//!
//! The defaults suit a network of one's own: thousands of devices may come from one address at once, as they do
//! behind a NAT or a proxy. On the open internet, where each device has an address of its own, set
//! `connections_per_address_max` (say 50), `connects_per_address_per_s_max` (say 5, with a burst of 50),
//! `connects_per_s_max` (what the database checks without trouble, say 2000) and `publishes_per_s_max` (say 100); behind
//! a proxy leave those for each address alone, and `login_failures_per_address_max` at 0.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use statecast_broker::{Config as Broker, Rate};

use super::MqttTls;

/// The MQTT side. Of limits that say so, 0 is none.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mqtt {
    /// Address for MQTT 3.1.1 and 5 over TCP.
    pub listen: SocketAddr,

    /// Open connections.
    pub connections_max: usize,
    /// Open sockets of one address, of IPv6 of one /64; 0 for any number.
    pub connections_per_address_max: u32,
    /// Sockets a second in total; 0 for any number.
    pub connects_per_s_max: u32,
    /// Sockets at once, after a pause.
    pub connects_burst: u32,
    /// Sockets a second of one address, of IPv6 of one /64; 0 for any number.
    pub connects_per_address_per_s_max: u32,
    /// Sockets of one address at once, after a pause.
    pub connects_per_address_burst: u32,
    /// Sockets accepted a second; half as many ended connections are taken apart, but for those whose device is back. More
    /// wait, so that those who stay don't. Three times as many while nobody publishes. 0 for as fast as possible; where nothing is said, 1,000 for each processor.
    pub turnover_per_s: u32,
    /// Longest CONNECT, in bytes.
    pub connect_bytes_max: usize,
    /// Seconds from a socket to a CONNECT that is answered.
    pub connect_timeout_s: u16,
    /// Failed logins of one address, of IPv6 of one /64, within `login_lockout_s`, until nobody from there may try
    /// for as long; 0 for any number.
    pub login_failures_per_address_max: u32,
    /// Failed logins with one user name within `login_lockout_s`, until it is locked for as long, for addresses that
    /// have failed; 0 for any number.
    pub login_failures_per_name_max: u32,
    /// Seconds.
    pub login_lockout_s: u16,

    /// Shortest keep-alive of a v5 client, in seconds.
    pub keep_alive_s_min: u16,
    /// Longest keep-alive of a v5 client, in seconds. A 3.1.1 client can't be told, and keeps its own.
    pub keep_alive_s_max: u16,
    /// Largest packet, in bytes.
    pub packet_bytes_max: usize,
    /// Seconds from the first byte of a packet to its last.
    pub packet_deadline_s: u16,
    /// Bytes of all packets that are half sent.
    pub partial_bytes_max: usize,

    /// Unacknowledged publishes of a connection.
    pub unacknowledged_max: u16,
    /// Bytes of all publishes that are read but not yet durable.
    pub bytes_in_flight_max: usize,
    /// Publishes a second of one connection; 0 for any number. At the rate its socket isn't read: nothing is lost.
    pub publishes_per_s_max: u32,
    /// Publishes of one connection at once, after a pause.
    pub publishes_burst: u32,
    /// Bytes of publishes a second of one connection; 0 for any number. As above.
    pub publish_bytes_per_s_max: u32,
    /// Bytes of publishes of one connection at once, after a pause.
    pub publish_bytes_burst: u32,
    /// Bytes of a topic or filter.
    pub topic_bytes_max: usize,
    /// Levels of a topic or filter.
    pub topic_levels_max: usize,
    /// Topic aliases of a v5 client, each way.
    pub topic_aliases_max: u16,

    /// Subscriptions of a connection.
    pub subscriptions_max: usize,
    /// Bytes that wait for one slow subscriber.
    pub outbox_bytes_max: usize,
    /// Seconds for which a client may read nothing of what waits for it.
    pub write_deadline_s: u16,
    /// Bytes of all retained messages among clients.
    pub retained_bytes_max: usize,
    /// Retained messages among clients.
    pub retained_messages_max: usize,
    /// Seconds for which a session is kept at most when its connection has ended; 0 keeps none.
    pub session_expiry_s_max: u32,
    /// Sessions that outlast their connections.
    pub sessions_max: usize,
    /// Messages that wait in one session; those that come then are dropped for it.
    pub session_messages_max: usize,
    /// Bytes of messages that wait in one session.
    pub session_bytes_max: usize,
    /// Bytes of messages that wait in all sessions.
    pub sessions_bytes_max: usize,
    /// Wills that wait because their clients asked for a delay.
    pub delayed_wills_max: usize,
    /// Distinct topics on which clients publish to each other.
    pub router_topics_max: usize,
    /// Distinct filters with which clients subscribe to each other.
    pub router_filters_max: usize,
    /// Connections that subscribe to other clients.
    pub router_links_max: usize,

    /// MQTT over TLS, where it is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<MqttTls>,
}

/// Connections that one processor lets in, or takes apart, in a part of its time that others hardly notice: measured, with
/// two of them, 10,000 reconnects leave the PUBACKs of others at 1.9 times their latency, and at 2,000 each at 4 times.
const TURNOVER_PER_PROCESSOR: u32 = 1_000;

fn processors() -> u32 {
    std::thread::available_parallelism()
        .map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX / 10_000))
}

impl Default for Mqtt {
    fn default() -> Self {
        let broker = Broker::default();
        Self {
            listen: ([127, 0, 0, 1], 1883).into(),
            connections_max: 50_000,
            connections_per_address_max: broker.connections_per_address_max,
            connects_per_s_max: broker.connects.count,
            connects_burst: 10_000,
            connects_per_address_per_s_max: broker.connects_per_address.count,
            connects_per_address_burst: 100,
            turnover_per_s: TURNOVER_PER_PROCESSOR * processors(),
            connect_bytes_max: broker.connect_bytes_max,
            connect_timeout_s: seconds(broker.connect_timeout),
            login_failures_per_address_max: broker.login_failures_per_address_max,
            login_failures_per_name_max: broker.login_failures_per_name_max,
            login_lockout_s: seconds(broker.login_lockout),
            keep_alive_s_min: *broker.keep_alive_s.start(),
            keep_alive_s_max: *broker.keep_alive_s.end(),
            packet_bytes_max: broker.packet_bytes_max,
            packet_deadline_s: seconds(broker.packet_deadline),
            partial_bytes_max: broker.partial_bytes_max,
            unacknowledged_max: broker.unacknowledged_max,
            bytes_in_flight_max: broker.bytes_in_flight_max,
            publishes_per_s_max: broker.publishes.count,
            publishes_burst: 200,
            publish_bytes_per_s_max: broker.publish_bytes.count,
            publish_bytes_burst: 1024 * 1024,
            topic_bytes_max: broker.topic_bytes_max,
            topic_levels_max: broker.topic_levels_max,
            topic_aliases_max: broker.topic_aliases_max,
            subscriptions_max: broker.subscriptions_max,
            outbox_bytes_max: broker.outbox_bytes_max,
            write_deadline_s: seconds(broker.write_deadline),
            retained_bytes_max: broker.retained_bytes_max,
            retained_messages_max: broker.retained_messages_max,
            session_expiry_s_max: broker.session_expiry_s_max,
            sessions_max: broker.sessions_max,
            session_messages_max: broker.session_messages_max,
            session_bytes_max: broker.session_bytes_max,
            sessions_bytes_max: broker.sessions_bytes_max,
            delayed_wills_max: broker.delayed_wills_max,
            router_topics_max: broker.router_topics_max,
            router_filters_max: broker.router_filters_max,
            router_links_max: broker.router_links_max,
            tls: None,
        }
    }
}

impl Mqtt {
    /// Looks for what can't be meant.
    pub(super) fn check(&self) -> Result<()> {
        const GIB: usize = 1 << 30;
        let sizes = [
            ("connections_max", self.connections_max, 1..=10_000_000),
            ("connect_bytes_max", self.connect_bytes_max, 64..=self.packet_bytes_max),
            // Remaining Length has four digits (MQTT 5, 1.5.5).
            ("packet_bytes_max", self.packet_bytes_max, 64..=268_435_455),
            ("partial_bytes_max", self.partial_bytes_max, self.packet_bytes_max..=64 * GIB),
            ("bytes_in_flight_max", self.bytes_in_flight_max, self.packet_bytes_max..=64 * GIB),
            ("topic_bytes_max", self.topic_bytes_max, 1..=65_535),
            ("topic_levels_max", self.topic_levels_max, 1..=1_000),
            ("subscriptions_max", self.subscriptions_max, 1..=100_000),
            ("outbox_bytes_max", self.outbox_bytes_max, 1_024..=GIB),
            ("retained_bytes_max", self.retained_bytes_max, 0..=64 * GIB),
            ("retained_messages_max", self.retained_messages_max, 0..=10_000_000),
            ("sessions_max", self.sessions_max, 0..=10_000_000),
            // Each has a packet id of its own, of which there are 32,767.
            ("session_messages_max", self.session_messages_max, 1..=32_000),
            ("session_bytes_max", self.session_bytes_max, 1_024..=GIB),
            ("sessions_bytes_max", self.sessions_bytes_max, self.session_bytes_max..=64 * GIB),
            ("delayed_wills_max", self.delayed_wills_max, 0..=1_000_000),
            ("router_topics_max", self.router_topics_max, 1..=1_000_000),
            ("router_filters_max", self.router_filters_max, 1..=100_000),
            ("router_links_max", self.router_links_max, 1..=100_000),
        ];
        for (key, value, range) in sizes {
            let (least, most) = (range.start(), range.end());
            ensure!(range.contains(&value), "mqtt.{key} is {value}: it may be from {least} to {most}");
        }
        let mut numbers = vec![
            ("connect_timeout_s", self.connect_timeout_s),
            ("login_lockout_s", self.login_lockout_s),
            ("packet_deadline_s", self.packet_deadline_s),
            ("write_deadline_s", self.write_deadline_s),
            ("unacknowledged_max", self.unacknowledged_max),
            ("keep_alive_s_min", self.keep_alive_s_min),
        ];
        numbers.extend(self.tls.as_ref().map(|tls| ("tls.handshake_timeout_s", tls.handshake_timeout_s)));
        for (key, value) in numbers {
            ensure!(value > 0, "mqtt.{key} is 0: it may be from 1 to 65535");
        }
        ensure!(
            self.keep_alive_s_min <= self.keep_alive_s_max,
            "mqtt.keep_alive_s_max is {}: it may be from mqtt.keep_alive_s_min, {}, to 65535",
            self.keep_alive_s_max,
            self.keep_alive_s_min
        );
        for (key, rate, burst) in [
            ("connects", self.connects_per_s_max, self.connects_burst),
            ("connects_per_address", self.connects_per_address_per_s_max, self.connects_per_address_burst),
            ("publishes", self.publishes_per_s_max, self.publishes_burst),
            ("publish_bytes", self.publish_bytes_per_s_max, self.publish_bytes_burst),
        ] {
            ensure!(rate == 0 || burst > 0, "mqtt.{key}_burst is 0: it may be from 1 to {}", u32::MAX);
        }
        self.tls.as_ref().map_or(Ok(()), MqttTls::check)
    }

    /// The same as the broker understands it.
    pub fn for_broker(&self) -> Broker {
        Broker {
            listen: self.listen,
            tls: self.tls.as_ref().map(MqttTls::for_broker),
            own_topics: vec!["devices/".into(), "changes/".into()],
            connections_max: self.connections_max,
            connections_per_address_max: self.connections_per_address_max,
            connects: Rate::per_second(self.connects_per_s_max, self.connects_burst),
            connects_per_address: Rate::per_second(
                self.connects_per_address_per_s_max,
                self.connects_per_address_burst,
            ),
            // What comes within some milliseconds goes on at once.
            turnover: Rate::per_second(self.turnover_per_s, self.turnover_per_s / 100),
            connect_bytes_max: self.connect_bytes_max,
            connect_timeout: duration(self.connect_timeout_s),
            login_failures_per_address_max: self.login_failures_per_address_max,
            login_failures_per_name_max: self.login_failures_per_name_max,
            login_lockout: duration(self.login_lockout_s),
            keep_alive_s: self.keep_alive_s_min..=self.keep_alive_s_max,
            packet_bytes_max: self.packet_bytes_max,
            packet_deadline: duration(self.packet_deadline_s),
            partial_bytes_max: self.partial_bytes_max,
            unacknowledged_max: self.unacknowledged_max,
            bytes_in_flight_max: self.bytes_in_flight_max,
            publishes: Rate::per_second(self.publishes_per_s_max, self.publishes_burst),
            publish_bytes: Rate::per_second(self.publish_bytes_per_s_max, self.publish_bytes_burst),
            topic_bytes_max: self.topic_bytes_max,
            topic_levels_max: self.topic_levels_max,
            topic_aliases_max: self.topic_aliases_max,
            subscriptions_max: self.subscriptions_max,
            outbox_bytes_max: self.outbox_bytes_max,
            write_deadline: duration(self.write_deadline_s),
            retained_bytes_max: self.retained_bytes_max,
            retained_messages_max: self.retained_messages_max,
            session_expiry_s_max: self.session_expiry_s_max,
            sessions_max: self.sessions_max,
            session_messages_max: self.session_messages_max,
            session_bytes_max: self.session_bytes_max,
            sessions_bytes_max: self.sessions_bytes_max,
            delayed_wills_max: self.delayed_wills_max,
            router_topics_max: self.router_topics_max,
            router_filters_max: self.router_filters_max,
            router_links_max: self.router_links_max,
        }
    }
}

/// A setting in seconds.
pub(super) fn duration(seconds: u16) -> Duration {
    Duration::from_secs(seconds.into())
}

/// Whole seconds of a default of the broker.
fn seconds(duration: Duration) -> u16 {
    u16::try_from(duration.as_secs()).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn problem(text: &str) -> String {
        toml::from_str::<Mqtt>(text).unwrap().check().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_in_range() {
        Mqtt::default().check().unwrap();
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        assert_eq!(problem("topic_levels_max = 0"), "mqtt.topic_levels_max is 0: it may be from 1 to 1000");
        assert!(problem("connect_bytes_max = 300_000").contains("mqtt.connect_bytes_max is 300000"));
        assert!(problem("write_deadline_s = 0").contains("mqtt.write_deadline_s"));
        assert!(problem("keep_alive_s_min = 2000").contains("mqtt.keep_alive_s_max is 1200"));
        assert!(problem("publishes_per_s_max = 5\npublishes_burst = 0").contains("mqtt.publishes_burst"));
    }

    /// A limit that the service forgets to hand on would be one that can't be set.
    #[test]
    fn every_setting_arrives() {
        let set = "connections_max = 7\nconnects_per_s_max = 8\nconnects_burst = 9\nwrite_deadline_s = 11\n\
                   login_failures_per_name_max = 12\nkeep_alive_s_min = 13\npublish_bytes_per_s_max = 14";
        let broker = toml::from_str::<Mqtt>(set).unwrap().for_broker();
        assert_eq!((broker.connections_max, broker.login_failures_per_name_max), (7, 12));
        assert_eq!(broker.connects, Rate::per_second(8, 9));
        assert_eq!((broker.write_deadline, *broker.keep_alive_s.start()), (duration(11), 13));
        assert_eq!(broker.publish_bytes.count, 14);
    }
}
