//! What the demo sets up through the public interface: people, a receiver and a few rules.

use std::sync::Arc;

use anyhow::Context;
use serde_json::json;

use super::people::People;
use crate::api::Api;
use crate::gateways::Gateways;

/// What the names of the demo's own rules and receivers begin with.
const OURS: &str = "Demo: ";

/// Name, query, title and body of each rule; all fire when a device begins to match.
const RULES: [[&str; 4]; 4] = [
    ["battery", "battery:<20", "Battery low: {device}", "{battery} % are left, firmware {firmware}"],
    ["tamper", "type:door tamper:true", "Somebody tampers with {device}", "The cover of {device} is open"],
    ["error", "has:error", "{device} has an error", "It says: {error}"],
    [
        "heat",
        "type:thermostat temperature:>24",
        "Too warm at {device}",
        "{temperature} degrees, target {target}",
    ],
];

/// Creates people, receivers and rules anew; what an earlier demo left is removed first.
pub(super) async fn everything(api: &Api, gateways: &Gateways) -> anyhow::Result<Arc<People>> {
    for path in ["/v1/rules", "/v1/receivers"] {
        for old in api.existing(path).await?.iter().filter(|named| named.name.starts_with(OURS)) {
            api.delete(path, &old.id).await?;
        }
    }
    let hook = gateways.register("webhook", &json!({}))?;
    let webhook = json!({ "name": format!("{OURS}webhook"), "kind": "webhook", "url": hook["url"] });
    let created = api.create("/v1/receivers", &webhook).await?;
    let secret = created.secret.context("the service told no secret for the webhook")?;
    gateways.register("webhook", &json!({ "registration": hook["registration"], "secret": secret }))?;
    let (people, ids) = People::set_up(api, gateways, OURS).await?;
    for [name, query, title, body] in RULES {
        let rule = json!({
            "name": format!("{OURS}{name}"),
            "query": query,
            "on": "enter",
            "title": title,
            "body": body,
            "receivers": [created.id],
            "people": ids,
        });
        api.create("/v1/rules", &rule).await?;
    }
    Ok(people)
}
