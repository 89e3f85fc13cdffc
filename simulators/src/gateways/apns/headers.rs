//! The headers of APNs
//! (developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns), each checked.

use serde_json::Value;

use crate::gateways::protocol::Request;

/// Longest collapse id, in bytes.
const COLLAPSE_BYTES_MAX: usize = 64;
/// Largest payload, in bytes, and that of a call.
const PAYLOAD_BYTES_MAX: usize = 4_096;
const CALL_BYTES_MAX: usize = 5_120;
/// What `apns-push-type` may be.
const TYPES: [&str; 11] = [
    "alert",
    "background",
    "complication",
    "controls",
    "fileprovider",
    "liveactivity",
    "location",
    "mdm",
    "pushtotalk",
    "voip",
    "widgets",
];
/// Headers that may come once.
const ONCE: [&str; 7] = [
    "authorization",
    "apns-id",
    "apns-topic",
    "apns-push-type",
    "apns-priority",
    "apns-expiration",
    "apns-collapse-id",
];

/// Checks the headers but for who sends, and the payload. Answers the reason of a refusal.
pub(super) fn check(request: &Request, payload: Option<&Value>) -> Result<(), &'static str> {
    if ONCE.iter().any(|name| request.headers.get_all(*name).iter().count() > 1) {
        return Err("DuplicateHeaders");
    }
    if request.header("apns-id").is_some_and(|id| !is_uuid(id)) {
        return Err("BadMessageId");
    }
    if request.header("apns-collapse-id").is_some_and(|id| id.len() > COLLAPSE_BYTES_MAX) {
        return Err("BadCollapseId");
    }
    if request.header("apns-expiration").is_some_and(|at| at.parse::<u64>().is_err()) {
        return Err("BadExpirationDate");
    }
    let push_type = request.header("apns-push-type").unwrap_or_default();
    if !TYPES.contains(&push_type) {
        return Err("InvalidPushType");
    }
    match request.header("apns-priority").unwrap_or("10") {
        // What shows nothing must not wake the screen.
        "10" if push_type == "background" => return Err("BadPriority"),
        "10" | "5" | "1" => {}
        _ => return Err("BadPriority"),
    }
    if request.body.is_empty() {
        return Err("PayloadEmpty");
    }
    if request.body.len() > if push_type == "voip" { CALL_BYTES_MAX } else { PAYLOAD_BYTES_MAX } {
        return Err("PayloadTooLarge");
    }
    // Apple names no reason for what isn't a dictionary with `aps`; it is as good as empty.
    match payload.and_then(|payload| payload.get("aps")) {
        Some(Value::Object(aps)) if !aps.is_empty() => Ok(()),
        _ => Err("PayloadEmpty"),
    }
}

/// 8-4-4-4-12 hexadecimal digits.
fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    let digits = |group: &&str| group.bytes().all(|byte| byte.is_ascii_hexdigit());
    lengths == [8, 4, 4, 4, 12] && groups.iter().all(digits)
}
