//! Apple Push Notification service: `POST /3/device/{token}` over HTTP/2, one connection for each of its two services,
//! and a provider token that is used again and again. An update replaces what the phone shows, under the same collapse
//! id and without a sound.

use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use statecast_state::Timestamp;
use statecast_state::rule::{ApnsEnvironment, ReceiverKind};
use tokio::sync::Semaphore;

use super::Letter;
use super::apns_errors::{is_expired_token, judge};
use crate::check::is_bundle_id;
use crate::credentials::provider_token::ProviderToken;
use crate::fit::fit;
use crate::http::{Clients, Reply, ask};
use crate::message::{Message, Urgency};
use crate::outbox::Claimed;
use crate::policy::{Answer, now};
use crate::settings::ApnsSettings;

/// Largest body, in bytes (Apple, "Generating a remote notification").
const BODY_BYTES_MAX: usize = 4_096;
/// Longest collapse id, in bytes.
const COLLAPSE_BYTES_MAX: usize = 64;
/// Requests at a time on one connection: Apple takes many more, and other servers usually 200.
const STREAMS_MAX: usize = 200;
/// How often a connection without traffic is tried, so that the next alarm doesn't find it dead.
const PING_INTERVAL: Duration = Duration::from_secs(10 * 60);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// The category under which an app registers the buttons of an alarm.
const CATEGORY: &str = "statecast.alarm";

/// The channel for receivers of kind apns.
pub(crate) struct Apns {
    token: ProviderToken,
    topic: String,
    production: Service,
    sandbox: Service,
}

struct Service {
    base: String,
    client: Client,
    /// Beyond it requests would wait unseen in the client, while their time runs out.
    room: Semaphore,
}

impl Service {
    fn open(base: &str, clients: &Clients) -> anyhow::Result<Self> {
        let builder = clients
            .trusted()
            .http2_prior_knowledge()
            .pool_idle_timeout(None)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .http2_keep_alive_while_idle(true);
        let client = builder.build().context("prepare a client for APNs")?;
        let base = base.trim_end_matches('/').to_owned();
        Ok(Self { base, client, room: Semaphore::new(STREAMS_MAX) })
    }
}

impl Apns {
    pub(super) fn open(settings: &ApnsSettings, clients: &Clients) -> anyhow::Result<Self> {
        let ten = |text: &str| text.len() == 10 && text.bytes().all(|b| b.is_ascii_alphanumeric());
        ensure!(ten(&settings.key_id), "the key id of Apple's has 10 letters and digits");
        ensure!(ten(&settings.team_id), "the team id of Apple's has 10 letters and digits");
        ensure!(is_bundle_id(&settings.topic), "the topic of APNs is the bundle id of the app");
        Ok(Self {
            token: ProviderToken::read(&settings.key, &settings.key_id, &settings.team_id)?,
            topic: settings.topic.clone(),
            production: Service::open(&settings.base_url, clients)?,
            sandbox: Service::open(&settings.sandbox_url, clients)?,
        })
    }

    /// Which key, for people.
    pub(crate) fn credential(&self) -> String {
        self.token.name()
    }

    pub(super) fn letter(&self, row: &Claimed) -> Result<Letter, String> {
        let ReceiverKind::Apns { topic, .. } = &row.receiver.kind else {
            return Err("not a device of Apple's".to_owned());
        };
        let told = Message::of(&row.push);
        let body = fit(&row.push.payload, BODY_BYTES_MAX, |payload| body(told.cut(payload)))?;
        let mut letter = Letter::new(row, body);
        let expiration = expiration(row.push.deadline);
        let headers = [
            ("apns-topic", topic.as_deref().unwrap_or(&self.topic)),
            ("apns-push-type", "alert"),
            ("apns-priority", priority(told)),
            ("apns-expiration", &expiration),
        ];
        let collapse = told.collapse().filter(|id| id.len() <= COLLAPSE_BYTES_MAX);
        for (name, value) in headers.into_iter().chain(collapse.map(|id| ("apns-collapse-id", id))) {
            let value = HeaderValue::from_str(value).map_err(|_| format!("{name} can't be sent"))?;
            letter.headers.insert(HeaderName::from_static(name), value);
        }
        Ok(letter)
    }

    pub(super) async fn send(
        &self,
        letter: &Letter,
        device: &str,
        environment: ApnsEnvironment,
        registered_at: Timestamp,
    ) -> Answer {
        let service = match environment {
            ApnsEnvironment::Production => &self.production,
            ApnsEnvironment::Sandbox => &self.sandbox,
        };
        let mut reply = self.attempt(service, letter, device).await;
        if let Ok(refused) = &reply
            && refused.status == StatusCode::FORBIDDEN
            && is_expired_token(refused)
            && self.token.renew(now())
        {
            reply = self.attempt(service, letter, device).await;
        }
        match reply {
            Ok(reply) => judge(&reply, registered_at),
            Err(answer) => answer,
        }
    }

    async fn attempt(&self, service: &Service, letter: &Letter, device: &str) -> Result<Reply, Answer> {
        let token = self.token.at(now());
        let token = token.map_err(|error| Answer::Refused { error: error.to_string(), sure: true })?;
        let _stream = service.room.acquire().await.expect("this semaphore is never closed");
        let request = service
            .client
            .post(format!("{}/3/device/{device}", service.base))
            .headers(letter.headers.clone())
            .header("apns-id", letter.id.to_string())
            .header(AUTHORIZATION, format!("bearer {token}"))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(Bytes::clone(&letter.body));
        ask(request).await
    }
}

/// 10 is at once, 5 is when it suits the battery.
pub(super) fn priority(told: Message<'_>) -> &'static str {
    if told.is_silent() || told.urgency() == Urgency::Low { "5" } else { "10" }
}

/// Until when it is worth delivering, in seconds since 1970.
pub(super) fn expiration(deadline: Timestamp) -> String {
    (deadline.as_micros() / 1_000_000).to_string()
}

/// What Apple's devices act on (Apple, "Generating a remote notification"). `text`: with the texts to show, where they
/// aren't given elsewhere; an update always has them.
pub(super) fn aps(told: Message<'_>, text: bool) -> Value {
    let mut aps = json!({ "mutable-content": 1 });
    if text || told.is_silent() {
        aps["alert"] = json!({ "title": told.title(), "body": told.body() });
    }
    if let Some(thread) = told.thread() {
        aps["thread-id"] = thread.into();
    }
    if told.actions().next().is_some() {
        aps["category"] = CATEGORY.into();
    }
    aps["interruption-level"] = match told.urgency() {
        _ if told.is_silent() => "passive",
        Urgency::Low => "passive",
        Urgency::Normal => "active",
        Urgency::High => "time-sensitive",
    }
    .into();
    if !told.is_silent() {
        aps["sound"] = "default".into();
    }
    aps
}

fn body(told: Message<'_>) -> Value {
    json!({ "aps": aps(told, true), "statecast": told.data() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::push;
    use statecast_state::PushKind;
    use statecast_state::alarm::Severity;

    #[test]
    fn an_alarm_sounds_and_an_update_does_not() {
        let critical = push(PushKind::Alarm, Severity::Critical);
        let raised = body(Message::of(&critical));
        assert_eq!(
            raised["aps"],
            json!({"mutable-content":1,"alert":{"title":"boiler is hot","body":"90 °C"},"thread-id":"r1",
                "category":"statecast.alarm","interruption-level":"time-sensitive","sound":"default"})
        );
        assert_eq!(raised["statecast"]["alarm"]["version"], 3);
        assert_eq!(raised["statecast"]["token"], "t");
        assert!(raised["statecast"].get("title").is_none());
        assert_eq!(priority(Message::of(&critical)), "10");

        let update = push(PushKind::Update, Severity::Critical);
        let cleared = body(Message::of(&update));
        assert_eq!(cleared["aps"]["interruption-level"], "passive");
        assert!(cleared["aps"].get("sound").is_none() && cleared["aps"]["alert"]["title"] == "boiler is hot");
        assert_eq!(priority(Message::of(&update)), "5");
    }
}
