//! Gateways that stand in for those of Google, Apple, browsers, ntfy and whoever takes webhooks. They know the public
//! protocols and nothing else; each refuses what the real one would refuse, with the same words, and fails when told to.
//!
//! ```text
//!                         ┌─ read: as strictly as the real service ─┐
//! the service ──HTTP──▶ server ──▶ gateway ──▶ protocol: fcm, oauth, apns, web_push, ntfy, webhook
//!                                   │  ▲
//!                             book ◀┘  └── faults ◀── control ◀──HTTP── a test, or a person
//! ```
//!
//! The control interface has an address of its own:
//! - `POST /registrations {"channel":"apns"}` makes a phone, and answers what its app would tell the service
//! - `DELETE /registrations/apns/REGISTRATION` removes the app from it
//! - `GET /received?channel=apns&registration=…&limit=100` lists what came, newest first, with how often each id came
//! - `POST /fail {"channel":"apns","registration":…,"status":429,"error":"TooManyRequests","times":3,`
//!   `"retry_after_s":2,"delay_ms":0,"reset":false,"body":"nonsense"}` makes the next ones fail
//!
//! Bounded: the last 2,000 messages of a channel are kept and 200,000 ids remembered; all are counted. When the
//! process ends, all is forgotten.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

mod command;
mod control;
mod server;
mod tls;
mod gateway;
mod faults;
mod book;
mod protocol;
mod jwt;
mod fcm;
mod apns;
mod web_push;
mod ntfy;
mod webhook;
mod kit;
#[cfg(test)]
mod trial;

pub(crate) use book::Summary;
pub(crate) use command::{GatewaysArguments, ReceiversArguments, command, receive};

use fcm::{Account, Fcm, Oauth, Tokens};
use gateway::{Gateway, Latency};
use protocol::Protocol;
use server::Wire;

/// What gateways are to be.
pub(crate) struct Plan {
    /// Where the control interface is.
    pub(crate) control: SocketAddr,
    /// Where each channel is; a channel that isn't named is on the address of the control interface, on a free port.
    pub(crate) listen: BTreeMap<&'static str, SocketAddr>,
    /// Where the files for the service are written; none: nowhere.
    pub(crate) directory: Option<PathBuf>,
    /// How long answers take.
    pub(crate) latency: Latency,
    /// How long an access token of FCM is good.
    pub(crate) token_lifetime: Duration,
}

impl Plan {
    /// Gateways on free ports of this machine.
    pub(crate) fn local() -> Self {
        Self {
            control: SocketAddr::from(([127, 0, 0, 1], 0)),
            listen: BTreeMap::new(),
            directory: None,
            latency: Latency::default(),
            token_lifetime: Duration::from_secs(3_599),
        }
    }
}

/// Gateways that run.
pub(crate) struct Gateways {
    /// The address of the control interface.
    pub(crate) control: String,
    channels: BTreeMap<&'static str, Channel>,
    serving: TaskTracker,
}

struct Channel {
    origin: String,
    gateway: Arc<Gateway>,
}

impl Gateways {
    /// Starts all of them; they end with `stop`.
    ///
    /// # Errors
    /// When an address is taken, or a file can't be written.
    pub(crate) async fn start(plan: Plan, stop: CancellationToken) -> anyhow::Result<Arc<Self>> {
        let tls = tls::Tls::new(plan.control.ip())?;
        let (provider, tokens) = (Arc::new(apns::Provider::new()?), Arc::new(Tokens::default()));
        let mut opening = Opening::new(&plan, stop.clone());

        let (listener, oauth) = opening.listen("oauth", "http").await?;
        let account = Arc::new(Account::new(&oauth)?);
        let endpoint = Oauth::new(Arc::clone(&account), Arc::clone(&tokens), plan.token_lifetime);
        opening.open("oauth", listener, oauth, Wire::Clear, endpoint);

        let (listener, fcm) = opening.listen("fcm", "http").await?;
        opening.open("fcm", listener, fcm.clone(), Wire::Clear, Fcm::new(tokens));
        let (listener, apns) = opening.listen("apns", "https").await?;
        let production = apns::Apns::new("production", Arc::clone(&provider));
        opening.open("apns", listener, apns.clone(), Wire::Http2(tls.acceptor.clone()), production);
        let (listener, apns_sandbox) = opening.listen("apns_sandbox", "https").await?;
        let sandbox = apns::Apns::new("sandbox", Arc::clone(&provider));
        opening.open("apns_sandbox", listener, apns_sandbox.clone(), Wire::Http2(tls.acceptor), sandbox);
        let (listener, origin) = opening.listen("web_push", "http").await?;
        opening.open("web_push", listener, origin.clone(), Wire::Clear, web_push::WebPush::new(origin));
        let (listener, origin) = opening.listen("ntfy", "http").await?;
        opening.open("ntfy", listener, origin.clone(), Wire::Clear, ntfy::Ntfy::new(origin));
        let (listener, origin) = opening.listen("webhook", "http").await?;
        opening.open("webhook", listener, origin.clone(), Wire::Clear, webhook::Webhooks::new(origin));

        if let Some(directory) = &plan.directory {
            let places = kit::Places { fcm: &fcm, apns: &apns, apns_sandbox: &apns_sandbox };
            kit::write(directory, &places, &account, &provider, &tls.authority)?;
        }
        opening.finish().await
    }

    /// The gateway of a channel.
    ///
    /// # Errors
    /// A sentence for people, when there is no such channel.
    pub(crate) fn gateway(&self, channel: &str) -> Result<&Gateway, String> {
        let found = self.channels.get(channel).map(|channel| channel.gateway.as_ref());
        found.ok_or_else(|| {
            let names: Vec<&str> = self.channels.keys().copied().collect();
            format!("{channel:?} is no channel: there are {}", names.join(", "))
        })
    }

    /// Where each channel is, by name.
    pub(crate) fn places(&self) -> Value {
        let mut places: Map<String, Value> =
            self.channels.iter().map(|(name, channel)| ((*name).into(), json!(channel.origin))).collect();
        places.insert("control".into(), json!(self.control));
        places.into()
    }

    /// Makes a phone of a channel; see [`Protocol::register`].
    pub(crate) fn register(&self, channel: &str, wish: &Value) -> anyhow::Result<Value> {
        let wish = wish.as_object().cloned().unwrap_or_default();
        self.gateway(channel).and_then(|gateway| gateway.register(&wish)).map_err(anyhow::Error::msg)
    }

    /// How many came to a channel.
    pub(crate) fn summary(&self, channel: &str) -> Summary {
        self.channels.get(channel).map(|channel| channel.gateway.summary()).unwrap_or_default()
    }

    /// How many came to each channel, by name.
    pub(crate) fn summaries(&self) -> BTreeMap<&'static str, Summary> {
        self.channels.iter().map(|(name, channel)| (*name, channel.gateway.summary())).collect()
    }

    /// Waits until all have ended, after they were stopped.
    pub(crate) async fn ended(&self) {
        self.serving.wait().await;
    }
}

/// Gateways that are being opened, one after the other.
struct Opening<'a> {
    plan: &'a Plan,
    stop: CancellationToken,
    channels: BTreeMap<&'static str, Channel>,
    serving: TaskTracker,
}

impl<'a> Opening<'a> {
    fn new(plan: &'a Plan, stop: CancellationToken) -> Self {
        Self { plan, stop, channels: BTreeMap::new(), serving: TaskTracker::new() }
    }

    async fn listen(&self, name: &str, scheme: &str) -> anyhow::Result<(TcpListener, String)> {
        let free = SocketAddr::new(self.plan.control.ip(), 0);
        bind(self.plan.listen.get(name).copied().unwrap_or(free), scheme).await
    }

    fn open(
        &mut self,
        name: &'static str,
        listener: TcpListener,
        origin: String,
        wire: Wire,
        protocol: impl Protocol + 'static,
    ) {
        let gateway = Arc::new(Gateway::new(Arc::new(protocol), self.plan.latency));
        self.serving.spawn(server::serve(listener, wire, Arc::clone(&gateway), self.stop.clone()));
        self.channels.insert(name, Channel { origin, gateway });
    }

    async fn finish(self) -> anyhow::Result<Arc<Gateways>> {
        let (listener, control) = bind(self.plan.control, "http").await?;
        let gateways = Arc::new(Gateways { control, channels: self.channels, serving: self.serving });
        let routes = control::router(Arc::clone(&gateways));
        let serving = axum::serve(listener, routes).with_graceful_shutdown(self.stop.cancelled_owned());
        gateways.serving.spawn(async move { serving.await });
        gateways.serving.close();
        Ok(gateways)
    }
}

/// A listener, and where it is.
async fn bind(address: SocketAddr, scheme: &str) -> anyhow::Result<(TcpListener, String)> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("listen on {address}"))?;
    let origin = format!("{scheme}://{}", listener.local_addr()?);
    Ok((listener, origin))
}

/// The id of a message whose protocol has none: that which the sender put into what the app gets, or a digest of it.
fn message_id(content: Option<&Value>, whole: &[u8]) -> String {
    let own = content.and_then(|content| content.get("id")?.as_str());
    own.map_or_else(|| digest(whole), str::to_owned)
}

/// The first 128 bits of SHA-256, in hexadecimal.
fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// A random UUID (version 4).
fn new_uuid() -> String {
    let mut bytes: [u8; 16] = rand::random();
    bytes[6] = bytes[6] & 0x0F | 0x40;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}
