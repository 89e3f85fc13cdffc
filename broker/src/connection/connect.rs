//! From the first byte of a client to its CONNACK: who it is, whether it may connect, and from which older
//! connection it takes over.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use mqtt_protocol_core::mqtt::packet::{
    AssignedClientIdentifier, MaximumPacketSize, Packet, Property, ReceiveMaximum, ServerKeepAlive,
    SessionExpiryInterval, SharedSubscriptionAvailable, SubscriptionIdentifierAvailable, TopicAliasMaximum,
    v3_1_1, v5_0,
};
use mqtt_protocol_core::mqtt::result_code::{ConnectReasonCode, ConnectReturnCode, MqttError};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::aliases::takes_no_aliases;
use super::codec::Codec;
use super::frame::{self, BadFrame, Frame, Kind};
use super::rejected::Rejected;
use super::seat::Seat;
use super::strict;
use super::wish::Wish;
use crate::access::Certificate;
use crate::broker::Hub;
use crate::ending::Ending;
use crate::limits::Limit;
use crate::peer::Peer;
use crate::session::directory::{Begun, TooMany};
use crate::wire::Wire;
use crate::{Client, Delivery, Denied, Event, Hello, Receipt, meters, topics};

/// Longest client id, in bytes.
const CLIENT_ID_BYTES_MAX: usize = 256;
/// When so many changes of sessions wait to be durable, nobody is let in who would add one.
const BACKLOG_MAX: usize = 100_000;

/// A client that was let in and has its CONNACK in the output.
pub(super) struct Welcome {
    pub(super) codec: Codec,
    pub(super) seat: Seat,
    pub(super) wish: Wish,
    /// What came behind the CONNECT.
    pub(super) input: Vec<u8>,
    /// It goes on with its session.
    pub(super) present: bool,
}

/// Hears a client out and lets it in, or tells it why not; who is `refused` from the start is only heard to know in
/// which version to say so.
pub(super) async fn greet(
    hub: &Arc<Hub>,
    stream: &mut Wire,
    address: SocketAddr,
    certificate: Option<Certificate>,
    refused: Option<Limit>,
) -> Option<Welcome> {
    let deadline = Instant::now() + hub.config.connect_timeout;
    let mut codec = Codec::new();
    let heard = hub.stopping.run_until_cancelled(hear(hub, stream, &mut codec, deadline)).await;
    let rejected = match heard.unwrap_or(Err(Rejected::Silently("stopping"))) {
        Ok((mut wish, input)) => {
            wish.limit_keep_alive(&hub.config.keep_alive_s);
            wish.limit_session(hub.config.session_expiry_s_max);
            match log_in(hub, &wish, hello(&wish, address, certificate), deadline, refused).await {
                Ok((seat, present)) => match codec.send(connack(hub, &wish, &seat, present)?) {
                    Ok(()) => return Some(Welcome { codec, seat, wish, input, present }),
                    Err(_) => Rejected::Silently("connack"),
                },
                Err(rejected) => rejected,
            }
        }
        Err(rejected) => rejected,
    };
    let reason = rejected.tell(&mut codec);
    meters::refused(reason);
    if refused.is_some() {
        // One line for each would make a flood of connections a flood of lines.
        tracing::debug!(%address, reason, "a client isn't let in");
    } else {
        tracing::info!(%address, reason, "a client isn't let in");
    }
    let told = !codec.output.is_empty();
    stream.say_goodbye(codec.output, told).await;
    None
}

/// Reads until the CONNECT is complete.
async fn hear(
    hub: &Hub,
    stream: &mut Wire,
    codec: &mut Codec,
    deadline: Instant,
) -> Result<(Wish, Vec<u8>), Rejected> {
    let bytes_max = hub.config.connect_bytes_max;
    let mut input = Vec::new();
    let (len, header) = loop {
        match timeout_at(deadline, stream.read(&mut input, bytes_max)).await {
            Err(_) => {
                Limit::ConnectTimeout.count();
                return Err(Rejected::Silently("connect timeout"));
            }
            Ok(Ok(0) | Err(_)) => return Err(Rejected::Silently("closed before connect")),
            Ok(Ok(_)) => {}
        }
        match frame::next(&input, bytes_max) {
            _ if input[0] >> 4 != Kind::CONNECT.number() => return Err(Rejected::Silently("not a connect")),
            Ok(Frame::Whole { len, header, .. }) => break (len, header),
            Ok(Frame::Part) => {}
            Err(BadFrame::TooLarge) => {
                Limit::ConnectBytes.count();
                if says_v5(&input) {
                    codec.output.extend_from_slice(&[0x20, 3, 0, ConnectReasonCode::PacketTooLarge as u8, 0]);
                }
                return Err(Rejected::Answered("connect too large"));
            }
            Err(BadFrame::Malformed) => return Err(Rejected::Silently("malformed connect")),
        }
    };
    let level = input[header..].strip_prefix(b"\0\x04MQTT").and_then(|rest| rest.first()).copied();
    let conforms = strict::connect_flags_are_valid(&input[..len], header)
        && (level != Some(5) || strict::lengths_are_short(Kind::CONNECT, &input[..len], header));
    if matches!(level, Some(4 | 5)) && !conforms {
        return Err(malformed(codec, level));
    }
    let no_aliases = takes_no_aliases(&mut input[..len], header);
    let received = codec.receive(&input[..len]);
    let rest = input.split_off(len);
    match received {
        Ok(Some(Packet::V3_1_1Connect(connect)))
            if strict::are_texts(connect.client_id(), [connect.user_name(), connect.will_topic()]) =>
        {
            Ok((Wish::from_v3(&connect), rest))
        }
        Ok(Some(Packet::V5_0Connect(connect)))
            if strict::are_texts(connect.client_id(), [connect.user_name(), connect.will_topic()]) =>
        {
            let wish = Wish::from_v5(&connect);
            Ok((if no_aliases { Wish { topic_aliases: 0, ..wish } } else { wish }, rest))
        }
        Err(MqttError::UnsupportedProtocolVersion) => {
            // The codec has no version to answer in. Before 3.1.1 there was only 3.1, which has its code; what
            // comes after 5 may understand that of 5.
            let answer: &[u8] = if level > Some(5) { &[0x20, 3, 0, 0x84, 0] } else { &[0x20, 2, 0, 1] };
            codec.output.extend_from_slice(answer);
            Err(Rejected::Answered("protocol version"))
        }
        // The codec has refused an empty client id with a session to be kept (3.1.1, 3.1.3.1).
        Err(_) if input.get(header + 10..header + 12) == Some(&[0, 0]) => {
            Err(Rejected::Answered("malformed connect"))
        }
        _ => Err(malformed(codec, level)),
    }
}

/// What doesn't conform is answered in version 5 only, by the codec if it knows what to say (MQTT 5, 3.1.4; 3.1.1, 3.1.4).
fn malformed(codec: &mut Codec, level: Option<u8>) -> Rejected {
    if level != Some(5) {
        codec.output.clear();
    } else if codec.output.is_empty() {
        codec.output.extend_from_slice(&[0x20, 3, 0, ConnectReasonCode::MalformedPacket as u8, 0]);
    }
    Rejected::Answered("malformed connect")
}

/// Does the beginning of a CONNECT say that it is of version 5?
fn says_v5(input: &[u8]) -> bool {
    let header = input.iter().skip(1).take(4).position(|byte| byte & 0x80 == 0).map(|at| at + 2);
    header.and_then(|header| input.get(header..)).is_some_and(|rest| rest.starts_with(b"\0\x04MQTT\x05"))
}

/// What is shown to whoever decides.
fn hello(wish: &Wish, address: SocketAddr, certificate: Option<Certificate>) -> Hello {
    Hello {
        peer: address,
        client_id: wish.client_id.clone(),
        user_name: wish.user_name.clone(),
        password: wish.password.clone(),
        certificate,
    }
}

/// Admits a client, unless it is over a limit from the start or has failed too often. A failure is answered no
/// sooner than the last ones demand.
async fn log_in(
    hub: &Arc<Hub>,
    wish: &Wish,
    hello: Hello,
    deadline: Instant,
    refused: Option<Limit>,
) -> Result<(Seat, bool), Rejected> {
    if let Some(limit) = refused {
        return Err(Rejected::Limited(limit));
    }
    let (begun, address) = (Instant::now(), hello.peer.ip());
    let name = wish.user_name.as_deref().unwrap_or(&wish.client_id);
    if let Err(limit) = hub.logins.check(address, name, begun) {
        limit.count();
        return Err(Rejected::Limited(limit));
    }
    let admitted = admit(hub, wish, hello, deadline).await;
    if let Err(Rejected::With(ConnectReasonCode::BadUserNameOrPassword)) = admitted {
        let answer_at = begun + hub.logins.failed(address, name, Instant::now());
        hub.stopping.run_until_cancelled(sleep_until(answer_at)).await;
    }
    admitted
}

/// Decides whether a client may connect, and gives it its seat.
async fn admit(
    hub: &Arc<Hub>,
    wish: &Wish,
    hello: Hello,
    deadline: Instant,
) -> Result<(Seat, bool), Rejected> {
    if hub.stopping.is_cancelled() {
        return Err(Rejected::With(ConnectReasonCode::ServerBusy));
    }
    let unidentified = wish.client_id.is_empty() && !wish.may_be_assigned_id;
    if unidentified || wish.client_id.len() > CLIENT_ID_BYTES_MAX {
        return Err(Rejected::With(ConnectReasonCode::ClientIdentifierNotValid));
    }
    if wish.authentication_method {
        return Err(Rejected::With(ConnectReasonCode::BadAuthenticationMethod));
    }
    let judged = hub.abandoned.run_until_cancelled(timeout_at(deadline, hub.access.connect(&hello))).await;
    let Some(Ok(judged)) = judged else { return Err(Denied::Unavailable.into()) };
    let admitted = judged?;
    if wish.session_expiry_s > 0 && hub.writer.backlog() > BACKLOG_MAX {
        // The database is away, and others wait already.
        return Err(Denied::Unavailable.into());
    }
    if let Some(will) = &wish.will {
        if strict::have_bad_property(will.properties.as_deref().unwrap_or_default()) {
            return Err(Rejected::With(ConnectReasonCode::ProtocolError));
        }
        match topics::check_topic(&will.topic, &hub.config) {
            Ok(()) if admitted.grants.may_publish(&will.topic) => {}
            Ok(()) | Err(topics::BadTopic::Reserved) => return Err(Denied::NotAuthorized.into()),
            Err(_) => return Err(Rejected::With(ConnectReasonCode::TopicNameInvalid)),
        }
    }
    let client = Arc::new(Client {
        realm: admitted.realm,
        name: admitted.name,
        client_id: if wish.client_id.is_empty() { assigned_id() } else { wish.client_id.as_str().into() },
        connection: hub.last_connection.fetch_add(1, Ordering::Relaxed) + 1,
        grants: admitted.grants,
    });
    take_seat(hub, client, wish, deadline).await
}

/// Enters the client, and waits until the connection is gone that it takes over from: the last delivery of that
/// one comes before the first of this one.
async fn take_seat(
    hub: &Arc<Hub>,
    client: Arc<Client>,
    wish: &Wish,
    deadline: Instant,
) -> Result<(Seat, bool), Rejected> {
    let peer = Peer::new(client, hub.config.outbox_bytes_max);
    let Some(predecessor) = hub.registry.enter(&peer, hub.config.connections_max) else {
        return Err(Rejected::over(Limit::Connections));
    };
    let mut seat = Seat::new(Arc::clone(hub), peer, predecessor);
    hub.access.entered(&seat.peer().client);
    let entered = async {
        seat.predecessor_gone().await;
        hub.wills.back(&seat.peer().client, wish.starts_anew);
        let begun = hub.begin_session(seat.peer(), wish.starts_anew, wish.session_expiry_s);
        let Begun { session, present, durable } = begun.map_err(|TooMany| Rejected::over(Limit::Sessions))?;
        seat.lasting = session;
        if let Some(durable) = durable {
            // A new one that the client doesn't hear of ends with this attempt.
            seat.set_session_expiry(if present { wish.session_expiry_s } else { 0 });
            durable.await.map_err(|_| Rejected::from(Denied::Unavailable))?;
            seat.set_session_expiry(wish.session_expiry_s);
        }
        let place = hub.deliveries.reserve().await.map_err(|_| Rejected::from(Denied::Unavailable))?;
        Ok((place, present))
    };
    let entered = hub.abandoned.run_until_cancelled(timeout_at(deadline, entered)).await;
    let entered = entered.and_then(Result::ok).unwrap_or_else(|| Err(Denied::Unavailable.into()));
    match entered {
        Ok((place, present)) => {
            place.send(Delivery {
                client: Arc::clone(&seat.peer().client),
                event: Event::Connected,
                received_at: SystemTime::now(),
                receipt: Receipt::unanswered(None),
            });
            Ok((seat, present))
        }
        Err(rejected) => {
            // Whoever waits for this seat in turn must not overtake the one that this seat waited for.
            seat.peer().end(Ending::Stopping);
            seat.vacate_later();
            Err(rejected)
        }
    }
}

fn assigned_id() -> Arc<str> {
    format!("auto-{:032x}", rand::random::<u128>()).into()
}

/// The CONNACK of a client that is let in.
fn connack(hub: &Hub, wish: &Wish, seat: &Seat, present: bool) -> Option<Packet> {
    if !wish.v5 {
        let connack =
            v3_1_1::Connack::builder().session_present(present).return_code(ConnectReturnCode::Accepted);
        return connack.build().ok().map(Into::into);
    }
    let packet_bytes_max = u32::try_from(hub.config.packet_bytes_max).unwrap_or(u32::MAX);
    let mut properties: Vec<Property> = vec![
        ReceiveMaximum::new(hub.config.unacknowledged_max.max(1)).ok()?.into(),
        MaximumPacketSize::new(packet_bytes_max).ok()?.into(),
        SubscriptionIdentifierAvailable::new(1).ok()?.into(),
        SharedSubscriptionAvailable::new(1).ok()?.into(),
    ];
    if hub.config.topic_aliases_max > 0 {
        properties.push(TopicAliasMaximum::new(hub.config.topic_aliases_max).ok()?.into());
    }
    if wish.keep_alive_is_ours {
        properties.push(ServerKeepAlive::new(wish.keep_alive_s).ok()?.into());
    }
    if wish.session_expiry_is_ours {
        properties.push(SessionExpiryInterval::new(wish.session_expiry_s).ok()?.into());
    }
    if wish.client_id.is_empty() {
        properties.push(AssignedClientIdentifier::new(&*seat.peer().client.client_id).ok()?.into());
    }
    let connack = v5_0::Connack::builder().session_present(present).reason_code(ConnectReasonCode::Success);
    connack.props(properties).build().ok().map(Into::into)
}
