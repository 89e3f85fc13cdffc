//! From the feed to MQTT: what a device should be, whether it is online, and every change for who may see it.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use statecast_broker::{Broker, Publication, QoS};
use statecast_flow::{Feed, Read};
use statecast_state::{Change, Kind, Twin, patch};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Changes read from the feed at a time.
const READ_MAX: usize = 512;

/// Follows the feed: publishes over MQTT, and wakes the push dispatcher when a change brought pushes.
pub async fn follow(feed: Feed, broker: Broker, pushes: Arc<Notify>, stop: CancellationToken) {
    let mut after = feed.watermark();
    while stop.run_until_cancelled(feed.wait_after(after)).await.is_some() {
        match feed.read(after, READ_MAX) {
            Read::Changes(changes, upto) => {
                for change in &changes {
                    tell(&broker, change);
                }
                if changes.iter().any(|change| !change.pushes.is_empty()) {
                    pushes.notify_one();
                }
                after = upto;
            }
            Read::Behind(from) => {
                // MQTT promises the newest state here, not every one; pushes are rows, so none is forgotten.
                debug!(%after, %from, "the MQTT feed skips changes that are no longer in memory");
                pushes.notify_one();
                after = from;
            }
        }
    }
}

fn tell(broker: &Broker, change: &Change) {
    let realm = change.key.tenant.as_str();
    let device = &change.key.device;
    if let Some(twin) = change.after.as_deref() {
        if change.kind == Kind::Desired && broker.has_subscriber(realm, &format!("devices/{device}/desired"))
        {
            broker.publish(realm, &desired(twin));
        }
        if change.kind == Kind::Presence
            && broker.has_subscriber(realm, &format!("devices/{device}/presence"))
        {
            broker.publish(realm, &presence(twin, false));
        }
    }
    if broker.has_subscriber(realm, &format!("changes/{device}")) {
        broker.publish(realm, &changed(change));
    }
}

/// What a device should be, as far as it isn't.
pub fn desired(twin: &Twin) -> Publication {
    let delta = patch::delta(&twin.desired, &twin.reported);
    Publication {
        topic: format!("devices/{}/desired", twin.device).into(),
        payload: json(&json!({ "version": twin.version, "desired": delta })),
        qos: QoS::AtLeastOnce,
        retain: false,
        latest_only: true,
        // Whoever asked for something wants to know that the device has it.
        mark: (!delta.is_empty()).then_some(twin.version),
    }
}

/// Whether a device is online.
pub fn presence(twin: &Twin, retain: bool) -> Publication {
    Publication {
        topic: format!("devices/{}/presence", twin.device).into(),
        payload: json(&json!(twin.presence)),
        qos: QoS::AtLeastOnce,
        retain,
        latest_only: true,
        mark: None,
    }
}

fn changed(change: &Change) -> Publication {
    let told = json!({
        "device": change.key.device, "position": change.position, "version": change.version(),
        "kind": change.kind, "received_at": change.received_at, "device_time": change.device_time,
        "patch": change.patch, "stale": change.stale,
    });
    Publication {
        topic: format!("changes/{}", change.key.device).into(),
        payload: json(&told),
        qos: QoS::AtLeastOnce,
        retain: false,
        latest_only: false,
        mark: None,
    }
}

fn json(value: &serde_json::Value) -> Bytes {
    value.to_string().into()
}
