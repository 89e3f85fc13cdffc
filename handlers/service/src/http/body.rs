//! Bodies of requests: read whole, within a limit and a deadline, before anything else looks at them.
//!
//! What is too much is still read, for a while, and thrown away: a client that is sending when we hang up would see a
//! broken connection instead of the answer.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use futures::StreamExt;

use super::problem::Problem;

/// How long a body may take to arrive.
const READ_MAX: Duration = Duration::from_secs(30);
/// How long, and how much, is read of a body that is refused.
const DISCARD_TIME: Duration = Duration::from_secs(2);
const DISCARD_BYTES: usize = 16 * 1024 * 1024;

/// Hands on requests whose body has at most `bytes_max` bytes.
pub(super) async fn limited(State(bytes_max): State<usize>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let mut stream = body.into_data_stream();
    match tokio::time::timeout(READ_MAX, read(&mut stream, bytes_max)).await {
        Ok(Ok(Some(body))) => next.run(Request::from_parts(parts, Body::from(body.freeze()))).await,
        Ok(Ok(None)) => {
            // However far this came, the answer is the same.
            drop(tokio::time::timeout(DISCARD_TIME, read_away(&mut stream)).await);
            let detail = format!("a body may have {bytes_max} bytes");
            Problem::unreadable(StatusCode::PAYLOAD_TOO_LARGE, detail).into_response()
        }
        Ok(Err(error)) => Problem::bad_request(format!("the body broke off: {error}")).into_response(),
        Err(_) => {
            let seconds = READ_MAX.as_secs();
            Problem::bad_request(format!("the body didn't arrive within {seconds} s")).into_response()
        }
    }
}

/// The whole body; none when it is too large.
async fn read(stream: &mut BodyDataStream, bytes_max: usize) -> Result<Option<BytesMut>, axum::Error> {
    let mut body = BytesMut::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        if body.len() + chunk.len() > bytes_max {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

async fn read_away(stream: &mut BodyDataStream) {
    let mut bytes = 0;
    while let Some(Ok(chunk)) = stream.next().await {
        bytes += chunk.len();
        if bytes > DISCARD_BYTES {
            return;
        }
    }
}
