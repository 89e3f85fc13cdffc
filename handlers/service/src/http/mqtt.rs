//! MQTT over WebSocket: `/mqtt`, for clients in browsers and behind proxies that only let HTTP through.
//!
//! The messages of a WebSocket are read as one stream of bytes: packets and messages needn't begin or end together
//! (MQTT 5, 6.0.0-2). The broker reads and writes it like any other connection, so its bounds and deadlines hold;
//! here at most one message each way is kept beside.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use axum::routing::get;
use bytes::{Buf as _, Bytes};
use futures::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Http;
use super::problem::Problem;

/// The names of the protocol: that of 3.1.1 and 5, and the one that older clients ask for.
const PROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];
/// Longest message, in bytes. Of a longer packet the client sends several.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Longest message that we send, in bytes.
const SENT_BYTES_MAX: usize = 16 * 1024;
/// What is read at once, in bytes: it is kept for as long as the connection lasts.
const READ_BYTES: usize = 4 * 1024;

/// Not part of the described API: what is spoken here isn't HTTP.
pub(super) fn routes() -> Router<Http> {
    Router::new().route("/mqtt", get(upgrade))
}

async fn upgrade(
    State(http): State<Http>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    if http.gate.dev && !same_origin(&headers) {
        // With --dev nobody needs a password, and any page that a browser shows could try this.
        return Err(Problem::forbidden("with --dev, pages from elsewhere aren't let in"));
    }
    let upgrade = upgrade
        .map_err(|rejection| Problem::unreadable(rejection.status(), rejection.body_text()))?
        .protocols(PROTOCOLS)
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .read_buffer_size(READ_BYTES)
        // Each message leaves at once: the broker has put together what belongs together.
        .write_buffer_size(0)
        .max_write_buffer_size(2 * SENT_BYTES_MAX);
    if upgrade.selected_protocol().is_none() {
        return Err(Problem::bad_request("MQTT over WebSocket asks for the subprotocol `mqtt`"));
    }
    Ok(upgrade.on_upgrade(async move |socket| {
        http.broker.accept(Bytestream { socket, unread: Bytes::new() }, peer, None);
    }))
}

/// Does a browser show a page of ours, or is it no browser at all?
fn same_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    matches!((origin, host), (Some((_, origin)), Some(host)) if origin == host)
}

/// The binary messages of a WebSocket as a stream of bytes.
struct Bytestream {
    socket: WebSocket,
    /// What of the last message wasn't read yet.
    unread: Bytes,
}

impl AsyncRead for Bytestream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                None | Some(Ok(Message::Close(_))) => return Poll::Ready(Ok(())),
                Some(Ok(Message::Binary(bytes))) => self.unread = bytes,
                // Pings are answered below us.
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Text(_))) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a text message")));
                }
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
            }
        }
        let len = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread[..len]);
        self.unread.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Bytestream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut socket = Pin::new(&mut self.socket);
        ready!(socket.as_mut().poll_ready(cx)).map_err(io::Error::other)?;
        let message = &bytes[..bytes.len().min(SENT_BYTES_MAX)];
        let sent = socket.start_send(Message::Binary(Bytes::copy_from_slice(message)));
        Poll::Ready(sent.map(|()| message.len()).map_err(io::Error::other))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(io::Error::other)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_from_elsewhere_are_told_from_ours() {
        let headers = |origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, axum::http::HeaderValue::from_static("localhost:8080"));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, axum::http::HeaderValue::from_static(origin));
            }
            headers
        };
        assert!(same_origin(&headers(None)), "no browser");
        assert!(same_origin(&headers(Some("http://localhost:8080"))));
        assert!(!same_origin(&headers(Some("http://localhost:8081"))));
        assert!(!same_origin(&headers(Some("https://elsewhere.example"))));
        assert!(!same_origin(&headers(Some("null"))));
    }
}
