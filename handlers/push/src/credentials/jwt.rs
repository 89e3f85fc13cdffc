//! JSON Web Tokens in the compact form (RFC 7515, 7519), signed with ES256 or RS256.

use std::fs;
use std::path::Path;

use anyhow::{Context, anyhow};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

/// A private key that signs tokens. Its secret can't be printed.
pub(crate) enum Key {
    /// ECDSA on P-256 with SHA-256.
    Es256(Box<EcdsaKeyPair>),
    /// RSA, PKCS #1 1.5, with SHA-256.
    Rs256(Box<RsaKeyPair>),
}

impl Key {
    /// Reads a key of ES256 from a file in PEM.
    pub(crate) fn read_es256(path: &Path) -> anyhow::Result<Self> {
        let pem = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        Self::es256(&pem).with_context(|| format!("use the key in {}", path.display()))
    }

    /// A key of ES256 from PEM, in PKCS #8 (`BEGIN PRIVATE KEY`).
    pub(crate) fn es256(pem: &[u8]) -> anyhow::Result<Self> {
        let der = pkcs8(pem)?;
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, der.secret_pkcs8_der(), &SystemRandom::new());
        Ok(Self::Es256(Box::new(pair.map_err(|error| anyhow!("it isn't one of P-256: {error}"))?)))
    }

    /// A new key of ES256, as PEM.
    pub(crate) fn new_es256() -> anyhow::Result<String> {
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let der = der.map_err(|_| anyhow!("no key can be made: no randomness"))?;
        let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
        let text = BASE64_STANDARD.encode(der.as_ref());
        for line in text.as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        Ok(pem)
    }

    /// A key of RS256 from PEM, in PKCS #8 (`BEGIN PRIVATE KEY`).
    pub(crate) fn rs256(pem: &[u8]) -> anyhow::Result<Self> {
        let der = pkcs8(pem)?;
        let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der());
        Ok(Self::Rs256(Box::new(pair.map_err(|error| anyhow!("it isn't one of RSA: {error}"))?)))
    }

    /// The public key: of ES256 the uncompressed point.
    pub(crate) fn public(&self) -> &[u8] {
        match self {
            Self::Es256(pair) => pair.public_key().as_ref(),
            Self::Rs256(pair) => pair.public_key().as_ref(),
        }
    }

    /// A token with these claims, that names this key if there is a name for it.
    pub(crate) fn sign(&self, key_id: Option<&str>, claims: &Value) -> anyhow::Result<String> {
        let algorithm = match self {
            Self::Es256(_) => "ES256",
            Self::Rs256(_) => "RS256",
        };
        let mut header = json!({ "alg": algorithm, "typ": "JWT" });
        if let Some(key_id) = key_id {
            header["kid"] = key_id.into();
        }
        let encode = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(&header), encode(claims));
        let random = SystemRandom::new();
        let signature = match self {
            Self::Es256(pair) => {
                pair.sign(&random, signed.as_bytes()).map(|signature| signature.as_ref().to_vec())
            }
            Self::Rs256(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).map(|()| signature)
            }
        };
        let signature = signature.map_err(|_| anyhow!("a token can't be signed: no randomness"))?;
        Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }
}

fn pkcs8(pem: &[u8]) -> anyhow::Result<PrivatePkcs8KeyDer<'static>> {
    PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|error| {
        anyhow!(
            "there must be a `BEGIN PRIVATE KEY` ({error}); `openssl pkcs8 -topk8 -nodes` makes one of others"
        )
    })
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ring::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    /// An RSA key of 2,048 bits, made for this test: `openssl genpkey -algorithm RSA`.
    pub(crate) const RSA_KEY: &str = include_str!("test-rsa-key.pem");

    /// The claims of a token.
    pub(crate) fn claims(token: &str) -> Value {
        let claims = token.split('.').nth(1).unwrap();
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
    }

    #[test]
    fn a_token_can_be_verified_with_the_public_key() {
        let ecdsa = Key::es256(Key::new_es256().unwrap().as_bytes()).unwrap();
        let rsa = Key::rs256(RSA_KEY.as_bytes()).unwrap();
        for key in [&ecdsa, &rsa] {
            let token = key.sign(Some("k1"), &json!({ "iss": "me" })).unwrap();
            let (signed, signature) = token.rsplit_once('.').unwrap();
            let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
            let verified = match key {
                Key::Es256(_) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public())
                    .verify(signed.as_bytes(), &signature),
                Key::Rs256(_) => UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public())
                    .verify(signed.as_bytes(), &signature),
            };
            assert!(verified.is_ok());
            let header = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&header).unwrap()["kid"], "k1");
            assert_eq!(claims(&token), json!({ "iss": "me" }));
        }
    }

    #[test]
    fn a_key_of_another_kind_is_refused_with_what_to_do() {
        let error = |key: anyhow::Result<Key>| format!("{:#}", key.err().unwrap());
        assert!(error(Key::es256(b"nothing")).contains("openssl"));
        assert!(error(Key::es256(RSA_KEY.as_bytes())).contains("P-256"));
        assert!(error(Key::rs256(Key::new_es256().unwrap().as_bytes())).contains("RSA"));
    }
}
