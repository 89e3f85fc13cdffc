//! What the reasons of Apple mean (Apple, "Handling notification responses from APNs").

use serde::Deserialize;
use statecast_state::Timestamp;

use crate::http::Reply;
use crate::policy::{Answer, Blame};

/// What to make of a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    /// The token is worth nothing any more.
    Gone,
    /// Our mistake.
    Ours,
    /// Our credentials.
    Refused,
    /// Too much, for all of our key.
    Quota,
    /// Too much for this device, or this once.
    Later,
    /// Their trouble.
    Provider,
}

const REASONS: &[(&str, Means)] = &[
    ("BadDeviceToken", Means::Gone),
    ("ExpiredToken", Means::Gone),
    ("Unregistered", Means::Gone),
    // Not the fault of the phone if the configured bundle id is wrong, so it isn't thrown away.
    ("DeviceTokenNotForTopic", Means::Ours),
    ("BadCollapseId", Means::Ours),
    ("BadExpirationDate", Means::Ours),
    ("BadMessageId", Means::Ours),
    ("BadPath", Means::Ours),
    ("BadPriority", Means::Ours),
    ("BadTopic", Means::Ours),
    ("DuplicateHeaders", Means::Ours),
    ("InvalidPushType", Means::Ours),
    ("MethodNotAllowed", Means::Ours),
    ("MissingDeviceToken", Means::Ours),
    ("MissingTopic", Means::Ours),
    ("PayloadEmpty", Means::Ours),
    ("PayloadTooLarge", Means::Ours),
    ("TopicDisallowed", Means::Ours),
    ("BadCertificate", Means::Refused),
    ("BadCertificateEnvironment", Means::Refused),
    ("BadEnvironmentKeyIdInToken", Means::Refused),
    ("ExpiredProviderToken", Means::Refused),
    ("Forbidden", Means::Refused),
    ("InvalidProviderToken", Means::Refused),
    ("MissingProviderToken", Means::Refused),
    ("UnrelatedKeyIdInToken", Means::Refused),
    ("TooManyProviderTokenUpdates", Means::Quota),
    ("TooManyRequests", Means::Later),
    ("IdleTimeout", Means::Later),
    ("InternalServerError", Means::Provider),
    ("ServiceUnavailable", Means::Provider),
    ("Shutdown", Means::Provider),
];

/// The body of an error.
#[derive(Deserialize)]
struct Reason {
    reason: String,
    /// With a 410: since when the token is worth nothing, in milliseconds since 1970.
    timestamp: Option<i64>,
}

/// Whether our provider token was refused as too old.
pub(super) fn is_expired_token(reply: &Reply) -> bool {
    read(reply).is_some_and(|said| said.reason == "ExpiredProviderToken")
}

fn read(reply: &Reply) -> Option<Reason> {
    serde_json::from_slice(&reply.body).ok()
}

/// What an answer means for a device that was registered then.
pub(super) fn judge(reply: &Reply, registered_at: Timestamp) -> Answer {
    let Some(said) = read(reply) else { return reply.judge() };
    let error = reply.error();
    match REASONS.iter().find(|(reason, _)| *reason == said.reason).map(|row| row.1) {
        Some(Means::Gone) => {
            let since = said.timestamp.map(|ms| Timestamp::from_micros(ms.saturating_mul(1_000)));
            if since.is_some_and(|since| since < registered_at) {
                // The app came back after that.
                return reply.failed(Blame::Push);
            }
            Answer::Gone { error }
        }
        Some(Means::Ours) => Answer::Impossible { error },
        Some(Means::Refused) => Answer::Refused { error, sure: true },
        Some(Means::Quota) => reply.failed(Blame::Quota),
        Some(Means::Later) => reply.failed(Blame::Push),
        Some(Means::Provider) => reply.failed(Blame::Provider),
        None => reply.judge(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use reqwest::StatusCode;
    use reqwest::header::HeaderMap;

    fn judged(status: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        let reply = Reply { status, headers: HeaderMap::new(), body: body.as_bytes().to_vec() };
        judge(&reply, Timestamp::from_micros(2_000_000))
    }

    #[test]
    fn each_reason_means_what_the_table_says() {
        for (reason, means) in REASONS {
            let answer = judged(400, &format!(r#"{{"reason":"{reason}"}}"#));
            let agrees = match means {
                Means::Gone => matches!(answer, Answer::Gone { .. }),
                Means::Ours => matches!(answer, Answer::Impossible { .. }),
                Means::Refused => matches!(answer, Answer::Refused { sure: true, .. }),
                Means::Quota => matches!(answer, Answer::Failed { blame: Blame::Quota, .. }),
                Means::Later => matches!(answer, Answer::Failed { blame: Blame::Push, .. }),
                Means::Provider => matches!(answer, Answer::Failed { blame: Blame::Provider, .. }),
            };
            assert!(agrees, "{reason}: {answer:?}");
        }
    }

    #[test]
    fn a_device_that_came_back_is_kept() {
        let gone = |ms: i64| judged(410, &format!(r#"{{"reason":"Unregistered","timestamp":{ms}}}"#));
        assert!(matches!(gone(1_999), Answer::Failed { blame: Blame::Push, .. }));
        assert!(matches!(gone(2_000), Answer::Gone { error } if error.contains("Unregistered")));
    }

    #[test]
    fn nonsense_is_an_error_with_its_text() {
        assert_eq!(judged(200, ""), Answer::Accepted { status: 200 });
        assert!(matches!(judged(500, "<oops>"), Answer::Failed { error, blame: Blame::Provider, .. }
            if error == "500 Internal Server Error: <oops>"));
        assert!(
            matches!(judged(403, r#"{"reason":"NewThing"}"#), Answer::Failed { error, blame: Blame::Push, .. }
            if error.contains("NewThing"))
        );
    }
}
