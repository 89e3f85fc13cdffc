//! The console: a page over the public API, and the description of that API.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use utoipa::openapi::OpenApi;

use super::Http;

/// Nothing but our own files, and nothing from elsewhere.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The files of the console, and `openapi.json`.
pub(super) fn routes(api: OpenApi) -> Router<Http> {
    Router::new()
        .route(
            "/",
            get(|| async { file("text/html; charset=utf-8", include_str!("../../console/index.html")) }),
        )
        .route("/console.js", get(|| async { script(include_str!("../../console/console.js")) }))
        .route("/api.js", get(|| async { script(include_str!("../../console/api.js")) }))
        .route("/saved.js", get(|| async { script(include_str!("../../console/saved.js")) }))
        .route("/alarms.js", get(|| async { script(include_str!("../../console/alarms.js")) }))
        .route("/results.js", get(|| async { script(include_str!("../../console/results.js")) }))
        .route("/complete.js", get(|| async { script(include_str!("../../console/complete.js")) }))
        .route("/console.css", get(|| async { file("text/css", include_str!("../../console/console.css")) }))
        .route("/openapi.json", get(move || async move { Json(api) }))
}

fn script(content: &'static str) -> Response {
    file("text/javascript", content)
}

fn file(kind: &'static str, content: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (headers, content).into_response()
}
