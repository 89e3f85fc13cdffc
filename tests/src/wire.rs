//! A client that writes MQTT by hand: for exact answers, and for what no proper client would send.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::packet::{length, take_text, text};
use crate::wait::PATIENCE;

pub use crate::packet::packet;

/// Which MQTT is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1
    V3 = 4,
    /// MQTT 5
    V5 = 5,
}

/// Both versions.
pub const VERSIONS: [Version; 2] = [Version::V3, Version::V5];

/// One connection.
pub struct Wire {
    stream: TcpStream,
    version: Version,
    input: Vec<u8>,
    messages: VecDeque<Message>,
    last_id: u16,
}

/// A packet as it came.
#[derive(Debug)]
pub struct Packet {
    /// Its first byte: type and flags.
    pub first: u8,
    /// What follows its length.
    pub body: Vec<u8>,
}

/// What a subscriber is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it was published.
    pub topic: String,
    /// What was published.
    pub payload: Vec<u8>,
    /// It was retained.
    pub retain: bool,
}

/// How a publish was answered. In 3.1.1 code and reason are always 0 and empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The reason code.
    pub code: u8,
    /// The reason string.
    pub reason: String,
}

impl Wire {
    /// A TCP connection on which nothing was said yet.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn open(address: &str, version: Version) -> Result<Self> {
        let stream = TcpStream::connect(address).await.context("connect")?;
        Ok(Self { stream, version, input: Vec::new(), messages: VecDeque::new(), last_id: 0 })
    }

    /// A connection that was let in.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn connect(
        address: &str,
        version: Version,
        id: &str,
        user: &str,
        password: &str,
    ) -> Result<Self> {
        let mut wire = Self::open(address, version).await?;
        let code = wire.hello(id, Some((user, password))).await?;
        ensure!(code == 0, "refused with {code:#x}");
        Ok(wire)
    }

    /// Says CONNECT, with a keep-alive of a minute. Gives the code of the CONNACK.
    ///
    /// # Errors
    /// When something else comes.
    pub async fn hello(&mut self, id: &str, login: Option<(&str, &str)>) -> Result<u8> {
        Ok(self.introduce(id, login, 0).await?[1])
    }

    /// A connection that goes on with its session, or begins one that is kept for an hour: with whether it was there.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn come_back(address: &str, version: Version, id: &str) -> Result<(Self, bool)> {
        let mut wire = Self::open(address, version).await?;
        let [present, code] = wire.introduce(id, Some((id, "")), 3600).await?;
        ensure!(code == 0, "refused with {code:#x}");
        Ok((wire, present == 1))
    }

    /// Says CONNECT, for a session that is kept for so many seconds. Gives the flags and the code of the CONNACK.
    async fn introduce(&mut self, id: &str, login: Option<(&str, &str)>, keep_s: u32) -> Result<[u8; 2]> {
        let mut body = text("MQTT");
        let flags = if login.is_some() { 0xC0 } else { 0 } | if keep_s == 0 { 0x02 } else { 0 };
        body.extend([self.version as u8, flags, 0, 60]);
        if self.version == Version::V5 {
            body.extend([5, 0x11]);
            body.extend(keep_s.to_be_bytes());
        }
        body.extend(text(id));
        if let Some((user, password)) = login {
            body.extend(text(user));
            body.extend(text(password));
        }
        self.send(&packet(0x10, &body)).await?;
        let connack = self.next().await?;
        ensure!(connack.first == 0x20, "not a CONNACK: {connack:?}");
        connack.body.first_chunk().copied().context("a CONNACK has flags and a code")
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.context("nobody reads")?.context("send")
    }

    /// The bytes of a PUBLISH, and its packet id.
    pub fn publication(&mut self, topic: &str, payload: &[u8], qos: u8) -> (Vec<u8>, u16) {
        self.last_id = self.last_id % u16::MAX + 1;
        let mut body = text(topic);
        if qos > 0 {
            body.extend(self.last_id.to_be_bytes());
        }
        self.no_properties(&mut body);
        body.extend(payload);
        (packet(0x30 | qos << 1, &body), self.last_id)
    }

    /// Publishes and waits for the answer; at quality 2 for both.
    ///
    /// # Errors
    /// When there is none.
    pub async fn publish(&mut self, topic: &str, payload: &[u8], qos: u8) -> Result<Answer> {
        let (bytes, id) = self.publication(topic, payload, qos);
        self.send(&bytes).await?;
        if qos == 0 {
            return Ok(Answer { code: 0, reason: String::new() });
        }
        let answer = self.answer(if qos == 1 { 0x40 } else { 0x50 }, id).await?;
        if qos == 2 && answer.code < 0x80 {
            self.send(&packet(0x62, &id.to_be_bytes())).await?;
            self.answer(0x70, id).await?;
        }
        Ok(answer)
    }

    /// The acknowledgement of this type for this packet id.
    ///
    /// # Errors
    /// When something else comes.
    pub async fn answer(&mut self, first: u8, id: u16) -> Result<Answer> {
        let packet = self.reply().await?;
        ensure!(
            packet.first == first && packet.body.starts_with(&id.to_be_bytes()),
            "not the answer: {packet:?}"
        );
        let code = packet.body.get(2).copied().unwrap_or(0);
        // Properties: their length, then a reason string (31), which is all that this service sends here.
        let reason = match packet.body.get(4..) {
            Some([31, _, _, reason @ ..]) => String::from_utf8(reason.to_vec())?,
            _ => String::new(),
        };
        Ok(Answer { code, reason })
    }

    /// Subscribes; gives the code, which is the quality or at least 0x80.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn subscribe(&mut self, filter: &str, qos: u8) -> Result<u8> {
        self.last_id = self.last_id % u16::MAX + 1;
        let mut body = self.last_id.to_be_bytes().to_vec();
        self.no_properties(&mut body);
        body.extend(text(filter));
        body.push(qos);
        self.send(&packet(0x82, &body)).await?;
        let suback = self.reply().await?;
        ensure!(suback.first == 0x90, "not a SUBACK: {suback:?}");
        suback.body.last().copied().context("a SUBACK has a code")
    }

    /// The next message of a subscription, acknowledged.
    ///
    /// # Errors
    /// When none comes.
    pub async fn message(&mut self) -> Result<Message> {
        if let Some(message) = self.messages.pop_front() {
            return Ok(message);
        }
        let packet = self.next().await?;
        ensure!(packet.first >> 4 == 3, "not a PUBLISH: {packet:?}");
        self.take_message(&packet).await
    }

    /// Shows that the connection lives: PINGREQ, PINGRESP. Messages that came before are kept.
    ///
    /// # Errors
    /// When it doesn't.
    pub async fn ping(&mut self) -> Result<()> {
        self.send(&[0xC0, 0]).await?;
        let packet = self.reply().await?;
        ensure!(packet.first == 0xD0, "not a PINGRESP: {packet:?}");
        Ok(())
    }

    /// Messages that came and were not asked for with [`Self::message`].
    pub fn kept(&self) -> usize {
        self.messages.len()
    }

    /// Says goodbye.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn disconnect(mut self) -> Result<()> {
        self.send(&[0xE0, 0]).await
    }

    /// Waits until the service closes the connection; gives the code of its DISCONNECT, if there is one.
    ///
    /// # Errors
    /// When it doesn't.
    pub async fn closed(&mut self) -> Result<Option<u8>> {
        let mut code = None;
        let reading = async {
            loop {
                match self.read_packet().await {
                    Ok(packet) if packet.first == 0xE0 => code = packet.body.first().copied(),
                    Ok(_) => {}
                    Err(_) => return,
                }
            }
        };
        timeout(PATIENCE, reading).await.context("the connection stays open")?;
        Ok(code)
    }

    /// The next packet.
    ///
    /// # Errors
    /// When none comes, or the connection is closed.
    pub async fn next(&mut self) -> Result<Packet> {
        timeout(PATIENCE, self.read_packet()).await.context("no packet came")?
    }

    /// The next packet that isn't a message.
    async fn reply(&mut self) -> Result<Packet> {
        loop {
            let packet = self.next().await?;
            if packet.first >> 4 != 3 {
                return Ok(packet);
            }
            let message = self.take_message(&packet).await?;
            self.messages.push_back(message);
        }
    }

    async fn take_message(&mut self, packet: &Packet) -> Result<Message> {
        let (qos, body) = (packet.first >> 1 & 3, &packet.body);
        let (topic, mut rest) = take_text(body)?;
        if qos > 0 {
            let (id, after) = rest.split_first_chunk::<2>().context("packet id")?;
            rest = after;
            let acknowledgement = if qos == 1 { 0x40 } else { 0x50 };
            let bytes = [acknowledgement, 2, id[0], id[1]];
            timeout(Duration::from_secs(10), self.stream.write_all(&bytes)).await??;
        }
        if self.version == Version::V5 {
            let (len, after) = rest.split_first().context("properties")?;
            rest = after.get(usize::from(*len)..).context("properties")?;
        }
        Ok(Message { topic, payload: rest.to_vec(), retain: packet.first & 1 == 1 })
    }

    async fn read_packet(&mut self) -> Result<Packet> {
        loop {
            if let Some((header, len)) = length(&self.input)
                && self.input.len() >= header + len
            {
                let packet: Vec<u8> = self.input.drain(..header + len).collect();
                return Ok(Packet { first: packet[0], body: packet[header..].to_vec() });
            }
            if self.stream.read_buf(&mut self.input).await.context("read")? == 0 {
                bail!("the service closed the connection");
            }
        }
    }

    fn no_properties(&self, body: &mut Vec<u8>) {
        if self.version == Version::V5 {
            body.push(0);
        }
    }
}
