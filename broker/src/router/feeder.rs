//! One task for each link: from the router to the outbox of a subscriber.

use std::sync::Arc;

use rumqttd::Notification;
use rumqttd::local::LinkRx;
use tokio::sync::mpsc;

use super::command::Command;
use super::{Feed, Message};
use crate::QoS;
use crate::outbox::Letter;
use crate::topics;

/// Reads a link until nothing more is wanted, then lets go of it; or until the router dies.
pub(super) async fn run(
    mut rx: LinkRx,
    feed: Arc<Feed>,
    link: u64,
    left: mpsc::WeakUnboundedSender<Command>,
) {
    loop {
        let next = tokio::select! {
            biased;
            () = feed.closed.cancelled() => break,
            next = rx.next() => next,
        };
        match next {
            Ok(Some(Notification::Forward(forward))) => {
                if let Some(message) = Message::open(&forward.publish.topic, forward.publish.payload) {
                    deliver(&feed, &message);
                }
            }
            // The router has filled the link and waits until it is told to go on. The outbox is bounded on its
            // own, so it may at once.
            Ok(Some(Notification::Unschedule)) => {
                if rx.wake().await.is_err() {
                    return;
                }
            }
            Ok(_) => {}
            Err(_) => return,
        }
    }
    if let Some(left) = left.upgrade() {
        left.send(Command::Left { link }).ok();
    }
}

/// Posts a message to the subscriber, at the lesser of the qualities, if it may see it.
fn deliver(feed: &Feed, message: &Message) {
    let client = &feed.peer.client;
    let mut qos: Option<QoS> = None;
    let mut keep_retain = false;
    for (pattern, options) in &*feed.patterns.lock() {
        let echo = options.no_local && message.from == client.connection;
        if !echo && topics::matches(pattern, &message.topic) {
            qos = qos.max(Some(options.qos));
            keep_retain |= options.keep_retain;
        }
    }
    // A filter may just have been ended.
    let Some(qos) = qos else { return };
    if !client.grants.may_receive(&message.topic) {
        return;
    }
    feed.peer.post(Letter::routed(message, qos, message.retain && keep_retain));
}
