//! What the errors of Firebase mean (Firebase, "FCM error codes").

use std::time::Duration;

use serde_json::Value;

use crate::http::Reply;
use crate::policy::{Answer, Blame, later, now};

/// How long Firebase wants to be left alone after a quota was used up and nothing else is said.
const QUOTA_WAIT: Duration = Duration::from_secs(60);

/// What to make of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    /// The registration is worth nothing any more.
    Gone,
    /// The registration is worth nothing, unless we made a mistake in the message.
    GoneOrOurs,
    /// Our mistake.
    Ours,
    /// Our credentials, surely.
    Refused,
    /// Our credentials, or the app isn't one of this project.
    Suspect,
    /// Too much.
    Quota,
    /// Their trouble.
    Provider,
}

/// By `errorCode` of the `FcmError` in `details`.
const BY_CODE: &[(&str, Means)] = &[
    ("UNREGISTERED", Means::Gone),
    ("INVALID_ARGUMENT", Means::GoneOrOurs),
    ("SENDER_ID_MISMATCH", Means::Suspect),
    ("THIRD_PARTY_AUTH_ERROR", Means::Suspect),
    ("QUOTA_EXCEEDED", Means::Quota),
    ("UNAVAILABLE", Means::Provider),
    ("INTERNAL", Means::Provider),
];

/// By status, where there is no such code.
const BY_STATUS: &[(u16, Means)] = &[
    (400, Means::Ours),
    (401, Means::Refused),
    (403, Means::Refused),
    (404, Means::Refused), // no such project
    (413, Means::Ours),
    (429, Means::Quota),
];

/// What an answer that isn't a 2xx means.
pub(super) fn judge(reply: &Reply) -> Answer {
    let error = reply.error();
    let body: Option<Value> = serde_json::from_slice(&reply.body).ok();
    let details = body.as_ref().and_then(|body| body.pointer("/error/details")).and_then(Value::as_array);
    let detail = |of: &str| {
        let is = |detail: &&Value| detail["@type"].as_str().is_some_and(|kind| kind.ends_with(of));
        details.into_iter().flatten().find(is)
    };
    let code = detail("google.firebase.fcm.v1.FcmError").and_then(|detail| detail["errorCode"].as_str());
    let by_status = || BY_STATUS.iter().find(|(status, _)| *status == reply.status.as_u16()).map(|row| row.1);
    let by_code = code.and_then(|code| BY_CODE.iter().find(|(known, _)| *known == code)).map(|row| row.1);
    match by_code.or_else(by_status) {
        Some(Means::Gone) => Answer::Gone { error },
        Some(Means::GoneOrOurs) if detail("google.rpc.BadRequest").is_none() => Answer::Gone { error },
        Some(Means::GoneOrOurs | Means::Ours) => Answer::Impossible { error },
        Some(Means::Refused) => Answer::Refused { error, sure: true },
        Some(Means::Suspect) => Answer::Refused { error, sure: false },
        Some(Means::Quota) => {
            let not_before = reply.retry_after().unwrap_or(later(now(), QUOTA_WAIT));
            Answer::Failed { error, not_before: Some(not_before), blame: Blame::Quota }
        }
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
    use serde_json::json;

    fn judged(status: u16, details: &Value) -> Answer {
        let body = json!({"error":{"code":status,"message":"what","status":"X","details":details}});
        reply(status, &body.to_string())
    }

    fn reply(status: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        judge(&Reply { status, headers: HeaderMap::new(), body: body.as_bytes().to_vec() })
    }

    fn code(status: u16, code: &str) -> Answer {
        let kind = "type.googleapis.com/google.firebase.fcm.v1.FcmError";
        judged(status, &json!([{"@type":kind,"errorCode":code}]))
    }

    #[test]
    fn each_error_means_what_the_table_says() {
        assert!(matches!(code(404, "UNREGISTERED"), Answer::Gone { error } if error.contains("what")));
        assert!(matches!(code(400, "INVALID_ARGUMENT"), Answer::Gone { .. }));
        assert!(matches!(code(403, "SENDER_ID_MISMATCH"), Answer::Refused { sure: false, .. }));
        assert!(matches!(code(401, "THIRD_PARTY_AUTH_ERROR"), Answer::Refused { sure: false, .. }));
        let quota = code(429, "QUOTA_EXCEEDED");
        assert!(
            matches!(quota, Answer::Failed { blame: Blame::Quota, not_before: Some(at), .. } if at > now())
        );
        for (status, name) in [(503, "UNAVAILABLE"), (500, "INTERNAL")] {
            assert!(matches!(code(status, name), Answer::Failed { blame: Blame::Provider, .. }));
        }
    }

    #[test]
    fn a_message_that_is_wrong_is_our_fault_not_the_phones() {
        let kind = "type.googleapis.com/google.rpc.BadRequest";
        let fcm = "type.googleapis.com/google.firebase.fcm.v1.FcmError";
        let details =
            json!([{"@type":fcm,"errorCode":"INVALID_ARGUMENT"},{"@type":kind,"fieldViolations":[]}]);
        assert!(matches!(judged(400, &details), Answer::Impossible { .. }));
        assert!(matches!(judged(400, &json!([{"@type":kind}])), Answer::Impossible { .. }));
    }

    #[test]
    fn without_a_code_the_status_counts() {
        for status in [401, 403, 404] {
            assert!(matches!(reply(status, "{}"), Answer::Refused { sure: true, .. }), "{status}");
        }
        assert!(matches!(reply(502, "<html>"), Answer::Failed { blame: Blame::Provider, .. }));
        assert!(matches!(reply(429, ""), Answer::Failed { blame: Blame::Quota, .. }));
        assert!(
            matches!(reply(302, "go"), Answer::Failed { blame: Blame::Push, error, .. } if error.contains("go"))
        );
    }
}
