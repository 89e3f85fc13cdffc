//! How each channel stands, for people: whether it is configured, with which credential, and whether it rests.

use serde::Serialize;
use statecast_state::rule::ApnsEnvironment;
use statecast_state::{TenantId, Timestamp};

use crate::channels::Channels;
use crate::gate::{Rest, Shut};
use crate::gates::{Gates, Line};

/// One channel, or one origin that is not asked at present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The kind of the receivers.
    pub channel: &'static str,
    /// Which of its credentials, or which origin; never a secret. None where it isn't configured.
    pub credential: Option<String>,
    /// `ok`, `resting`, or `unconfigured`.
    pub state: &'static str,
    /// Why it rests: `failing`, `refused` (our credentials), or `quota`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rest: Option<Rest>,
    /// What was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when it rests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Status {
    fn of(channel: &'static str, credential: Option<String>, shut: Option<Shut>) -> Self {
        let state = match (&credential, &shut) {
            (None, _) => "unconfigured",
            (_, None) => "ok",
            _ => "resting",
        };
        let mut status =
            Self { channel, credential, state, rest: None, reason: None, since: None, until: None };
        if let Some(shut) = shut {
            status.rest = Some(shut.rest);
            status.reason = Some(shut.why);
            status.since = Some(shut.since);
            status.until = Some(shut.until);
        }
        status
    }
}

/// How all stand: the credentials of the installation, and the origins of a tenant that rest.
pub(crate) fn all(channels: &Channels, gates: &Gates, tenant: &TenantId) -> Vec<Status> {
    let fcm = channels.fcm.as_ref().map(|fcm| format!("{} in {}", fcm.account.email, fcm.account.project));
    let mut all = vec![Status::of("fcm", fcm, gates.shut(&Line::Fcm))];
    for (environment, name) in
        [(ApnsEnvironment::Production, "production"), (ApnsEnvironment::Sandbox, "sandbox")]
    {
        let credential = channels.apns.as_ref().map(|apns| format!("{}, {name}", apns.credential()));
        all.push(Status::of("apns", credential, gates.shut(&Line::Apns(environment))));
    }
    let key = channels.web_push.as_ref().map(|web_push| web_push.vapid.public().to_owned());
    all.push(Status::of("web_push", key, None));
    let origins = gates.shut_origins(tenant).into_iter();
    all.extend(origins.map(|(channel, origin, shut)| Status::of(channel, Some(origin), Some(shut))));
    all
}
