//! What a subscriber sees first: what was there before it.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::broker::Hub;
use crate::outbox::Letter;
use crate::{Client, Publication, QoS, topics};

/// What must be waited for before a SUBSCRIBE is answered.
pub(super) struct Asked {
    pub(super) filter: Arc<str>,
    /// The client wants to see what is there already.
    pub(super) wanted: bool,
    pub(super) own: bool,
    /// Retained messages of routed topics may match.
    pub(super) retained: bool,
    /// The router says so when it has the filter.
    pub(super) in_force: Option<oneshot::Receiver<()>>,
}

impl Asked {
    /// What is there on own topics, for a filter that is in force.
    pub(super) fn own(filter: &Arc<str>) -> Self {
        Self { filter: Arc::clone(filter), wanted: true, own: true, retained: false, in_force: None }
    }
}

/// Waits until all filters are in force, and collects what the client must see first.
pub(super) async fn what_comes_first(
    hub: Arc<Hub>,
    client: Arc<Client>,
    asked: Vec<Asked>,
    subscriptions: Vec<(Arc<str>, QoS)>,
) -> Vec<Letter> {
    let mut own: Vec<Arc<str>> = Vec::new();
    let mut letters: Vec<Letter> = Vec::new();
    for one in asked {
        if let Some(in_force) = one.in_force {
            // If the router is being started again it will know the filter soon.
            in_force.await.ok();
        }
        if one.wanted && one.retained {
            for message in hub.retained.matching(&client.realm, &one.filter) {
                letters.push(Letter::routed(&message, QoS::ExactlyOnce, true));
            }
        }
        if one.wanted && one.own {
            own.push(one.filter);
        }
    }
    if !own.is_empty() {
        let first: Vec<Publication> = hub.sessions.subscribed(&client, &own).await;
        letters.extend(first.iter().map(|one| Letter::new(one, QoS::ExactlyOnce, one.retain)));
    }
    letters.retain_mut(|letter| {
        let matching = subscriptions.iter().filter(|(pattern, _)| topics::matches(pattern, &letter.topic));
        let Some(qos) = matching.map(|(_, qos)| *qos).max() else { return false };
        letter.qos = letter.qos.min(qos);
        client.grants.may_receive(&letter.topic)
    });
    letters
}
