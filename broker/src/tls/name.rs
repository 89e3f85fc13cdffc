//! Whom a certificate names: its common name, or else its first DNS name. Only as much of X.509 as that takes.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// A sequence in DER (X.690, 8.9).
const SEQUENCE: u8 = 0x30;
/// A set in DER.
const SET: u8 = 0x31;
/// An object identifier in DER.
const OBJECT_ID: u8 = 0x06;
/// Text in DER: UTF8String, PrintableString, IA5String.
const TEXTS: [u8; 3] = [0x0C, 0x13, 0x16];
/// The object identifier of a common name, 2.5.4.3 (X.520, 6.2.2).
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// Whom a verified certificate names, if anybody.
pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let common = common_name(certificate.subject());
    common.or_else(|| certificate.valid_dns_names().next()).filter(|name| !name.is_empty()).map(str::to_owned)
}

/// The first common name of a subject: a sequence of sets of pairs (RFC 5280, 4.1.2.4), without the outermost header.
fn common_name(subject: &[u8]) -> Option<&str> {
    let mut sets = subject;
    while let Some((SET, mut pairs, rest)) = take(sets) {
        sets = rest;
        while let Some((SEQUENCE, pair, rest)) = take(pairs) {
            pairs = rest;
            let (OBJECT_ID, COMMON_NAME, value) = take(pair)? else { continue };
            let (tag, text, _) = take(value)?;
            return TEXTS.contains(&tag).then(|| std::str::from_utf8(text).ok())?;
        }
    }
    None
}

/// The first element of some DER: its tag, its content, and what follows.
fn take(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, len], rest) = bytes.split_first_chunk::<2>()?;
    let (len, rest) = match len {
        0..=0x7F => (usize::from(len), rest),
        0x81 => rest.split_first().map(|(len, rest)| (usize::from(*len), rest))?,
        0x82 => {
            rest.split_first_chunk::<2>().map(|(len, rest)| (usize::from(u16::from_be_bytes(*len)), rest))?
        }
        // No name is that long.
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_common_name_is_found_behind_others() {
        let subject =
            b"\x31\x0B\x30\x09\x06\x03\x55\x04\x06\x13\x02DE\x31\x0F\x30\x0D\x06\x03\x55\x04\x03\x0C\x06pump-7";
        assert_eq!(common_name(subject), Some("pump-7"));
        assert_eq!(common_name(&subject[..13]), None, "a country only");
        assert_eq!(common_name(&subject[..subject.len() - 1]), None, "cut off");
    }

    proptest! {
        /// No bytes make it panic.
        #[test]
        fn anything_may_come(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            common_name(&bytes);
        }
    }
}
