//! Which device a user name means.

use statecast_state::{DeviceId, DeviceKey, TenantId};

/// A device that a client says it is. To be proved.
///
/// `pump-7` is a device of the default tenant, or of the tenant that a token belongs to; `acme/pump-7` is one of the
/// tenant `acme`. Neither a tenant nor a device id can have a `/` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    tenant: Option<TenantId>,
    device: DeviceId,
}

impl User {
    /// Reads a user name; none when it can't be that of a device.
    pub fn parse(name: &str) -> Option<Self> {
        match name.split_once('/') {
            None => Some(Self { tenant: None, device: DeviceId::parse(name).ok()? }),
            Some((tenant, device)) => {
                let tenant = Some(TenantId::parse(tenant).ok()?);
                Some(Self { tenant, device: DeviceId::parse(device).ok()? })
            }
        }
    }

    /// Could it mean this device, which a token belongs to?
    pub fn may_be(&self, key: &DeviceKey) -> bool {
        self.device == key.device && self.tenant.as_ref().is_none_or(|tenant| *tenant == key.tenant)
    }

    /// The device that it means where nothing else says whose it is.
    pub fn key(self) -> DeviceKey {
        DeviceKey::new(self.tenant.unwrap_or_default(), self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_may_stand_before_the_device() {
        let key = |name| User::parse(name).map(|user| user.key().to_string());
        assert_eq!(key("pump-7").as_deref(), Some("default/pump-7"));
        assert_eq!(key("acme/pump-7").as_deref(), Some("acme/pump-7"));
        for odd in ["", "/", "acme/", "/pump", "A/pump", "a/b/c", "pump 7"] {
            assert_eq!(key(odd), None, "{odd}");
        }
        let pump = User::parse("pump-7").expect("a name");
        let acme = User::parse("acme/pump-7").expect("a name");
        assert!(pump.may_be(&acme.clone().key()), "a token says whose it is");
        assert!(!acme.may_be(&pump.key()));
    }
}
