//! Accepts connections, each to a task of its own. Never waits for a client.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::OwnedSemaphorePermit;

use crate::broker::Hub;
use crate::connection::{self, Arrival};
use crate::meters;
use crate::tls::{self, Certificates};
use crate::wire::Wire;

/// Connections that the kernel may hold until they are accepted.
const BACKLOG: u32 = 4096;
/// Pause when accepting fails, e.g. for lack of file descriptors: it would fail again at once.
const RETRY_DELAY: Duration = Duration::from_millis(50);

/// Listens on an address.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts until the broker stops; with certificates, TLS.
pub(crate) async fn accept(hub: Arc<Hub>, listener: TcpListener, tls: Option<Arc<Certificates>>) {
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
        let Some(permit) = take_permit(&hub) else { continue };
        // It only costs latency if it fails.
        stream.set_nodelay(true).ok();
        let hub = Arc::clone(&hub);
        let tasks = hub.tasks.clone();
        let tls = tls.clone();
        tasks.spawn(async move {
            let arrival = match tls {
                None => Some(Arrival { stream: Wire::Tcp(stream), address, certificate: None }),
                // In a box, or the task of a plain connection would be as large.
                Some(tls) => Box::pin(tls::arrive(&hub, &tls, stream, address)).await,
            };
            if let Some(arrival) = arrival {
                connection::serve(hub, arrival).await;
            }
            drop(permit);
        });
    }
}

/// Serves a connection that somebody else accepted.
pub(crate) fn adopt(hub: &Arc<Hub>, arrival: Arrival) {
    let Some(permit) = take_permit(hub) else { return };
    let serving = connection::serve(Arc::clone(hub), arrival);
    hub.tasks.spawn(async move {
        serving.await;
        drop(permit);
    });
}

/// One of the sockets that may be open; none when there are too many.
fn take_permit(hub: &Hub) -> Option<OwnedSemaphorePermit> {
    let permit = Arc::clone(&hub.sockets).try_acquire_owned().ok();
    if permit.is_none() {
        meters::refused("connections");
    }
    permit
}
