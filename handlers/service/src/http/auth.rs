//! Who calls: the tenant behind the API key, and what the key is good for. With `--dev` nobody needs one.

use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use axum::http::{header, request::Parts};
use statecast_state::TenantId;
use statecast_store::ApiKey;
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
needs!(Read Write Devices Rules Receive Operate Admin);

/// Who calls, with a key that is good for what is asked.
pub(super) struct Caller<S: Needs> {
    /// Whose devices it sees.
    pub tenant: TenantId,
    /// What people call the key; `dev` where none is needed.
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
            let (tenant, name) = (TenantId::default(), "dev".to_owned());
            return Ok(Self { tenant, name, key: None, scope: PhantomData });
        }
        let key = key(parts, http).await?.ok_or_else(Problem::unauthorized)?;
        if !Scopes::named(&key.scopes).have(S::SCOPE) {
            return Err(Problem::forbidden(format!("the key hasn't the scope `{}`", S::SCOPE.name())));
        }
        Ok(Self::with(key))
    }
}

impl<S: Needs> Caller<S> {
    fn with(key: ApiKey) -> Self {
        Self { tenant: key.tenant, name: key.name, key: Some(key.id), scope: PhantomData }
    }
}

/// A person, by the key of its app. With `--dev` too: somebody has to say who it is.
pub(super) struct Me {
    /// Its id.
    pub person: String,
    caller: Caller<Receive>,
}

impl Me {
    /// Whose person it is.
    pub(super) fn tenant(&self) -> &TenantId {
        &self.caller.tenant
    }

    /// For what lasts longer than a request.
    pub(super) fn into_caller(self) -> Caller<Receive> {
        self.caller
    }

    /// The person whose app calls; none when there is no key, or it belongs to nobody.
    pub(super) async fn of(parts: &Parts, http: &Http) -> Result<Option<Self>, Problem> {
        Ok(key(parts, http).await?.and_then(Self::with))
    }

    fn with(mut key: ApiKey) -> Option<Self> {
        let person = key.person.take().filter(|_| Scopes::named(&key.scopes).have(Scope::Receive))?;
        Some(Self { person, caller: Caller::with(key) })
    }
}

impl FromRequestParts<Http> for Me {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Problem> {
        let key = key(parts, http).await?.ok_or_else(Problem::unauthorized)?;
        let who = "this is for keys with the scope `receive`, made for a person";
        Self::with(key).ok_or_else(|| Problem::forbidden(who))
    }
}

/// What a request shows to be let in.
pub(super) fn bearer(parts: &Parts) -> Option<&str> {
    let shown = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    shown.strip_prefix("Bearer ").map(str::trim)
}

/// The valid key that a request shows, if it shows one.
async fn key(parts: &Parts, http: &Http) -> Result<Option<ApiKey>, Problem> {
    let Some(secret) = bearer(parts) else { return Ok(None) };
    let known = http.gate.key(secret).await;
    known.map_err(|_| Problem::unavailable("the database can't be reached"))
}
