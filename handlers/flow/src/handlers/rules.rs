//! Who is to be told of what the other handlers changed.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use statecast_state::rule::RuleSet;
use statecast_state::rule::forward::Reported;
use statecast_state::{Body, Push, Refusal, Report, TenantId};
use tokio::sync::Notify;

use super::{Context, Draft, Handler, effective_time};

/// The rules of all tenants: read by every change, replaced as a whole when one is edited. Cheap to clone.
#[derive(Clone, Default)]
pub struct Rules(Arc<Inner>);

#[derive(Default)]
struct Inner {
    rules: RwLock<HashMap<TenantId, Arc<RuleSet>>>,
    /// Told when rules of absence may have changed.
    absence: Notify,
    /// Told when rules wait for a review.
    review: Notify,
}

impl Rules {
    /// Replaces the rules of a tenant.
    pub fn replace(&self, tenant: TenantId, rules: RuleSet) {
        let has_absence = |rules: &RuleSet| !rules.absence_us().is_empty();
        let new = has_absence(&rules);
        let old = self.0.rules.write().insert(tenant, Arc::new(rules));
        if new || old.is_some_and(|old| has_absence(&old)) {
            self.0.absence.notify_one();
        }
    }

    /// The rules of a tenant, as they are now.
    pub fn of(&self, tenant: &TenantId) -> Arc<RuleSet> {
        let known = self.0.rules.read().get(tenant).cloned();
        known.unwrap_or_else(|| Arc::new(RuleSet::new(tenant.clone(), Vec::new(), &[], Vec::new())))
    }

    /// Tells that rules wait for a review: what is stored of them and what is here are the same.
    pub fn review(&self) {
        self.0.review.notify_one();
    }

    /// Returns when rules wait for a review, or have since it last returned.
    pub(crate) async fn wait_for_review(&self) {
        self.0.review.notified().await;
    }

    /// The lengths of absence that rules of each tenant are about, in microseconds.
    pub(crate) fn absences(&self) -> Vec<(TenantId, i64)> {
        let rules = self.0.rules.read();
        let of = |(tenant, rules): (&TenantId, &Arc<RuleSet>)| -> Vec<(TenantId, i64)> {
            rules.absence_us().into_iter().map(|length| (tenant.clone(), length)).collect()
        };
        rules.iter().flat_map(of).collect()
    }

    /// Returns when rules of absence may have changed since it last did.
    pub(crate) async fn absences_changed(&self) {
        self.0.absence.notified().await;
    }
}

/// Works out what the change does to the alarms of the device.
pub(super) struct Fire;

impl Handler for Fire {
    fn name(&self) -> &'static str {
        "rules"
    }

    fn handle(&self, report: &Report, context: &Context<'_>, draft: &mut Draft) -> Result<(), Refusal> {
        if draft.kind.is_some() {
            draft.number();
            let rules = context.rules.of(&report.key.tenant);
            let fired = rules.fire(draft.before.as_deref(), draft.twin.as_ref(), context.moment(report));
            draft.fire(fired);
            draft.pushes.extend(forward(&rules, report, draft));
        }
        Ok(())
    }
}

/// What passes a report on, where a rule says so.
fn forward(rules: &RuleSet, report: &Report, draft: &Draft) -> Vec<Push> {
    let (Body::State(patch), Some(after)) = (&report.body, &draft.twin) else { return Vec::new() };
    let (time, believed) = effective_time(report);
    rules.forward(Reported {
        before: draft.before.as_deref(),
        after,
        patch,
        at: report.received_at,
        device_time: believed.then_some(time),
    })
}
