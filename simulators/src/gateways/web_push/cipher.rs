//! Message Encryption for Web Push (RFC 8291), the browser's side: one record of `aes128gcm` (RFC 8188).

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use p256::elliptic_curve::sec1::ToEncodedPoint as _;
use p256::{PublicKey, SecretKey};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};

/// Bytes of the header before the sender's key: salt, record size, length of the key.
const FIXED_BYTES: usize = 16 + 4 + 1;
/// Bytes of a public key: an uncompressed point.
const KEY_BYTES: usize = 65;
/// Bytes that are added to a record: the delimiter and the tag.
const ADDED_BYTES: u32 = 1 + 16;

/// What a browser makes for one subscription, and keeps the secret half of.
pub(super) struct Keys {
    secret: SecretKey,
    public: Vec<u8>,
    auth: [u8; 16],
}

/// The length of what is derived, in bytes.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl Keys {
    /// New ones.
    pub(super) fn new() -> Self {
        // All but one in 2^32 of the numbers of 256 bits are a secret.
        let secret = loop {
            if let Ok(secret) = SecretKey::from_slice(&rand::random::<[u8; 32]>()) {
                break secret;
            }
        };
        Self::from_parts(secret, rand::random())
    }

    fn from_parts(secret: SecretKey, auth: [u8; 16]) -> Self {
        let public = secret.public_key().to_encoded_point(false).as_bytes().to_vec();
        Self { secret, public, auth }
    }

    /// The public key, in base64url.
    pub(super) fn p256dh(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(&self.public)
    }

    /// The secret that is shared with the sender, in base64url.
    pub(super) fn auth(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.auth)
    }

    /// What a body says; or what is wrong with it.
    pub(super) fn decrypt(&self, body: &[u8]) -> Result<Vec<u8>, &'static str> {
        let (fixed, rest) = body.split_at_checked(FIXED_BYTES).ok_or("the header is cut off")?;
        let (salt, sizes) = fixed.split_at(16);
        let record = sizes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)).unwrap_or_default();
        if usize::from(sizes[4]) != KEY_BYTES {
            return Err("the key id isn't the sender's public key");
        }
        let (theirs, sealed) = rest.split_at_checked(KEY_BYTES).ok_or("the sender's key is cut off")?;
        let size = u32::try_from(sealed.len()).unwrap_or(u32::MAX);
        if record <= ADDED_BYTES || size > record {
            return Err("it isn't a single record");
        }
        let public = PublicKey::from_sec1_bytes(theirs).map_err(|_| "the sender's key isn't on the curve")?;
        let shared = p256::ecdh::diffie_hellman(self.secret.to_nonzero_scalar(), public.as_affine());

        let mut input = [0; 32];
        let names: [&[u8]; 3] = [b"WebPush: info\0", &self.public, theirs];
        derive(&self.auth, shared.raw_secret_bytes(), &names, &mut input);
        let (mut key, mut nonce) = ([0; 16], [0; 12]);
        derive(salt, &input, &[b"Content-Encoding: aes128gcm\0"], &mut key);
        derive(salt, &input, &[b"Content-Encoding: nonce\0"], &mut nonce);

        let key = UnboundKey::new(&AES_128_GCM, &key).map_err(|_| "the key has the wrong length")?;
        let mut sealed = sealed.to_vec();
        let opened = LessSafeKey::new(key).open_in_place(
            Nonce::assume_unique_for_key(nonce),
            Aad::empty(),
            &mut sealed,
        );
        let padded = opened.map_err(|_| "it wasn't encrypted for this subscription")?;
        // The last record ends with a 2, and zeros that hide its length.
        let end = padded.iter().rposition(|byte| *byte != 0).ok_or("the delimiter is missing")?;
        if padded[end] != 2 {
            return Err("the delimiter isn't that of the last record");
        }
        Ok(padded[..end].to_vec())
    }
}

/// HKDF with SHA-256 (RFC 5869).
fn derive(salt: &[u8], secret: &[u8], info: &[&[u8]], out: &mut [u8]) {
    let pseudorandom = Salt::new(HKDF_SHA256, salt).extract(secret);
    let filled = pseudorandom.expand(info, Length(out.len())).and_then(|okm| okm.fill(out));
    filled.expect("32 bytes are fewer than HKDF can give");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn decoded(text: &str) -> Vec<u8> {
        BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    /// The example of RFC 8291, section 5.
    #[test]
    fn the_example_of_the_standard_is_read() {
        let secret = SecretKey::from_slice(&decoded("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94")).unwrap();
        let keys = Keys::from_parts(secret, decoded("BTBZMqHH6r4Tts7J_aSIgg").try_into().unwrap());
        let point = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
        assert_eq!(keys.p256dh(), point);
        let body = decoded(
            "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8w\
             EqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN",
        );
        let said = keys.decrypt(&body).unwrap();
        assert_eq!(String::from_utf8(said).unwrap(), "When I grow up, I want to be a watermelon");
        assert!(Keys::new().decrypt(&body).is_err());
        for length in [0, 20, 80, body.len() - 1] {
            assert!(keys.decrypt(&body[..length]).is_err());
        }
    }
}
