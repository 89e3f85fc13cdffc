//! A device on rumqttc, in both versions: the same that the programs in `clients` do on other libraries.

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Value, json};
use statecast_tests::Service;
use tokio::time::timeout;

use crate::clients::{knows, wanted};

/// How long a device may take from one packet to the next.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the device publishes once it knows what it should be, and with which quality.
fn reports(desired: &Value) -> Vec<(u8, Vec<u8>)> {
    let mut reports = Vec::new();
    for qos in 0..3 {
        let mut state = desired.clone();
        state[format!("qos{qos}")] = json!(true);
        reports.push((qos, state.to_string().into_bytes()));
    }
    reports.push((1, b"not JSON".to_vec()));
    reports
}

/// Plays a device with the client and the packets of one version; the reason of a PUBACK is read by `$reason`.
macro_rules! plays {
    ($service:expr, $device:expr, $options:ty, $client:ty, $event:path, $packet:ident, $qos:ident, $reason:expr) => {{
        let mut options = <$options>::new($device, "127.0.0.1", $service.mqtt_port());
        options.set_credentials($device, "any");
        let (client, mut events) = <$client>::new(options, 10);
        client.subscribe(format!("devices/{}/desired", $device), $qos::AtLeastOnce).await?;
        let (mut said, mut acknowledged) = (json!({}), 0);
        while acknowledged < 3 {
            let Ok(event) = timeout(PATIENCE, events.poll()).await else { bail!("nothing came: {said}") };
            match event? {
                $event($packet::ConnAck(_)) => said["connected"] = json!(true),
                $event($packet::Publish(publish)) if said["desired"].is_null() => {
                    said["desired"] = serde_json::from_slice::<Value>(&publish.payload)?["desired"].take();
                    for (qos, payload) in reports(&said["desired"]) {
                        let qos = [$qos::AtMostOnce, $qos::AtLeastOnce, $qos::ExactlyOnce][usize::from(qos)];
                        client.publish(format!("devices/{}/state", $device), qos, false, payload).await?;
                    }
                }
                $event($packet::PubAck(ack)) => {
                    acknowledged += 1;
                    said["refused"] = json!([$reason(ack)]);
                }
                $event($packet::PubComp(_)) => acknowledged += 1,
                _ => {}
            }
        }
        said
    }};
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions() -> Result<()> {
    let service = Service::start()?;
    for version in ["3.1.1", "5"] {
        let device = format!("rumqttc-{version}");
        wanted(&service, &device).await?;
        let said = if version == "5" {
            use rumqttc::v5::mqttbytes::QoS;
            use rumqttc::v5::mqttbytes::v5::{Packet, PubAck, PubAckReason};
            use rumqttc::v5::{AsyncClient, Event, MqttOptions};
            // The last of them is what isn't JSON.
            let reason =
                |ack: PubAck| if ack.reason == PubAckReason::PayloadFormatInvalid { 0x99 } else { 0 };
            plays!(service, &device, MqttOptions, AsyncClient, Event::Incoming, Packet, QoS, reason)
        } else {
            use rumqttc::{AsyncClient, Event, MqttOptions, Packet, PubAck, QoS};
            let reason = |_: PubAck| 0;
            plays!(service, &device, MqttOptions, AsyncClient, Event::Incoming, Packet, QoS, reason)
        };
        knows(&service, &device, version, &said).await?;
    }
    Ok(())
}
