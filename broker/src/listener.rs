//! Accepts connections, each to a task of its own. Never waits for a client.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::time::Instant;

use crate::broker::Hub;
use crate::connection::{self, Arrival};
use crate::tls::{self, Certificates};
use crate::wire::Wire;
use crate::{Certificate, meters};

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
    let mut failing = false;
    while let Some(accepted) = hub.stopping.run_until_cancelled(listener.accept()).await {
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "can't accept connections at present");
                }
                failing = true;
                meters::refused("accept");
                tokio::time::sleep(RETRY_DELAY).await;
                continue;
            }
        };
        failing = false;
        let Some(ticket) = hub.arrivals.admit(address.ip(), Instant::now()) else { continue };
        if tls.is_some() && ticket.refused.is_some() {
            // To be told why would cost a handshake, which is what floods are made of.
            continue;
        }
        hub.stopping.run_until_cancelled(hub.passage.come()).await;
        // It only costs latency if it fails.
        stream.set_nodelay(true).ok();
        let hub = Arc::clone(&hub);
        let tasks = hub.tasks.clone();
        let tls = tls.clone();
        tasks.spawn(async move {
            let arrival = match tls {
                None => Some(Arrival { stream: Wire::Tcp(stream), address, certificate: None, ticket }),
                // In a box, or the task of a plain connection would be as large.
                Some(tls) => Box::pin(tls::arrive(&hub, &tls, stream, address, ticket)).await,
            };
            if let Some(arrival) = arrival {
                connection::serve(hub, arrival).await;
            }
        });
    }
}

/// Serves a connection that somebody else accepted.
pub(crate) fn adopt(hub: &Arc<Hub>, stream: Wire, address: SocketAddr, certificate: Option<Certificate>) {
    let Some(ticket) = hub.arrivals.admit(address.ip(), Instant::now()) else { return };
    let arrival = Arrival { stream, address, certificate, ticket };
    hub.tasks.spawn(connection::serve(Arc::clone(hub), arrival));
}
