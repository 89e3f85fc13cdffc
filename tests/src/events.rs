//! Reads server-sent events.

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use futures::stream::BoxStream;
use reqwest::Method;
use serde_json::Value;
use tokio::time::timeout;

use crate::Api;
use crate::wait::PATIENCE;

/// A stream of events.
pub struct Events {
    chunks: BoxStream<'static, reqwest::Result<Vec<u8>>>,
    text: Vec<u8>,
    last_id: Option<String>,
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// Its id: a position in the feed.
    pub id: String,
    /// What it carries.
    pub data: Value,
}

impl Events {
    /// Follows a path such as `/v1/changes`, from now on or from after the event with this id.
    ///
    /// # Errors
    /// When the answer isn't a stream of events.
    pub async fn open(api: &Api, path: &str, last_id: Option<&str>) -> Result<Self> {
        let mut request = api.request(Method::GET, path);
        if let Some(id) = last_id {
            request = request.header("Last-Event-ID", id);
        }
        let response = request.send().await.context("follow")?;
        ensure!(response.status().is_success(), "{}", response.status());
        let chunks = response.bytes_stream().map(|chunk| chunk.map(|bytes| bytes.to_vec()));
        Ok(Self { chunks: chunks.boxed(), text: Vec::new(), last_id: None })
    }

    /// The next event.
    ///
    /// # Errors
    /// When none comes.
    pub async fn next(&mut self) -> Result<Event> {
        timeout(PATIENCE, self.read()).await.context("no event came")?
    }

    /// The last id that came, with an event or without one: what a browser would come back with.
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// Waits for an id that comes without an event.
    ///
    /// # Errors
    /// When none comes, or an event comes first.
    pub async fn mark(&mut self) -> Result<String> {
        let block = timeout(PATIENCE, self.block()).await.context("no id came")??;
        ensure!(field(&block, "data:").is_none(), "{block}");
        Ok(field(&block, "id:").context("no id")?.to_owned())
    }

    async fn read(&mut self) -> Result<Event> {
        loop {
            let block = self.block().await?;
            // A comment only says that the connection lives, an id how far it is.
            if let Some(data) = field(&block, "data:") {
                let data = serde_json::from_str(data).context("data")?;
                let [name, id] =
                    ["event:", "id:"].map(|name| field(&block, name).unwrap_or_default().to_owned());
                return Ok(Event { name, id, data });
            }
        }
    }

    /// The lines up to the next empty one.
    async fn block(&mut self) -> Result<String> {
        loop {
            let Some(end) = self.text.windows(2).position(|pair| pair == b"\n\n") else {
                let chunk = self.chunks.next().await.context("the stream ended")?;
                self.text.extend(chunk.context("the stream broke off")?);
                continue;
            };
            let block: Vec<u8> = self.text.drain(..end + 2).collect();
            let block = String::from_utf8(block)?;
            if let Some(id) = field(&block, "id:") {
                self.last_id = Some(id.to_owned());
            }
            return Ok(block);
        }
    }
}

fn field<'a>(block: &'a str, name: &str) -> Option<&'a str> {
    block.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}
