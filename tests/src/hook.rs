//! A receiver of webhooks.

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::wait::PATIENCE;

/// A server that accepts every webhook. Ends when dropped.
pub struct Hook {
    /// Where to send them.
    pub url: String,
    calls: mpsc::UnboundedReceiver<Call>,
    serving: JoinHandle<()>,
}

/// A webhook as it came.
pub struct Call {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Call {
    /// The body as JSON.
    ///
    /// # Errors
    /// When it isn't.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).context("read the webhook")
    }

    /// A header as text; empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Hook {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// When there is none.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/hook", listener.local_addr()?);
        let (sender, calls) = mpsc::unbounded_channel();
        let receive = move |headers: HeaderMap, body: Bytes| async move {
            drop(sender.send(Call { headers, body }));
            StatusCode::NO_CONTENT
        };
        let routes = Router::new().fallback(receive);
        let serving = tokio::spawn(async move { drop(axum::serve(listener, routes).await) });
        Ok(Self { url, calls, serving })
    }

    /// The next webhook.
    ///
    /// # Errors
    /// When none comes.
    pub async fn next(&mut self) -> Result<Call> {
        timeout(PATIENCE, self.calls.recv()).await.context("no webhook came")?.context("the receiver ended")
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
