//! MQTT: the payload on a topic of the tenant, at quality 1, through the broker of the service.

use bytes::Bytes;
use futures::future::BoxFuture;
use serde_json::Value;
use statecast_state::TenantId;
use statecast_state::rule::ReceiverKind;

use super::Letter;
use crate::check::DEVICE;
use crate::fit::fit;
use crate::outbox::Claimed;
use crate::policy::{Answer, Blame, clean};

/// Largest payload, in bytes; the same as that of a webhook.
const BODY_BYTES_MAX: usize = 20_000;

/// The way to those who subscribed.
pub trait Publish: Send + Sync + 'static {
    /// Publishes on a topic of a tenant, at quality 1. Resolves when nothing that was promised to a subscriber can be
    /// lost any more; an error says why that isn't so, and the call is repeated.
    fn publish<'a>(
        &'a self,
        tenant: &'a TenantId,
        topic: &'a str,
        payload: Bytes,
    ) -> BoxFuture<'a, Result<(), String>>;
}

pub(super) fn letter(row: &Claimed) -> Result<Letter, String> {
    let mut letter = Letter::new(row, fit(&row.push.payload, BODY_BYTES_MAX, Value::clone)?);
    if let ReceiverKind::Mqtt { topic } = &mut letter.to {
        *topic = topic.replace(DEVICE, row.push.device.as_str());
    }
    Ok(letter)
}

pub(super) async fn send(broker: &dyn Publish, letter: &Letter, topic: &str) -> Answer {
    match broker.publish(&letter.tenant, topic, letter.body.clone()).await {
        Ok(()) => Answer::Accepted { status: 200 },
        Err(error) => Answer::Failed { error: clean(error.as_bytes()), not_before: None, blame: Blame::Push },
    }
}
