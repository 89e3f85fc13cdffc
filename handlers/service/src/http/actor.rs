//! Who acts on an alarm or on its device: an app with a scope, a person with the key of its own app, or whoever holds
//! the ticket that came with a push.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use statecast_state::{DeviceId, TenantId};
use uuid::Uuid;

use super::Http;
use super::auth::{Caller, Me, Needs, bearer};
use super::problem::Problem;
use crate::tickets::{self, Ticket};

/// Who acts, and may do so in general; what on, has to be asked with [`Actor::may_alarm`] or [`Actor::may_device`].
pub(super) enum Actor<S: Needs> {
    /// An app whose key has the scope.
    App(Caller<S>),
    /// A person.
    Person(Me),
    /// Who holds a ticket.
    Holder(Ticket),
}

impl<S: Needs> Actor<S> {
    /// Whose alarms and devices.
    pub(super) fn tenant(&self) -> &TenantId {
        match self {
            Self::App(caller) => &caller.tenant,
            Self::Person(me) => me.tenant(),
            Self::Holder(ticket) => &ticket.tenant,
        }
    }

    /// The person who acts; none for an app, and for who was told without being a person.
    pub(super) fn person(&self) -> Option<&str> {
        match self {
            Self::App(_) => None,
            Self::Person(me) => Some(&me.person),
            Self::Holder(ticket) => ticket.person.as_deref(),
        }
    }

    /// Who it was, as it is kept: the id of a person, the name of a key, or `push` for a ticket of nobody's.
    pub(super) fn by(&self) -> String {
        match (self.person(), self) {
            (Some(person), _) => person.to_owned(),
            (None, Self::App(caller)) => caller.name.clone(),
            (None, _) => "push".to_owned(),
        }
    }

    /// May it acknowledge or shelve this alarm? An app may; a person, what it was told of; a ticket is for one alarm.
    ///
    /// # Errors
    /// `Problem` 403 when it may not: whether there is such an alarm isn't told.
    pub(super) async fn may_alarm(&self, http: &Http, alarm: Uuid) -> Result<(), Problem> {
        let may = match self {
            Self::App(_) => true,
            Self::Person(me) => http.store.was_told_of_alarm(me.tenant(), &me.person, alarm).await?,
            Self::Holder(ticket) => ticket.alarm == alarm,
        };
        may.then_some(()).ok_or_else(|| Problem::forbidden("you were not told of this alarm"))
    }

    /// May it set what this device should be? An app may; a person, if it was told of an alarm of it; a ticket is for
    /// one device.
    ///
    /// # Errors
    /// `Problem` 403 when it may not.
    pub(super) async fn may_device(&self, http: &Http, device: &DeviceId) -> Result<(), Problem> {
        let may = match self {
            Self::App(_) => true,
            Self::Person(me) => http.store.was_told_of_device(me.tenant(), &me.person, device).await?,
            Self::Holder(ticket) => ticket.device == *device,
        };
        may.then_some(()).ok_or_else(|| Problem::forbidden("you were not told of an alarm of this device"))
    }
}

impl<S: Needs> FromRequestParts<Http> for Actor<S> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Problem> {
        if let Some(text) = bearer(parts).filter(|text| tickets::is_ticket(text)) {
            let now = std::time::SystemTime::now().into();
            return http.tickets.read(text, now).map(Self::Holder).ok_or_else(Problem::ticket);
        }
        // The key of a person's app is its own, whatever else it may do.
        match Me::of(parts, http).await? {
            Some(me) => Ok(Self::Person(me)),
            None => Caller::from_request_parts(parts, http).await.map(Self::App),
        }
    }
}
