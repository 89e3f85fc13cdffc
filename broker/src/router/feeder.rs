//! One task for each link: from the router to the outbox of a subscriber.

use std::sync::Arc;

use rumqttd::Notification;
use rumqttd::local::LinkRx;
use tokio::sync::mpsc;

use super::command::Command;
use super::copies::Copies;
use super::{Feed, Message};
use crate::outbox::Letter;
use crate::topics;
use crate::tree::Merged;

/// Reads a link until nothing more is wanted, then lets go of it; or until the router dies.
pub(super) async fn run(
    mut rx: LinkRx,
    feed: Arc<Feed>,
    link: u64,
    left: mpsc::WeakUnboundedSender<Command>,
) {
    let mut copies = Copies::default();
    loop {
        let next = tokio::select! {
            biased;
            () = feed.closed.cancelled() => break,
            next = rx.next() => next,
        };
        match next {
            Ok(Some(Notification::Forward(forward))) => {
                let opened = Message::open(&forward.publish.topic, forward.publish.payload);
                if let Some((number, message)) = opened {
                    deliver(&feed, &mut copies, number, &message);
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
fn deliver(feed: &Feed, copies: &mut Copies, number: u64, message: &Message) {
    let client = &feed.peer.client;
    let mut matching = Merged::default();
    let mut expected = 0;
    for (pattern, options) in &*feed.patterns.lock() {
        if topics::matches(pattern, &message.topic) {
            expected += 1;
            if options.wants(Some(client.connection), Some(message.from)) {
                matching.add(options);
            }
        }
    }
    if !copies.is_first(number, expected) {
        return;
    }
    // A filter may just have been ended.
    let Some(qos) = matching.qos else { return };
    if !client.grants.may_receive(&message.topic) {
        return;
    }
    let letter = Letter::routed(message, qos, message.retain && matching.keep_retain);
    feed.peer.post(letter.identified(matching.identifiers));
}
