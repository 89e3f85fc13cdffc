//! Who is not asked for a while: a gate for each provider with one of our credentials, and for the servers of each origin.
//! What comes to a gate that is shut goes back to the database, and no attempt is counted.

use std::collections::HashMap;

use metrics::{counter, gauge};
use parking_lot::Mutex;
use statecast_state::rule::{ApnsEnvironment, ReceiverKind};
use statecast_state::{TenantId, Timestamp};
use tracing::{info, warn};

use crate::gate::{Entry, Gate, GateSettings, Shut};
use crate::meters::{RESTING, RESTS};
use crate::policy::Answer;

/// Gates remembered though nothing is known against what is behind them.
const IDLE_MAX: usize = 10_000;

/// What stands behind a gate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Line {
    /// Firebase with our service account.
    Fcm,
    /// One of Apple's services with our key.
    Apns(ApnsEnvironment),
    /// The servers of one origin: what receivers of one tenant name doesn't count against those of others.
    Origin(TenantId, &'static str, String),
}

impl Line {
    /// What a receiver stands behind; none for what isn't asked over a network.
    pub(crate) fn of(tenant: &TenantId, to: &ReceiverKind) -> Option<Self> {
        let origin = |url: &str| {
            let url = reqwest::Url::parse(url).ok()?;
            Some(Self::Origin(tenant.clone(), to.as_str(), url.origin().ascii_serialization()))
        };
        match to {
            ReceiverKind::Fcm { .. } => Some(Self::Fcm),
            ReceiverKind::Apns { environment, .. } => Some(Self::Apns(*environment)),
            ReceiverKind::Webhook { url, .. } | ReceiverKind::Ntfy { url, .. } => origin(url),
            ReceiverKind::WebPush { endpoint, .. } => origin(endpoint),
            ReceiverKind::Live | ReceiverKind::Mqtt { .. } => None,
        }
    }

    fn channel(&self) -> &'static str {
        match self {
            Self::Fcm => "fcm",
            Self::Apns(_) => "apns",
            Self::Origin(_, channel, _) => channel,
        }
    }
}

/// All gates.
pub(crate) struct Gates {
    settings: GateSettings,
    gates: Mutex<HashMap<Line, Gate>>,
}

impl Gates {
    pub(crate) fn new(settings: GateSettings) -> Self {
        Self { settings, gates: Mutex::default() }
    }

    /// Asks to go through; what was let through is to be followed by `learn`.
    pub(crate) fn enter(&self, line: &Line, now: Timestamp) -> Entry {
        let per_s = match line {
            Line::Fcm => self.settings.fcm_per_s,
            Line::Apns(_) => self.settings.apns_per_s,
            Line::Origin(..) => self.settings.origin_per_s,
        };
        let mut gates = self.gates.lock();
        if gates.len() > IDLE_MAX {
            gates.retain(|_, gate| !gate.is_idle(now));
        }
        gates.entry(line.clone()).or_default().enter(per_s, now)
    }

    /// Whether to come again later at once: like `enter` of a gate that is shut, and no answer of one that isn't.
    pub(crate) fn waits(&self, line: &Line, now: Timestamp) -> Option<(Timestamp, String)> {
        let mut gates = self.gates.lock();
        gates.get_mut(line)?.waits(now)
    }

    /// What came of what was let through; none when it wasn't sent after all.
    pub(crate) fn learn(&self, line: &Line, probe: bool, answer: Option<&Answer>, now: Timestamp) {
        let mut gates = self.gates.lock();
        let gate = gates.entry(line.clone()).or_default();
        let before = gate.shut.is_some();
        gate.learn(probe, answer, &self.settings, now);
        match (before, &gate.shut) {
            (false, Some(shut)) => {
                let channel = line.channel();
                warn!(channel, "nothing is sent for a while: {}", shut.why);
                counter!(RESTS, "channel" => channel).increment(1);
                gauge!(RESTING, "channel" => channel).increment(1);
            }
            (true, None) => {
                info!(channel = line.channel(), "it is sent again");
                gauge!(RESTING, "channel" => line.channel()).decrement(1);
            }
            _ => {}
        }
    }

    /// The gate of a line, if it is shut.
    pub(crate) fn shut(&self, line: &Line) -> Option<Shut> {
        self.gates.lock().get(line)?.shut.clone()
    }

    /// The origins of a tenant whose gates are shut: channel, origin, and why.
    pub(crate) fn shut_origins(&self, tenant: &TenantId) -> Vec<(&'static str, String, Shut)> {
        let gates = self.gates.lock();
        let shut = gates.iter().filter_map(|(line, gate)| match line {
            Line::Origin(whose, channel, origin) if whose == tenant => {
                Some((*channel, origin.clone(), gate.shut.clone()?))
            }
            _ => None,
        });
        shut.collect()
    }
}

#[cfg(test)]
#[path = "gates_tests.rs"]
mod tests;
