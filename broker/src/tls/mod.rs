//! TLS 1.2 and 1.3: the handshake, in the task of the connection that makes it.
//!
//! - [`certificates`]: what the handshake needs, read again when the files change
//! - [`name`]: whom a client certificate names
//!
//! A client that is slow, or says nothing, holds its own socket until the deadline, and nothing else.

mod certificates;
mod name;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

pub(crate) use self::certificates::Certificates;
use crate::CertificateName;
use crate::broker::Hub;
use crate::connection::Arrival;
use crate::limits::Ticket;
use crate::meters;
use crate::wire::Wire;

/// Most bytes that wait encrypted for a slow client; more wait in the output of its connection, where they have a
/// deadline.
const BUFFER_BYTES_MAX: usize = 16 * 1024;

/// MQTT over TLS. The files are PEM, and are read again when they change.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Where to listen; port 0 takes a free one, see [`crate::Broker::tls_address`].
    pub listen: SocketAddr,
    /// The certificate of the server, followed by those between it and the root.
    pub certificate: PathBuf,
    /// The private key of the certificate.
    pub key: PathBuf,
    /// Who signs the certificates of clients, one or more; none if clients show none.
    pub client_ca: Option<PathBuf>,
    /// Must a client show a certificate? Needs `client_ca`.
    pub require_client_certificate: bool,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
}

/// Makes a TLS connection of a TCP one. None when that doesn't work out in time.
pub(crate) async fn arrive(
    hub: &Hub,
    certificates: &Arc<Certificates>,
    stream: TcpStream,
    address: SocketAddr,
    ticket: Ticket,
) -> Option<Arrival> {
    let handshake = async {
        let acceptor = TlsAcceptor::from(certificates.current().await);
        acceptor.accept_with(stream, |session| session.set_buffer_limit(Some(BUFFER_BYTES_MAX))).await
    };
    let handshake = tokio::time::timeout(certificates.handshake_timeout(), handshake);
    let problem = match hub.stopping.run_until_cancelled(handshake).await? {
        Err(_) => "TLS handshake timeout".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Ok(Ok(stream)) => match stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()) {
            None => {
                return Some(Arrival { stream: Wire::pipe(stream), address, certificate: None, ticket });
            }
            Some(shown) => match name::of(shown) {
                Some(name) => {
                    let certificate = Some(CertificateName::verified(name));
                    return Some(Arrival { stream: Wire::pipe(stream), address, certificate, ticket });
                }
                None => "a client certificate without a name".to_owned(),
            },
        },
    };
    meters::refused("tls");
    tracing::info!(%address, problem, "no TLS connection");
    None
}
