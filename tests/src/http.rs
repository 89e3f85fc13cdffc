//! Calls the API of a service, as any client would.

use anyhow::{Context, Result, bail};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::wait;

/// A client of one service.
#[derive(Clone)]
pub struct Api {
    client: reqwest::Client,
    base: String,
    key: Option<String>,
}

impl Api {
    /// A client of the service at this address, e.g. `127.0.0.1:8080`.
    pub fn new(address: &str) -> Self {
        // A second call changes nothing.
        drop(rustls::crypto::ring::default_provider().install_default());
        Self { client: reqwest::Client::new(), base: format!("http://{address}"), key: None }
    }

    /// The same with an API key.
    #[must_use]
    pub fn with_key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// A request to a path such as `/v1/devices`.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    /// Sends a GET, whatever comes of it.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> Result<Response> {
        self.request(Method::GET, path).send().await.with_context(|| format!("GET {path}"))
    }

    /// Sends a request with a JSON body, whatever comes of it.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(&self, method: Method, path: &str, body: &Value) -> Result<Response> {
        let request = self.request(method, path).json(body);
        request.send().await.with_context(|| format!("send {path}"))
    }

    /// Reads JSON from a path.
    ///
    /// # Errors
    /// When the answer isn't a success.
    pub async fn json(&self, path: &str) -> Result<Value> {
        read(self.get(path).await?).await.with_context(|| format!("GET {path}"))
    }

    /// Sends JSON and reads JSON.
    ///
    /// # Errors
    /// When the answer isn't a success.
    pub async fn call(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let name = format!("{method} {path}");
        read(self.send(method, path, body).await?).await.context(name)
    }

    /// Registers a device and gives its token.
    ///
    /// # Errors
    /// When it can't be registered, or already was.
    pub async fn register(&self, id: &str) -> Result<String> {
        let registered = self.call(Method::PUT, &format!("/v1/devices/{id}"), &json!({})).await?;
        registered["token"].as_str().map(str::to_owned).context("no token")
    }

    /// The twin of a device, once a condition holds.
    ///
    /// # Errors
    /// When it doesn't come to that.
    pub async fn twin_when(&self, id: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
        let path = format!("/v1/devices/{id}");
        wait::until(&format!("the twin of {id}"), || async {
            self.json(&path).await.ok().filter(|twin| holds(twin))
        })
        .await
    }

    /// The whole history of a device, oldest first.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn history(&self, id: &str) -> Result<Vec<Value>> {
        let (mut entries, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/v1/devices/{id}/history?limit=1000&cursor={cursor}");
            let page = self.json(&path).await?;
            entries.extend(page["items"].as_array().context("items")?.iter().cloned());
            cursor = page["next_cursor"].as_str().context("next_cursor")?.to_owned();
            if cursor.is_empty() {
                entries.reverse();
                return Ok(entries);
            }
        }
    }
}

async fn read(response: Response) -> Result<Value> {
    let status = response.status();
    let text = response.text().await.context("read the answer")?;
    if !status.is_success() {
        bail!("{status}: {text}");
    }
    if text.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
}
