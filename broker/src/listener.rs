//! Accepts connections, each to a task of its own. Never waits for a client.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Semaphore;

use crate::broker::Hub;
use crate::connection;
use crate::meters;

/// Connections that the kernel may hold until they are accepted.
const BACKLOG: u32 = 4096;
/// Connections over the limit that may be told so at one time; more are closed without a word.
const REFUSALS_MAX: usize = 1024;
/// Pause when accepting fails, e.g. for lack of file descriptors: it would fail again at once.
const RETRY_DELAY: Duration = Duration::from_millis(50);

/// Listens on an address.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts until the broker stops.
pub(crate) async fn accept(hub: Arc<Hub>, listener: TcpListener) {
    let sockets = hub.config.connections_max.saturating_add(REFUSALS_MAX).min(Semaphore::MAX_PERMITS);
    let sockets = Arc::new(Semaphore::new(sockets));
    while let Some(accepted) = hub.stopping.run_until_cancelled(listener.accept()).await {
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "can't accept connections at present");
                meters::refused("accept");
                tokio::time::sleep(RETRY_DELAY).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&sockets).try_acquire_owned() else {
            meters::refused("connections");
            continue;
        };
        // It only costs latency if it fails.
        stream.set_nodelay(true).ok();
        let hub = Arc::clone(&hub);
        let tasks = hub.tasks.clone();
        tasks.spawn(async move {
            connection::serve(hub, stream, address).await;
            drop(permit);
        });
    }
}
