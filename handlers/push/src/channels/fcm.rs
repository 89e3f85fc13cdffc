//! Firebase Cloud Messaging, HTTP v1: `POST /v1/projects/{project}/messages:send` with the access token of a service
//! account. A notification carries what Android shows by itself, and in `data` what the app needs for buttons and the
//! deep link; an update carries `data` alone, so that it makes no sound. The tag, not a collapse key, lets one replace
//! another: of those Firebase keeps four at a time for a phone.

use anyhow::Context;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use statecast_state::Timestamp;
use statecast_state::rule::{FcmForm, ReceiverKind};
use tokio::sync::Semaphore;

use super::fcm_errors::judge;
use super::{Letter, apns};
use crate::credentials::google::Account;
use crate::fit::fit;
use crate::http::{Clients, Reply, ask};
use crate::message::{Message, Urgency, seconds_until};
use crate::outbox::Claimed;
use crate::policy::{Answer, Blame};
use crate::settings::FcmSettings;

/// Largest message, in bytes. Firebase counts only what reaches the phone.
const MESSAGE_BYTES_MAX: usize = 4_096;
/// Longest time that Firebase keeps a message, in seconds: four weeks.
const TTL_S_MAX: i64 = 28 * 24 * 3_600;
/// Connections, each for as many requests at a time as servers usually take in one (RFC 9113, 6.5.2: 100 at least).
const CONNECTIONS: usize = 4;
const STREAMS_MAX: usize = 100;

/// The channel for receivers of kind fcm.
pub(crate) struct Fcm {
    pub(crate) account: Account,
    url: String,
    /// A client for each connection, with its bound: beyond it requests would wait unseen in the client, while their
    /// time runs out.
    connections: Vec<(Client, Semaphore)>,
}

impl Fcm {
    pub(super) fn open(settings: &FcmSettings, clients: &Clients) -> anyhow::Result<Self> {
        let client = || clients.trusted().build().context("prepare a client for Firebase");
        let account = Account::read(&settings.service_account, client()?)?;
        let base = settings.base_url.trim_end_matches('/');
        let url = format!("{base}/v1/projects/{}/messages:send", account.project);
        let connections = (0..CONNECTIONS).map(|_| Ok((client()?, Semaphore::new(STREAMS_MAX))));
        Ok(Self { account, url, connections: connections.collect::<anyhow::Result<_>>()? })
    }

    pub(super) fn letter(row: &Claimed, now: Timestamp) -> Result<Letter, String> {
        let ReceiverKind::Fcm { registration, form } = &row.receiver.kind else {
            return Err("not a receiver of Firebase".to_owned());
        };
        let (told, deadline) = (Message::of(&row.push), row.push.deadline);
        let form = |payload: &Value| json!({ "message": message(told.cut(payload), registration, *form, deadline, now) });
        Ok(Letter::new(row, fit(&row.push.payload, MESSAGE_BYTES_MAX, form)?))
    }

    pub(super) async fn send(&self, letter: &Letter) -> Answer {
        let answer = self.attempt(letter).await;
        // A token may be withdrawn before its time: another one is worth a try.
        match answer {
            Ok(Reply { status: StatusCode::UNAUTHORIZED, .. }) => match self.attempt(letter).await {
                Ok(reply) => judged(&reply),
                Err(answer) => answer,
            },
            Ok(reply) => judged(&reply),
            Err(answer) => answer,
        }
    }

    async fn attempt(&self, letter: &Letter) -> Result<Reply, Answer> {
        let token = self.account.token().await?;
        let freest = self.connections.iter().max_by_key(|(_, room)| room.available_permits());
        let (client, room) = freest.expect("there are CONNECTIONS of them");
        let _stream = room.acquire().await.expect("this semaphore is never closed");
        let request = client
            .post(&self.url)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .body(letter.body.clone());
        let reply = ask(request).await?;
        if reply.status == StatusCode::UNAUTHORIZED {
            self.account.forget(&token);
        }
        Ok(reply)
    }
}

/// What a 2xx carries.
#[derive(Deserialize)]
struct Accepted {
    name: String,
}

fn judged(reply: &Reply) -> Answer {
    if !reply.status.is_success() {
        return judge(reply);
    }
    let named =
        serde_json::from_slice::<Accepted>(&reply.body).is_ok_and(|accepted| !accepted.name.is_empty());
    if named { Answer::Accepted { status: reply.status.as_u16() } } else { reply.failed(Blame::Provider) }
}

/// The message (Firebase, REST resource `projects.messages`).
fn message(
    told: Message<'_>,
    registration: &str,
    form: FcmForm,
    deadline: Timestamp,
    now: Timestamp,
) -> Value {
    let ttl = seconds_until(deadline, now).min(TTL_S_MAX);
    let high = told.urgency() == Urgency::High && !told.is_silent();
    let mut android = json!({ "priority": if high { "HIGH" } else { "NORMAL" }, "ttl": format!("{ttl}s") });
    let mut data = texts(told.data());
    let mut message = Map::new();
    let key = match form {
        FcmForm::Fid => "fid",
        FcmForm::Token => "token",
    };
    message.insert(key.to_owned(), registration.into());
    if told.is_silent() {
        data.insert("title".to_owned(), told.title().into());
        data.insert("body".to_owned(), told.body().into());
    } else {
        message.insert("notification".to_owned(), json!({ "title": told.title(), "body": told.body() }));
        if let Some(tag) = told.collapse() {
            android["notification"] = json!({ "tag": tag });
        }
    }
    message.insert("data".to_owned(), data.into());
    message.insert("android".to_owned(), android);
    // For apps on Apple's devices that are registered with Firebase.
    let mut headers =
        json!({ "apns-priority": apns::priority(told), "apns-expiration": apns::expiration(deadline) });
    if let Some(collapse) = told.collapse() {
        headers["apns-collapse-id"] = collapse.into();
    }
    message.insert(
        "apns".to_owned(),
        json!({ "headers": headers, "payload": { "aps": apns::aps(told, false) } }),
    );
    message.into()
}

/// The values of `data` are texts: what isn't is written as JSON.
fn texts(data: Map<String, Value>) -> Map<String, Value> {
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    let present = data.into_iter().filter(|(_, value)| !value.is_null());
    present.map(|(key, value)| (key, text(value).into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::push;
    use statecast_state::PushKind;
    use statecast_state::alarm::Severity;

    fn made(kind: PushKind, form: FcmForm) -> Value {
        let push = push(kind, Severity::Critical);
        message(Message::of(&push), "reg", form, push.deadline, Timestamp::from_micros(0))
    }

    #[test]
    fn an_alarm_is_shown_and_an_update_is_silent() {
        let raised = made(PushKind::Alarm, FcmForm::Token);
        assert_eq!(raised["token"], "reg");
        assert_eq!(raised["notification"], json!({"title":"boiler is hot","body":"90 °C"}));
        assert_eq!(raised["android"], json!({"priority":"HIGH","ttl":"90s","notification":{"tag":"a1"}}));
        assert_eq!(raised["data"]["alarm"], r#"{"id":"a1","version":3}"#);
        assert_eq!((&raised["data"]["version"], &raised["data"]["token"]), (&json!("7"), &json!("t")));
        assert!(raised["data"].get("reported").is_none() && raised["data"].get("title").is_none());
        assert_eq!(raised["apns"]["headers"]["apns-collapse-id"], "a1");

        let cleared = made(PushKind::Update, FcmForm::Fid);
        assert_eq!((&cleared["fid"], cleared.get("notification")), (&json!("reg"), None));
        assert_eq!(cleared["data"]["title"], "boiler is hot");
        assert_eq!(cleared["android"]["priority"], "NORMAL");
        assert!(cleared["apns"]["payload"]["aps"].get("sound").is_none());
    }
}
