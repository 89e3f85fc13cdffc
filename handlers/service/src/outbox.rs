//! The outbox of the push dispatcher, over the tables.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures::FutureExt;
use futures::future::BoxFuture;
use statecast_push::outbox as push;
use statecast_state::{TenantId, Timestamp};
use statecast_store::Store;

use crate::rulebook::Rulebook;
use crate::tickets::Tickets;

/// The tables, as the dispatcher sees them.
pub struct Outbox {
    store: Store,
    rulebook: Arc<Rulebook>,
    tickets: Arc<Tickets>,
    group_interval: Duration,
}

impl Outbox {
    /// Over this store. The rules are read anew when a receiver is disabled. What can be grouped is sent to a receiver
    /// at most once in `group_interval`.
    pub fn new(
        store: Store,
        rulebook: Arc<Rulebook>,
        tickets: Arc<Tickets>,
        group_interval: Duration,
    ) -> Self {
        Self { store, rulebook, tickets, group_interval }
    }

    async fn take(&self, limit: usize, lease: Duration) -> Result<Vec<push::Claimed>> {
        let mut claimed = self.store.claim(limit, lease, self.group_interval).await?;
        for one in &mut claimed {
            // Only on its way: no row holds what lets somebody act.
            if let Some(ticket) = self.tickets.issue(&one.tenant, &one.push) {
                one.push.payload["token"] = ticket.into();
            }
        }
        Ok(claimed)
    }

    async fn write(&self, results: Vec<push::Finished>) -> Result<()> {
        let gone: Vec<TenantId> = results
            .iter()
            .filter(|result| matches!(result.outcome, push::Outcome::ReceiverGone { .. }))
            .map(|result| result.tenant.clone())
            .collect();
        self.store.finish(&results).await?;
        for tenant in gone {
            self.rulebook.reload(&tenant).await?;
        }
        Ok(())
    }
}

impl push::Outbox for Outbox {
    fn claim(&self, limit: usize, lease: Duration) -> BoxFuture<'_, Result<Vec<push::Claimed>>> {
        self.take(limit, lease).boxed()
    }

    fn finish(&self, results: Vec<push::Finished>) -> BoxFuture<'_, Result<()>> {
        self.write(results).boxed()
    }

    fn next_due(&self) -> BoxFuture<'_, Result<Option<Timestamp>>> {
        async move { Ok(self.store.next_due().await?) }.boxed()
    }
}
