//! Requests for tests.

use std::time::SystemTime;

use axum::http::{HeaderMap, HeaderName, Method};

use super::protocol::Request;

/// A POST of now, on a connection of its own.
pub(super) fn post(path: &str, body: impl Into<axum::body::Bytes>) -> Request {
    Request {
        method: Method::POST,
        path: path.into(),
        headers: HeaderMap::new(),
        body: body.into(),
        at: SystemTime::now().into(),
        connection: Default::default(),
    }
}

/// The same with a header.
pub(super) fn with(mut request: Request, name: &str, value: &str) -> Request {
    let name: HeaderName = name.parse().expect("a header");
    request.headers.insert(name, value.parse().expect("a value"));
    request
}
