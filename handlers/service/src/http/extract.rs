//! Extractors whose rejections are problems: paths, queries and JSON bodies.

use std::marker::PhantomData;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;
use statecast_state::{DeviceId, DeviceKey};

use super::Http;
use super::auth::{Caller, Needs};
use super::problem::Problem;

/// The query of the URL.
pub(super) struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Http> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Http) -> Result<Self, Problem> {
        let query = axum::extract::Query::try_from_uri(&parts.uri);
        query.map(|axum::extract::Query(value)| Self(value)).map_err(|e| Problem::bad_request(e.body_text()))
    }
}

/// A JSON body.
pub(super) struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Http> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, http: &Http) -> Result<Self, Problem> {
        let body = axum::Json::from_request(request, http).await;
        body.map(|axum::Json(value)| Self(value)).map_err(|error| {
            // As axum judges it: no JSON, another type of content, not this form, too large.
            Problem::unreadable(error.status(), error.body_text())
        })
    }
}

/// A body as it came.
pub(super) struct Payload(pub Bytes);

impl FromRequest<Http> for Payload {
    type Rejection = Problem;

    async fn from_request(request: Request, http: &Http) -> Result<Self, Problem> {
        let body = Bytes::from_request(request, http).await;
        body.map(Self).map_err(|error| Problem::unreadable(error.status(), error.body_text()))
    }
}

/// What the path of the URL names.
pub(super) struct Path<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<Http> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Problem> {
        let path = axum::extract::Path::from_request_parts(parts, http).await;
        path.map(|axum::extract::Path(value)| Self(value)).map_err(|e| Problem::bad_request(e.body_text()))
    }
}

/// The device of a path `/v1/devices/{id}…`, within the tenant of the caller.
pub(super) struct Device<S> {
    /// Which one.
    pub key: DeviceKey,
    scope: PhantomData<S>,
}

impl<S: Needs> FromRequestParts<Http> for Device<S> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Problem> {
        let caller = Caller::<S>::from_request_parts(parts, http).await?;
        let Path(id) = Path::<String>::from_request_parts(parts, http).await?;
        let device = DeviceId::parse(&id).map_err(|bad| Problem::bad_request(bad.to_string()))?;
        Ok(Self { key: DeviceKey::new(caller.tenant, device), scope: PhantomData })
    }
}

/// The version that `If-Match` asks for.
///
/// # Errors
/// `Problem` when it is neither `"n"` nor `*`.
pub(super) fn if_match(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let version = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).and_then(|n| n.parse().ok());
    version.map(Some).ok_or_else(|| {
        Problem::bad_request("If-Match takes the version of a twin in quotes, such as \"7\", or *")
    })
}
