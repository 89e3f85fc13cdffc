//! Plays an input to a broker, and says what it did wrong. Used by the fuzz target, and by the test that replays its
//! corpus.
//!
//! An input is the bytes of a connection, or a [`script`] of several. What must hold, whatever the bytes:
//! - nothing panics;
//! - what the broker writes are whole packets that a server may send, CONNACK first and once, nothing after DISCONNECT;
//! - a connection whose client sends no more comes to its end;
//! - after that nothing is held any more: no connection, no subscription, no byte in flight.

mod house;
mod script;
mod spoken;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use statecast_broker::{Broker, Config, Held, Publication, QoS};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use self::house::House;
use self::script::{CONNECTIONS, Step, steps};

/// How long a connection may take to come to its end once its client sends no more, and all counts to return to
/// zero. Far more than they need: a miss is a fault of the broker.
const PATIENCE: Duration = Duration::from_secs(20);
/// More than any input can fill: the player never waits for the broker to read.
const PIPE_BYTES: usize = 16 * 1024 * 1024;

/// A broker to play to.
pub struct Stage {
    broker: Broker,
    house: Arc<House>,
}

/// A connection of the player: where it writes, and what will have been read at the end.
struct Line {
    writer: WriteHalf<DuplexStream>,
    heard: JoinHandle<Vec<u8>>,
}

impl Stage {
    /// Starts a broker.
    ///
    /// # Panics
    /// When it doesn't start.
    pub async fn open() -> Self {
        let house = Arc::new(House::default());
        let (sender, deliveries) = mpsc::channel(8);
        let config = Config { own_topics: vec!["devices/".into(), "changes/".into()], ..Config::default() };
        let broker = Broker::start(config, house.clone(), house.clone(), sender).await;
        tokio::spawn(Arc::clone(&house).decide(deliveries));
        Self { broker: broker.expect("a broker on a free port"), house }
    }

    /// Stops the broker.
    pub async fn close(self) {
        self.broker.stop(PATIENCE).await;
    }

    /// Plays an input from its beginning to the end of all connections.
    ///
    /// # Errors
    /// What the broker did wrong.
    pub async fn play(&self, input: &[u8]) -> Result<(), String> {
        self.house.begin();
        let mut lines: [Option<Line>; CONNECTIONS] = Default::default();
        let mut heard = Vec::new();
        for step in steps(input) {
            match step {
                Step::Send { connection, bytes } => {
                    let line = lines[connection].get_or_insert_with(|| self.line());
                    // The broker may have ended the connection: then nobody reads.
                    line.writer.write_all(&bytes).await.ok();
                }
                Step::HangUp { connection } => {
                    if let Some(Line { mut writer, heard: listening }) = lines[connection].take() {
                        writer.shutdown().await.ok();
                        heard.push(listening);
                    }
                }
                Step::Decide(verdict) => self.house.decide_from_now_on(verdict),
                Step::Publish { topic, qos, retain } => self.publish(topic, qos, retain),
                Step::LetItWork => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
        for mut line in lines.into_iter().flatten() {
            line.writer.shutdown().await.ok();
            heard.push(line.heard);
        }
        self.house.relent();
        for listening in heard {
            let heard = tokio::time::timeout(PATIENCE, listening).await;
            let heard = heard.map_err(|_| "a connection doesn't come to its end")?;
            spoken::check(&heard.map_err(|error| error.to_string())?)?;
        }
        self.is_silent().await
    }

    /// A new connection of the player.
    fn line(&self) -> Line {
        let (ours, theirs) = duplex(PIPE_BYTES);
        self.broker.accept(theirs, SocketAddr::from(([127, 0, 0, 1], 1)), None);
        let (reader, writer) = split(ours);
        Line { writer, heard: tokio::spawn(listen(reader)) }
    }

    fn publish(&self, topic: &str, qos: QoS, retain: bool) {
        let payload = "from the service".into();
        let publication =
            Publication { topic: topic.into(), payload, qos, retain, latest_only: retain, mark: None };
        self.broker.publish(&self.house.realm(), &publication);
    }

    /// Waits until nothing is left of what was played.
    async fn is_silent(&self) -> Result<(), String> {
        let silent = async {
            loop {
                // Sessions outlast connections, but not their names.
                for name in self.house.names() {
                    self.broker.forget(&self.house.realm(), &name).await;
                }
                if self.broker.held() == Held::default() {
                    return;
                }
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, silent).await.is_err() {
            return Err(format!("what stays: {:?}", self.broker.held()));
        }
        match self.broker.panics() {
            0 => Ok(()),
            panics => Err(format!("{panics} panics")),
        }
    }
}

/// Reads to the end.
async fn listen(mut reader: ReadHalf<DuplexStream>) -> Vec<u8> {
    let mut heard = Vec::new();
    // An end without a goodbye is an end.
    reader.read_to_end(&mut heard).await.ok();
    heard
}
