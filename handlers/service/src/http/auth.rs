//! Who calls: the tenant behind the API key, and what the key is good for. With `--dev` nobody needs one.

use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use axum::http::{header, request::Parts};
use statecast_state::TenantId;
use uuid::Uuid;

use super::Http;
use super::problem::Problem;
use crate::access::{Gate, Scope, Scopes};

/// What a route asks of the key of who calls it: a type, so that no route can do without.
pub(super) trait Needs: Send + Sync + 'static {
    /// The scope.
    const SCOPE: Scope;
}

macro_rules! needs {
    ($($name:ident)*) => {$(
        #[doc = "Asks for the scope of this name."]
        pub(super) struct $name;
        impl Needs for $name {
            const SCOPE: Scope = Scope::$name;
        }
    )*};
}
needs!(Read Write Devices Rules Operate Admin);

/// Who calls, with a key that is good for what is asked.
pub(super) struct Caller<S: Needs> {
    /// Whose devices it sees.
    pub tenant: TenantId,
    /// The name of its key; `dev` with `--dev`.
    pub name: String,
    /// Which key it has; none with `--dev`.
    key: Option<Uuid>,
    scope: PhantomData<S>,
}

impl<S: Needs> Caller<S> {
    /// Returns when the key is worth nothing any more: what lasts longer than a request ends then.
    pub(super) async fn gone(self, gate: &Gate) {
        match self.key {
            Some(id) => gate.key_is_gone(&self.tenant, id).await,
            None => std::future::pending().await,
        }
    }
}

impl<S: Needs> FromRequestParts<Http> for Caller<S> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Problem> {
        if http.gate.dev {
            let name = "dev".to_owned();
            return Ok(Self { tenant: TenantId::default(), name, key: None, scope: PhantomData });
        }
        let secret = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
            .ok_or_else(Problem::unauthorized)?;
        let known = http.gate.key(secret.trim()).await;
        let known = known.map_err(|_| Problem::unavailable("the database can't be reached"))?;
        let key = known.ok_or_else(Problem::unauthorized)?;
        if !Scopes::named(&key.scopes).have(S::SCOPE) {
            return Err(Problem::forbidden(format!("the key hasn't the scope `{}`", S::SCOPE.name())));
        }
        Ok(Self { tenant: key.tenant, name: key.name, key: Some(key.id), scope: PhantomData })
    }
}
