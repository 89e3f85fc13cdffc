//! What the broker is told when it starts: where to listen, which topics are the service's own, and a limit on
//! everything.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::{Rate, Tls};

/// Configuration of a broker. The default listens on a free port of the loopback interface.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 takes a free one, see [`crate::Broker::address`].
    pub listen: SocketAddr,
    /// MQTT over TLS, on a port of its own; none if it isn't wanted.
    pub tls: Option<Tls>,
    /// Prefixes of the topics that are the service's own, e.g. `devices/`. A publish there, or to `devices` itself, becomes a delivery and
    /// is acknowledged when its receipt resolves; all other topics go through the router.
    pub own_topics: Vec<String>,
    /// Longest packet of an admitted client, in bytes.
    pub packet_bytes_max: usize,
    /// Most publishes of one connection that wait for their receipts. Announced to v5 clients as Receive Maximum.
    pub unacknowledged_max: u16,
    /// Total of all publishes, of all connections, that wait for their receipts, in bytes.
    pub bytes_in_flight_max: usize,
    /// Total of what is read but not yet accepted, half sent packets above all, of all connections, in bytes.
    /// The first few KiB of each connection don't count.
    pub partial_bytes_max: usize,
    /// How long a packet may take from its first byte to its last.
    pub packet_deadline: Duration,
    /// How long a client may take from connecting to being admitted.
    pub connect_timeout: Duration,
    /// Shortest and longest keep-alive, in seconds. A v5 client that asks for another one, or for none, is told which
    /// one counts; a 3.1.1 client can't be told, and keeps its own.
    pub keep_alive_s: RangeInclusive<u16>,
    /// How many topic aliases a v5 client may use, and is sent at most.
    pub topic_aliases_max: u16,
    /// How long a client may read nothing of what waits for it.
    pub write_deadline: Duration,
    /// Most connections; more are told that the server is busy.
    pub connections_max: usize,
    /// Most sockets from one address, of IPv6 from one /64; 0 for any number. Behind a proxy or a NAT all clients
    /// have one address.
    pub connections_per_address_max: u32,
    /// How fast sockets may come in total, and so many at once. Who comes too fast is told to try later.
    pub connects: Rate,
    /// The same for one address, of IPv6 for one /64.
    pub connects_per_address: Rate,
    /// How fast sockets are accepted; connections that have ended are taken apart half as fast, or when another
    /// takes their place; the rest wait. Three times as fast while nobody publishes: what is left of the machine is for those who stay.
    pub turnover: Rate,
    /// Longest CONNECT, in bytes: nobody has shown a password yet.
    pub connect_bytes_max: usize,
    /// Failed logins from one address, of IPv6 from one /64, within `login_lockout`, until nobody from there may
    /// try; 0 for any number.
    pub login_failures_per_address_max: u32,
    /// Failed logins with one name within `login_lockout`, until it is locked for addresses that have failed; 0 for
    /// any number.
    pub login_failures_per_name_max: u32,
    /// For how long.
    pub login_lockout: Duration,
    /// How fast one connection may publish, in messages; at the rate its socket isn't read.
    pub publishes: Rate,
    /// The same in bytes of packets.
    pub publish_bytes: Rate,
    /// Most bytes that wait for one slow subscriber.
    pub outbox_bytes_max: usize,
    /// Longest topic or filter, in bytes.
    pub topic_bytes_max: usize,
    /// Most levels of a topic or filter.
    pub topic_levels_max: usize,
    /// Most subscriptions of one connection.
    pub subscriptions_max: usize,
    /// Most distinct topics that the router is shown: it never forgets one.
    pub router_topics_max: usize,
    /// Most distinct filters that the router is shown: it keeps a log of recent messages for each.
    pub router_filters_max: usize,
    /// Most connections that subscribe to routed topics at one time.
    pub router_links_max: usize,
    /// Most wills that wait because their clients asked for a delay; more are published at once. One is at most
    /// as long as a CONNECT.
    pub delayed_wills_max: usize,
    /// Total of all retained messages on routed topics, in bytes.
    pub retained_bytes_max: usize,
    /// Most retained messages on routed topics.
    pub retained_messages_max: usize,
    /// Longest time for which a session is kept when its connection has ended, in seconds. A v5 client that asks for more
    /// is told this one; a 3.1.1 client without the clean session flag gets it. With 0 no session outlasts its connection.
    pub session_expiry_s_max: u32,
    /// Most sessions that outlast their connections. Who wants one more isn't let in (0x97, in 3.1.1 3): it would take
    /// for kept what isn't.
    pub sessions_max: usize,
    /// Most messages that wait in one session; those that come then are dropped for this session.
    pub session_messages_max: usize,
    /// The same in bytes.
    pub session_bytes_max: usize,
    /// Total of all messages that wait in sessions, in bytes.
    pub sessions_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls: None,
            own_topics: Vec::new(),
            packet_bytes_max: 256 * 1024,
            unacknowledged_max: 100,
            bytes_in_flight_max: 64 * 1024 * 1024,
            partial_bytes_max: 32 * 1024 * 1024,
            packet_deadline: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            keep_alive_s: 1..=1200,
            topic_aliases_max: 16,
            write_deadline: Duration::from_secs(30),
            connections_max: 100_000,
            connections_per_address_max: 0,
            connects: Rate::UNLIMITED,
            connects_per_address: Rate::UNLIMITED,
            turnover: Rate::UNLIMITED,
            connect_bytes_max: 8 * 1024,
            login_failures_per_address_max: 100,
            login_failures_per_name_max: 10,
            login_lockout: Duration::from_secs(60),
            publishes: Rate::UNLIMITED,
            publish_bytes: Rate::UNLIMITED,
            outbox_bytes_max: 256 * 1024,
            topic_bytes_max: 512,
            topic_levels_max: 16,
            subscriptions_max: 50,
            router_topics_max: 10_000,
            router_filters_max: 1_000,
            router_links_max: 5_000,
            delayed_wills_max: 4_000,
            retained_bytes_max: 16 * 1024 * 1024,
            retained_messages_max: 100_000,
            session_expiry_s_max: 7 * 24 * 3600,
            sessions_max: 10_000,
            session_messages_max: 1_000,
            session_bytes_max: 1024 * 1024,
            sessions_bytes_max: 64 * 1024 * 1024,
        }
    }
}

impl Config {
    /// Is this one of the service's own topics? With `devices/` so is `devices` itself, which `devices/#` matches
    /// as well (MQTT 5, 4.7.1.2).
    pub(crate) fn is_own(&self, topic: impl AsRef<[u8]>) -> bool {
        let topic = topic.as_ref();
        self.own_topics.iter().any(|prefix| {
            topic.starts_with(prefix.as_bytes())
                || prefix.strip_suffix('/').is_some_and(|name| topic == name.as_bytes())
        })
    }
}
