//! What a service is given so that it can use the gateways: the files that Google and Apple would give, the
//! certificate authority, and settings that name them all.

use std::path::Path;

use anyhow::Context;

use super::apns::{KEY_ID, Provider, TEAM_ID, TOPIC};
use super::fcm::Account;

/// Where the channels are.
pub(super) struct Places<'a> {
    /// FCM.
    pub(super) fcm: &'a str,
    /// APNs, production.
    pub(super) apns: &'a str,
    /// APNs, sandbox.
    pub(super) apns_sandbox: &'a str,
}

/// Writes `service-account.json`, `apns.p8`, `ca.pem` and `push.toml` into a directory.
pub(super) fn write(
    directory: &Path,
    places: &Places<'_>,
    account: &Account,
    provider: &Provider,
    authority: &str,
) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    let directory = directory.canonicalize().with_context(|| format!("find {}", directory.display()))?;
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    };
    write("service-account.json", &account.file()?.to_string())?;
    write("apns.p8", &provider.file())?;
    write("ca.pem", authority)?;
    // A string of JSON is one of TOML.
    let file = |name: &str| serde_json::Value::from(directory.join(name).display().to_string());
    let settings = format!(
        r#"# Channels that go to the simulated gateways.
[push]
allow_private_addresses = true
ca = {ca}

[push.fcm]
service_account = {account}
base_url = "{fcm}"

[push.apns]
key = {key}
key_id = "{KEY_ID}"
team_id = "{TEAM_ID}"
topic = "{TOPIC}"
base_url = "{apns}"
sandbox_url = "{sandbox}"

[push.web_push]
subject = "mailto:ops@example.com"
"#,
        ca = file("ca.pem"),
        account = file("service-account.json"),
        key = file("apns.p8"),
        fcm = places.fcm,
        apns = places.apns,
        sandbox = places.apns_sandbox,
    );
    write("push.toml", &settings)
}
