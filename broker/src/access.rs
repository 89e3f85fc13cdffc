//! Who may connect, and what a client may do: asked of whoever started the broker, once for each connection
//! and once for each publish, will, subscription and delivery.

use std::any::Any;
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
    /// Its client certificate; none where it showed none.
    pub certificate: Option<Certificate>,
}

/// A client certificate that was verified.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    name: Arc<str>,
    der: Arc<[u8]>,
}

impl Certificate {
    /// Only for who has verified the certificate.
    pub fn verified(name: impl Into<Arc<str>>, der: impl Into<Arc<[u8]>>) -> Self {
        Self { name: name.into(), der: der.into() }
    }

    /// Whom it names: its common name, or else its first DNS name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All of it, in DER: what a fingerprint is made of.
    pub fn der(&self) -> &[u8] {
        &self.der
    }
}

/// Shows whom it names.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificate").field(&self.name).finish()
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
    /// Too many wait to be judged: the client should try again later.
    Busy,
}

/// Decides who may connect.
pub trait Access: Send + Sync + 'static {
    /// Judges a CONNECT: the realm, the name and the grants of the client, or why not.
    fn connect<'a>(&'a self, hello: &'a Hello) -> BoxFuture<'a, Result<Admitted, Denied>>;

    /// A client that was admitted is found by [`crate::Broker::review`] from now on. What it was admitted with may
    /// have changed since: whoever told only the clients that could be found then has not told this one.
    fn entered(&self, _: &Client) {}
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

/// What one client may do. Topics and filters are valid and relative to its realm. The answers may change while the
/// client is connected. Whoever made them may look at them again, see [`crate::Broker::review`].
pub trait Grants: Any + Send + Sync {
    /// May it publish to this topic (or have its will published there)?
    fn may_publish(&self, topic: &str) -> bool;
    /// May it subscribe with this filter?
    fn may_subscribe(&self, filter: &str) -> bool;
    /// May it be sent what was published to this topic? Asked at delivery, as a wildcard filter may be wider
    /// than what the client may see.
    fn may_receive(&self, topic: &str) -> bool;
}
