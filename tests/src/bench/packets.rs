//! MQTT 3.1.1 packets as bytes, made once and patched in place: the load must cost far less than what it measures.

use std::io::Write;

/// Bytes of a PUBACK.
pub(crate) const PUBACK_BYTES: usize = 4;
/// A CONNACK that says yes.
pub(crate) const CONNACK: [u8; 4] = [0x20, 2, 0, 0];

/// The first value of `uptime`: it keeps its number of digits for ten million messages of a device.
pub(crate) const UPTIME_FROM: u64 = 10_000_000;
const SITES: [&str; 4] = ["north", "south", "east", "west"];

/// The id of a device of the bench.
pub(crate) fn device(number: usize) -> String {
    format!("bench-{number:05}")
}

/// CONNECT with a clean session and no keep-alive. An empty user name or password means none: with `--dev`, a client
/// that acts for no device, and one that needs no token.
pub(crate) fn connect(client: &str, user: &str, password: &str) -> Vec<u8> {
    let given = |text: &str, flag: u8| if text.is_empty() { 0 } else { flag };
    let flags = 0x02 | given(user, 0x80) | given(password, 0x40);
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, flags, 0, 0];
    text(&mut body, client);
    for login in [user, password].into_iter().filter(|text| !text.is_empty()) {
        text(&mut body, login);
    }
    packet(0x10, &body)
}

/// SUBSCRIBE to one filter at QoS 1.
pub(crate) fn subscribe(filter: &str) -> Vec<u8> {
    let mut body = vec![0, 1];
    text(&mut body, filter);
    body.push(1);
    packet(0x82, &body)
}

/// The publishes of one device: all alike but for packet id, temperature, uptime and, if wanted, `_id`.
pub(crate) struct Publishes {
    bytes: Vec<u8>,
    packet_id: usize,
    temperature: usize,
    uptime: usize,
    id: Option<usize>,
    sent: u64,
}

impl Publishes {
    /// For one device; `run` keeps the ids of one load apart from those of another.
    pub(crate) fn new(number: usize, id_of_run: Option<u32>) -> Self {
        let (device, site, battery) = (device(number), SITES[number % SITES.len()], number % 101);
        let id = id_of_run.map_or_else(String::new, |run| format!("\"_id\":\"{run:08x}-{UPTIME_FROM}\","));
        let payload = format!(
            "{{{id}\"type\":\"thermostat\",\"temperature\":20.00,\"uptime\":{UPTIME_FROM},\"battery\":{battery},\
             \"humidity\":48.2,\"rssi\":-61,\"mode\":\"heat\",\"firmware\":\"1.2.3\",\"site\":\"{site}\"}}"
        );
        let mut body = Vec::new();
        text(&mut body, &format!("devices/{device}/state"));
        let packet_id = body.len();
        body.extend([0, 1]);
        body.extend(payload.as_bytes());
        let bytes = packet(0x32, &body);
        let packet_id = packet_id + bytes.len() - body.len();
        let find = |what: &str| {
            let at = bytes.windows(what.len()).position(|window| window == what.as_bytes());
            at.map(|at| at + what.len())
        };
        let temperature = find("\"temperature\":").expect("it is in the payload");
        let uptime = find("\"uptime\":").expect("it is in the payload");
        let id = id_of_run.and_then(|run| find(&format!("\"_id\":\"{run:08x}-")));
        Self { packet_id, temperature, uptime, id, sent: 0, bytes }
    }

    /// Appends the next publish.
    pub(crate) fn next(&mut self, packet_id: u16, out: &mut Vec<u8>) {
        self.sent += 1;
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let packet = &mut out[start..];
        packet[self.packet_id..self.packet_id + 2].copy_from_slice(&packet_id.to_be_bytes());
        // 10.00 to 29.99.
        let hundredths = 1_000 + self.sent * 7 % 2_000;
        put(packet, self.temperature, format_args!("{}.{:02}", hundredths / 100, hundredths % 100));
        put(packet, self.uptime, format_args!("{}", UPTIME_FROM + self.sent));
        if let Some(id) = self.id {
            put(packet, id, format_args!("{}", UPTIME_FROM + self.sent));
        }
    }
}

fn put(packet: &mut [u8], at: usize, digits: std::fmt::Arguments<'_>) {
    (&mut packet[at..]).write_fmt(digits).expect("a packet has room for its own digits");
}

fn text(body: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("names of the bench are short");
    body.extend(length.to_be_bytes());
    body.extend(text.as_bytes());
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![kind];
    let mut rest = body.len();
    loop {
        let digit = u8::try_from(rest % 128).expect("below 128");
        rest /= 128;
        if rest == 0 {
            packet.push(digit);
            break;
        }
        packet.push(digit | 0x80);
    }
    packet.extend(body);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_keeps_its_shape() {
        let mut publishes = Publishes::new(7, Some(3));
        let mut out = Vec::new();
        publishes.next(258, &mut out);
        let first = out.len();
        publishes.next(259, &mut out);
        assert_eq!(out.len(), 2 * first);
        let payload = out[..first].iter().position(|byte| *byte == b'{').expect("a payload");
        let payload: serde_json::Value = serde_json::from_slice(&out[payload..first]).expect("JSON");
        assert_eq!(payload["uptime"], 10_000_001);
        assert_eq!(payload["temperature"], 10.07);
        assert_eq!(payload["_id"], "00000003-10000001");
        assert_eq!(out[2 + 1 + 2 + 25..][..2], [1, 2], "the packet id");
    }
}
