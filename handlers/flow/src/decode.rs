//! MQTT topics and payloads to reports.

use statecast_state::document::Limits;
use statecast_state::{DeviceId, DeviceKey, Refusal, Report, TenantId};

use crate::request::{Channel, Message};

/// Reads which device a topic is about, and what a message there means.
///
/// # Errors
/// A sentence for whoever published there.
pub fn topic(tenant: &TenantId, topic: &str) -> Result<(DeviceKey, Channel), String> {
    let known = "devices publish to devices/{device}/state and devices/{device}/desired/rejected";
    let rest = topic.strip_prefix("devices/").ok_or(known)?;
    let (device, channel) = match rest.split_once('/') {
        Some((device, "state")) => (device, Channel::State),
        Some((device, "desired/rejected")) => (device, Channel::Rejected),
        _ => return Err(known.to_owned()),
    };
    let device = DeviceId::parse(device).map_err(|bad| bad.to_string())?;
    Ok((DeviceKey::new(tenant.clone(), device), channel))
}

/// Reads a payload.
///
/// # Errors
/// `Refusal` when it can never be applied.
pub fn message(key: &DeviceKey, message: &Message, limits: &Limits) -> Result<Report, Refusal> {
    let Message { channel, payload, received_at, .. } = message;
    let report = match channel {
        Channel::State => Report::from_state_payload(key.clone(), payload, *received_at, limits),
        Channel::Rejected => Report::from_rejected_payload(key.clone(), payload, *received_at, limits),
    }?;
    Ok(Report { message: report.message.or(message.message), ..report })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read() {
        let tenant = TenantId::default();
        assert_eq!(
            topic(&tenant, "devices/a-1/state").map(|(key, channel)| (key.device.to_string(), channel)),
            Ok(("a-1".into(), Channel::State))
        );
        assert_eq!(
            topic(&tenant, "devices/a-1/desired/rejected").map(|(_, channel)| channel),
            Ok(Channel::Rejected)
        );
        for wrong in
            ["devices/a/other", "devices//state", "devices/é/state", "changes/a", "devices/a/state/x"]
        {
            assert!(topic(&tenant, wrong).is_err(), "{wrong}");
        }
    }
}
