//! Decides who may connect over MQTT, and who calls over HTTP. With `--dev`, everyone is let in.
//!
//! | shown | who it is |
//! |---|---|
//! | user name `key`, an API key as password | an app |
//! | user name of a device, its token as password | that device; the token says whose it is |
//! | user name of a device, its password | that device, see [`super::user`] |
//! | a client certificate, perhaps a user name | the device of the user name, or else of the certificate's name |
//!
//! A certificate is taken for a device that it is bound to, in any tenant; and, for a device of the default tenant
//! to which none is bound, if it names that device, unless the settings say that names don't count.
//!
//! An unknown name and a wrong secret get the same answer, after the same work.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result};
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use statecast_broker::access::Admitted;
use statecast_broker::{Access, Certificate, Client, Denied, Grants, Hello};
use statecast_state::{DeviceKey, TenantId, Timestamp};
use statecast_store::{ApiKey, Store};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::grants::{Anything, Granted, Proof};
use super::lookups::{Lookups, Unavailable};
use super::passwords::{self, NoAnswer, Passwords};
use super::policies::{Cell, Policies};
use super::policy;
use super::review::{CLOCKS_DIFFER_US, Subject, now};
use super::secret::{hash, is_token};
use super::user::User;

/// The user name of apps, whose password is an API key.
const APP: &str = "key";

/// Decides who is let in.
pub struct Gate {
    /// Nobody needs to show anything.
    pub dev: bool,
    /// A certificate that isn't bound counts for the device that it names.
    certificate_names: bool,
    /// The policies of all tenants.
    pub policies: Policies,
    /// Hashes and checks passwords.
    pub passwords: Passwords,
    lookups: Lookups,
    pub(super) store: Store,
    /// How many changes of access were noticed.
    noticed: AtomicU64,
    /// Who was let in while a change was noticed: it may not be true any more.
    doubtful: Mutex<HashSet<Subject>>,
    /// Who is connected, or was, with a key that expires.
    expiring: Mutex<BTreeSet<(Timestamp, Subject)>>,
    /// Told when there is more in one of these two.
    pub(super) wake: Notify,
    /// Told when keys may have changed.
    keys: watch::Sender<()>,
}

impl From<Unavailable> for Denied {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}

impl From<NoAnswer> for Denied {
    fn from(none: NoAnswer) -> Self {
        match none {
            NoAnswer::Busy => Self::Busy,
            NoAnswer::Failed => Self::Unavailable,
        }
    }
}

impl Gate {
    /// Reads the policies of all tenants.
    ///
    /// # Errors
    /// When the settings are out of range, or the database can't be read.
    pub async fn open(
        store: Store,
        passwords: &passwords::Settings,
        certificate_names: bool,
        dev: bool,
    ) -> Result<Self> {
        let policies = Policies::new(store.clone());
        policies.reload_all().await.context("read the policies")?;
        Ok(Self {
            dev,
            certificate_names,
            policies,
            passwords: Passwords::new(passwords)?,
            lookups: Lookups::start(&store),
            store,
            noticed: AtomicU64::new(0),
            doubtful: Mutex::default(),
            expiring: Mutex::default(),
            wake: Notify::new(),
            keys: watch::Sender::new(()),
        })
    }

    /// The valid API key with this secret, if there is one.
    ///
    /// # Errors
    /// When the database gives no answer.
    pub async fn key(&self, secret: &str) -> Result<Option<ApiKey>, Unavailable> {
        self.lookups.keys.get(hash(secret.as_bytes())).await
    }

    /// Returns when a key is worth nothing any more.
    pub async fn key_is_gone(&self, tenant: &TenantId, id: Uuid) {
        let mut changes = self.keys.subscribe();
        loop {
            let known = self.store.valid_keys(&[(tenant.clone(), id)]).await;
            let expires_at = match known.as_deref() {
                // If the clock of the database is behind ours, a little later.
                Ok([Some(key)]) => key.expires_at.map(|at| at.max(now().plus_micros(CLOCKS_DIFFER_US))),
                Ok(_) => return,
                // The database is away. When it is back, all are looked at.
                Err(_) => None,
            };
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = until(expires_at) => {}
            }
        }
    }

    async fn check(&self, hello: &Hello) -> Result<Admitted, Denied> {
        let noticed = self.noticed.load(Ordering::Acquire);
        let user_name = hello.user_name.as_deref().unwrap_or_default();
        if let Some(certificate) = &hello.certificate {
            return self.check_certificate(certificate, user_name, noticed).await;
        }
        if self.dev {
            // Who gives no user name is perhaps a device all the same, and then its client id says which.
            let name = if user_name.is_empty() { &hello.client_id } else { user_name };
            return Ok(admitted(&TenantId::default(), name, Anything));
        }
        let secret = hello.password.as_deref().ok_or(Denied::Credentials)?;
        if user_name == APP {
            let key = self.lookups.keys.get(hash(secret)).await?.ok_or(Denied::Credentials)?;
            let policy = self.policy_of_key(&key);
            let name = Subject::Key(key.tenant.clone(), key.id).name();
            return Ok(admitted(&key.tenant, &name, Granted::app(&key, noticed, policy)));
        }
        let user = User::parse(user_name);
        if is_token(secret) {
            let shown = hash(secret);
            let holder = self.lookups.holders.get(shown).await?.ok_or(Denied::Credentials)?;
            if !user.is_some_and(|user| user.may_be(&holder.key)) {
                return Err(Denied::Credentials);
            }
            return Ok(self.device(&holder.key, Proof::Token(shown), noticed, holder.policy.as_deref()));
        }
        let key = user.map(User::key);
        let known = match &key {
            Some(key) => self.lookups.credentials.get(key.clone()).await?.unwrap_or_default(),
            None => Default::default(),
        };
        let right = self.passwords.verify(secret.to_vec(), known.password.as_deref()).await?;
        match (right, key, &known.password) {
            (true, Some(key), Some(stored)) => {
                Ok(self.device(&key, Proof::password(stored), noticed, known.policy.as_deref()))
            }
            _ => Err(Denied::Credentials),
        }
    }

    /// One answer for all that isn't so: who has a certificate of its own must not learn which devices there are.
    async fn check_certificate(
        &self,
        certificate: &Certificate,
        user_name: &str,
        noticed: u64,
    ) -> Result<Admitted, Denied> {
        let claimed = if user_name.is_empty() { certificate.name() } else { user_name };
        let key = User::parse(claimed).ok_or(Denied::NotAuthorized)?.key();
        let named = key.tenant == TenantId::default() && key.device.as_str() == certificate.name();
        if self.dev && named {
            return Ok(admitted(&key.tenant, key.device.as_str(), Anything));
        }
        let known = self.lookups.credentials.get(key.clone()).await?.ok_or(Denied::NotAuthorized)?;
        let named = named && self.certificate_names;
        let proof = Proof::Certificate { shown: hash(certificate.der()), named };
        if !proof.holds(&known) {
            return Err(Denied::NotAuthorized);
        }
        Ok(self.device(&key, proof, noticed, known.policy.as_deref()))
    }

    fn device(&self, key: &DeviceKey, proof: Proof, noticed: u64, policy: Option<&str>) -> Admitted {
        let policy = self.policy_of_device(&key.tenant, policy);
        let granted = Granted::device(key.device.clone(), proof, noticed, policy);
        admitted(&key.tenant, key.device.as_str(), granted)
    }

    /// The policy that holds for a device that names this one, or none.
    pub(super) fn policy_of_device(&self, tenant: &TenantId, name: Option<&str>) -> Arc<Cell> {
        self.policies.cell(tenant, name.unwrap_or(policy::DEVICES))
    }

    /// The policy that holds for a key.
    pub(super) fn policy_of_key(&self, key: &ApiKey) -> Arc<Cell> {
        self.policies.cell(&key.tenant, key.policy.as_deref().unwrap_or(policy::APPS))
    }

    /// Changes were noticed: what was read before may not be true any more.
    pub(super) fn notice(&self) {
        self.noticed.fetch_add(1, Ordering::AcqRel);
    }

    /// Keys may have changed: live streams look whether theirs is still good.
    pub(super) fn tell_of_keys(&self) {
        self.keys.send_replace(());
    }

    /// A key is to be looked at when it has expired.
    pub(super) fn expect_end(&self, of: Subject, at: Timestamp) {
        if self.expiring.lock().insert((at, of)) {
            self.wake.notify_one();
        }
    }

    /// When the next key expires, if any does.
    pub(super) fn next_end(&self) -> Option<Timestamp> {
        self.expiring.lock().first().map(|(at, _)| *at)
    }

    /// Who is to be looked at now: it is doubtful, or its key has expired.
    pub(super) fn due(&self, now: Timestamp) -> HashSet<Subject> {
        let mut due = std::mem::take(&mut *self.doubtful.lock());
        let mut expiring = self.expiring.lock();
        while expiring.first().is_some_and(|(at, _)| *at <= now) {
            due.extend(expiring.pop_first().map(|(_, subject)| subject));
        }
        due
    }
}

fn admitted(tenant: &TenantId, name: &str, grants: impl Grants) -> Admitted {
    Admitted { realm: tenant.as_str().into(), name: name.into(), grants: Arc::new(grants) }
}

/// Sleeps until then; for ever where there is no such time.
pub(super) async fn until(at: Option<Timestamp>) {
    let Some(at) = at else { return std::future::pending().await };
    let left = at.micros_since(now());
    tokio::time::sleep(std::time::Duration::from_micros(u64::try_from(left).unwrap_or(0))).await;
}

impl Access for Gate {
    fn connect<'a>(&'a self, hello: &'a Hello) -> BoxFuture<'a, Result<Admitted, Denied>> {
        self.check(hello).boxed()
    }

    fn entered(&self, client: &Client) {
        let grants: &dyn std::any::Any = &*client.grants;
        let (Some(granted), Some(subject)) = (grants.downcast_ref::<Granted>(), Subject::of(client)) else {
            return;
        };
        if let Proof::Key(Some(at)) = granted.proof {
            self.expect_end(subject.clone(), at);
        }
        if granted.noticed != self.noticed.load(Ordering::Acquire) {
            self.doubtful.lock().insert(subject);
            self.wake.notify_one();
        }
    }
}
