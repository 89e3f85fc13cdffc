//! The settings of telling people.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use statecast_push::{
    ApnsSettings, FcmSettings, GateSettings, Reach, Settings, WebPushSettings, make_web_push_key,
};

/// What the key of web push is called in the data directory.
const WEB_PUSH_KEY: &str = "web-push-key.pem";

/// Telling people. A channel whose table is missing is not configured.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Push {
    /// Webhooks, ntfy servers and push services may have private and loopback addresses.
    pub allow_private_addresses: bool,
    /// File with certificates in PEM that are trusted beside those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// A receiver of a person is told of what isn't urgent at most once in so many milliseconds; what comes meanwhile is
    /// told as one. With 0 nothing waits.
    pub group_interval_ms: u64,
    /// Most requests under way.
    pub sends_max: usize,
    /// Longest that one attempt may take, in milliseconds.
    pub attempt_timeout_ms: u64,
    /// Ceiling of the pause after the first failure, in milliseconds; it doubles with each further one.
    pub retry_base_ms: u64,
    /// Highest ceiling of that pause, in milliseconds.
    pub retry_max_ms: u64,
    /// Longest that a provider which fails isn't asked, in milliseconds.
    pub rest_max_ms: u64,
    /// Longest that credentials which were refused aren't tried, in milliseconds.
    pub pause_max_ms: u64,
    /// Firebase Cloud Messaging.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fcm: Option<Fcm>,
    /// Apple Push Notification service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apns: Option<Apns>,
    /// Web Push.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub web_push: Option<WebPush>,
    /// ntfy.
    pub ntfy: Ntfy,
}

/// Firebase Cloud Messaging.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fcm {
    /// File of the service account, as Google gives it out.
    pub service_account: PathBuf,
    /// Where Firebase is.
    #[serde(default = "firebase")]
    pub base_url: String,
    /// Requests in a second at most; 0 for no limit.
    #[serde(default = "firebase_per_s")]
    pub per_s: u32,
}

/// Apple Push Notification service.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Apns {
    /// File of the key, as Apple gives it out (`.p8`).
    pub key: PathBuf,
    /// The id of the key: 10 letters and digits.
    pub key_id: String,
    /// The id of its team: 10 letters and digits.
    pub team_id: String,
    /// The bundle id of the app.
    pub topic: String,
    /// Where the service for apps from the store is.
    #[serde(default = "production")]
    pub base_url: String,
    /// Where the service for apps under development is.
    #[serde(default = "sandbox")]
    pub sandbox_url: String,
    /// Requests in a second at most; 0 for no limit.
    #[serde(default)]
    pub per_s: u32,
}

/// Web Push.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebPush {
    /// How those who run a push service reach you: `mailto:you@example.org` or an `https:` address.
    pub subject: String,
    /// File of the key, in PEM; made in the data directory when left out. With another key all subscriptions are lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

/// ntfy.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ntfy {
    /// A server of your own, whose address may be private: `http://10.0.0.7`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
}

fn firebase() -> String {
    "https://fcm.googleapis.com".to_owned()
}

fn firebase_per_s() -> u32 {
    GateSettings::default().fcm_per_s
}

fn production() -> String {
    "https://api.push.apple.com".to_owned()
}

fn sandbox() -> String {
    "https://api.sandbox.push.apple.com".to_owned()
}

impl Default for Push {
    fn default() -> Self {
        let defaults = Settings::default();
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            allow_private_addresses: false,
            ca: None,
            group_interval_ms: 5_000,
            sends_max: defaults.sends_max,
            attempt_timeout_ms: ms(defaults.attempt_timeout),
            retry_base_ms: ms(defaults.retry_base),
            retry_max_ms: ms(defaults.retry_cap),
            rest_max_ms: ms(defaults.gates.rest_max),
            pause_max_ms: ms(defaults.gates.pause_max),
            fcm: None,
            apns: None,
            web_push: None,
            ntfy: Ntfy::default(),
        }
    }
}

impl Push {
    /// Looks for what can't be.
    pub(super) fn check(&self) -> Result<()> {
        let fcm = self.fcm.iter().map(|fcm| ("push.fcm.base_url", &fcm.base_url));
        let apns = self.apns.iter().flat_map(|apns| {
            [("push.apns.base_url", &apns.base_url), ("push.apns.sandbox_url", &apns.sandbox_url)]
        });
        let ntfy = self.ntfy.base_url.iter().map(|url| ("push.ntfy.base_url", url));
        for (key, url) in fcm.chain(apns).chain(ntfy) {
            let parsed = reqwest::Url::parse(url);
            let http = parsed.is_ok_and(|url| url.has_host() && matches!(url.scheme(), "http" | "https"));
            ensure!(http, "{key} is {url:?}: it begins with https:// or http://");
        }
        let timeout = Duration::from_millis(self.attempt_timeout_ms);
        let lease = Settings::default().lease;
        ensure!(
            !timeout.is_zero() && timeout <= lease / 2,
            "push.attempt_timeout_ms is {}: 1 to {}",
            self.attempt_timeout_ms,
            lease.as_millis() / 2
        );
        ensure!(self.sends_max > 0, "push.sends_max is 0: nothing could be sent");
        Ok(())
    }

    /// The same as the dispatcher understands it. `dev`: private addresses are allowed.
    pub(crate) fn for_dispatcher(&self, data_dir: &Path, dev: bool) -> Settings {
        let defaults = Settings::default();
        let ms = Duration::from_millis;
        let (rest_max, pause_max) = (ms(self.rest_max_ms), ms(self.pause_max_ms));
        Settings {
            sends_max: self.sends_max,
            attempt_timeout: ms(self.attempt_timeout_ms),
            retry_base: ms(self.retry_base_ms),
            retry_cap: ms(self.retry_max_ms),
            gates: GateSettings {
                rest: defaults.gates.rest.min(rest_max),
                rest_max,
                pause: defaults.gates.pause.min(pause_max),
                pause_max,
                fcm_per_s: self.fcm.as_ref().map_or(0, |fcm| fcm.per_s),
                apns_per_s: self.apns.as_ref().map_or(0, |apns| apns.per_s),
                ..defaults.gates.clone()
            },
            reach: Reach { private: self.allow_private_addresses || dev, ntfy: self.ntfy.base_url.clone() },
            ca: self.ca.clone(),
            fcm: self.fcm.as_ref().map(|fcm| FcmSettings {
                service_account: fcm.service_account.clone(),
                base_url: fcm.base_url.clone(),
            }),
            apns: self.apns.as_ref().map(|apns| ApnsSettings {
                key: apns.key.clone(),
                key_id: apns.key_id.clone(),
                team_id: apns.team_id.clone(),
                topic: apns.topic.clone(),
                base_url: apns.base_url.clone(),
                sandbox_url: apns.sandbox_url.clone(),
            }),
            web_push: self.web_push.as_ref().map(|web_push| WebPushSettings {
                subject: web_push.subject.clone(),
                key: web_push.key.clone().unwrap_or_else(|| data_dir.join(WEB_PUSH_KEY)),
            }),
            ..defaults
        }
    }

    /// Makes the key of web push, if one is needed and none is named.
    ///
    /// # Errors
    /// When it can't be written.
    pub(crate) fn make_key(&self, data_dir: &Path) -> Result<()> {
        match &self.web_push {
            Some(WebPush { key: None, .. }) => make_web_push_key(&data_dir.join(WEB_PUSH_KEY)),
            _ => Ok(()),
        }
    }

    /// Whether the files can be read and used. A key that would be made at the start may be missing.
    ///
    /// # Errors
    /// Says which file, and what is wrong with it.
    pub fn check_files(&self, data_dir: &Path) -> Result<()> {
        let mut settings = self.for_dispatcher(data_dir, false);
        let made = self.web_push.as_ref().is_some_and(|web_push| web_push.key.is_none());
        if made && settings.web_push.as_ref().is_some_and(|web_push| !web_push.key.exists()) {
            settings.web_push = None;
        }
        settings.check()
    }
}
