//! Google's token endpoint: exchanges an assertion that a service account signed (RFC 7523) for an access token.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use rand::distr::{Alphanumeric, SampleString};
use ring::signature::RSA_PKCS1_2048_8192_SHA256;
use serde_json::{Map, Value, json};

use super::account::Account;
use crate::gateways::jwt::Jwt;
use crate::gateways::protocol::{Protocol, Refusal, Request, Seen};

/// What an assertion is exchanged under.
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// Whom an assertion is for, wherever the endpoint is: Google's libraries say so.
const GOOGLE: &str = "https://oauth2.googleapis.com/token";
/// What the token must be good for: one of these.
const SCOPES: [&str; 2] =
    ["https://www.googleapis.com/auth/firebase.messaging", "https://www.googleapis.com/auth/cloud-platform"];
/// Longest time for which an assertion may be good, and by which clocks may differ, in seconds.
const ASSERTION_S_MAX: i64 = 3_600;
const CLOCKS_DIFFER_S_MAX: i64 = 300;
/// Tokens that are good at the same time; the oldest ends first.
const TOKENS_MAX: usize = 1_000;

const ERRORS: &[(&str, u16)] = &[
    ("invalid_grant", 400),
    ("invalid_request", 400),
    ("unsupported_grant_type", 400),
    ("invalid_scope", 400),
    ("invalid_client", 401),
    ("internal_failure", 500),
    ("temporarily_unavailable", 503),
];

/// Tokens that were given out, each with when it ends.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<HashMap<String, DateTime<Utc>>>);

impl Tokens {
    /// Whether this token is good at this time.
    pub(super) fn is_good(&self, token: &str, at: DateTime<Utc>) -> bool {
        self.0.lock().get(token).is_some_and(|ends| at < *ends)
    }

    fn give(&self, ends: DateTime<Utc>) -> String {
        let token = format!("ya29.{}", Alphanumeric.sample_string(&mut rand::rng(), 100));
        let mut tokens = self.0.lock();
        if tokens.len() >= TOKENS_MAX
            && let Some(oldest) = tokens.iter().min_by_key(|(_, ends)| **ends).map(|(token, _)| token.clone())
        {
            tokens.remove(&oldest);
        }
        tokens.insert(token.clone(), ends);
        token
    }
}

/// The token endpoint.
pub(crate) struct Oauth {
    account: Arc<Account>,
    tokens: Arc<Tokens>,
    /// How long a token is good.
    lifetime: Duration,
}

impl Oauth {
    /// An endpoint for the assertions of this account.
    pub(crate) fn new(account: Arc<Account>, tokens: Arc<Tokens>, lifetime: Duration) -> Self {
        Self { account, tokens, lifetime }
    }

    fn check(&self, assertion: &str, now: i64) -> Result<(), String> {
        let jwt = Jwt::parse(assertion).ok_or("the assertion is no JWT")?;
        if jwt.key_id().is_some_and(|id| id != self.account.key_id()) {
            return Err("the assertion names another key".into());
        }
        if !jwt.is_signed("RS256", &RSA_PKCS1_2048_8192_SHA256, &self.account.public_key) {
            return Err("Invalid JWT Signature.".into());
        }
        if jwt.text("iss") != Some(&self.account.email) {
            return Err("Invalid grant: account not found".into());
        }
        if !jwt.text("aud").is_some_and(|whom| whom == GOOGLE || whom == self.account.token_uri) {
            return Err("Invalid JWT: Failed audience check.".into());
        }
        let (Some(from), Some(to)) = (jwt.seconds("iat"), jwt.seconds("exp")) else {
            return Err("Invalid JWT: iat and exp are missing".into());
        };
        let is_now = from <= now + CLOCKS_DIFFER_S_MAX && now < to;
        if !is_now || !(1..=ASSERTION_S_MAX).contains(&(to - from)) {
            return Err("Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable \
                        timeframe. Check your iat and exp values in the JWT claim."
                .into());
        }
        let scopes = jwt.text("scope").unwrap_or_default();
        if !scopes.split(' ').any(|scope| SCOPES.contains(&scope)) {
            return Err("Invalid OAuth scope or ID token audience provided.".into());
        }
        Ok(())
    }
}

impl Protocol for Oauth {
    fn errors(&self) -> &'static [(&'static str, u16)] {
        ERRORS
    }

    fn read(&self, request: &Request, seen: &mut Seen) -> Result<(), Refusal> {
        let refuse = |error: &str, text: &str| Err(Refusal::new(StatusCode::BAD_REQUEST, error, text));
        self.account.email.clone_into(&mut seen.registration);
        if request.path != "/token" || request.method != Method::POST {
            return Err(Refusal::new(StatusCode::NOT_FOUND, "invalid_request", "POST /token"));
        }
        if !request.is_of("application/x-www-form-urlencoded") {
            return refuse("invalid_request", "a form is posted here");
        }
        let form = format!("http://form/?{}", String::from_utf8_lossy(&request.body));
        let Ok(form) = reqwest::Url::parse(&form) else {
            return refuse("invalid_request", "the form can't be read");
        };
        let fields: HashMap<_, _> = form.query_pairs().collect();
        if fields.get("grant_type").map(AsRef::as_ref) != Some(GRANT) {
            return refuse("unsupported_grant_type", "Invalid grant_type");
        }
        let assertion = fields.get("assertion").map(AsRef::as_ref).unwrap_or_default();
        seen.id = super::super::digest(assertion.as_bytes());
        self.check(assertion, request.at.timestamp()).or_else(|text| refuse("invalid_grant", &text))
    }

    fn accept(&self, _: &Seen) -> Response {
        let ends = DateTime::<Utc>::from(std::time::SystemTime::now() + self.lifetime);
        Json(json!({
            "access_token": self.tokens.give(ends), "expires_in": self.lifetime.as_secs(), "token_type": "Bearer",
        }))
        .into_response()
    }

    fn refuse(&self, refusal: &Refusal, _: &Seen) -> Response {
        let body = json!({ "error": refusal.error, "error_description": refusal.text });
        (refusal.status, Json(body)).into_response()
    }

    fn register(&self, _: &Map<String, Value>) -> Result<Value, String> {
        Err("phones are made at the channel fcm".into())
    }

    fn unregister(&self, _: &str) -> bool {
        false
    }
}
