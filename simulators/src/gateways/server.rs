//! Takes connections for a gateway: HTTP/1.1 in the clear, or HTTP/2 over TLS.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::gateway::Gateway;
use super::protocol::{Connection, Request};

/// Connections of one gateway; more wait to be taken.
const CONNECTIONS_MAX: usize = 10_000;
/// Largest body that is read, in bytes; every channel allows less.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Requests at the same time on one connection of HTTP/2, as APNs says in its SETTINGS.
const STREAMS_MAX: u32 = 1_000;
/// How long a client may take to introduce itself, and to send a request's head or body.
const READ_MAX: Duration = Duration::from_secs(10);
/// How long requests that are being answered may take when the gateway stops.
const FINISH_MAX: Duration = Duration::from_secs(2);
/// Pause after a connection that couldn't be taken, most likely for want of files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What is spoken on a connection.
#[derive(Clone)]
pub(super) enum Wire {
    /// HTTP/1.1 in the clear: what stands in for a service behind a proxy on this machine.
    Clear,
    /// HTTP/2 over TLS, and nothing else.
    Http2(TlsAcceptor),
}

/// Serves a gateway until `stop`.
pub(super) async fn serve(
    listener: TcpListener,
    wire: Wire,
    gateway: Arc<Gateway>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let (room, connections) = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), TaskTracker::new());
    let taking = async {
        loop {
            let place = Arc::clone(&room).acquire_owned().await.context("wait for room")?;
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let (wire, gateway, stop) = (wire.clone(), Arc::clone(&gateway), stop.clone());
            connections.spawn(async move {
                // One that breaks off is the client's affair.
                drop(talk(stream, wire, gateway, stop).await);
                drop(place);
            });
        }
    };
    let taken: Option<anyhow::Result<()>> = stop.run_until_cancelled(taking).await;
    connections.close();
    connections.wait().await;
    taken.unwrap_or(Ok(()))
}

async fn talk(
    stream: TcpStream,
    wire: Wire,
    gateway: Arc<Gateway>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    match wire {
        Wire::Clear => Box::pin(http1(stream, gateway, stop)).await,
        Wire::Http2(tls) => {
            let stream = timeout(READ_MAX, tls.accept(stream)).await.context("wait for a handshake")??;
            anyhow::ensure!(stream.get_ref().1.alpn_protocol() == Some(b"h2"), "HTTP/2 is spoken here");
            Box::pin(http2(stream, gateway, stop)).await
        }
    }
}

async fn http1(stream: TcpStream, gateway: Arc<Gateway>, stop: CancellationToken) -> anyhow::Result<()> {
    let connection = Arc::default();
    let service = service_fn(|request| respond(request, &gateway, &connection));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new());
    let talking = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(talking);
    tokio::select! {
        ended = talking.as_mut() => return Ok(ended?),
        () = stop.cancelled() => talking.as_mut().graceful_shutdown(),
    }
    Ok(timeout(FINISH_MAX, talking).await??)
}

async fn http2<S>(stream: S, gateway: Arc<Gateway>, stop: CancellationToken) -> anyhow::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection: Arc<Connection> = Arc::default();
    let service = service_fn(move |request| {
        let (gateway, connection) = (Arc::clone(&gateway), Arc::clone(&connection));
        async move { respond(request, &gateway, &connection).await }
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).max_concurrent_streams(STREAMS_MAX);
    let talking = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(talking);
    tokio::select! {
        ended = talking.as_mut() => return Ok(ended?),
        () = stop.cancelled() => talking.as_mut().graceful_shutdown(),
    }
    Ok(timeout(FINISH_MAX, talking).await??)
}

/// Answers one request. An error resets the stream of HTTP/2, and the connection of HTTP/1.1.
async fn respond(
    request: hyper::Request<Incoming>,
    gateway: &Gateway,
    connection: &Arc<Connection>,
) -> io::Result<Response> {
    let (head, body) = request.into_parts();
    let reading = timeout(READ_MAX, axum::body::to_bytes(Body::new(body), BODY_BYTES_MAX));
    let Ok(Ok(body)) = reading.await else { return Ok(StatusCode::PAYLOAD_TOO_LARGE.into_response()) };
    let request = Request {
        method: head.method,
        path: head.uri.path().to_owned(),
        headers: head.headers,
        body,
        at: SystemTime::now().into(),
        connection: Arc::clone(connection),
    };
    let answer = gateway.answer(request).await;
    answer.ok_or_else(|| io::Error::new(io::ErrorKind::ConnectionReset, "the gateway was told to break off"))
}
