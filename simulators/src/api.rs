//! The HTTP interface of the service, as far as simulators use it.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::device::Document;

/// Longest that one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// A call that fails for a reason that may pass is made again for so long.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Pause before the second call; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Items asked for in a page of history.
const HISTORY_PAGE: usize = 500;
/// Most pages of a list that are read; more means that the cursor leads nowhere.
const PAGES_MAX: usize = 20_000;

/// Where the service is and how to be let in.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ServiceAddress {
    /// The HTTP address of the service.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub(crate) http: String,
    /// An API key; none is needed by a service that was started with --dev.
    #[arg(long, value_name = "KEY", env = "STATECAST_KEY", hide_env_values = true)]
    pub(crate) key: Option<String>,
}

/// A client of the HTTP interface. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Api {
    client: reqwest::Client,
    address: ServiceAddress,
}

/// A page of any list.
#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
    #[serde(default)]
    next_cursor: Option<String>,
}

/// One row of a device's history.
#[derive(Debug, Deserialize)]
pub(crate) struct HistoryItem {
    /// Its place in the feed: rises with the order in which changes were made.
    pub(crate) position: u64,
    /// What was changed: `state`, `desired`, `presence` ...
    pub(crate) kind: String,
    /// The merge patch as it came.
    #[serde(default)]
    pub(crate) patch: Document,
}

/// What a search found.
#[derive(Debug, Deserialize)]
pub(crate) struct Found {
    /// How many devices match.
    pub(crate) total: u64,
    /// The first of them, as twins.
    pub(crate) items: Vec<Document>,
}

/// A rule or a receiver that exists.
#[derive(Debug, Deserialize)]
pub(crate) struct Named {
    /// Its id.
    pub(crate) id: String,
    /// The name that people gave it.
    #[serde(default)]
    pub(crate) name: String,
    /// The secret of a webhook, told once, when it is created.
    #[serde(default)]
    pub(crate) secret: Option<String>,
}

impl Api {
    /// A client for the service at this address.
    pub(crate) fn new(address: ServiceAddress) -> anyhow::Result<Self> {
        let client =
            reqwest::Client::builder().timeout(CALL_TIMEOUT).build().context("set up the HTTP client")?;
        Ok(Self { client, address })
    }

    /// Whether the service says that it is ready.
    pub(crate) async fn is_ready(&self) -> bool {
        let url = format!("{}/readyz", self.address.http);
        let call = self.client.get(url).timeout(Duration::from_secs(2)).send().await;
        call.is_ok_and(|answer| answer.status().is_success())
    }

    /// Registers a device with these tags; answers its token, unless it was registered before.
    pub(crate) async fn register(&self, device: &str, tags: &Value) -> anyhow::Result<Option<String>> {
        #[derive(Deserialize)]
        struct Registered {
            #[serde(default)]
            token: Option<String>,
        }
        let path = format!("/v1/devices/{device}");
        let answer: Option<Registered> = self.call(Method::PUT, &path, Some(&json!({"tags": tags}))).await?;
        Ok(answer.and_then(|registered| registered.token))
    }

    /// All of a device's history, oldest first; none for a device that the service doesn't know.
    pub(crate) async fn history(&self, device: &str) -> anyhow::Result<Vec<HistoryItem>> {
        let mut items: Vec<HistoryItem> =
            self.list(&format!("/v1/devices/{device}/history?limit={HISTORY_PAGE}")).await?;
        items.sort_by_key(|item| item.position);
        Ok(items)
    }

    /// The devices that match a query.
    pub(crate) async fn search(&self, query: &str) -> anyhow::Result<Found> {
        let query: String = query.bytes().map(percent_encoded).collect();
        self.call(Method::GET, &format!("/v1/search?limit=1&q={query}"), None)
            .await?
            .context("the search has no answer")
    }

    /// Creates a rule (`/v1/rules`) or a receiver (`/v1/receivers`).
    pub(crate) async fn create(&self, path: &str, body: &Value) -> anyhow::Result<Named> {
        self.call(Method::POST, path, Some(body)).await?.with_context(|| format!("{path} doesn't exist"))
    }

    /// Creates or replaces what has a name of ours, such as `/v1/people/ada`.
    pub(crate) async fn put(&self, path: &str, body: &Value) -> anyhow::Result<()> {
        let _: Option<Value> = self.call(Method::PUT, path, Some(body)).await?;
        Ok(())
    }

    /// Acknowledges an alarm with the token that a push brought. False: there is a newer version of it, or none any
    /// more.
    pub(crate) async fn acknowledge(&self, alarm: &str, version: u64, token: &str) -> anyhow::Result<bool> {
        let address = ServiceAddress { key: Some(token.to_owned()), ..self.address.clone() };
        let holder = Self { client: self.client.clone(), address };
        let path = format!("/v1/alarms/{alarm}/ack");
        let (status, text) =
            holder.call_once(Method::POST, &path, Some(&json!({ "version": version }))).await?;
        match status {
            StatusCode::CONFLICT | StatusCode::NOT_FOUND => Ok(false),
            status if status.is_success() => Ok(true),
            status => {
                bail!("{path} was answered with {status}: {}", text.chars().take(300).collect::<String>())
            }
        }
    }

    /// The rules or receivers that exist.
    pub(crate) async fn existing(&self, path: &str) -> anyhow::Result<Vec<Named>> {
        self.list(path).await
    }

    /// Deletes a rule or a receiver; one that is gone is fine.
    pub(crate) async fn delete(&self, path: &str, id: &str) -> anyhow::Result<()> {
        let _: Option<Value> = self.call(Method::DELETE, &format!("{path}/{id}"), None).await?;
        Ok(())
    }

    async fn list<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<Vec<T>> {
        let joint = if path.contains('?') { '&' } else { '?' };
        let (mut items, mut next) = (Vec::new(), path.to_owned());
        for _ in 0..PAGES_MAX {
            let Some(page) = self.call::<Page<T>>(Method::GET, &next, None).await? else { return Ok(items) };
            items.extend(page.items);
            match page.next_cursor.filter(|cursor| !cursor.is_empty()) {
                None => return Ok(items),
                Some(cursor) => {
                    let cursor: String = cursor.bytes().map(percent_encoded).collect();
                    next = format!("{path}{joint}cursor={cursor}");
                }
            }
        }
        bail!("{path} has more than {PAGES_MAX} pages")
    }

    /// Makes a call, again while the service can't be reached or says that it can't answer now. None: 404,
    /// or an answer without a body.
    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Option<T>> {
        let (started, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            let again = started.elapsed() + pause < RETRY_MAX;
            match self.call_once(method.clone(), path, body).await {
                Ok((StatusCode::NOT_FOUND | StatusCode::NO_CONTENT, _)) => return Ok(None),
                Ok((status, text)) if status.is_success() => {
                    let read = serde_json::from_str(&text);
                    return read.with_context(|| format!("read the answer of {method} {path}")).map(Some);
                }
                Ok((status, text)) => {
                    let passing = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
                    if !passing || !again {
                        let text: String = text.chars().take(300).collect();
                        bail!("{method} {path} was answered with {status}: {text}");
                    }
                }
                Err(error) if !again => {
                    return Err(error).with_context(|| format!("call {method} {path}"));
                }
                Err(_) => {}
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    async fn call_once(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> reqwest::Result<(StatusCode, String)> {
        let mut request = self.client.request(method, format!("{}{path}", self.address.http));
        if let Some(key) = &self.address.key {
            request = request.bearer_auth(key);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await?;
        Ok((answer.status(), answer.text().await?))
    }
}

/// One byte of a query parameter, as it may stand in an address.
fn percent_encoded(byte: u8) -> String {
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_in_an_address_is_encoded() {
        let encoded: String = "battery:<20 a&b=é".bytes().map(percent_encoded).collect();
        assert_eq!(encoded, "battery%3A%3C20%20a%26b%3D%C3%A9");
    }
}
