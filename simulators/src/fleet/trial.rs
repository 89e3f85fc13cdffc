//! A fleet against a broker that breaks connections at random, before and after it "commits": the ledger must
//! agree with what the broker kept, and each connection must see its publishes in order, the same bytes again.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, SinkExt, StreamExt};
use parking_lot::Mutex;
use rand::Rng;
use rumqttc::mqttbytes::v4::Codec;
use rumqttc::{ConnAck, ConnectReturnCode, Packet, PubAck, PubRec, Publish, SubAck, SubscribeReasonCode};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::Framed;
use tokio_util::sync::CancellationToken;

use super::{Fleet, FleetArguments, Profile};
use crate::api::ServiceAddress;
use crate::device::Document;
use crate::ledger;
use crate::ledger::hash::of_patch;
use crate::random::{Purpose, sequence};
use crate::verify::{Row, Tally, compare};

/// Connections that are broken before the broker becomes reliable.
const BREAKS: usize = 150;

/// What the broker kept, and what it saw go wrong.
#[derive(Default)]
struct Kept {
    rows: BTreeMap<String, Vec<Document>>,
    payloads: HashMap<(String, String), Vec<u8>>,
    repeats: usize,
    altered: usize,
    disordered: usize,
    breaks: usize,
    connections: usize,
}

impl Kept {
    /// Commits a publish, once for each `_id`. `last` is the highest seq that its connection saw.
    fn commit(&mut self, publish: &Publish, last: &mut u64) {
        let device = publish.topic.split('/').nth(1).unwrap().to_owned();
        let document: Document = serde_json::from_slice(&publish.payload).unwrap();
        let seq = document["seq"].as_u64().unwrap();
        self.disordered += usize::from(seq <= *last);
        *last = seq;
        let key = (device.clone(), document["_id"].as_str().unwrap().to_owned());
        if let Some(first) = self.payloads.get(&key) {
            self.repeats += 1;
            self.altered += usize::from(*first != publish.payload);
        } else {
            self.payloads.insert(key, publish.payload.to_vec());
            self.rows.entry(device).or_default().push(document);
        }
    }
}

async fn serve(socket: TcpStream, kept: Arc<Mutex<Kept>>) {
    let codec = Codec { max_incoming_size: 1 << 18, max_outgoing_size: 1 << 18 };
    let mut client = Framed::new(socket, codec);
    let number = {
        let mut kept = kept.lock();
        kept.connections += 1;
        kept.connections
    };
    let mut chance = sequence(99, number, Purpose::Timing);
    let mut last = 0;
    loop {
        // A slow broker: so there is more than one publish to be lost when it breaks the connection.
        tokio::time::sleep(Duration::from_millis(chance.random_range(0..10))).await;
        let Some(Ok(first)) = client.next().await else { return };
        let mut packets = vec![first];
        while let Some(Some(Ok(packet))) = client.next().now_or_never() {
            packets.push(packet);
        }
        for packet in packets {
            let breaks = kept.lock().breaks < BREAKS;
            if breaks && chance.random_bool(0.1) {
                kept.lock().breaks += 1;
                return;
            }
            let answer = match packet {
                Packet::Connect(_) => Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, false)),
                Packet::Subscribe(subscribe) => {
                    let granted = SubscribeReasonCode::Success(rumqttc::QoS::AtLeastOnce);
                    Packet::SubAck(SubAck::new(subscribe.pkid, vec![granted]))
                }
                Packet::Publish(publish) => {
                    kept.lock().commit(&publish, &mut last);
                    if breaks && chance.random_bool(0.1) {
                        kept.lock().breaks += 1;
                        return;
                    }
                    match publish.qos {
                        rumqttc::QoS::ExactlyOnce => Packet::PubRec(PubRec::new(publish.pkid)),
                        _ => Packet::PubAck(PubAck::new(publish.pkid)),
                    }
                }
                Packet::PubRel(release) => {
                    Packet::PubComp(rumqttc::mqttbytes::v4::PubComp::new(release.pkid))
                }
                Packet::Disconnect => return,
                _ => Packet::PingResp,
            };
            if client.send(answer).await.is_err() {
                return;
            }
        }
    }
}

async fn trial(qos: u8) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let kept = Arc::new(Mutex::new(Kept::default()));
    let accepting = {
        let kept = Arc::clone(&kept);
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(socket, Arc::clone(&kept)));
            }
        })
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger");
    let arguments = FleetArguments {
        devices: 20,
        period: Duration::from_secs(60),
        profile: Profile::Storm,
        duration: None,
        seed: Some(7),
        ledger: Some(path.clone()),
        mqtt: address.to_string(),
        // A reading in 10 ms, a storm in 20: far more than the broker's pace.
        speed: 6_000.0,
        qos,
        register: false,
        tokens: None,
        service: ServiceAddress { http: String::new(), key: None },
    };
    let stop = CancellationToken::new();
    let fleet =
        Fleet::start(arguments, HashMap::new(), stop.clone(), CancellationToken::new()).await.unwrap();
    let statistics = Arc::clone(&fleet.statistics);
    let enough = async {
        while kept.lock().breaks < BREAKS || statistics.acknowledged() < 500 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), enough).await.expect("the fleet makes progress");
    stop.cancel();
    assert_eq!(fleet.finish().await.unwrap(), 0, "all is acknowledged at the end");
    accepting.abort();

    let kept = kept.lock();
    assert_eq!((kept.altered, kept.disordered), (0, 0));
    let published = ledger::read(&path).unwrap();
    let tally = published.devices.iter().fold(Tally::default(), |sum, (device, publishes)| {
        let read = |row: &Document| Row {
            run: 0,
            seq: row.get("seq").and_then(Value::as_u64).unwrap(),
            hash: of_patch(row),
        };
        let rows: Vec<Row> = kept.rows.get(&**device).into_iter().flatten().map(read).collect();
        sum.plus(compare(device, publishes, &rows), 10)
    });
    assert!(tally.is_clean(), "{} {:?}", tally.line(), tally.faults);
    assert_eq!(tally.published, tally.committed);
    assert_eq!(tally.acknowledged, statistics.acknowledged());
    assert!(tally.redelivered > 0 && kept.repeats > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_repeated_or_reordered_on_a_bad_network_at_qos_1() {
    trial(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_repeated_or_reordered_on_a_bad_network_at_qos_2() {
    trial(2).await;
}
