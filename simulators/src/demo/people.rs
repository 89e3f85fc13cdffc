//! The people of the demo: each has a phone or a browser, reads what that is told, and acknowledges it from there.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::gateways::Gateways;

/// Id, name and channel of each.
const PEOPLE: [[&str; 3]; 2] = [["ada", "Ada", "fcm"], ["bo", "Bo", "web_push"]];
/// How often they look.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Messages that they look at each time.
const LOOKED_AT: usize = 50;
/// Alarms of which they remember that they were acknowledged; then they forget all.
const REMEMBERED_MAX: usize = 10_000;

/// People who can be told.
pub(super) struct People {
    phones: Vec<Phone>,
    /// How many alarms they acknowledged.
    acknowledged: AtomicU64,
}

struct Phone {
    channel: &'static str,
    registration: String,
}

impl People {
    /// Makes the people and their phones known. Answers their ids with them, for rules.
    pub(super) async fn set_up(
        api: &Api,
        gateways: &Gateways,
        ours: &str,
    ) -> anyhow::Result<(Arc<Self>, Vec<&'static str>)> {
        let mut phones = Vec::new();
        for [id, name, channel] in PEOPLE {
            api.put(&format!("/v1/people/{id}"), &json!({ "name": name })).await?;
            let mut phone = gateways.register(channel, &json!({}))?;
            let registration = phone["registration"].as_str().context("a registration")?.to_owned();
            let parts = phone.as_object_mut().context("a phone")?;
            if channel != "fcm" {
                parts.remove("registration");
            }
            parts.extend([
                ("kind".to_owned(), json!(channel)),
                ("name".to_owned(), json!(format!("{ours}{name}"))),
                ("person".to_owned(), json!(id)),
            ]);
            api.create("/v1/receivers", &phone).await?;
            phones.push(Phone { channel, registration });
        }
        let people = Self { phones, acknowledged: AtomicU64::new(0) };
        Ok((Arc::new(people), PEOPLE.map(|[id, ..]| id).to_vec()))
    }

    /// How many alarms they acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Reads and acknowledges until `stop`.
    ///
    /// # Errors
    /// When the service refuses what came with its own message.
    pub(super) async fn live(
        &self,
        api: &Api,
        gateways: &Gateways,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        // Alarm and version: an update has a version of its own, and nothing to acknowledge.
        let mut done: HashSet<(String, u64)> = HashSet::new();
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            for phone in &self.phones {
                for (alarm, version, token) in phone.told(gateways)? {
                    if done.len() >= REMEMBERED_MAX {
                        done.clear();
                    }
                    if done.insert((alarm.clone(), version))
                        && api.acknowledge(&alarm, version, &token).await?
                    {
                        self.acknowledged.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        }
        Ok(())
    }
}

impl Phone {
    /// Alarm, version and token of the newest messages that can be acknowledged.
    fn told(&self, gateways: &Gateways) -> anyhow::Result<Vec<(String, u64, String)>> {
        let gateway = gateways.gateway(self.channel).map_err(anyhow::Error::msg)?;
        let last = gateway.last(Some(&self.registration), LOOKED_AT);
        Ok(last.iter().filter_map(|listed| read(&listed.received.payload)).collect())
    }
}

/// What an app reads of a message: alarm, version and token. None when it is only brought up to date. Of several alarms
/// in one message it is the first.
fn read(message: &Value) -> Option<(String, u64, String)> {
    let content = message.get("data").unwrap_or(message);
    let text = |name: &str| content.get(name).and_then(Value::as_str);
    // With FCM the app gets texts, and what wasn't one is JSON in it.
    let alarm = match content.get("alarm")? {
        Value::String(text) => serde_json::from_str(text).ok()?,
        other => other.clone(),
    };
    let is_told =
        matches!(text("type")?, "alarm.raised" | "alarm.worse" | "alarm.repeated" | "alarm.escalated");
    let token = text("token")?.to_owned();
    Some((alarm["id"].as_str()?.to_owned(), alarm["version"].as_u64()?, token)).filter(|_| is_told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let whole = json!({ "type": "alarm.raised", "alarm": { "id": "a", "version": 2 }, "token": "t" });
        let mut texts = whole.clone();
        texts["alarm"] = json!(whole["alarm"].to_string());
        let texts = json!({ "data": texts });
        let expected = Some(("a".to_owned(), 2, "t".to_owned()));
        assert_eq!((read(&whole), read(&texts)), (expected.clone(), expected));
        let mut update = whole;
        update["type"] = json!("alarm.acknowledged");
        assert_eq!(read(&update), None);
    }
}
