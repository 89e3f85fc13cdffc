//! Tokens of devices and keys of apps: 256 random bits, so that one round of SHA-256 is enough to keep them.
//!
//! They are found by their hash. How long that takes says nothing of a secret that isn't known.

use sha2::{Digest, Sha256};
use statecast_store::Hash;

/// What a key begins with, so that people and scanners know one when they see it.
const KEY_PREFIX: &str = "sc_";
/// Length of a token, in bytes.
const TOKEN_BYTES: usize = 64;

/// The hash under which a token, a key or a certificate is stored.
pub fn hash(secret: &[u8]) -> Hash {
    Sha256::digest(secret).into()
}

/// A new token: 256 random bits as 64 hexadecimal digits.
pub fn new_token() -> String {
    hex::encode(rand::random::<[u8; 32]>())
}

/// A new API key: a token that can be seen to be one.
pub fn new_key() -> String {
    format!("{KEY_PREFIX}{}", new_token())
}

/// Has a secret the form of a token? No password may have it, so that each is looked for in one place only.
pub fn is_token(secret: &[u8]) -> bool {
    secret.len() == TOKEN_BYTES && secret.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_known_by_their_form() {
        assert!(is_token(new_token().as_bytes()));
        assert!(!is_token(new_key().as_bytes()));
        assert!(!is_token(&[b'g'; TOKEN_BYTES]) && !is_token(b"correct horse"));
        assert!(new_key().starts_with(KEY_PREFIX) && new_key() != new_key());
    }
}
