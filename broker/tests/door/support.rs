//! A broker under test, and a client that writes its packets by hand.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use statecast_broker::{
    Access, Admitted, Batch, Broker, Certificate, Client, Config, Delivery, Denied, Event, Grants, Held,
    Hello, Kept, NotWritten, Publication, QoS, Receipt, Sessions,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use crate::memory::Memory;

/// No step of a test takes longer.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for something that must happen.
pub async fn soon<T>(what: &str, happens: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, happens).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// Waits until a condition holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    soon(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// Where all brokers run: apart from the tests, so that one that ends can wait for its broker.
static BROKERS: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());

/// A broker and what comes out of it. When a test closes it, its clients are gone, and then nothing of them may be
/// left but the sessions that they asked for.
pub struct Door {
    pub broker: Broker,
    pub deliveries: mpsc::Receiver<Delivery>,
    pub house: Arc<House>,
}

/// Lets in everybody but who has the password `wrong`; a user name `realm:name` says the realm. Topics that
/// contain `forbidden` are nobody's.
#[derive(Default)]
pub struct House {
    /// What a new subscriber sees first.
    pub first: Mutex<Vec<Publication>>,
    /// The certificate of the last one.
    pub certificate: Mutex<Option<Certificate>>,
    /// Who was told to be found.
    pub entered: Mutex<Vec<String>>,
    /// Nobody may be sent anything any more.
    pub revoked: Arc<AtomicBool>,
    /// Filters with this in them are nobody's any more.
    pub closed: Arc<Mutex<Option<String>>>,
    /// What outlives connections, and brokers.
    pub memory: Arc<Memory>,
    /// What clients acknowledged that had a mark: client id, topic, mark.
    pub received: Mutex<Vec<(String, String, u64)>>,
    /// Answers to `subscribed` wait for this to be released.
    pub slow: tokio::sync::Mutex<()>,
}

struct Most(Arc<AtomicBool>, Arc<Mutex<Option<String>>>);

impl Grants for Most {
    fn may_publish(&self, topic: &str) -> bool {
        assert!(!topic.contains("panic"), "on purpose");
        !topic.contains("forbidden")
    }
    fn may_subscribe(&self, filter: &str) -> bool {
        !filter.contains("forbidden")
            && !self.1.lock().as_ref().is_some_and(|closed| filter.contains(&**closed))
    }
    fn may_receive(&self, topic: &str) -> bool {
        !topic.contains("secret") && !self.0.load(Ordering::Relaxed)
    }
}

impl Access for House {
    fn connect<'a>(&'a self, hello: &'a Hello) -> BoxFuture<'a, Result<Admitted, Denied>> {
        async move {
            *self.certificate.lock() = hello.certificate.clone();
            let (realm, name) = match hello.user_name.as_deref().unwrap_or("nobody").split_once(':') {
                Some((realm, name)) => (realm.to_owned(), name.to_owned()),
                None => ("r".to_owned(), hello.user_name.clone().unwrap_or_default()),
            };
            match hello.password.as_deref() {
                Some(b"wrong") => Err(Denied::Credentials),
                Some(b"banned") => Err(Denied::NotAuthorized),
                Some(b"later") => Err(Denied::Unavailable),
                Some(b"crowd") => Err(Denied::Busy),
                Some(b"panic") => panic!("on purpose"),
                _ => Ok(Admitted {
                    realm: realm.into(),
                    name: name.into(),
                    grants: Arc::new(Most(self.revoked.clone(), self.closed.clone())),
                }),
            }
        }
        .boxed()
    }

    fn entered(&self, client: &Client) {
        self.entered.lock().push(client.client_id.to_string());
    }
}

impl Sessions for House {
    fn subscribed<'a>(&'a self, _: &'a Client, filters: &'a [Arc<str>]) -> BoxFuture<'a, Vec<Publication>> {
        async move {
            drop(self.slow.lock().await);
            let first = self.first.lock().clone();
            first.into_iter().filter(|one| filters.contains(&one.topic)).collect()
        }
        .boxed()
    }

    fn received(&self, client: &Client, topic: &str, mark: u64) {
        self.received.lock().push((client.client_id.to_string(), topic.to_owned(), mark));
    }

    fn load(&self) -> BoxFuture<'_, Result<Kept, NotWritten>> {
        async { Ok(self.memory.kept()) }.boxed()
    }

    fn write<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<(), NotWritten>> {
        async { self.memory.write(batch) }.boxed()
    }
}

/// The configuration of most tests: `devices/` and `changes/` are own topics.
pub fn config() -> Config {
    Config { own_topics: vec!["devices/".into(), "changes/".into()], ..Config::default() }
}

impl Door {
    pub async fn open(config: Config) -> Self {
        Self::with_channel(config, 1000).await
    }

    pub async fn with_channel(config: Config, capacity: usize) -> Self {
        Self::on(config, capacity, House::default()).await
    }

    /// A broker on what another one has kept, as after a crash.
    pub async fn again(config: Config, memory: &Arc<Memory>) -> Self {
        Self::on(config, 1000, House { memory: memory.clone(), ..House::default() }).await
    }

    async fn on(config: Config, capacity: usize, house: House) -> Self {
        let (sender, deliveries) = mpsc::channel(capacity);
        let house = Arc::new(house);
        let started = BROKERS.spawn(Broker::start(config, house.clone(), house.clone(), sender));
        let broker = started.await.unwrap().unwrap();
        Self { broker, deliveries, house }
    }

    pub async fn next(&mut self) -> Delivery {
        soon("a delivery", self.deliveries.recv()).await.expect("the broker runs")
    }

    /// The next publish; passes over who came and went.
    pub async fn publish(&mut self) -> (String, Bytes, Receipt) {
        loop {
            let delivery = self.next().await;
            if let Event::Publish { topic, payload, .. } = delivery.event {
                return (topic.to_string(), payload, delivery.receipt);
            }
        }
    }

    /// The next arrival or departure, as text; passes over publishes, and accepts them.
    pub async fn presence(&mut self) -> String {
        loop {
            let Delivery { client, event, receipt, .. } = self.next().await;
            receipt.accept();
            match event {
                Event::Connected => return format!("{} connected", client.name),
                Event::Disconnected { reason } => return format!("{} {reason}", client.name),
                Event::Publish { .. } => {}
            }
        }
    }

    /// Accepts everything from now on.
    pub fn accept_all(&mut self) {
        let (_, none) = mpsc::channel(1);
        let mut deliveries = std::mem::replace(&mut self.deliveries, none);
        BROKERS.spawn(async move {
            while let Some(delivery) = deliveries.recv().await {
                delivery.receipt.accept();
            }
        });
    }

    /// Hands a stream to the broker that somebody else accepted from this address.
    pub fn adopt(&self, stream: impl Duplex + 'static, address: &str) {
        let _brokers = BROKERS.enter();
        self.broker.accept(stream, address.parse().unwrap(), None);
    }

    /// A client from this address, with nothing said yet.
    pub fn from(&self, address: &str) -> Raw {
        let (ours, theirs) = tokio::io::duplex(4096);
        self.adopt(theirs, address);
        Raw::over(ours)
    }

    fn wait_until_nothing_is_left(&mut self) {
        let begun = Instant::now();
        loop {
            while self.deliveries.try_recv().is_ok() {}
            let held = self.broker.held();
            let Held { sessions, subscriptions, queued_bytes, .. } = held;
            let kept = Held { sessions, subscriptions, queued_bytes, ..Held::default() };
            if held == if sessions > 0 { kept } else { Held::default() } {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "the clients are gone, and left {held:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// A client of this broker, connected as 3.1.1 with this user name and client id.
    pub async fn client(&self, name: &str) -> Raw {
        let mut raw = Raw::new(&self.broker).await;
        raw.connect(Connect { name, id: name, ..Connect::default() }).await;
        raw
    }

    /// The same with version 5.
    pub async fn client5(&self, name: &str) -> Raw {
        let mut raw = Raw::new(&self.broker).await;
        raw.connect(Connect { name, id: name, v5: true, ..Connect::default() }).await;
        raw
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.deliveries.close();
        if !self.house.memory.has_crashed() {
            self.wait_until_nothing_is_left();
        }
        let broker = self.broker.clone();
        BROKERS.spawn(async move { broker.stop(Duration::from_secs(1)).await });
    }
}

/// What a CONNECT says.
pub struct Connect<'a> {
    pub v5: bool,
    pub id: &'a str,
    pub name: &'a str,
    pub password: &'a str,
    pub keep_alive_s: u16,
    pub clean: bool,
    /// Topic, payload and quality.
    pub will: Option<(&'a str, &'a str, u8)>,
    pub will_retain: bool,
    /// v5 properties of the will, encoded.
    pub will_properties: &'a [u8],
    /// v5 properties, encoded.
    pub properties: &'a [u8],
}

impl Default for Connect<'_> {
    fn default() -> Self {
        Self {
            v5: false,
            id: "c",
            name: "n",
            password: "p",
            keep_alive_s: 60,
            clean: true,
            will: None,
            will_retain: false,
            will_properties: &[],
            properties: &[],
        }
    }
}

/// One packet as it came: its first byte and what follows the length.
#[derive(Debug, PartialEq, Eq)]
pub struct Packet {
    pub first: u8,
    pub body: Vec<u8>,
}

impl Packet {
    pub fn kind(&self) -> u8 {
        self.first >> 4
    }
    pub fn id(&self) -> u16 {
        u16::from_be_bytes([self.body[0], self.body[1]])
    }
    /// Topic, packet id and the rest (with the properties in v5) of a PUBLISH.
    pub fn published(&self) -> (String, u16, Vec<u8>) {
        assert_eq!(self.kind(), 3, "a PUBLISH, not {self:?}");
        let len = usize::from(self.id());
        let topic = String::from_utf8(self.body[2..2 + len].to_vec()).unwrap();
        let rest = &self.body[2 + len..];
        if self.first & 6 == 0 {
            return (topic, 0, rest.to_vec());
        }
        (topic, u16::from_be_bytes([rest[0], rest[1]]), rest[2..].to_vec())
    }
}

/// Bytes both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl Packet {
    /// Topic, properties and payload of a v5 PUBLISH; the properties are short.
    pub fn published5(&self) -> (String, Vec<u8>, String) {
        let (topic, _, rest) = self.published();
        let (properties, payload) = rest[1..].split_at(usize::from(rest[0]));
        (topic, properties.to_vec(), String::from_utf8(payload.to_vec()).unwrap())
    }
}

/// A client that writes its packets by hand.
pub struct Raw {
    pub stream: Box<dyn Duplex>,
    pub v5: bool,
    buffer: VecDeque<u8>,
}

pub const PUBACK: u8 = 4;
pub const PUBREC: u8 = 5;
pub const PUBREL: u8 = 6;
pub const PUBCOMP: u8 = 7;
pub const SUBACK: u8 = 9;
pub const UNSUBACK: u8 = 11;
pub const DISCONNECT: u8 = 14;

pub fn text(text: &str) -> Vec<u8> {
    let mut bytes = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut rest = body.len();
    loop {
        let more = rest > 127;
        bytes.push(u8::try_from(rest & 127).unwrap() | if more { 128 } else { 0 });
        rest >>= 7;
        if !more {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

pub fn connect_packet(connect: &Connect<'_>) -> Vec<u8> {
    let mut body = text("MQTT");
    body.push(if connect.v5 { 5 } else { 4 });
    let mut flags = 0xC0;
    if connect.clean {
        flags |= 2;
    }
    if let Some((_, _, qos)) = connect.will {
        flags |= 4 | qos << 3 | if connect.will_retain { 0x20 } else { 0 };
    }
    body.push(flags);
    body.extend(connect.keep_alive_s.to_be_bytes());
    if connect.v5 {
        body.push(u8::try_from(connect.properties.len()).unwrap());
        body.extend(connect.properties);
    }
    body.extend(text(connect.id));
    if let Some((topic, payload, _)) = connect.will {
        if connect.v5 {
            body.push(u8::try_from(connect.will_properties.len()).unwrap());
            body.extend(connect.will_properties);
        }
        body.extend(text(topic));
        body.extend(text(payload));
    }
    body.extend(text(connect.name));
    body.extend(text(connect.password));
    packet(0x10, &body)
}

impl Raw {
    pub async fn new(broker: &Broker) -> Self {
        let stream = TcpStream::connect(broker.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream)
    }

    /// Over any stream.
    pub fn over(stream: impl Duplex + 'static) -> Self {
        Self { stream: Box::new(stream), v5: false, buffer: VecDeque::new() }
    }

    /// Connects, and must be let in.
    pub async fn connect(&mut self, connect: Connect<'_>) -> Packet {
        let connack = self.try_connect(connect).await;
        assert_eq!((connack.first, connack.body[1]), (0x20, 0), "let in");
        connack
    }

    /// Sends CONNECT, and returns the CONNACK.
    pub async fn try_connect(&mut self, connect: Connect<'_>) -> Packet {
        self.v5 = connect.v5;
        self.send(&connect_packet(&connect)).await;
        self.packet().await
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        soon("writing", self.stream.write_all(bytes)).await.unwrap();
    }

    pub fn publish_packet(&self, topic: &str, payload: &[u8], flags: u8, id: u16) -> Vec<u8> {
        let mut body = text(topic);
        if flags & 6 != 0 {
            body.extend(id.to_be_bytes());
        }
        if self.v5 {
            body.push(0);
        }
        body.extend(payload);
        packet(0x30 | flags, &body)
    }

    pub async fn publish(&mut self, topic: &str, payload: &str, qos: u8, id: u16) {
        let bytes = self.publish_packet(topic, payload.as_bytes(), qos << 1, id);
        self.send(&bytes).await;
    }

    /// Publishes with v5 properties, encoded.
    pub async fn publish_with(&mut self, topic: &str, payload: &str, properties: &[u8], flags: u8, id: u16) {
        let mut body = text(topic);
        if flags & 6 != 0 {
            body.extend(id.to_be_bytes());
        }
        body.push(u8::try_from(properties.len()).unwrap());
        body.extend(properties);
        body.extend(payload.as_bytes());
        self.send(&packet(0x30 | flags, &body)).await;
    }

    /// Subscribes with these options, and returns the codes.
    pub async fn subscribe(&mut self, filters: &[(&str, u8)]) -> Vec<u8> {
        self.subscribe_with(&[], filters).await
    }

    /// Subscribes with v5 properties, encoded.
    pub async fn subscribe_with(&mut self, properties: &[u8], filters: &[(&str, u8)]) -> Vec<u8> {
        let mut body = vec![0, 77];
        if self.v5 {
            body.push(u8::try_from(properties.len()).unwrap());
            body.extend(properties);
        }
        for (filter, options) in filters {
            body.extend(text(filter));
            body.push(*options);
        }
        self.send(&packet(0x82, &body)).await;
        let suback = self.packet().await;
        assert_eq!((suback.kind(), suback.id()), (SUBACK, 77));
        // Behind the properties, a reason string perhaps, which are short.
        suback.body[if self.v5 { 3 + usize::from(suback.body[2]) } else { 2 }..].to_vec()
    }

    pub async fn unsubscribe(&mut self, filter: &str) -> Packet {
        let mut body = vec![0, 78];
        if self.v5 {
            body.push(0);
        }
        body.extend(text(filter));
        self.send(&packet(0xA2, &body)).await;
        self.packet().await
    }

    /// The next packet; none at the end of the stream.
    pub async fn try_packet(&mut self) -> Option<Packet> {
        loop {
            if let Some(packet) = self.take_packet() {
                return Some(packet);
            }
            let mut chunk = [0; 4096];
            match soon("a packet", self.stream.read(&mut chunk)).await {
                Ok(0) | Err(_) => return None,
                Ok(len) => self.buffer.extend(&chunk[..len]),
            }
        }
    }

    fn take_packet(&mut self) -> Option<Packet> {
        let bytes = self.buffer.make_contiguous();
        let (mut len, mut at) = (0, 1);
        loop {
            let byte = *bytes.get(at)?;
            len |= usize::from(byte & 127) << (7 * (at - 1));
            at += 1;
            if byte < 128 {
                break;
            }
        }
        let body = bytes.get(at..at + len)?.to_vec();
        let first = bytes[0];
        self.buffer.drain(..at + len);
        Some(Packet { first, body })
    }

    pub async fn packet(&mut self) -> Packet {
        self.try_packet().await.expect("the connection is open")
    }

    /// The payload of the next PUBLISH of version 5.
    pub async fn payload5(&mut self) -> String {
        self.packet().await.published5().2
    }

    /// Expects an acknowledgement of this kind, and returns its packet id.
    pub async fn ack(&mut self, kind: u8) -> u16 {
        let packet = self.packet().await;
        assert_eq!(packet.kind(), kind, "{packet:?}");
        packet.id()
    }

    /// Sends PINGREQ and expects its answer next: nothing else was on its way.
    pub async fn nothing_came(&mut self) {
        self.send(&[0xC0, 0]).await;
        let next = self.packet().await;
        assert_eq!(next, Packet { first: 0xD0, body: vec![] }, "nothing but the answer to the ping");
    }

    /// Expects the end of the stream, after a v5 DISCONNECT with this code if there is one.
    pub async fn ended(&mut self, code: Option<u8>) {
        if let Some(code) = code {
            let packet = self.packet().await;
            assert_eq!((packet.kind(), packet.body.first().copied()), (DISCONNECT, Some(code)), "{packet:?}");
        }
        assert_eq!(self.try_packet().await, None, "the connection is closed");
    }

    pub async fn goodbye(&mut self) {
        self.send(&[0xE0, 0]).await;
    }
}

/// A publication of the service.
pub fn publication(topic: &str, payload: &str, qos: QoS) -> Publication {
    Publication {
        topic: topic.into(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        qos,
        retain: false,
        latest_only: false,
        mark: None,
    }
}
