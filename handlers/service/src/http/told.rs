//! Live streams of what live receivers are told.

use std::sync::Arc;

use axum::response::sse::Event;
use serde_json::json;
use statecast_state::{Change, Position, Push, TenantId};
use statecast_store::{Store, StoreError};
use uuid::Uuid;

use super::Http;
use super::live::{Past, READ_MAX, Teller, event};
use crate::rulebook::Rulebook;
use crate::tickets::Tickets;

/// Of which live receivers.
pub(super) enum Whose {
    /// All of the tenant.
    Anybodys,
    /// This one.
    Receiver(Uuid),
    /// Those of this person.
    Person(String),
}

/// Tells what live receivers are told, each with its ticket.
pub(super) struct Told {
    store: Store,
    rulebook: Arc<Rulebook>,
    tickets: Arc<Tickets>,
    tenant: TenantId,
    whose: Whose,
}

impl Told {
    /// From what the handlers of requests share.
    pub(super) fn new(http: &Http, tenant: TenantId, whose: Whose) -> Self {
        let (store, rulebook, tickets) = (http.store.clone(), http.rulebook.clone(), http.tickets.clone());
        Self { store, rulebook, tickets, tenant, whose }
    }

    fn told(&self, push: &Push) -> Option<Event> {
        let wanted = match &self.whose {
            Whose::Anybodys => true,
            Whose::Receiver(receiver) => push.receiver == *receiver,
            Whose::Person(person) => push.person.as_ref() == Some(person),
        };
        let mut push = wanted.then(|| push.clone())?;
        if let Some(ticket) = self.tickets.issue(&self.tenant, &push) {
            push.payload["token"] = json!(ticket);
        }
        Some(event("notification", &push))
    }
}

impl Teller for Told {
    fn tell(&mut self, change: &Change) -> Vec<Event> {
        if change.key.tenant != self.tenant {
            return Vec::new();
        }
        let mut pushes = change.pushes.iter();
        let live = |push: &&Push| self.rulebook.is_live(&self.tenant, push.receiver);
        pushes.by_ref().filter(live).filter_map(|push| self.told(push)).collect()
    }

    async fn past(&mut self, after: Position, upto: Position) -> Result<Past, StoreError> {
        let pushes = self.store.live_pushes(&self.tenant, after, upto, READ_MAX).await?;
        let reached = pushes.last().filter(|_| pushes.len() >= READ_MAX).map_or(upto, |push| push.position);
        let told = pushes.iter().filter_map(|push| Some((push.position, self.told(push)?)));
        Ok(Some((told.collect(), reached)))
    }
}
