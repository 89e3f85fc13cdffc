//! What all channels over HTTP have in common: clients that follow no redirect and use no proxy (it would resolve names
//! for us, unchecked), one request with a deadline, and little read of the answer.

use std::error::Error;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Certificate, Client, ClientBuilder, RequestBuilder, Response, StatusCode, redirect};
use rustls::crypto::{CryptoProvider, ring};
use statecast_state::Timestamp;

use crate::Settings;
use crate::policy::{Answer, Blame, clean, now, retry_after};
use crate::target::Resolver;

/// Bytes of an answer that are read; a connection whose answer is longer is closed, not used again.
const ANSWER_BYTES_MAX: usize = 4_096;
/// Longest time to wait for the body of an answer: its head has said what counts.
const ANSWER_BODY_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest time for resolving the name, TCP and TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is kept for the next push.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Makes clients.
pub(crate) struct Clients {
    roots: Vec<Certificate>,
    attempt_timeout: Duration,
    per_host: usize,
}

impl Clients {
    /// With TLS by ring, unless the process chose another provider; the roots of the system, and those of the settings.
    pub(crate) fn new(settings: &Settings) -> anyhow::Result<Self> {
        if CryptoProvider::get_default().is_none() {
            // An error means that another thread was quicker, which is as good.
            let _ = ring::default_provider().install_default();
        }
        let roots = match &settings.ca {
            Some(path) => {
                let pem = fs::read(path).with_context(|| format!("read {}", path.display()))?;
                let roots = Certificate::from_pem_bundle(&pem)
                    .with_context(|| format!("read certificates in {}", path.display()))?;
                anyhow::ensure!(!roots.is_empty(), "{} has no certificate in PEM", path.display());
                roots
            }
            None => Vec::new(),
        };
        Ok(Self { roots, attempt_timeout: settings.attempt_timeout, per_host: settings.sends_max })
    }

    /// A client for addresses that come from the settings, which are trusted.
    pub(crate) fn trusted(&self) -> ClientBuilder {
        self.to(true)
    }

    /// A client for addresses that people give. HTTP/1.1, so that a server can't have many requests share the fate of
    /// one connection.
    pub(crate) fn given(&self, private: bool) -> anyhow::Result<Client> {
        self.to(private).http1_only().build().context("prepare an HTTP client")
    }

    fn to(&self, private: bool) -> ClientBuilder {
        Client::builder()
            .user_agent(concat!("statecast/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .tls_certs_merge(self.roots.clone())
            .dns_resolver(Arc::new(Resolver { allow_private: private }))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(self.attempt_timeout)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(self.per_host)
    }
}

/// What was answered.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Its first 4 KiB.
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// Status and text, for people.
    pub(crate) fn error(&self) -> String {
        let text = clean(&self.body);
        if text.is_empty() { self.status.to_string() } else { format!("{}: {text}", self.status) }
    }

    /// What `Retry-After` says.
    pub(crate) fn retry_after(&self) -> Option<Timestamp> {
        let value = self.headers.get(RETRY_AFTER)?.to_str().ok()?;
        retry_after(value, now())
    }

    /// A failure that is tried again, not before the time that was said.
    pub(crate) fn failed(&self, blame: Blame) -> Answer {
        Answer::Failed { error: self.error(), not_before: self.retry_after(), blame }
    }

    /// What its status says where nothing else does: 2xx is yes, 429 and 5xx are the trouble of the provider.
    pub(crate) fn judge(&self) -> Answer {
        match self.status {
            status if status.is_success() => Answer::Accepted { status: status.as_u16() },
            StatusCode::TOO_MANY_REQUESTS => self.failed(Blame::Quota),
            status if status.is_server_error() => self.failed(Blame::Provider),
            _ => self.failed(Blame::Push),
        }
    }
}

/// Sends a request, and reads what comes.
///
/// # Errors
/// The answer when nothing came.
pub(crate) async fn ask(request: RequestBuilder) -> Result<Reply, Answer> {
    let response = request.send().await.map_err(no_answer)?;
    let (status, headers) = (response.status(), response.headers().clone());
    Ok(Reply { status, headers, body: read_some(response).await })
}

/// What it means when there was no answer.
pub(crate) fn no_answer(error: reqwest::Error) -> Answer {
    let text = if error.is_timeout() {
        let what = if error.is_connect() { "no connection" } else { "no answer" };
        format!("{what} in time")
    } else {
        // Without the URL, which may have a secret in its path.
        let error = error.without_url();
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            text = format!("{text}: {inner}");
            cause = inner.source();
        }
        text
    };
    Answer::Failed { error: clean(text.as_bytes()), not_before: None, blame: Blame::Provider }
}

/// The first bytes of the answer. What goes wrong here doesn't matter any more.
async fn read_some(mut response: Response) -> Vec<u8> {
    let mut read = Vec::new();
    let reading = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            let room = ANSWER_BYTES_MAX - read.len();
            read.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
            if read.len() >= ANSWER_BYTES_MAX {
                break;
            }
        }
    };
    // On timeout, what was read by then is kept.
    let _ = tokio::time::timeout(ANSWER_BODY_TIMEOUT, reading).await;
    read
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_name_for_a_private_address_is_never_connected_to() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = Clients::new(&Settings::default()).unwrap().given(false).unwrap();
        // Past the check of the URL, as a name of the public internet would be.
        let Err(Answer::Failed { error, .. }) = ask(client.get(format!("http://localhost:{port}/"))).await
        else {
            panic!("it must fail")
        };
        assert!(error.contains("not on the public internet"), "{error}");
        assert!(futures::FutureExt::now_or_never(listener.accept()).is_none());
    }

    #[test]
    fn roots_that_cannot_be_read_are_named() {
        let settings = Settings { ca: Some("no-such-file.pem".into()), ..Settings::default() };
        assert!(Clients::new(&settings).err().unwrap().to_string().contains("no-such-file.pem"));
    }
}
