//! The channels: from a payload to the form of each provider, and from what it answers to what it means.
//!
//! A channel makes a [`Letter`] of a payload, within the limit of its provider, and sends it as often as it is told to.
//! Live receivers need neither; the desk serves them.
//!
//! - [`webhook`], [`fcm`], [`apns`], [`web_push`] with its `seal`, [`ntfy`], [`mqtt`]: one each
//! - `fcm_errors`, `apns_errors`: what their errors mean, as tables

pub(crate) mod webhook;
pub(crate) mod fcm;
mod fcm_errors;
pub(crate) mod apns;
mod apns_errors;
pub(crate) mod web_push;
mod seal;
pub(crate) mod ntfy;
pub(crate) mod mqtt;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use statecast_state::rule::ReceiverKind;
use statecast_state::{TenantId, Timestamp};
use uuid::Uuid;

use self::apns::Apns;
use self::fcm::Fcm;
use self::mqtt::Publish;
use self::ntfy::Ntfy;
use self::web_push::WebPush;
use self::webhook::Webhook;
use crate::Settings;
use crate::http::Clients;
use crate::outbox::Claimed;
use crate::policy::Answer;

/// A push in the form of its channel.
pub(crate) struct Letter {
    /// The id of the push.
    pub(crate) id: Uuid,
    /// Whose.
    pub(crate) tenant: TenantId,
    /// Where to, with what it takes. Never logged.
    pub(crate) to: ReceiverKind,
    /// What stands beside the body.
    pub(crate) headers: HeaderMap,
    /// What the receiver gets; for web push before it is sealed.
    pub(crate) body: Bytes,
}

impl Letter {
    fn new(row: &Claimed, body: Bytes) -> Self {
        Self {
            id: row.push.id,
            tenant: row.tenant.clone(),
            to: row.receiver.kind.clone(),
            headers: HeaderMap::new(),
            body,
        }
    }
}

/// All channels.
pub(crate) struct Channels {
    pub(crate) fcm: Option<Fcm>,
    pub(crate) apns: Option<Apns>,
    pub(crate) web_push: Option<WebPush>,
    webhook: Webhook,
    ntfy: Ntfy,
}

impl Channels {
    /// Reads the keys, and prepares the clients.
    pub(crate) fn open(settings: &Settings) -> anyhow::Result<Self> {
        let clients = Clients::new(settings)?;
        let given = clients.given(settings.reach.private)?;
        Ok(Self {
            fcm: settings.fcm.as_ref().map(|fcm| Fcm::open(fcm, &clients)).transpose()?,
            apns: settings.apns.as_ref().map(|apns| Apns::open(apns, &clients)).transpose()?,
            web_push: match &settings.web_push {
                Some(web_push) => Some(WebPush::open(web_push, given.clone(), settings.reach.private)?),
                None => None,
            },
            ntfy: Ntfy::new(given.clone(), &clients, &settings.reach)?,
            webhook: Webhook::new(given, settings.reach.private),
        })
    }

    /// Puts a push into the form of its channel; an error says why it can't be.
    pub(crate) fn letter(&self, row: &mut Claimed, now: Timestamp) -> Result<Letter, String> {
        identify(row);
        match &row.receiver.kind {
            ReceiverKind::Webhook { .. } => webhook::letter(row),
            ReceiverKind::Fcm { .. } => Fcm::letter(row, now),
            ReceiverKind::Apns { .. } => self.apns.as_ref().ok_or_else(|| missing(row))?.letter(row),
            ReceiverKind::WebPush { .. } => web_push::letter(row, now),
            ReceiverKind::Ntfy { .. } => ntfy::letter(row),
            ReceiverKind::Mqtt { .. } => mqtt::letter(row),
            ReceiverKind::Live => Ok(Letter::new(row, Bytes::new())),
        }
    }

    /// Makes one attempt. `broker` is the way to who subscribed over MQTT.
    pub(crate) async fn send(&self, letter: &Letter, broker: &dyn Publish) -> Answer {
        let unconfigured =
            || Answer::Impossible { error: format!("{} isn't configured", letter.to.as_str()) };
        match &letter.to {
            ReceiverKind::Webhook { url, secret } => self.webhook.send(letter, url, secret).await,
            ReceiverKind::Fcm { .. } => match &self.fcm {
                Some(fcm) => fcm.send(letter).await,
                None => unconfigured(),
            },
            ReceiverKind::Apns { token, environment, registered_at, .. } => match &self.apns {
                Some(apns) => apns.send(letter, token, *environment, *registered_at).await,
                None => unconfigured(),
            },
            ReceiverKind::WebPush { endpoint, p256dh, auth } => match &self.web_push {
                Some(web_push) => web_push.send(letter, endpoint, p256dh, auth).await,
                None => unconfigured(),
            },
            ReceiverKind::Ntfy { url, token } => self.ntfy.send(letter, url, token.as_deref()).await,
            ReceiverKind::Mqtt { topic } => mqtt::send(broker, letter, topic).await,
            ReceiverKind::Live => Answer::Accepted { status: 200 },
        }
    }
}

/// Puts the id of the push into what the app gets, which drops repeats by it. A webhook has it in a header.
fn identify(row: &mut Claimed) {
    let has_header = matches!(row.receiver.kind, ReceiverKind::Webhook { .. });
    if let (false, Some(payload)) = (has_header, row.push.payload.as_object_mut()) {
        payload.insert("id".to_owned(), row.push.id.to_string().into());
    }
}

fn missing(row: &Claimed) -> String {
    format!("{} isn't configured", row.receiver.kind.as_str())
}
