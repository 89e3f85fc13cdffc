//! Bounds and times of the dispatcher, and what each channel needs to know.

use std::path::PathBuf;
use std::time::Duration;

use crate::channels::Channels;
use crate::check::Reach;
use crate::gate::GateSettings;

/// How much at once, how long, how often, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Most rows claimed with one call.
    pub claim_rows_max: usize,
    /// Most rows in hand: claimed, and what became of them not yet written. Each holds a body of at most
    /// 20,000 bytes.
    pub held_rows_max: usize,
    /// How long a claim lasts; well above `attempt_timeout`. After a crash, rows in hand wait this long.
    pub lease: Duration,
    /// Most requests under way.
    pub sends_max: usize,
    /// Most requests under way to one webhook; all other receivers get one at a time. One that fails gets fewer, down
    /// to one.
    pub sends_per_receiver_max: usize,
    /// Longest that one attempt may take, from resolving the name to the head of the answer.
    pub attempt_timeout: Duration,
    /// Ceiling of the pause after the first failure; it doubles with each further one.
    pub retry_base: Duration,
    /// Highest ceiling of that pause.
    pub retry_cap: Duration,
    /// When providers aren't asked for a while.
    pub gates: GateSettings,
    /// Which addresses receivers may have.
    pub reach: Reach,
    /// A file with certificates in PEM that are trusted beside those of the system.
    pub ca: Option<PathBuf>,
    /// Firebase; none without.
    pub fcm: Option<FcmSettings>,
    /// Apple; none without.
    pub apns: Option<ApnsSettings>,
    /// Browsers; none without.
    pub web_push: Option<WebPushSettings>,
    /// When stopping, how long a claim under way may still take, then the requests, then the writing of what
    /// became of them.
    pub stop_grace: Duration,
}

/// Firebase Cloud Messaging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FcmSettings {
    /// The file of the service account, as Google gives it out.
    pub service_account: PathBuf,
    /// Where Firebase is: `https://fcm.googleapis.com`.
    pub base_url: String,
}

/// Apple Push Notification service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApnsSettings {
    /// The file of the key, as Apple gives it out (`.p8`).
    pub key: PathBuf,
    /// Its id: 10 letters and digits.
    pub key_id: String,
    /// The id of the team that it belongs to: 10 letters and digits.
    pub team_id: String,
    /// The bundle id of the app, for receivers that name none.
    pub topic: String,
    /// Where the service for apps from the store is: `https://api.push.apple.com`.
    pub base_url: String,
    /// Where the one for apps under development is: `https://api.sandbox.push.apple.com`.
    pub sandbox_url: String,
}

/// Web Push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebPushSettings {
    /// How those who run a push service reach us: `mailto:` or `https:`.
    pub subject: String,
    /// The file of the key, in PEM. Subscriptions are made for this key: with another one all are lost.
    pub key: PathBuf,
}

impl Settings {
    /// Whether keys and certificates can be read and used.
    ///
    /// # Errors
    /// Says which file, and what is wrong with it.
    pub fn check(&self) -> anyhow::Result<()> {
        Channels::open(self).map(drop)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            claim_rows_max: 500,
            held_rows_max: 4_096,
            lease: Duration::from_secs(60),
            sends_max: 1_024,
            sends_per_receiver_max: 32,
            attempt_timeout: Duration::from_secs(20),
            retry_base: Duration::from_secs(5),
            retry_cap: Duration::from_secs(15 * 60),
            gates: GateSettings::default(),
            reach: Reach::default(),
            ca: None,
            fcm: None,
            apns: None,
            web_push: None,
            stop_grace: Duration::from_secs(5),
        }
    }
}
