//! Who calls: the tenant behind the API key. With `--dev` nobody needs one.

use axum::extract::FromRequestParts;
use axum::http::{header, request::Parts};
use statecast_state::TenantId;

use super::Http;
use super::problem::Problem;
use crate::access;

/// Who calls.
pub(super) struct Caller {
    /// Whose devices it sees.
    pub tenant: TenantId,
}

impl FromRequestParts<Http> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Problem> {
        if http.dev {
            return Ok(Self { tenant: TenantId::default() });
        }
        let key = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
            .ok_or_else(Problem::unauthorized)?;
        let known = http.store.key_by_hash(&access::hash(key.trim().as_bytes())).await?;
        known.map(|key| Self { tenant: key.tenant }).ok_or_else(Problem::unauthorized)
    }
}
