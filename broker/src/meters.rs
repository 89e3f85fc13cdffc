//! Counters by outcome, looked up once: a lookup for each publish would cost more than the publish.

use std::sync::atomic::{AtomicU64, Ordering};

use metrics::Counter;

use crate::QoS;

/// What the broker counts. Made after the recorder is installed.
pub(crate) struct Meters {
    /// Panics in the task of a connection.
    panics: Counter,
    /// The same, to be read.
    panicked: AtomicU64,
    delivered: [Counter; 3],
    routed: [Counter; 3],
    refused: [Counter; 3],
}

/// What became of a publish at the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was handed to whoever makes it durable.
    Delivered,
    /// It was handed to the router.
    Routed,
    /// It was refused.
    Refused,
}

impl Meters {
    pub(crate) fn new() -> Self {
        let publishes = |outcome: &'static str| {
            ["0", "1", "2"].map(
                |qos| metrics::counter!("statecast_mqtt_publishes_total", "qos" => qos, "outcome" => outcome),
            )
        };
        Self {
            panics: metrics::counter!("statecast_mqtt_panics_total"),
            panicked: AtomicU64::new(0),
            delivered: publishes("delivered"),
            routed: publishes("routed"),
            refused: publishes("refused"),
        }
    }

    /// Counts a panic in the task of a connection.
    pub(crate) fn panicked(&self) {
        self.panics.increment(1);
        self.panicked.fetch_add(1, Ordering::Relaxed);
    }

    /// How many panics were counted.
    pub(crate) fn panics(&self) -> u64 {
        self.panicked.load(Ordering::Relaxed)
    }

    /// Counts a publish.
    pub(crate) fn publish(&self, qos: QoS, outcome: Outcome) {
        let counters = match outcome {
            Outcome::Delivered => &self.delivered,
            Outcome::Routed => &self.routed,
            Outcome::Refused => &self.refused,
        };
        counters[qos as usize].increment(1);
    }
}

/// Counts a connection that was refused or ended by us, by a reason of a small, fixed set.
pub(crate) fn refused(reason: &'static str) {
    metrics::counter!("statecast_mqtt_refused_total", "reason" => reason).increment(1);
}
