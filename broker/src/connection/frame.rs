//! Where packets begin and end, and the little that must be known of one before it is parsed.

/// Type of a packet: the upper half of its first byte (MQTT 5, 2.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind(u8);

impl Kind {
    pub(super) const CONNECT: Self = Self(1);
    pub(super) const PUBLISH: Self = Self(3);
    pub(super) const SUBSCRIBE: Self = Self(8);
    pub(super) const UNSUBSCRIBE: Self = Self(10);
    pub(super) const DISCONNECT: Self = Self(14);
    pub(super) const AUTH: Self = Self(15);

    /// The number on the wire.
    pub(super) fn number(self) -> u8 {
        self.0
    }

    /// Packets that are answered even while publishes have to wait: they need no room, and what waits may depend
    /// on them. Acknowledgements of either side, and PINGREQ.
    pub(super) fn needs_no_room(self) -> bool {
        matches!(self.0, 4..=7 | 12)
    }

    /// May a packet of this type have these flags, the lower half of its first byte (MQTT 5, 2.1.3)? Those of a PUBLISH
    /// say something, but none at quality 0 is a repetition (3.3.1.1); its quality is looked at with the rest of its head.
    fn may_have(self, flags: u8) -> bool {
        match self.0 {
            3 => flags & 6 != 0 || flags & 8 == 0,
            6 | 8 | 10 => flags == 2,
            _ => flags == 0,
        }
    }

    /// Packets with a packet id right behind their header that may not be 0.
    fn begins_with_id(self) -> bool {
        matches!(self.0, 4..=11)
    }
}

/// What stands at the beginning of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    /// A whole packet.
    Whole {
        /// Its type.
        kind: Kind,
        /// Its length with the header, in bytes.
        len: usize,
        /// The length of the header.
        header: usize,
    },
    /// The beginning of one, or nothing.
    Part,
}

/// Why a packet can't be read at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadFrame {
    /// Its flags are others than its type has, its length is no valid number, or its id is 0.
    Malformed,
    /// It is longer than allowed.
    TooLarge,
}

/// Looks at the beginning of a buffer. Nothing is allocated for a packet that only claims to be long.
pub(super) fn next(buffer: &[u8], bytes_max: usize) -> Result<Frame, BadFrame> {
    let Some((first, rest)) = buffer.split_first() else { return Ok(Frame::Part) };
    let kind = Kind(first >> 4);
    if !kind.may_have(first & 15) {
        return Err(BadFrame::Malformed);
    }
    let mut remaining = 0;
    for at in 0..4 {
        let Some(byte) = rest.get(at) else { return Ok(Frame::Part) };
        remaining |= usize::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 != 0 {
            continue;
        }
        let header = at + 2;
        let len = header + remaining;
        if len > bytes_max {
            return Err(BadFrame::TooLarge);
        }
        let Some(packet) = buffer.get(..len) else { return Ok(Frame::Part) };
        if kind.begins_with_id() && packet[header..].starts_with(&[0, 0]) {
            return Err(BadFrame::Malformed);
        }
        return Ok(Frame::Whole { kind, len, header });
    }
    Err(BadFrame::Malformed)
}

/// What must be known of a PUBLISH before there is room for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PublishHead<'a> {
    /// As on the wire, not yet known to be UTF-8.
    pub(super) topic: &'a [u8],
    /// 0, 1 or 2.
    pub(super) qos: u8,
    /// 0 at quality 0.
    pub(super) packet: u16,
    /// What follows: the properties (v5) and the payload.
    pub(super) rest: &'a [u8],
}

/// Reads the head of a whole PUBLISH; none when it is malformed.
pub(super) fn publish_head(packet: &[u8], header: usize) -> Option<PublishHead<'_>> {
    let qos = packet.first()? >> 1 & 3;
    let (topic_len, rest) = take_u16(packet.get(header..)?)?;
    let (topic, rest) = rest.split_at_checked(usize::from(topic_len))?;
    let (packet, rest) = match qos {
        0 => (0, rest),
        1 | 2 => take_u16(rest)?,
        _ => return None,
    };
    (qos == 0 || packet != 0).then_some(PublishHead { topic, qos, packet, rest })
}

fn take_u16(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn packets_are_found() {
        assert_eq!(next(&[], 100), Ok(Frame::Part));
        assert_eq!(next(&[0xC0], 100), Ok(Frame::Part));
        assert_eq!(next(&[0xC0, 0, 0xC0], 100), Ok(Frame::Whole { kind: Kind(12), len: 2, header: 2 }));
        assert_eq!(next(&[0x30, 0x80], 100), Ok(Frame::Part));
        assert_eq!(next(&[0x30, 99], 100), Err(BadFrame::TooLarge));
        assert_eq!(next(&[0x10, 0xFF, 0xFF, 0xFF, 0x7F], 8192), Err(BadFrame::TooLarge));
        assert_eq!(next(&[0x10, 0x80, 0x80, 0x80, 0x80, 1], 8192), Err(BadFrame::Malformed));
        assert_eq!(next(&[0x62, 2, 0, 0], 100), Err(BadFrame::Malformed), "PUBREL for packet id 0");
    }

    #[test]
    fn flags_belong_to_the_type() {
        for good in [0x10, 0x30, 0x31, 0x32, 0x3B, 0x3D, 0x40, 0x62, 0x82, 0xA2, 0xC0, 0xE0, 0xF0] {
            assert_eq!(next(&[good], 100), Ok(Frame::Part), "{good:#x}");
        }
        for bad in [0x11, 0x38, 0x39, 0x42, 0x60, 0x63, 0x80, 0xA0, 0xC8, 0xE1, 0xF2] {
            assert_eq!(next(&[bad], 100), Err(BadFrame::Malformed), "{bad:#x}");
        }
    }

    #[test]
    fn the_head_of_a_publish_is_read() {
        let head = |packet: &'static [u8]| publish_head(packet, 2);
        assert_eq!(
            head(&[0x30, 4, 0, 1, b'a', b'x']),
            Some(PublishHead { topic: b"a", qos: 0, packet: 0, rest: b"x" })
        );
        assert_eq!(
            head(&[0x34, 5, 0, 1, b'a', 1, 2]),
            Some(PublishHead { topic: b"a", qos: 2, packet: 258, rest: b"" })
        );
        assert_eq!(head(&[0x32, 5, 0, 1, b'a', 0, 0]), None, "packet id 0");
        assert_eq!(head(&[0x36, 5, 0, 1, b'a', 0, 1]), None, "quality 3");
        assert_eq!(head(&[0x32, 3, 0, 9, b'a']), None, "topic longer than the packet");
    }

    proptest! {
        /// No bytes make it panic, and a packet that is found lies within the buffer and the limit.
        #[test]
        fn anything_may_come(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(Frame::Whole { len, header, .. }) = next(&bytes, 48) {
                prop_assert!(len <= bytes.len() && len <= 48 && header <= len);
                publish_head(&bytes[..len], header);
            }
        }
    }
}
