//! How MQTT packets are put together and taken apart.

use anyhow::{Context, Result};

/// A packet: first byte, length, body.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut len = body.len();
    loop {
        let more = if len > 127 { 0x80 } else { 0 };
        bytes.push((len & 127) as u8 | more);
        len >>= 7;
        if len == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

/// Length of the header, and of the body; none while they are incomplete.
pub(crate) fn length(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut len = 0;
    for (at, byte) in bytes.iter().skip(1).take(4).enumerate() {
        len |= usize::from(byte & 127) << (7 * at);
        if byte & 128 == 0 {
            return Some((at + 2, len));
        }
    }
    None
}

/// A text as it is written in packets.
pub(crate) fn text(text: &str) -> Vec<u8> {
    let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
    [&len.to_be_bytes()[..], text.as_bytes()].concat()
}

/// The text at the beginning, and what follows it.
pub(crate) fn take_text(bytes: &[u8]) -> Result<(String, &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>().context("a length")?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len))).context("a text")?;
    Ok((String::from_utf8(text.to_vec())?, rest))
}
