//! Receivers on loopback that answer as they are told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use parking_lot::Mutex;
use statecast_push::Claimed;
use statecast_state::rule::ReceiverKind;
use tokio::sync::watch;
use uuid::Uuid;

use super::{PATIENCE, SECRET, row};

/// A request that a receiver got.
pub(crate) struct Received {
    /// The path that it was sent to.
    pub(crate) path: String,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body.
    pub(crate) body: Bytes,
    /// When.
    pub(crate) at: Instant,
}

/// A receiver: a server on loopback.
pub(crate) struct Hook {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its id.
    pub(crate) id: Uuid,
    /// What it got.
    pub(crate) received: Arc<Mutex<Vec<Received>>>,
    /// Requests under way at once, at most.
    pub(crate) peak: Arc<AtomicUsize>,
    changed: Arc<watch::Sender<()>>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Hook {
    /// Starts one that gives this answer to its nth request, from 0.
    pub(crate) async fn start<F>(answer: impl Fn(usize) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let (peak, running, answer) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(answer));
        let changed = Arc::new(watch::Sender::new(()));
        let (log, peak_seen, tell) = (received.clone(), peak.clone(), changed.clone());
        let handler = move |uri: Uri, headers: HeaderMap, body: Bytes| {
            let (log, peak, running, answer) =
                (log.clone(), peak_seen.clone(), running.clone(), answer.clone());
            let tell = tell.clone();
            async move {
                let n = {
                    let mut log = log.lock();
                    log.push(Received { path: uri.path().to_owned(), headers, body, at: Instant::now() });
                    log.len() - 1
                };
                tell.send_replace(());
                peak.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let response = answer(n).await;
                running.fetch_sub(1, Ordering::SeqCst);
                response
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(handler);
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, id: Uuid::now_v7(), received, peak, changed, server }
    }

    /// How many requests it got.
    pub(crate) fn count(&self) -> usize {
        self.received.lock().len()
    }

    /// Waits until it got so many.
    pub(crate) async fn until_count(&self, n: usize) {
        let mut changed = self.changed.subscribe();
        let waiting = async {
            while self.count() < n {
                changed.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("requests");
    }

    /// A row for it: number `n`, about this device.
    pub(crate) fn row(&self, device: &str, n: u64) -> Claimed {
        let kind =
            ReceiverKind::Webhook { url: format!("http://{}/hook", self.address), secret: SECRET.to_owned() };
        row(self.id, kind, device, n)
    }
}
