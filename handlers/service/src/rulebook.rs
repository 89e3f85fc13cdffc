//! Rules, people and receivers: the tables are the truth, the flow has a compiled copy for each tenant.

use std::collections::BTreeSet;

use anyhow::Result;
use statecast_flow::Rules;
use statecast_state::TenantId;
use statecast_state::person::{CompiledPerson, Person};
use statecast_state::rule::{CompiledRule, Receiver, Rule, RuleSet};
use statecast_store::{Store, StoreError};
use tokio::sync::Mutex;
use tracing::warn;
use uuid::Uuid;

/// Changes rules, people and receivers, one change at a time, so that the copy in memory is never older than the table.
pub struct Rulebook {
    store: Store,
    rules: Rules,
    one_at_a_time: Mutex<()>,
}

impl Rulebook {
    /// Reads the rules of all tenants.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn open(store: Store, rules: Rules) -> Result<Self> {
        let book = Self { store, rules, one_at_a_time: Mutex::new(()) };
        let tenants: BTreeSet<TenantId> =
            book.store.all_rules().await?.into_iter().map(|(tenant, _)| tenant).collect();
        for tenant in tenants {
            book.refresh(&tenant).await?;
        }
        Ok(book)
    }

    /// Saves a rule, new or changed.
    ///
    /// # Errors
    /// When the database can't be written.
    pub async fn save_rule(&self, tenant: &TenantId, rule: &Rule) -> Result<(), StoreError> {
        let _turn = self.one_at_a_time.lock().await;
        self.store.put_rule(tenant, rule).await?;
        self.refresh(tenant).await?;
        self.review(tenant, rule.id).await
    }

    /// Removes a rule; false when there is none.
    ///
    /// # Errors
    /// When the database can't be written.
    pub async fn remove_rule(&self, tenant: &TenantId, id: Uuid) -> Result<bool, StoreError> {
        let _turn = self.one_at_a_time.lock().await;
        let removed = self.store.delete_rule(tenant, id).await?;
        self.refresh(tenant).await?;
        if removed {
            self.review(tenant, id).await?;
        }
        Ok(removed)
    }

    /// Saves a person, new or changed; answers whether it is new, and none when there are too many.
    ///
    /// # Errors
    /// When the database can't be written.
    pub async fn save_person(
        &self,
        tenant: &TenantId,
        person: &Person,
        people_max: usize,
    ) -> Result<Option<bool>, StoreError> {
        let _turn = self.one_at_a_time.lock().await;
        let saved = self.store.put_person(tenant, person, people_max).await?;
        self.refresh(tenant).await?;
        Ok(saved)
    }

    /// Removes a person, with its receivers; false when there is none.
    ///
    /// # Errors
    /// When the database can't be written.
    pub async fn remove_person(&self, tenant: &TenantId, id: &str) -> Result<bool, StoreError> {
        let _turn = self.one_at_a_time.lock().await;
        let removed = self.store.delete_person(tenant, id).await?;
        self.refresh(tenant).await?;
        Ok(removed)
    }

    /// Whether a receiver is one that follows live.
    pub fn is_live(&self, tenant: &TenantId, receiver: Uuid) -> bool {
        self.rules.of(tenant).directory().is_live(receiver)
    }

    /// Saves a receiver, new or changed.
    ///
    /// # Errors
    /// When the database can't be written.
    pub async fn save_receiver(&self, tenant: &TenantId, receiver: &Receiver) -> Result<(), StoreError> {
        let _turn = self.one_at_a_time.lock().await;
        self.store.put_receiver(tenant, receiver).await?;
        self.refresh(tenant).await
    }

    /// Removes a receiver; false when there is none.
    ///
    /// # Errors
    /// When the database can't be written.
    pub async fn remove_receiver(&self, tenant: &TenantId, id: Uuid) -> Result<bool, StoreError> {
        let _turn = self.one_at_a_time.lock().await;
        let removed = self.store.delete_receiver(tenant, id).await?;
        self.refresh(tenant).await?;
        Ok(removed)
    }

    /// Reads the rules of a tenant anew, after something else changed them.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn reload(&self, tenant: &TenantId) -> Result<(), StoreError> {
        let _turn = self.one_at_a_time.lock().await;
        self.refresh(tenant).await
    }

    /// Has a rule looked at the fleet. That it has to was stored with it, should we die here; said again now, because
    /// a review that was quicker than the refresh saw the rule as it was before.
    async fn review(&self, tenant: &TenantId, rule: Uuid) -> Result<(), StoreError> {
        self.store.request_review(tenant, rule).await?;
        self.rules.review();
        Ok(())
    }

    /// A set of one rule that isn't saved, and everybody whom it could tell.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn draft(&self, tenant: &TenantId, rule: CompiledRule) -> Result<RuleSet, StoreError> {
        let receivers = self.store.receivers(tenant).await?;
        let people = self.people(tenant).await?;
        Ok(RuleSet::new(tenant.clone(), vec![rule], &receivers, people))
    }

    async fn refresh(&self, tenant: &TenantId) -> Result<(), StoreError> {
        let receivers = self.store.receivers(tenant).await?;
        let mut rules = Vec::new();
        for rule in self.store.rules(tenant).await? {
            match CompiledRule::new(rule) {
                Ok(rule) => rules.push(rule),
                // It was checked when it was saved: another version of the language wrote it.
                Err(error) => warn!(%tenant, %error, "a rule is left out"),
            }
        }
        let people = self.people(tenant).await?;
        self.rules.replace(tenant.clone(), RuleSet::new(tenant.clone(), rules, &receivers, people));
        Ok(())
    }

    async fn people(&self, tenant: &TenantId) -> Result<Vec<CompiledPerson>, StoreError> {
        let mut people = Vec::new();
        for person in self.store.people(tenant, "", usize::MAX).await? {
            match CompiledPerson::new(person) {
                Ok(person) => people.push(person),
                // It was checked when it was saved: another version of the language, or another table of time zones.
                Err(error) => warn!(%tenant, %error, "a person is left out"),
            }
        }
        Ok(people)
    }
}
