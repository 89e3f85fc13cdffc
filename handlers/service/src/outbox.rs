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

/// The tables, as the dispatcher sees them.
pub struct Outbox {
    store: Store,
    rulebook: Arc<Rulebook>,
}

impl Outbox {
    /// Over this store. The rules are read anew when a receiver is disabled.
    pub fn new(store: Store, rulebook: Arc<Rulebook>) -> Self {
        Self { store, rulebook }
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
        async move { Ok(self.store.claim(limit, lease).await?) }.boxed()
    }

    fn finish(&self, results: Vec<push::Finished>) -> BoxFuture<'_, Result<()>> {
        self.write(results).boxed()
    }

    fn next_due(&self) -> BoxFuture<'_, Result<Option<Timestamp>>> {
        async move { Ok(self.store.next_due().await?) }.boxed()
    }
}
