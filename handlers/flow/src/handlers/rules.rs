//! Who is to be told of what the other handlers changed.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use statecast_state::rule::RuleSet;
use statecast_state::{Refusal, Report, TenantId};
use tokio::sync::Notify;

use super::{Context, Draft, Handler, absence};

/// The rules of all tenants: read by every change, replaced as a whole when one is edited. Cheap to clone.
#[derive(Clone, Default)]
pub struct Rules(Arc<Inner>);

#[derive(Default)]
struct Inner {
    rules: RwLock<HashMap<TenantId, Arc<RuleSet>>>,
    /// Told when rules of absence may have changed.
    absence: Notify,
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
    pub fn of(&self, tenant: &TenantId) -> Option<Arc<RuleSet>> {
        self.0.rules.read().get(tenant).cloned()
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

/// Fires the rules of the tenant whose query the twin enters or leaves.
pub(super) struct Fire;

impl Handler for Fire {
    fn name(&self) -> &'static str {
        "rules"
    }

    fn handle(&self, report: &Report, context: &Context<'_>, draft: &mut Draft) -> Result<(), Refusal> {
        let Some(rules) = context.rules.of(&report.key.tenant) else { return Ok(()) };
        if draft.kind.is_some() {
            draft.pushes = rules.fire(draft.before.as_deref(), draft.twin.as_ref(), report.received_at);
            // What changed may have made the device one that a rule of absence is about.
            absence::fire(report, context, draft);
        }
        Ok(())
    }
}
