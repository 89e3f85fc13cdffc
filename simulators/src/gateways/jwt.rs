//! JSON Web Tokens (RFC 7519) as the receiving side reads them: taken apart, their signature checked.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::signature::{UnparsedPublicKey, VerificationAlgorithm};
use serde_json::{Map, Value};

/// Longest token that is read, in bytes.
const TOKEN_BYTES_MAX: usize = 4_096;

/// A token in the compact form, not yet trusted.
#[derive(Debug)]
pub(super) struct Jwt<'a> {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    signed: &'a [u8],
    signature: Vec<u8>,
}

impl<'a> Jwt<'a> {
    /// Takes a token apart; none when it isn't one.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        if text.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let object = |part: &str| serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).ok()?).ok();
        Some(Self {
            header: object(header)?,
            claims: object(claims)?,
            signed: signed.as_bytes(),
            signature: BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }

    /// Whether it names this algorithm, such as `ES256`, and was signed by the owner of this public key.
    pub(super) fn is_signed(&self, name: &str, by: &'static dyn VerificationAlgorithm, key: &[u8]) -> bool {
        let named = self.header.get("alg").and_then(Value::as_str) == Some(name);
        named && UnparsedPublicKey::new(by, key).verify(self.signed, &self.signature).is_ok()
    }

    /// The id of the key that it names.
    pub(super) fn key_id(&self) -> Option<&str> {
        self.header.get("kid").and_then(Value::as_str)
    }

    /// A claim that is text.
    pub(super) fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim).and_then(Value::as_str)
    }

    /// A claim that is a time, in seconds since 1970.
    pub(super) fn seconds(&self, claim: &str) -> Option<i64> {
        let value = self.claims.get(claim)?;
        // Some libraries write whole seconds as a double.
        #[expect(clippy::cast_possible_truncation, reason = "a time in seconds; what saturates is refused")]
        value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ring::rand::SystemRandom;
    use ring::signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    };

    use super::*;

    #[test]
    fn only_the_owner_of_the_key_can_have_signed() {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = || {
            let der = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
            EcdsaKeyPair::from_pkcs8(algorithm, der.as_ref(), &random).unwrap()
        };
        let (ours, theirs) = (key(), key());
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let claims = encode(br#"{"iss":"team","iat":1.0}"#);
        let signed = format!("{}.{claims}", encode(br#"{"alg":"ES256","kid":"k"}"#));
        let token = format!("{signed}.{}", encode(ours.sign(&random, signed.as_bytes()).unwrap().as_ref()));
        let jwt = Jwt::parse(&token).unwrap();
        assert_eq!((jwt.key_id(), jwt.text("iss"), jwt.seconds("iat")), (Some("k"), Some("team"), Some(1)));
        let by = |key: &EcdsaKeyPair, name| {
            jwt.is_signed(name, &ECDSA_P256_SHA256_FIXED, key.public_key().as_ref())
        };
        assert!(by(&ours, "ES256") && !by(&theirs, "ES256") && !by(&ours, "RS256"));
        for wrong in ["", "a.b", "a.b.c", &token[1..]] {
            assert!(Jwt::parse(wrong).is_none(), "{wrong}");
        }
    }
}
