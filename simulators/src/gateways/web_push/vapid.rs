//! VAPID (RFC 8292): who sends, and that the token is for this service.

use std::collections::HashMap;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use reqwest::Url;
use ring::signature::ECDSA_P256_SHA256_FIXED;

use crate::gateways::jwt::Jwt;

/// Longest time for which a token may be good, in seconds (RFC 8292, 2).
const LIFE_S_MAX: i64 = 24 * 3_600;
/// Tokens that were checked and are remembered, each with its key and its end.
const CHECKED_MAX: usize = 1_000;

/// Checks who sends.
pub(super) struct Vapid {
    /// What a token must be for.
    origin: String,
    checked: Mutex<HashMap<String, (String, i64)>>,
}

/// Why a sender is refused.
#[derive(Debug, PartialEq)]
pub(super) enum Stranger {
    /// It doesn't say who it is.
    Unnamed,
    /// What it says isn't right.
    Wrong(&'static str),
}

impl Vapid {
    /// Checks tokens that are for this origin.
    pub(super) fn new(origin: String) -> Self {
        Self { origin, checked: Mutex::default() }
    }

    /// The public key of the sender, in base64url.
    pub(super) fn sender(&self, authorization: Option<&str>, now: i64) -> Result<String, Stranger> {
        let shown = authorization.ok_or(Stranger::Unnamed)?;
        let parameters = shown.strip_prefix("vapid ").ok_or(Stranger::Wrong("the scheme is vapid"))?;
        let parameter = |name: &str| {
            let mut all = parameters.split(',').filter_map(|pair| pair.trim().split_once('='));
            all.find(|(key, _)| *key == name).map(|(_, value)| value.trim_matches('"'))
        };
        let token = parameter("t").ok_or(Stranger::Wrong("t is missing"))?;
        let key = parameter("k").ok_or(Stranger::Wrong("k is missing"))?.trim_end_matches('=');
        let known = self.checked.lock().get(token).cloned();
        let ends = match known {
            Some((of, ends)) if of == key => ends,
            _ => self.check(token, key, now).map_err(Stranger::Wrong)?,
        };
        if ends <= now {
            return Err(Stranger::Wrong("exp is over"));
        }
        Ok(key.to_owned())
    }

    /// When a token ends that is right until then.
    fn check(&self, token: &str, key: &str, now: i64) -> Result<i64, &'static str> {
        let point = BASE64_URL_SAFE_NO_PAD.decode(key).map_err(|_| "k isn't base64url")?;
        let jwt = Jwt::parse(token).ok_or("t is no JWT")?;
        if !jwt.is_signed("ES256", &ECDSA_P256_SHA256_FIXED, &point) {
            return Err("the signature isn't that of k");
        }
        if jwt.text("aud") != Some(&self.origin) {
            return Err("aud isn't the origin of this service");
        }
        let ends = jwt.seconds("exp").ok_or("exp is missing")?;
        if ends > now + LIFE_S_MAX {
            return Err("exp is more than 24 hours away");
        }
        if !jwt.text("sub").is_some_and(is_contact) {
            return Err("sub is neither a mailto: nor an https: address");
        }
        let mut checked = self.checked.lock();
        if checked.len() >= CHECKED_MAX {
            checked.clear();
        }
        checked.insert(token.to_owned(), (key.to_owned(), ends));
        Ok(ends)
    }
}

/// Whether this is an address under which somebody can be reached: `mailto:ops@example.com` without blanks or
/// brackets, as Apple wants it, or `https://...`.
fn is_contact(text: &str) -> bool {
    match text.strip_prefix("mailto:") {
        Some(address) => {
            let odd = |letter: char| letter.is_whitespace() || letter == '<' || letter == '>';
            let parts = address.split_once('@');
            !address.contains(odd) && parts.is_some_and(|(user, host)| !user.is_empty() && host.contains('.'))
        }
        None => Url::parse(text).is_ok_and(|url| url.scheme() == "https"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn tokens_are_for_this_service_and_short_lived() {
        let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let der = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(algorithm, der.as_ref(), &random).unwrap();
        let public = BASE64_URL_SAFE_NO_PAD.encode(key.public_key().as_ref());
        let vapid = Vapid::new("http://127.0.0.1:1".into());
        let sender = |name: &str, value: Value| {
            let mut claims =
                json!({ "aud": "http://127.0.0.1:1", "exp": 1_000, "sub": "mailto:ops@example.com" });
            claims[name] = value;
            let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
            let signed = format!("{}.{}", part(json!({ "alg": "ES256" })), part(claims));
            let signature = key.sign(&random, signed.as_bytes()).unwrap();
            let token = format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature.as_ref()));
            vapid.sender(Some(&format!("vapid t={token}, k={public}")), 900)
        };
        assert_eq!(sender("x", json!(1)), Ok(public.clone()));
        assert_eq!(sender("sub", json!("https://example.com/ops")), Ok(public.clone()));
        for (name, wrong) in [
            ("aud", json!("http://127.0.0.1:1/push")),
            ("exp", json!(899)),
            ("exp", json!(900 + LIFE_S_MAX + 1)),
            ("exp", json!("soon")),
            ("sub", json!("mailto: <ops@example.com>")),
            ("sub", json!("ops@example.com")),
            ("sub", Value::Null),
        ] {
            assert!(matches!(sender(name, wrong.clone()), Err(Stranger::Wrong(_))), "{name} {wrong}");
        }
        assert_eq!(vapid.sender(None, 900), Err(Stranger::Unnamed));
        assert!(vapid.sender(Some(&format!("vapid t=a.b.c, k={public}")), 900).is_err());
    }
}
