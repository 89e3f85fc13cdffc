//! Phones, browsers and whatever else is told through a gateway: registered with both sides, they read what comes as
//! their app would.

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{Api, Gateways, wait};

/// The channels that have a gateway.
pub const CHANNELS: [&str; 6] = ["fcm", "apns", "apns_sandbox", "web_push", "ntfy", "webhook"];

/// Something that is told.
pub struct Phone {
    /// By which channel.
    pub channel: &'static str,
    /// Its name at the gateway.
    pub registration: String,
    /// Its id as a receiver.
    pub receiver: String,
}

/// What an app reads of a message that it was told.
#[derive(Debug, Clone)]
pub struct Note {
    /// The id that is the same in each attempt.
    pub id: String,
    /// How often it was accepted.
    pub accepted: u64,
    /// When it came.
    pub at: DateTime<Utc>,
    /// What people read first.
    pub title: String,
    /// What it replaces.
    pub collapse: Option<String>,
    /// What it tells of, such as `alarm.raised`; ntfy doesn't say.
    pub kind: String,
    /// The alarm.
    pub alarm: String,
    /// Its version.
    pub version: u64,
    /// What the message can be answered with.
    pub token: String,
    /// All of it.
    pub content: Value,
}

impl Phone {
    /// A new one that belongs to a person, or to nobody. Of channel fcm it is known by its installation id if `name`
    /// ends with `fid`.
    ///
    /// # Errors
    /// When one of the two sides doesn't take it.
    pub async fn new(
        gateways: &Gateways,
        api: &Api,
        channel: &'static str,
        name: &str,
        person: Option<&str>,
    ) -> Result<Self> {
        let form = if name.ends_with("fid") { "fid" } else { "token" };
        let made = gateways.register(channel, &json!({ "form": form, "protected": true })).await?;
        let registration = made["registration"].as_str().context("a registration")?.to_owned();
        let mut receiver = made;
        let parts = receiver.as_object_mut().context("a phone")?;
        if channel != "fcm" {
            parts.remove("registration");
        }
        parts.insert("kind".into(), json!(channel.trim_end_matches("_sandbox")));
        parts.insert("name".into(), json!(name));
        if let Some(person) = person {
            parts.insert("person".into(), json!(person));
        }
        let created = api.call(Method::POST, "/v1/receivers", &receiver).await?;
        if let Some(secret) = created["secret"].as_str() {
            let known = json!({ "registration": registration, "secret": secret });
            gateways.register(channel, &known).await?;
        }
        let receiver = created["id"].as_str().context("id")?.to_owned();
        Ok(Self { channel, registration, receiver })
    }

    /// What it was told, oldest first, once a condition holds for it.
    ///
    /// # Errors
    /// When it doesn't come to that; says what it was told instead.
    pub async fn told_when(&self, gateways: &Gateways, holds: impl Fn(&[Note]) -> bool) -> Result<Vec<Note>> {
        let what = format!("what {} is told", self.channel);
        let told = wait::until(&what, || async {
            let notes = self.told(gateways).await.ok()?;
            holds(&notes).then_some(notes)
        });
        match told.await {
            Ok(notes) => Ok(notes),
            Err(error) => {
                let came = gateways.received(self.channel, &self.registration).await?;
                Err(error.context(format!("it was told {came:?}")))
            }
        }
    }

    /// What it was told so far, oldest first; what came again is there once.
    ///
    /// # Errors
    /// When the gateway doesn't say.
    pub async fn told(&self, gateways: &Gateways) -> Result<Vec<Note>> {
        let mut notes: Vec<Note> = Vec::new();
        for came in gateways.received(self.channel, &self.registration).await?.iter().rev() {
            let is_accepted = came["answered"].as_u64().is_some_and(|status| (200..300).contains(&status));
            if is_accepted && notes.iter().all(|note| note.id != came["id"]) {
                notes.push(self.read(came).with_context(|| came.to_string())?);
            }
        }
        Ok(notes)
    }

    fn read(&self, came: &Value) -> Result<Note> {
        let content = match self.channel {
            "fcm" => fcm(&came["payload"]["data"]),
            "apns" | "apns_sandbox" => came["payload"]["statecast"].clone(),
            "ntfy" => ntfy(&came["payload"]),
            _ => came["payload"].clone(),
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(Note {
            id: text(&came["id"]),
            accepted: came["accepted"].as_u64().unwrap_or_default(),
            at: text(&came["received_at"]).parse().context("received_at")?,
            title: text(if came["title"].is_null() { &content["title"] } else { &came["title"] }),
            collapse: came["collapse"].as_str().map(str::to_owned),
            kind: text(&content["type"]),
            alarm: text(&content["alarm"]["id"]),
            version: content["alarm"]["version"].as_u64().unwrap_or_default(),
            token: text(&content["token"]),
            content,
        })
    }
}

/// The data of FCM are texts; what wasn't is JSON in them.
fn fcm(data: &Value) -> Value {
    let parts = data.as_object().into_iter().flatten();
    let read = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| text.into());
    parts.map(|(name, value)| (name.clone(), value.as_str().map_or(Value::Null, read))).collect()
}

/// Of ntfy only the buttons say more than a person reads.
fn ntfy(message: &Value) -> Value {
    let button = &message["actions"][0];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let body: Value = serde_json::from_str(&text(&button["body"])).unwrap_or_default();
    let token = text(&button["headers"]["Authorization"]).trim_start_matches("Bearer ").to_owned();
    json!({
        "alarm": { "id": message["sequence_id"], "version": body["version"] }, "token": token, "title": message["title"],
        "priority": message["priority"], "url": button["url"], "body": body,
    })
}
