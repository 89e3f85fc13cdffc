//! Makes packets of arbitrary bytes: mostly valid ones, some cut or changed, on several connections.
//!
//! The first byte of an input chooses: 0, and all that follows are the bytes of one connection; anything else, and
//! what follows is a script. Each step of a script is a byte for what, and some for how; what is missing at the end
//! counts as 0.

use statecast_broker::QoS;

use super::house::Verdict;

/// Most connections of one script.
pub const CONNECTIONS: usize = 4;

/// What the player does next.
pub enum Step {
    /// Opens the connection if need be, and sends bytes.
    Send { connection: usize, bytes: Vec<u8> },
    /// Sends no more.
    HangUp { connection: usize },
    /// What becomes of the deliveries from now on.
    Decide(Verdict),
    /// The service publishes.
    Publish { topic: &'static str, qos: QoS, retain: bool },
    /// The broker gets the time to do what it has to.
    LetItWork,
}

const TOPICS: [&str; 16] = [
    "a",
    "devices/1/state",
    "changes/1",
    "a/b",
    "devices",
    "",
    "é/x",
    "$SYS/x",
    "a/+",
    "#",
    "forbidden",
    "secret",
    "a\0b",
    "/",
    "devices/1/desired",
    "changes/2",
];
const FILTERS: [&str; 16] = [
    "a",
    "devices/1/state",
    "#",
    "+/+",
    "a/#",
    "devices/+/state",
    "changes/#",
    "$share/g/a",
    "$share/g/changes/#",
    "$share/g/+/b",
    "$share//a",
    "$SYS/#",
    "a#",
    "",
    "forbidden/#",
    "devices/1/desired",
];
/// v5 properties as they may stand in a packet, the valid ones first; each is put into every kind of packet.
const PROPERTIES: [&[u8]; 24] = [
    &[],
    &[0x01, 1],
    &[0x02, 0, 0, 0, 1],
    &[0x03, 0, 1, b't'],
    &[0x08, 0, 1, b'r'],
    &[0x09, 0, 1, 0xFF],
    &[0x0B, 1],
    &[0x11, 0, 0, 0, 2],
    &[0x11, 0xFF, 0xFF, 0xFF, 0xFF],
    &[0x17, 0],
    &[0x18, 0, 0, 0, 1],
    &[0x1F, 0, 1, b'w'],
    &[0x21, 0, 1],
    &[0x22, 0, 2],
    &[0x22, 0, 0],
    &[0x23, 0, 1],
    &[0x23, 0, 0],
    &[0x26, 0, 1, b'k', 0, 1, b'v'],
    &[0x27, 0, 0, 0, 30],
    &[0x21, 0, 0],
    &[0x15, 0, 1, b'm'],
    &[0x0B, 0],
    &[0x7F, 1],
    &[0x23, 0xFF, 0xFF],
];

/// The steps of an input.
pub fn steps(input: &[u8]) -> Vec<Step> {
    match input.split_first() {
        None => Vec::new(),
        Some((0, bytes)) => vec![Step::Send { connection: 0, bytes: bytes.to_vec() }],
        Some((_, script)) => Script { rest: script, at: 0, v5: [false; CONNECTIONS], change: None }.steps(),
    }
}

/// A script that is being read.
struct Script<'a> {
    rest: &'a [u8],
    /// The connection that packets are sent on.
    at: usize,
    /// Which connections speak version 5.
    v5: [bool; CONNECTIONS],
    /// What is done to the next packet.
    change: Option<Change>,
}

/// What is done to a packet that was valid.
enum Change {
    /// A byte of it is another.
    Flip { at: u8, with: u8 },
    /// Its end is missing.
    Cut { at: u8 },
}

impl Script<'_> {
    fn steps(mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        while !self.rest.is_empty() {
            steps.extend(self.step());
        }
        steps
    }

    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *byte
    }

    fn step(&mut self) -> Option<Step> {
        let packet = match self.byte() % 24 {
            0 | 1 => self.connect(),
            2..=4 => self.publish(),
            5 => self.subscribe(),
            6 => self.unsubscribe(),
            7..=10 => self.acknowledgement(),
            11 => vec![0xC0, 0],
            12 => self.disconnect(),
            13 => self.auth(),
            14 => {
                let len = usize::from(self.byte()).min(self.rest.len());
                let (bytes, rest) = self.rest.split_at(len);
                self.rest = rest;
                bytes.to_vec()
            }
            15 => {
                self.change = Some(Change::Flip { at: self.byte(), with: self.byte() });
                return None;
            }
            16 => {
                self.change = Some(Change::Cut { at: self.byte() });
                return None;
            }
            17 | 18 => {
                self.at = usize::from(self.byte()) % CONNECTIONS;
                return None;
            }
            19 => return Some(Step::HangUp { connection: self.at }),
            20 => {
                let verdicts = [Verdict::Accept, Verdict::Refuse, Verdict::Drop, Verdict::Hold];
                return Some(Step::Decide(verdicts[usize::from(self.byte()) % 4]));
            }
            21 => {
                let how = self.byte();
                let topic = ["devices/1/state", "devices/1/desired", "changes/1", "changes/secret"];
                let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
                return Some(Step::Publish {
                    topic: topic[usize::from(how & 3)],
                    qos: qos[usize::from(how >> 2) % 3],
                    retain: how & 0x80 != 0,
                });
            }
            _ => return Some(Step::LetItWork),
        };
        Some(Step::Send { connection: self.at, bytes: self.changed(packet) })
    }

    fn changed(&mut self, mut packet: Vec<u8>) -> Vec<u8> {
        match self.change.take() {
            Some(Change::Flip { at, with }) if !packet.is_empty() => {
                let at = usize::from(at) % packet.len();
                packet[at] ^= with;
            }
            Some(Change::Cut { at }) => packet.truncate(at.into()),
            _ => {}
        }
        packet
    }

    fn connect(&mut self) -> Vec<u8> {
        let (how, keep_alive) = (self.byte(), self.byte());
        let v5 = how & 1 != 0;
        self.v5[self.at] = v5;
        let will = how & 4 != 0;
        let mut body = text("MQTT");
        body.push(if v5 { 5 } else { 4 });
        let mut flags = 0xC0 | (how & 2);
        if will {
            flags |= 4 | (how & 0x38);
        }
        body.extend([flags, 0, keep_alive]);
        self.properties(&mut body);
        // Connections with the same id take over from each other.
        body.extend(text(["c", "", "other", "c"][usize::from(how >> 6)]));
        if will {
            self.properties(&mut body);
            body.extend(text(self.pick(&TOPICS)));
            body.extend(text("gone"));
        }
        body.extend(text("name"));
        body.extend(text(if keep_alive == 0xFF { "wrong" } else { "right" }));
        framed(0x10, &body)
    }

    fn publish(&mut self) -> Vec<u8> {
        let flags = self.byte() & 15;
        let mut body = text(self.pick(&TOPICS));
        if flags & 6 != 0 {
            body.extend(self.id());
        }
        self.properties(&mut body);
        let len = self.byte();
        body.extend(std::iter::repeat_n(b'x', usize::from(len) * if len > 250 { 500 } else { 1 }));
        framed(0x30 | flags, &body)
    }

    fn subscribe(&mut self) -> Vec<u8> {
        let mut body = self.id().to_vec();
        self.properties(&mut body);
        for _ in 0..=self.byte() % 3 {
            body.extend(text(self.pick(&FILTERS)));
            let options = self.byte();
            body.push(if options & 0x80 == 0 { options & 0x3F } else { options & 2 });
        }
        framed(0x82, &body)
    }

    fn unsubscribe(&mut self) -> Vec<u8> {
        let mut body = self.id().to_vec();
        self.properties(&mut body);
        body.extend(text(self.pick(&FILTERS)));
        framed(0xA2, &body)
    }

    /// PUBACK, PUBREC, PUBREL or PUBCOMP, alone or with a code and properties.
    fn acknowledgement(&mut self) -> Vec<u8> {
        let how = self.byte();
        let first = [0x40, 0x50, 0x62, 0x70][usize::from(how & 3)];
        let mut body = self.id().to_vec();
        if how & 4 != 0 {
            body.push(self.byte());
        }
        if how & 8 != 0 {
            self.properties(&mut body);
        }
        framed(first, &body)
    }

    fn disconnect(&mut self) -> Vec<u8> {
        let code = self.byte();
        let mut body = Vec::new();
        if code != 0 {
            body.push(code);
            self.properties(&mut body);
        }
        framed(0xE0, &body)
    }

    fn auth(&mut self) -> Vec<u8> {
        let mut body = vec![self.byte()];
        self.properties(&mut body);
        framed(0xF0, &body)
    }

    /// Few ids, so that they meet again.
    fn id(&mut self) -> [u8; 2] {
        [0, self.byte() % 8]
    }

    fn pick(&mut self, texts: &[&'static str]) -> &'static str {
        texts[usize::from(self.byte()) % texts.len()]
    }

    /// Up to three properties behind their length, for a connection that speaks version 5.
    fn properties(&mut self, body: &mut Vec<u8>) {
        if !self.v5[self.at] {
            return;
        }
        let mut properties: Vec<u8> = Vec::new();
        for _ in 0..self.byte() % 4 {
            properties.extend(PROPERTIES[usize::from(self.byte()) % PROPERTIES.len()]);
        }
        body.extend(u8::try_from(properties.len()));
        body.extend(properties);
    }
}

/// A text behind its length.
fn text(text: &str) -> Vec<u8> {
    let mut bytes = vec![0; 2];
    bytes.extend(text.as_bytes());
    let len = u16::try_from(text.len()).expect("the texts above are short");
    bytes[..2].copy_from_slice(&len.to_be_bytes());
    bytes
}

/// A packet: its first byte, its length, its body.
fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut len = body.len();
    loop {
        let low = (len & 0x7F) as u8;
        len >>= 7;
        bytes.push(if len > 0 { low | 0x80 } else { low });
        if len == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}
