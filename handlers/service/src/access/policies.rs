//! The policies of all tenants: the table is the truth, and here is a compiled copy that follows it.
//!
//! Each policy has one [`Cell`], which all connections share that it holds for: when it changes, they all see the new
//! one. What can't be read, or isn't there, allows nothing.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use statecast_state::TenantId;
use statecast_store::{PolicyRow, Store, StoreError};
use tracing::warn;

use super::policy::{Policy, built_in};

/// A policy that may change.
pub type Cell = RwLock<Policy>;

/// All policies, as they are now.
pub struct Policies {
    store: Store,
    cells: Mutex<HashMap<(TenantId, String), Arc<Cell>>>,
    /// Read and put in force one at a time, or an older one could come last.
    one_at_a_time: tokio::sync::Mutex<()>,
}

impl Policies {
    /// None yet: [`Policies::reload_all`] reads them.
    pub fn new(store: Store) -> Self {
        Self { store, cells: Mutex::default(), one_at_a_time: tokio::sync::Mutex::default() }
    }

    /// The policy of a tenant with this name, as it is and as it will be.
    pub fn cell(&self, tenant: &TenantId, name: &str) -> Arc<Cell> {
        let key = (tenant.clone(), name.to_owned());
        Arc::clone(
            self.cells
                .lock()
                .entry(key)
                .or_insert_with(|| Arc::new(RwLock::new(compiled(None, tenant, name)))),
        )
    }

    /// Reads a policy anew, after something changed it.
    ///
    /// # Errors
    /// When the database can't be read; then the old one stays.
    pub async fn reload(&self, tenant: &TenantId, name: &str) -> Result<(), StoreError> {
        let _turn = self.one_at_a_time.lock().await;
        let row = self.store.policy(tenant, name).await?;
        *self.cell(tenant, name).write() = compiled(row, tenant, name);
        Ok(())
    }

    /// Reads all of them anew.
    ///
    /// # Errors
    /// When the database can't be read; then the old ones stay.
    pub async fn reload_all(&self) -> Result<(), StoreError> {
        let _turn = self.one_at_a_time.lock().await;
        let rows = self.store.policies(None).await?;
        let mut rows: HashMap<_, _> =
            rows.into_iter().map(|row| ((row.tenant.clone(), row.name.clone()), row)).collect();
        let mut cells = self.cells.lock();
        // Those that nobody has any more are forgotten.
        cells.retain(|key, cell| rows.contains_key(key) || Arc::strong_count(cell) > 1);
        for (key, cell) in cells.iter() {
            *cell.write() = compiled(rows.remove(key), &key.0, &key.1);
        }
        for ((tenant, name), row) in rows {
            let policy = compiled(Some(row), &tenant, &name);
            cells.insert((tenant, name), Arc::new(RwLock::new(policy)));
        }
        Ok(())
    }

    /// Saves a policy, and puts it in force.
    ///
    /// # Errors
    /// When the database can't be written.
    pub async fn save(&self, row: &PolicyRow) -> Result<(), StoreError> {
        self.store.put_policy(row).await?;
        self.reload(&row.tenant, &row.name).await
    }

    /// Removes a policy: one that is built in is so again. False when there is none.
    ///
    /// # Errors
    /// When the database can't be written.
    pub async fn remove(&self, tenant: &TenantId, name: &str) -> Result<bool, StoreError> {
        let removed = self.store.delete_policy(tenant, name).await?;
        self.reload(tenant, name).await?;
        Ok(removed)
    }
}

fn compiled(row: Option<PolicyRow>, tenant: &TenantId, name: &str) -> Policy {
    let row = row.unwrap_or_else(|| absent(tenant, name));
    Policy::parse(&row).unwrap_or_else(|error| {
        // It was checked when it was saved: somebody else wrote it.
        warn!(%tenant, name, %error, "a policy can't be read, and allows nothing");
        Policy::default()
    })
}

/// What holds under a name under which nothing was saved: what is built in, or nothing.
pub fn absent(tenant: &TenantId, name: &str) -> PolicyRow {
    let (tenant, name) = (tenant.clone(), name.to_owned());
    let mut row = PolicyRow { tenant, name, publish: Vec::new(), subscribe: Vec::new() };
    built_in(&mut row);
    row
}
