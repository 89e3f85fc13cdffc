//! Errors as `application/problem+json` (RFC 9457).

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use statecast_state::Refusal;
use statecast_state::query::QueryError;
use tracing::warn;
use utoipa::ToSchema;

/// When to ask again what isn't possible at present.
const RETRY_AFTER_S: &str = "5";

/// Why a request failed.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// A stable word for the kind of problem, e.g. `not-found`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The same for all problems of this kind.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong with this request.
    #[schema(value_type = String)]
    pub detail: Box<str>,
    /// In which parameter of the request the problem is, where it isn't the query itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<&'static str>,
    /// Where in a query or this parameter the problem is: the column, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// What may stand there, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub expected: Option<Box<str>>,
    /// What was perhaps meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub suggestion: Option<Box<str>>,
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        let (status, detail) = (status.as_u16(), detail.into().into_boxed_str());
        Self { kind, title, status, detail, parameter: None, column: None, expected: None, suggestion: None }
    }

    /// 400: a parameter beside the query can't be understood.
    pub fn in_parameter(parameter: &'static str) -> impl FnOnce(QueryError) -> Self {
        move |mut error| {
            error.message = format!("{parameter}: {}", error.message);
            Self { title: "A parameter can't be understood", parameter: Some(parameter), ..error.into() }
        }
    }

    /// 400: the request can't be understood.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "The request can't be understood", detail)
    }

    /// A request that could not be read, with the status that says why: 400, 413, 415 or 422.
    pub fn unreadable(status: StatusCode, detail: impl Into<String>) -> Self {
        match status {
            StatusCode::PAYLOAD_TOO_LARGE => Self::new(status, "too-large", "A limit is exceeded", detail),
            _ => Self::new(status, "bad-request", "The request can't be understood", detail),
        }
    }

    /// 405: the path exists, but not for this method.
    pub fn method_not_allowed() -> Self {
        let detail = "this path doesn't take this method; /openapi.json has all that exist";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Not with this method", detail)
    }

    /// 401: no key, or an unknown one.
    pub fn unauthorized() -> Self {
        let detail = "send `Authorization: Bearer KEY` with a key made by `statecast key create`";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "An API key is needed", detail)
    }

    /// 401: a ticket that isn't ours, or no longer good.
    pub fn ticket() -> Self {
        let detail = "this ticket has expired, or was never ours: open the app";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "An API key is needed", detail)
    }

    /// 404: there is no such thing.
    pub fn not_found(what: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is no such thing", what)
    }

    /// 403: whoever asks may not.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "This isn't allowed", detail)
    }

    /// 409: something stands in the way.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "Something stands in the way", detail)
    }

    /// 503: not now.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not possible at present", detail)
    }

    /// The process is stopping.
    pub fn stopping() -> Self {
        Self::unavailable("the service is stopping")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(self)).into_response();
        let kind = header::HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let later = header::HeaderValue::from_static(RETRY_AFTER_S);
            response.headers_mut().insert(header::RETRY_AFTER, later);
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        let (status, kind, title) = match refusal {
            Refusal::Payload(_) => (StatusCode::BAD_REQUEST, "bad-payload", "The document can't be applied"),
            Refusal::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "A limit is exceeded"),
            Refusal::UnknownDevice(_) => (StatusCode::NOT_FOUND, "not-found", "There is no such thing"),
            Refusal::Version { .. } => {
                (StatusCode::PRECONDITION_FAILED, "version", "The twin has another version")
            }
            Refusal::Requests(_) => (StatusCode::CONFLICT, "requests", "Too many requests are open"),
            Refusal::Poison(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "poison", "The database refuses the document")
            }
            Refusal::Handler(_) => (StatusCode::INTERNAL_SERVER_ERROR, "handler", "A handler failed"),
            Refusal::UnknownAlarm(_) => (StatusCode::NOT_FOUND, "not-found", "There is no such thing"),
            Refusal::StaleAlarm(_) => (StatusCode::CONFLICT, "stale", "The alarm has changed"),
            Refusal::Contended => (StatusCode::CONFLICT, "contended", "The twin changed too often"),
        };
        Self::new(status, kind, title, detail)
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        let mut problem =
            Self::new(StatusCode::BAD_REQUEST, "bad-query", "The query can't be understood", error.message);
        problem.column = Some(error.column);
        problem.expected = error.expected.map(String::into_boxed_str);
        problem.suggestion = error.suggestion.map(String::into_boxed_str);
        problem
    }
}

/// An error behind the API: told in the log, and to the caller only as what it means.
impl From<statecast_store::StoreError> for Problem {
    fn from(error: statecast_store::StoreError) -> Self {
        warn!(%error, "a request could not be answered");
        Self::unavailable("the database can't be reached")
    }
}
