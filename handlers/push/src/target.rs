//! Where a webhook may go. Checked three times: when a receiver is created, before each attempt, and, as a
//! name may resolve to anything and to something else a second later, on the very addresses that the client
//! is about to connect to.

use std::net::{IpAddr, SocketAddr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use thiserror::Error;

use crate::address::is_public;

/// Longest URL of a webhook, in bytes.
pub const URL_BYTES_MAX: usize = 2_048;
/// Bytes of a secret, at least and at most, once decoded (Standard Webhooks, "Signature scheme").
pub const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Why a URL can't be that of a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadUrl {
    /// Not a URL.
    #[error("not a URL: {0}")]
    Malformed(String),
    /// Longer than the limit.
    #[error("a URL may have {URL_BYTES_MAX} bytes, not {0}")]
    TooLong(usize),
    /// Neither http nor https.
    #[error("a webhook needs http or https, not {0}")]
    Scheme(String),
    /// With a user name or a password in it.
    #[error("a URL with a user name or a password is shown and logged: leave them out")]
    Credentials,
    /// An address, or a name for one, that isn't on the public internet.
    #[error("{0} is not on the public internet, and private addresses are not allowed here")]
    Private(String),
}

/// Why a text can't be the secret of a webhook. Doesn't repeat it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadSecret {
    /// Not base64.
    #[error("a secret is `whsec_` and base64 after it")]
    Encoding,
    /// Too short to be safe, or too long.
    #[error("a secret has 24 to 64 bytes before it is written as base64, not {0}")]
    Length(usize),
}

/// Whether a webhook may go to this URL, as far as can be told without asking for the addresses of a name.
///
/// # Errors
/// `BadUrl` says what is wrong with it.
pub fn check_url(url: &str, allow_private: bool) -> Result<(), BadUrl> {
    parse_url(url, allow_private).map(drop)
}

/// The same, and hands out the URL.
pub(crate) fn parse_url(text: &str, allow_private: bool) -> Result<Url, BadUrl> {
    if text.len() > URL_BYTES_MAX {
        return Err(BadUrl::TooLong(text.len()));
    }
    let url = Url::parse(text).map_err(|error| BadUrl::Malformed(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(BadUrl::Scheme(url.scheme().to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(BadUrl::Credentials);
    }
    // An http URL always has a host, and an address in it is in its usual form by now (`0x7f.1` is 127.0.0.1).
    let host = url.host_str().unwrap_or_default();
    if !allow_private && is_private_host(host) {
        return Err(BadUrl::Private(host.to_owned()));
    }
    Ok(url)
}

fn is_private_host(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(address) => !is_public(address),
        Err(_) => {
            let name = host.strip_suffix('.').unwrap_or(host);
            name == "localhost" || name.ends_with(".localhost") // RFC 6761, 6.3
        }
    }
}

/// Whether this text can be the secret of a webhook.
///
/// # Errors
/// `BadSecret` says what is wrong with it.
pub fn check_secret(secret: &str) -> Result<(), BadSecret> {
    let encoded = secret.strip_prefix("whsec_").unwrap_or(secret);
    let bytes = STANDARD.decode(encoded).map_err(|_| BadSecret::Encoding)?;
    if SECRET_BYTES.contains(&bytes.len()) { Ok(()) } else { Err(BadSecret::Length(bytes.len())) }
}

/// Resolves names for the HTTP client, and hides the addresses that it may not connect to.
pub(crate) struct Resolver {
    /// Hide none.
    pub(crate) allow_private: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> =
                found.filter(|address| allow_private || is_public(address.ip())).collect();
            if allowed.is_empty() {
                return Err(BadUrl::Private(name.as_str().to_owned()).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_checked() {
        assert_eq!(check_url("https://example.com/hook?a=b", false), Ok(()));
        assert_eq!(check_url("http://1.1.1.1:8080/", false), Ok(()));
        assert_eq!(check_url("ftp://example.com/", false), Err(BadUrl::Scheme("ftp".into())));
        assert_eq!(check_url("https://me@example.com/", false), Err(BadUrl::Credentials));
        assert_eq!(check_url("https://:pw@example.com/", false), Err(BadUrl::Credentials));
        assert!(matches!(check_url("example.com", false), Err(BadUrl::Malformed(_))));
        let long = format!("https://example.com/{}", "x".repeat(URL_BYTES_MAX));
        assert_eq!(check_url(&long, true), Err(BadUrl::TooLong(long.len())));
    }

    #[test]
    fn every_spelling_of_a_private_address_is_refused() {
        for url in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://127.1:9/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]:80/",
            "http://169.254.169.254/latest/meta-data",
            "http://localhost/",
            "http://LocalHost./",
            "http://a.localhost/",
            "http://１２７.0.0.1/",
        ] {
            assert!(matches!(check_url(url, false), Err(BadUrl::Private(_))), "{url}");
            assert_eq!(check_url(url, true), Ok(()), "{url}");
        }
    }

    #[test]
    fn secrets_are_checked() {
        assert_eq!(check_secret("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"), Ok(()));
        assert_eq!(check_secret("C2FVsBQIhrscChlQIMV+b5sSYspob7oD"), Ok(()));
        assert_eq!(check_secret("whsec_AAAA"), Err(BadSecret::Length(3)));
        assert_eq!(check_secret("not base64!"), Err(BadSecret::Encoding));
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_a_private_address_is_refused() {
        let resolve = |allow_private| async move {
            let name = "localhost".parse().expect("a name");
            Resolver { allow_private }.resolve(name).await.map(Iterator::count)
        };
        assert!(resolve(false).await.is_err());
        assert!(resolve(true).await.is_ok_and(|addresses| addresses > 0));
    }
}
