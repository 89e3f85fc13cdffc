//! Encryption of a push message for one subscription (RFC 8291), in one record of `aes128gcm` (RFC 8188).

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

/// Bytes of a salt.
const SALT_BYTES: usize = 16;
/// The size of a record that is announced: ours are smaller, and never more than one.
const RECORD_BYTES: u32 = 4_096;
/// What follows the plaintext in the last record.
const LAST_RECORD: u8 = 2;
/// Bytes that sealing adds: salt, size, length and key, the delimiter, the tag.
#[cfg(test)]
pub(super) const ADDED_BYTES: usize = SALT_BYTES + 4 + 1 + crate::check::POINT_BYTES + 1 + 16;

/// Seals a message for the holder of a public key and a secret. None when the key is no point of the curve.
pub(super) fn seal(public: &[u8], secret: &[u8], plaintext: &[u8]) -> Option<Vec<u8>> {
    let random = SystemRandom::new();
    let mut salt = [0; SALT_BYTES];
    random.fill(&mut salt).ok()?;
    // A new key pair for each message: nobody can tell two of them to be from one sender.
    let private = EphemeralPrivateKey::generate(&ECDH_P256, &random).ok()?;
    let ours = private.compute_public_key().ok()?;
    let theirs = UnparsedPublicKey::new(&ECDH_P256, public);
    agree_ephemeral(private, &theirs, |shared| {
        seal_with(shared, secret, public, ours.as_ref(), &salt, plaintext)
    })
    .ok()?
}

/// The same, with what was agreed on.
fn seal_with(
    shared: &[u8],
    secret: &[u8],
    theirs: &[u8],
    ours: &[u8],
    salt: &[u8; SALT_BYTES],
    plaintext: &[u8],
) -> Option<Vec<u8>> {
    let input = derive(secret, shared, &[b"WebPush: info\0", theirs, ours]);
    let key = derive(salt, &input, &[b"Content-Encoding: aes128gcm\0"]);
    let nonce = derive(salt, &input, &[b"Content-Encoding: nonce\0"]);
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key.get(..16)?).ok()?);
    let nonce = Nonce::try_assume_unique_for_key(nonce.get(..12)?).ok()?;

    let mut record = Vec::with_capacity(plaintext.len() + 17);
    record.extend_from_slice(plaintext);
    record.push(LAST_RECORD);
    key.seal_in_place_append_tag(nonce, Aad::empty(), &mut record).ok()?;

    let mut sealed = Vec::with_capacity(SALT_BYTES + 5 + ours.len() + record.len());
    sealed.extend_from_slice(salt);
    sealed.extend_from_slice(&RECORD_BYTES.to_be_bytes());
    sealed.push(u8::try_from(ours.len()).ok()?);
    sealed.extend_from_slice(ours);
    sealed.extend_from_slice(&record);
    Some(sealed)
}

/// HKDF with SHA-256 (RFC 5869), for one block at most: 32 bytes, of which the first are used.
fn derive(salt: &[u8], input: &[u8], info: &[&[u8]]) -> Vec<u8> {
    let extracted = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, salt), input);
    let key = hmac::Key::new(hmac::HMAC_SHA256, extracted.as_ref());
    let mut context = hmac::Context::with_key(&key);
    info.iter().for_each(|part| context.update(part));
    context.update(&[1]);
    context.sign().as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::check::BASE64_URL;
    use base64::Engine;

    fn bytes(text: &str) -> Vec<u8> {
        BASE64_URL.decode(text).unwrap()
    }

    /// RFC 8291, 5 and appendix A.
    #[test]
    fn the_example_of_the_rfc() {
        let sealed = seal_with(
            &bytes("kyrL1jIIOHEzg3sM2ZWRHDRB62YACZhhSlknJ672kSs"),
            &bytes("BTBZMqHH6r4Tts7J_aSIgg"),
            &bytes("BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"),
            &bytes("BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8"),
            &bytes("DGv6ra1nlYgDCS1FRnbzlw").try_into().unwrap(),
            b"When I grow up, I want to be a watermelon",
        );
        let expected = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS\
            6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";
        assert_eq!(sealed.unwrap(), bytes(expected));
    }

    #[test]
    fn each_message_has_a_salt_and_a_key_of_its_own() {
        let random = SystemRandom::new();
        let phone = EphemeralPrivateKey::generate(&ECDH_P256, &random).unwrap();
        let public = phone.compute_public_key().unwrap();
        let seal = |text: &[u8]| seal(public.as_ref(), &[7; 16], text).unwrap();
        let (first, second) = (seal(b"hot"), seal(b"hot"));
        assert_ne!(first.get(..86), second.get(..86));
        assert_eq!(first.len(), 3 + ADDED_BYTES);
        assert!(super::seal(&[4; 65], &[7; 16], b"hot").is_none(), "not on the curve");
    }
}
