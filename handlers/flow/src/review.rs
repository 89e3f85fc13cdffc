//! A rule that is new or has changed looks at the fleet as it is; one that is gone clears its alarms.
//!
//! *Cast*: what waits for a review is a table, so that a restart goes on where it was. One task takes the oldest, looks
//! through the devices page by page, and posts to the mailbox of each that the rule may say something of.
//! *Guarantee*: a device that matches when its rule is saved has its alarm when the review ends, or was looked at by
//! its own messages meanwhile. The mailbox decides: one look too many does no harm.
//! *Bound*: [`PAGE`] devices at a time; the next wait until those are done. *Outage*: it waits.

use std::time::Duration;

use futures::future::join_all;
use statecast_state::rule::On;
use statecast_state::{Body, DeviceKey};
use statecast_store::StoreError;
use statecast_store::reviews::Review;
use tracing::{info, warn};

use crate::Flow;
use crate::clock::now;

/// Devices that are looked at at a time.
const PAGE: usize = 1_000;
/// Pause after a failed read.
const RETRY_DELAY: Duration = Duration::from_secs(1);

impl Flow {
    /// Reviews rules for as long as it is polled.
    pub(crate) async fn review_rules(&self) {
        loop {
            match self.store.next_review().await {
                Ok(None) => self.shared.rules.wait_for_review().await,
                Ok(Some(review)) => {
                    if let Err(error) = self.review(review).await {
                        warn!(%error, "review a rule: trying again");
                        tokio::time::sleep(RETRY_DELAY).await;
                    }
                }
                Err(error) => {
                    warn!(%error, "look for rules to review: trying again");
                    tokio::time::sleep(RETRY_DELAY).await;
                }
            }
        }
    }

    async fn review(&self, mut review: Review) -> Result<(), StoreError> {
        let mut looked = 0;
        loop {
            let (devices, last) = self.candidates(&review).await?;
            looked += devices.len();
            join_all(devices.into_iter().map(|key| self.ask(key, Body::Review(review.rule), now()))).await;
            let Some(last) = last else { break };
            review.after = Some(last);
            if !self.store.advance_review(&review).await? {
                // It was changed again meanwhile, and begins anew.
                return Ok(());
            }
        }
        self.store.end_review(&review).await?;
        info!(tenant = %review.tenant, rule = %review.rule, devices = looked, "a rule was reviewed");
        Ok(())
    }

    /// The devices of the next page that are to be looked at, and where the page ends; none after the last.
    async fn candidates(
        &self,
        review: &Review,
    ) -> Result<(Vec<DeviceKey>, Option<statecast_state::DeviceId>), StoreError> {
        let (tenant, rule) = (&review.tenant, review.rule);
        let rules = self.shared.rules.of(tenant);
        let open = self.store.open_alarms_of(tenant, rule, review.after.as_ref(), PAGE).await?;
        if rules.on(rule) != Some(On::Enter) {
            // Nobody saw a device leave, nothing changes now, and who is absent is looked for all the time.
            let last = open.last().filter(|_| open.len() >= PAGE).cloned();
            return Ok((
                open.into_iter().map(|device| DeviceKey::new(tenant.clone(), device)).collect(),
                last,
            ));
        }
        let twins = self.store.list(tenant, review.after.as_ref(), PAGE).await?;
        let last = twins.last().filter(|_| twins.len() >= PAGE).map(|twin| twin.device.clone());
        let now = now();
        let wanted = twins
            .into_iter()
            .filter(|twin| rules.matches(rule, twin, now) || open.binary_search(&twin.device).is_ok());
        Ok((wanted.map(|twin| DeviceKey::new(tenant.clone(), twin.device)).collect(), last))
    }
}
