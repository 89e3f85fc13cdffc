//! Who may connect over MQTT, and what each may do.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use sha2::{Digest, Sha256};
use statecast_broker::access::Admitted;
use statecast_broker::{Access, CertificateName, Denied, Grants, Hello};
use statecast_state::{DeviceId, DeviceKey, TenantId};
use statecast_store::{Store, StoreError};
use tracing::warn;

/// The user name of apps, whose password is an API key.
const APP: &str = "key";

/// The hash under which a token or key is stored.
pub fn hash(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// A new token or key: 256 random bits as 64 hexadecimal digits.
pub fn new_token() -> String {
    hex::encode(rand::random::<[u8; 32]>())
}

/// Checks credentials against the database. With `--dev`, everyone is let in.
pub struct Credentials {
    store: Store,
    dev: bool,
}

impl Credentials {
    /// Checks against this store.
    pub fn new(store: Store, dev: bool) -> Self {
        Self { store, dev }
    }

    async fn check(&self, hello: &Hello) -> Result<Admitted, Denied> {
        if let Some(certificate) = &hello.certificate {
            return self.check_certificate(certificate, hello.user_name.as_deref()).await;
        }
        let name = hello.user_name.as_deref().unwrap_or_default();
        if self.dev {
            // Who gives no user name is perhaps a device all the same, and then its client id says which.
            let name = if name.is_empty() { &hello.client_id } else { name };
            return Ok(admitted(&TenantId::default(), name, Arc::new(Anything)));
        }
        let Some(password) = &hello.password else { return Err(Denied::Credentials) };
        let hash = hash(password);
        if name == APP {
            let key = self
                .store
                .key_by_hash(&hash)
                .await
                .map_err(|error| unavailable(&error))?
                .ok_or(Denied::Credentials)?;
            // No device can have this name, as `/` can't stand in a device id.
            return Ok(admitted(&key.tenant, &format!("key/{}", key.id), Arc::new(App)));
        }
        let key = self
            .store
            .device_by_token(&hash)
            .await
            .map_err(|error| unavailable(&error))?
            .ok_or(Denied::Credentials)?;
        if key.device.as_str() != name {
            return Err(Denied::Credentials);
        }
        Ok(admitted(&key.tenant, name, Arc::new(Device(key.device.clone()))))
    }

    /// A certificate names a device of the default tenant, and needs no password beside it.
    async fn check_certificate(
        &self,
        certificate: &CertificateName,
        user_name: Option<&str>,
    ) -> Result<Admitted, Denied> {
        let key = DeviceKey { tenant: TenantId::default(), device: certified(certificate, user_name)? };
        let name = key.device.as_str();
        if self.dev {
            return Ok(admitted(&key.tenant, name, Arc::new(Anything)));
        }
        if self.store.twin(&key).await.map_err(|error| unavailable(&error))?.is_none() {
            return Err(Denied::NotAuthorized);
        }
        Ok(admitted(&key.tenant, name, Arc::new(Device(key.device.clone()))))
    }
}

fn unavailable(error: &StoreError) -> Denied {
    warn!(%error, "check credentials");
    Denied::Unavailable
}

/// The device that a certificate names, for a client that may say its name once more.
fn certified(certificate: &CertificateName, user_name: Option<&str>) -> Result<DeviceId, Denied> {
    let name = certificate.as_str();
    if user_name.is_some_and(|user| !user.is_empty() && user != name) {
        return Err(Denied::Credentials);
    }
    DeviceId::parse(name).map_err(|_| Denied::Credentials)
}

fn admitted(tenant: &TenantId, name: &str, grants: Arc<dyn Grants>) -> Admitted {
    Admitted { realm: tenant.as_str().into(), name: name.into(), grants }
}

impl Access for Credentials {
    fn connect<'a>(&'a self, hello: &'a Hello) -> BoxFuture<'a, Result<Admitted, Denied>> {
        self.check(hello).boxed()
    }
}

/// What a device may do: its own topics, and whatever isn't the service's.
struct Device(DeviceId);

impl Device {
    fn own<'t>(&self, topic: &'t str) -> Option<&'t str> {
        topic.strip_prefix("devices/")?.strip_prefix(self.0.as_str())?.strip_prefix('/')
    }
}

fn service_owned(topic: &str) -> bool {
    // A filter may begin with a wildcard, and then reaches everything.
    topic.starts_with("devices/") || topic.starts_with("changes/") || topic.starts_with(['+', '#'])
}

impl Grants for Device {
    fn may_publish(&self, topic: &str) -> bool {
        matches!(self.own(topic), Some("state" | "desired/rejected")) || !service_owned(topic)
    }

    fn may_subscribe(&self, filter: &str) -> bool {
        matches!(self.own(filter), Some("desired" | "presence" | "state" | "+" | "#"))
            || !service_owned(filter)
    }

    fn may_receive(&self, topic: &str) -> bool {
        self.own(topic).is_some() || !service_owned(topic)
    }
}

/// What an app with an API key may do: see everything of its tenant, and speak for no device.
struct App;

impl Grants for App {
    fn may_publish(&self, topic: &str) -> bool {
        !service_owned(topic)
    }

    fn may_subscribe(&self, _: &str) -> bool {
        true
    }

    fn may_receive(&self, _: &str) -> bool {
        true
    }
}

/// What anyone may do with `--dev`: all that makes sense.
struct Anything;

impl Grants for Anything {
    fn may_publish(&self, topic: &str) -> bool {
        !topic.starts_with("changes/") && !topic.ends_with("/presence")
    }

    fn may_subscribe(&self, _: &str) -> bool {
        true
    }

    fn may_receive(&self, _: &str) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_and_a_user_name_are_one() {
        let certified = |name, user| certified(&CertificateName::verified(name), user);
        assert!(certified("pump-7", None).is_ok_and(|device| device.as_str() == "pump-7"));
        assert!(certified("pump-7", Some("")).is_ok());
        assert!(certified("pump-7", Some("pump-7")).is_ok());
        assert_eq!(certified("pump-7", Some("pump-8")), Err(Denied::Credentials));
        assert_eq!(certified("pump-7", Some("key")), Err(Denied::Credentials));
        assert_eq!(certified("Acme Ltd/7", None), Err(Denied::Credentials), "no device id");
    }

    #[test]
    fn a_device_speaks_for_itself_only() {
        let device = Device(DeviceId::parse("a").expect("valid"));
        assert!(device.may_publish("devices/a/state"));
        assert!(!device.may_publish("devices/a/presence"));
        assert!(!device.may_publish("devices/ab/state"));
        assert!(!device.may_publish("changes/a"));
        assert!(device.may_publish("chat/room"));
        assert!(device.may_subscribe("devices/a/desired"));
        assert!(!device.may_subscribe("devices/+/desired"));
        assert!(!device.may_subscribe("#"));
        assert!(!device.may_subscribe("+/a/state"));
        assert!(!device.may_receive("devices/b/desired"));
    }
}
