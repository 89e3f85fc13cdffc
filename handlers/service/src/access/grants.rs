//! What one connection may do, and what it showed to be let in.

use std::sync::Arc;

use parking_lot::RwLock;
use sha2::{Digest as _, Sha256};
use statecast_broker::Grants;
use statecast_state::{DeviceId, Timestamp};
use statecast_store::{ApiKey, Credentials, Hash};

use super::pattern::OWN;
use super::policies::Cell;
use super::scope::{Scope, Scopes};

/// What a client showed. Only as much as is needed to tell whether it still counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// The token of a device, by its hash.
    Token(Hash),
    /// The password of a device, by a hash of how it is stored: another salt, another password.
    Password(Hash),
    /// A certificate.
    Certificate {
        /// SHA-256 of it.
        shown: Hash,
        /// It names the device, and names count.
        named: bool,
    },
    /// An API key, until it expires.
    Key(Option<Timestamp>),
}

impl Proof {
    /// A password that was right.
    pub fn password(stored: &str) -> Self {
        Self::Password(Sha256::digest(stored).into())
    }

    /// Does it still let in, given what the device may show now?
    pub fn holds(&self, credentials: &Credentials) -> bool {
        match self {
            Self::Token(hash) => credentials.token.as_ref() == Some(hash),
            Self::Password(_) => {
                credentials.password.as_deref().is_some_and(|stored| *self == Self::password(stored))
            }
            Self::Certificate { named, .. } if credentials.certificates.is_empty() => *named,
            Self::Certificate { shown, .. } => credentials.certificates.contains(shown),
            Self::Key(_) => false,
        }
    }
}

/// The grants of one connection. They may change while it lasts.
pub struct Granted {
    /// The device that it acts for; none for an app.
    device: Option<DeviceId>,
    /// What it showed.
    pub proof: Proof,
    /// How many changes had been noticed when its credentials were read.
    pub noticed: u64,
    rights: RwLock<Rights>,
}

struct Rights {
    publishes: bool,
    subscribes: bool,
    policy: Arc<Cell>,
}

impl Granted {
    /// To a device: what its policy says.
    pub fn device(device: DeviceId, proof: Proof, noticed: u64, policy: Arc<Cell>) -> Self {
        let rights = Rights { publishes: true, subscribes: true, policy };
        Self { device: Some(device), proof, noticed, rights: RwLock::new(rights) }
    }

    /// To an app: what its policy says, as far as its scopes go.
    pub fn app(key: &ApiKey, noticed: u64, policy: Arc<Cell>) -> Self {
        let rights = RwLock::new(Rights::of(key, policy));
        Self { device: None, proof: Proof::Key(key.expires_at), noticed, rights }
    }

    /// From now on another policy counts for this device.
    pub fn follow(&self, policy: Arc<Cell>) {
        self.rights.write().policy = policy;
    }

    /// From now on the key is good for something else.
    pub fn change(&self, key: &ApiKey, policy: Arc<Cell>) {
        *self.rights.write() = Rights::of(key, policy);
    }

    fn device_name(&self) -> Option<&str> {
        self.device.as_ref().map(DeviceId::as_str)
    }
}

impl Rights {
    fn of(key: &ApiKey, policy: Arc<Cell>) -> Self {
        let scopes = Scopes::named(&key.scopes);
        Self { publishes: scopes.have(Scope::Write), subscribes: scopes.have(Scope::Read), policy }
    }
}

impl Grants for Granted {
    fn may_publish(&self, topic: &str) -> bool {
        let rights = self.rights.read();
        rights.publishes
            && !is_ours_to_say(topic)
            && rights.policy.read().publishes(topic, self.device_name())
    }

    fn may_subscribe(&self, filter: &str) -> bool {
        let rights = self.rights.read();
        rights.subscribes && rights.policy.read().subscribes(filter, self.device_name())
    }

    fn may_receive(&self, topic: &str) -> bool {
        self.may_subscribe(topic)
    }
}

/// Is it a topic on which the service alone speaks? No policy can give that away. Of its own topics, clients have
/// the two that they report on.
fn is_ours_to_say(topic: &str) -> bool {
    let (first, rest) = topic.split_once('/').unwrap_or((topic, ""));
    let reports =
        first == "devices" && matches!(rest.split_once('/'), Some((_, "state" | "desired/rejected")));
    OWN.contains(&first) && !reports
}

/// What anyone may do with `--dev`: all that makes sense.
pub struct Anything;

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
    use crate::access::policy::Policy;
    use statecast_state::TenantId;
    use statecast_store::PolicyRow;

    fn all() -> Arc<Cell> {
        let everything: Vec<String> = ["#", "devices/#", "changes/#"].map(str::to_owned).into();
        let row = PolicyRow {
            tenant: TenantId::default(),
            name: "p".to_owned(),
            publish: everything.clone(),
            subscribe: everything,
        };
        Arc::new(RwLock::new(Policy::parse(&row).expect("a policy")))
    }

    #[test]
    fn what_is_ours_to_say_is_granted_to_nobody() {
        let device = DeviceId::parse("a").expect("an id");
        let granted = Granted::device(device, Proof::Token([0; 32]), 0, all());
        for topic in ["devices/a/state", "devices/b/desired/rejected", "chat/room"] {
            assert!(granted.may_publish(topic), "{topic}");
        }
        for topic in
            ["devices/a/presence", "devices/a/desired", "changes/a", "changes", "devices", "devices/a"]
        {
            assert!(!granted.may_publish(topic) && granted.may_receive(topic), "{topic}");
        }
    }

    #[test]
    fn a_key_can_do_what_its_scopes_say() {
        let key = |scopes: &[&str]| ApiKey {
            tenant: TenantId::default(),
            id: uuid::Uuid::nil(),
            name: String::new(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            policy: None,
            person: None,
            created_at: Timestamp::from_micros(0),
            expires_at: None,
            last_used_at: None,
        };
        let granted = Granted::app(&key(&["read"]), 0, all());
        assert!(granted.may_subscribe("#") && !granted.may_publish("chat/room"));
        granted.change(&key(&["write"]), all());
        assert!(!granted.may_receive("chat/room") && granted.may_publish("chat/room"));
        granted.follow(Arc::default());
        assert!(!granted.may_publish("chat/room"), "an empty policy");
    }

    #[test]
    fn a_proof_holds_while_it_is_what_the_device_may_show() {
        let credentials = Credentials {
            token: Some([1; 32]),
            password: Some("salted".to_owned()),
            certificates: vec![[3; 32]],
            policy: None,
        };
        let certificate = |byte, named| Proof::Certificate { shown: [byte; 32], named };
        for holds in [Proof::Token([1; 32]), Proof::password("salted"), certificate(3, false)] {
            assert!(holds.holds(&credentials), "{holds:?}");
            assert!(!holds.holds(&Credentials::default()), "{holds:?}");
        }
        for gone in [Proof::Token([2; 32]), Proof::password("salted anew"), certificate(4, true)] {
            assert!(!gone.holds(&credentials), "{gone:?}");
        }
        assert!(certificate(4, true).holds(&Credentials::default()), "it names the device");
    }
}
