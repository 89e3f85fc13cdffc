//! Who may connect, and what a client may do: asked of whoever started the broker, once for each connection
//! and once for each publish, will, subscription and delivery.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::future::BoxFuture;

/// What a client says of itself in CONNECT.
#[derive(Clone)]
pub struct Hello {
    /// Where it connects from.
    pub peer: SocketAddr,
    /// Its client id; empty where it leaves the choice to us.
    pub client_id: String,
    /// Its user name.
    pub user_name: Option<String>,
    /// Its password. Never logged.
    pub password: Option<Vec<u8>>,
    /// Whom its client certificate names; none where it showed none. The certificate was verified.
    pub certificate: Option<CertificateName>,
}

/// Whom a verified client certificate names: its common name, or else its first DNS name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateName(Arc<str>);

impl CertificateName {
    /// Only for who has verified the certificate.
    pub fn verified(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Doesn't show the password.
impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello")
            .field("peer", &self.peer)
            .field("client_id", &self.client_id)
            .field("user_name", &self.user_name)
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// Who a connection acts for, once it was admitted. Shared by all its deliveries.
pub struct Client {
    /// The realm (tenant) that its topics are relative to. Nothing crosses from one realm to another.
    pub realm: Arc<str>,
    /// The user name that it proved, e.g. a device id; the same for all connections that act for it.
    pub name: Arc<str>,
    /// Its client id, unique within the name: a new connection with the same id takes over, and goes on with its session.
    pub client_id: Arc<str>,
    /// Unique among all connections of this process.
    pub connection: u64,
    /// What it may do.
    pub grants: Arc<dyn Grants>,
}

/// Why a CONNECT is refused; the broker knows the code for it in each protocol version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// Unknown name, or a wrong password: never said which.
    Credentials,
    /// Known, but not allowed to connect.
    NotAuthorized,
    /// We can't tell at present: the client should try again later.
    Unavailable,
}

/// Decides who may connect.
pub trait Access: Send + Sync + 'static {
    /// Judges a CONNECT: the realm, the name and the grants of the client, or why not.
    fn connect<'a>(&'a self, hello: &'a Hello) -> BoxFuture<'a, Result<Admitted, Denied>>;
}

/// The answer to a CONNECT that is let in.
pub struct Admitted {
    /// See [`Client::realm`].
    pub realm: Arc<str>,
    /// See [`Client::name`].
    pub name: Arc<str>,
    /// See [`Client::grants`].
    pub grants: Arc<dyn Grants>,
}

/// What one client may do. Topics and filters are valid and relative to its realm.
pub trait Grants: Send + Sync + 'static {
    /// May it publish to this topic (or have its will published there)?
    fn may_publish(&self, topic: &str) -> bool;
    /// May it subscribe with this filter?
    fn may_subscribe(&self, filter: &str) -> bool;
    /// May it be sent what was published to this topic? Asked at delivery, as a wildcard filter may be wider
    /// than what the client may see.
    fn may_receive(&self, topic: &str) -> bool;
}
