//! Who is to be told of what the other handlers changed.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use statecast_state::rule::RuleSet;
use statecast_state::{Refusal, Report, TenantId};

use super::{Context, Draft, Handler};

/// The rules of all tenants: read by every change, replaced as a whole when one is edited. Cheap to clone.
#[derive(Clone, Default)]
pub struct Rules(Arc<RwLock<HashMap<TenantId, Arc<RuleSet>>>>);

impl Rules {
    /// Replaces the rules of a tenant.
    pub fn replace(&self, tenant: TenantId, rules: RuleSet) {
        self.0.write().insert(tenant, Arc::new(rules));
    }

    /// The rules of a tenant, as they are now.
    pub fn of(&self, tenant: &TenantId) -> Option<Arc<RuleSet>> {
        self.0.read().get(tenant).cloned()
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
        }
        Ok(())
    }
}
