//! One connection of one device, from CONNECT to its end.
//!
//! A connection is a fresh rumqttc client, thrown away at the first error: what a used one still has queued
//! (acknowledgements of the old connection, publishes to be sent again in another order) can't leak into the
//! next. Its `poll` isn't dropped half-way while the connection is to live on, because a packet that it has
//! taken could then be lost: the device's own doings wake beside it, and reach it through its channel.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::{AsyncClient, ConnectionError, Event, EventLoop, LastWill, MqttOptions, Outgoing, Packet, QoS};
use tokio::time::sleep_until;

use super::life::{About, Life, UNACKED_MAX, Whim};
use super::statistics::Count;
use crate::device::{Document, Kind, will_message};

/// How often an idle device shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Longest that connecting, or a write, may take, in seconds.
const NETWORK_TIMEOUT_S: u64 = 10;
/// Largest packet, in bytes: the limit of the service.
const PACKET_BYTES_MAX: usize = 256 * 1024;
/// Room in the client's channel: all that may be unacknowledged, a subscription, a disconnect.
const CHANNEL: usize = UNACKED_MAX + 8;
/// Packet ids that the client goes round in: twice what may be unacknowledged, so that none meets itself.
const PACKET_IDS: u16 = 2 * UNACKED_MAX as u16;

/// How a connection ended.
pub(super) enum End {
    /// Nothing is left to do.
    Done,
    /// The device dropped it or left, and wants another at once.
    Left,
    /// It failed. Progress: a message was acknowledged on it.
    Lost { progress: bool },
}

enum Step {
    Event(Result<Event, ConnectionError>),
    End(End),
}

/// Connects, sends all that isn't acknowledged in order, then lives until the connection ends.
pub(super) async fn serve(life: &mut Life) -> End {
    let world = Arc::clone(&life.world);
    let (client, mut events) = open(life);
    let mut connected = None;
    let mut leaving: Option<End> = None;
    let mut progress = false;
    let end = loop {
        let step = {
            let mut poll = pin!(events.poll());
            loop {
                let stopping = life.is_stopping();
                if stopping && leaving.is_none() && life.unacked.len() == 0 {
                    if connected.is_none() || client.try_disconnect().is_err() {
                        break Step::End(End::Done);
                    }
                    leaving = Some(End::Done);
                }
                tokio::select! {
                    biased;
                    () = world.abandon.cancelled() => break Step::End(End::Done),
                    event = &mut poll => break Step::Event(event),
                    () = world.stop.cancelled(), if !stopping => continue,
                    () = sleep_until(life.next_wake()), if !stopping && leaving.is_none() => {}
                }
                let whim = life.act().await;
                if connected.is_none() {
                    continue;
                }
                match whim {
                    Whim::Break => break Step::End(End::Left),
                    Whim::Leave if client.try_disconnect().is_ok() => leaving = Some(End::Left),
                    Whim::Leave | Whim::Stay => hand_over(life, &client),
                }
            }
        };
        match step {
            Step::End(end) => break end,
            Step::Event(Ok(Event::Incoming(Packet::ConnAck(_)))) => {
                connected = Some(world.statistics.connect());
                greet(life, &client);
                hand_over(life, &client);
            }
            Step::Event(Ok(Event::Outgoing(Outgoing::Disconnect))) => break leaving.unwrap_or(End::Left),
            Step::Event(Ok(event)) => progress |= note(life, event).await,
            Step::Event(Err(error)) => {
                if leaving.is_none() {
                    world.statistics.trouble(error.to_string());
                }
                break leaving.unwrap_or(End::Lost { progress });
            }
        }
    };
    // What the client had read and not told yet: acknowledgements count, whatever became of the connection.
    for event in std::mem::take(&mut events.state.events) {
        note(life, event).await;
    }
    end
}

/// A client for one connection; nothing is connected yet.
fn open(life: &Life) -> (AsyncClient, EventLoop) {
    let (id, world) = (&life.device.id, &life.world);
    let (host, port) = &world.broker;
    let mut options = MqttOptions::new(&**id, host, *port);
    options
        .set_clean_session(true)
        .set_keep_alive(KEEP_ALIVE)
        .set_inflight(PACKET_IDS)
        .set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
    if let Some(token) = world.tokens.get(&**id) {
        options.set_credentials(&**id, token);
    }
    if life.device.leaves_a_will() {
        let topic = format!("devices/{id}/state");
        options.set_last_will(LastWill::new(topic, will_message(), QoS::AtLeastOnce, false));
    }
    let (client, mut events) = AsyncClient::new(options, CHANNEL);
    events.network_options.set_tcp_nodelay(true);
    events.network_options.set_connection_timeout(NETWORK_TIMEOUT_S);
    (client, events)
}

/// What a device does first on a new connection. The channel is empty and has room for it.
fn greet(life: &mut Life, client: &AsyncClient) {
    if life.device.kind == Kind::Thermostat {
        let _ = client.try_subscribe(format!("devices/{}/desired", life.device.id), QoS::AtLeastOnce);
    }
    if std::mem::replace(&mut life.was_connected, true) {
        reconnected(life);
    }
}

/// A device that left a will tells that it is back.
fn reconnected(life: &mut Life) {
    life.world.statistics.count(Count::Reconnect);
    if life.device.leaves_a_will() && !life.is_stopping() {
        life.report(Document::from_iter([("link".into(), "up".into())]));
    }
}

/// Hands the client all that it wasn't handed on this connection, in order.
fn hand_over(life: &mut Life, client: &AsyncClient) {
    let qos = if life.world.arguments.qos == 2 { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
    let id = &life.device.id;
    while let Some(message) = life.unacked.hand() {
        let topic = match message.about {
            About::State { .. } => format!("devices/{id}/state"),
            About::Rejection => format!("devices/{id}/desired/rejected"),
        };
        client
            .try_publish(topic, qos, false, message.payload.clone())
            .expect("the channel has room for all that may be unacknowledged, and the topic is valid");
    }
}

/// Takes note of what the client says. True: a message was acknowledged.
async fn note(life: &mut Life, event: Event) -> bool {
    match event {
        Event::Outgoing(Outgoing::Publish(packet_id)) => life.written(packet_id).await,
        Event::Incoming(Packet::PubAck(ack)) => return life.acknowledged(ack.pkid).await,
        // At QoS 2 it is PUBREC that says that the message is committed.
        Event::Incoming(Packet::PubRec(received)) => return life.acknowledged(received.pkid).await,
        Event::Incoming(Packet::Publish(publish)) => life.told(&publish.payload),
        _ => {}
    }
    false
}
