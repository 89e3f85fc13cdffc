//! Checks what the broker said on one connection.

const CONNACK: u8 = 2;
const DISCONNECT: u8 = 14;

/// Whole packets, of types that a server may send, CONNACK first and once, and nothing after DISCONNECT.
///
/// # Errors
/// What is wrong with it.
pub fn check(mut said: &[u8]) -> Result<(), String> {
    let mut before = None;
    while !said.is_empty() {
        let (kind, rest) = packet(said).ok_or_else(|| format!("not a whole packet: {said:02x?}"))?;
        let may_follow = match before {
            None => kind == CONNACK,
            Some(DISCONNECT) => false,
            Some(_) => matches!(kind, 3..=7 | 9 | 11 | 13 | DISCONNECT),
        };
        if !may_follow {
            return Err(format!("packet type {kind} after {before:?}"));
        }
        before = Some(kind);
        said = rest;
    }
    Ok(())
}

/// The type of the first packet, and what follows it. None if it isn't whole.
fn packet(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (first, mut rest) = bytes.split_first()?;
    let mut len = 0;
    for shift in [0, 7, 14, 21] {
        let (byte, behind) = rest.split_first()?;
        rest = behind;
        len |= usize::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some((first >> 4, rest.get(len..)?));
        }
    }
    None
}
