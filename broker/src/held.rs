//! What clients hold at present, for gauges, and for tests: whatever a client did, nothing of it is left when it is
//! gone.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use metrics::gauge;

use crate::broker::Hub;

/// How often the gauges are set.
const PERIOD: Duration = Duration::from_secs(1);

/// What clients hold at present. All are 0 when no client is left, and what it published is resolved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Open sockets, whether or not their clients were let in.
    pub sockets: usize,
    /// Clients that were let in.
    pub connections: usize,
    /// Bytes of publishes that wait for their receipts.
    pub bytes_in_flight: usize,
    /// Bytes that were read and not yet accepted, beyond the first few KiB of each connection.
    pub partial_bytes: usize,
    /// Filters in force; one that reaches both the service's own topics and those of clients counts as two.
    pub subscriptions: usize,
    /// Ways from the router to subscribers.
    pub router_links: usize,
    /// Sessions that outlast their connections: until they end.
    pub sessions: usize,
    /// Bytes of the messages that wait in them.
    pub queued_bytes: usize,
}

impl Held {
    pub(crate) fn by_clients_of(hub: &Hub) -> Self {
        let (router_links, routed) = hub.router.open_feeds();
        Self {
            sockets: hub.arrivals.open(),
            connections: hub.registry.len(),
            bytes_in_flight: hub.bytes_in_flight(),
            partial_bytes: hub.partial_bytes.load(Ordering::Relaxed),
            subscriptions: hub.tree.len() + hub.routed.len() + routed,
            router_links,
            sessions: hub.directory.len(),
            queued_bytes: hub.directory.queued_bytes(),
        }
    }
}

/// Sets the gauges until the broker stops.
pub(crate) async fn show(hub: Arc<Hub>) {
    let gauges = [
        gauge!("statecast_mqtt_sockets"),
        gauge!("statecast_mqtt_connections"),
        gauge!("statecast_mqtt_bytes_in_flight"),
        gauge!("statecast_mqtt_partial_bytes"),
        gauge!("statecast_mqtt_subscriptions"),
        gauge!("statecast_mqtt_router_links"),
        gauge!("statecast_mqtt_sessions"),
        gauge!("statecast_mqtt_queued_bytes"),
        gauge!("statecast_mqtt_retained_messages"),
        gauge!("statecast_mqtt_retained_bytes"),
    ];
    let mut period = tokio::time::interval(PERIOD);
    while hub.stopping.run_until_cancelled(period.tick()).await.is_some() {
        let held = Held::by_clients_of(&hub);
        let (retained, retained_bytes) = hub.retained.size();
        let values = [
            held.sockets,
            held.connections,
            held.bytes_in_flight,
            held.partial_bytes,
            held.subscriptions,
            held.router_links,
            held.sessions,
            held.queued_bytes,
            retained,
            retained_bytes,
        ];
        for (gauge, value) in gauges.iter().zip(values) {
            #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
            gauge.set(value as f64);
        }
    }
}
