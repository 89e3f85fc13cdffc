//! Subscriptions: checked, put in force, answered once whoever keeps the state has said what comes first.

use std::sync::Arc;

use mqtt_protocol_core::mqtt::packet::{MqttString, Property, RetainHandling, SubEntry, SubOpts};
use mqtt_protocol_core::mqtt::result_code::{
    DisconnectReasonCode as Code, MqttError, SubackReasonCode, UnsubackReasonCode,
};
use tokio::sync::oneshot;

use super::wish::quality;
use super::{Session, Waited, packets, strict};
use crate::broker::Hub;
use crate::ending::Ending;
use crate::limits::Limit;
use crate::outbox::Letter;
use crate::router::Feed;
use crate::topics::{self, BadTopic, Filter};
use crate::tree::{Options, Subscription};
use crate::{Client, Publication, QoS};

/// A filter that is in force.
pub(super) struct Filtered {
    options: Options,
    /// What it matches: the filter without `$share/group/`.
    pattern: Arc<str>,
    /// It stands among the service's own topics.
    own: bool,
    /// The way from the router, if it reaches routed topics.
    feed: Option<Arc<Feed>>,
    shared: bool,
}

/// What must be waited for before a SUBSCRIBE is answered.
struct Asked {
    filter: Arc<str>,
    /// The client wants to see what is there already.
    wanted: bool,
    own: bool,
    /// Retained messages of routed topics may match.
    retained: bool,
    /// The router says so when it has the filter.
    in_force: Option<oneshot::Receiver<()>>,
}

/// Why a filter isn't put in force.
struct NotGranted {
    code: SubackReasonCode,
    reason: &'static str,
}

const NOT_AUTHORIZED: NotGranted =
    NotGranted { code: SubackReasonCode::NotAuthorized, reason: "not allowed to subscribe to this" };

/// A filter is over a limit; counted.
fn over(limit: Limit) -> NotGranted {
    limit.count();
    NotGranted { code: SubackReasonCode::QuotaExceeded, reason: limit.reason() }
}

/// All that a SUBACK needs.
pub(super) struct Subscribed {
    packet: u16,
    codes: Vec<SubackReasonCode>,
    /// Why the first of those that are not in force isn't.
    reason: Option<&'static str>,
    /// What the client sees first.
    letters: Vec<Letter>,
}

impl Session {
    /// Takes a SUBSCRIBE: puts in force what may be, then asks what the client must see first.
    pub(super) fn subscribe(
        &mut self,
        packet: u16,
        entries: &[SubEntry],
        properties: &[Property],
    ) -> Result<(), Ending> {
        let identifier = identifier(properties)?;
        if !entries.iter().all(|entry| strict::is_text(entry.topic_filter())) {
            return Err(Ending::Violation(Code::MalformedPacket));
        }
        let shares = |entry: &SubEntry| topics::take_apart(entry.topic_filter()).group.is_some();
        if entries.iter().any(|entry| entry.sub_opts().nl() && shares(entry)) {
            // Who shares can't keep its own messages from the others (MQTT 5, 3.8.3.1).
            return Err(Ending::Violation(Code::ProtocolError));
        }
        let (mut codes, mut reason) = (Vec::with_capacity(entries.len()), None);
        let mut asked = Vec::new();
        for entry in entries {
            match self.put_in_force(&entry.topic_filter().into(), entry.sub_opts(), identifier) {
                Ok(one) => {
                    codes.push(granted(quality(entry.sub_opts().qos())));
                    asked.push(one);
                }
                Err(denied) => {
                    codes.push(denied.code);
                    reason.get_or_insert(denied.reason);
                }
            }
        }
        if !asked.iter().any(|one| one.wanted || one.in_force.is_some()) {
            return self.subscribed(Subscribed { packet, codes, reason, letters: Vec::new() });
        }
        let subscriptions =
            self.filters.values().map(|one| (Arc::clone(&one.pattern), one.options.qos)).collect();
        let letters =
            what_comes_first(Arc::clone(&self.hub), Arc::clone(&self.peer.client), asked, subscriptions);
        let identifiers: Vec<u32> = identifier.into_iter().collect();
        self.subscribing = true;
        self.wait = Some(Box::pin(async move {
            let letters = letters.await.into_iter().map(|one| one.identified(identifiers.clone())).collect();
            Waited::Subscribed(Subscribed { packet, codes, reason, letters })
        }));
        Ok(())
    }

    /// Puts one filter in force, or says why not.
    fn put_in_force(
        &mut self,
        filter: &Arc<str>,
        options: &SubOpts,
        identifier: Option<u32>,
    ) -> Result<Asked, NotGranted> {
        let config = &self.hub.config;
        let Filter { pattern, group } = topics::check_filter(filter, config).map_err(|bad| match bad {
            BadTopic::Malformed => {
                NotGranted { code: SubackReasonCode::TopicFilterInvalid, reason: "no valid filter" }
            }
            BadTopic::TooLong => over(Limit::Topic),
            BadTopic::Reserved => NOT_AUTHORIZED,
        })?;
        if !self.peer.client.grants.may_subscribe(pattern) {
            return Err(NOT_AUTHORIZED);
        }
        let known = self.filters.get(filter);
        if known.is_none() && self.filters.len() >= config.subscriptions_max {
            return Err(over(Limit::Subscriptions));
        }
        let reach = topics::reach(pattern, config);
        let shared = group.is_some();
        let wanted = match options.rh() {
            // None of several sees what is there already (MQTT 5, 4.8.2).
            _ if shared => false,
            RetainHandling::SendRetained => true,
            RetainHandling::SendRetainedIfNotExists => known.is_none(),
            RetainHandling::DoNotSendRetained => false,
        };
        let options = Options {
            qos: quality(options.qos()),
            no_local: options.nl(),
            keep_retain: options.rap(),
            identifier,
        };
        let pattern: Arc<str> = pattern.into();
        let (feed, in_force) = if reach.routed {
            let (feed, in_force) = self.subscribe_routed(filter, &pattern, group, options)?;
            (Some(feed), Some(in_force))
        } else {
            (None, None)
        };
        if reach.own {
            let subscription = Subscription { peer: Arc::clone(&self.peer), options };
            self.hub.tree.subscribe(filter, subscription);
            if !self.seat.own_filters.contains(filter) {
                self.seat.own_filters.push(Arc::clone(filter));
            }
        }
        self.filters.insert(Arc::clone(filter), Filtered { options, pattern, own: reach.own, feed, shared });
        let (filter, own, retained) = (Arc::clone(filter), reach.own, reach.routed && !shared);
        Ok(Asked { filter, wanted: wanted && (own || retained), own, retained, in_force })
    }

    /// Shows a filter to the router, over the way that all plain filters share, or one of its own if it is
    /// shared.
    fn subscribe_routed(
        &mut self,
        filter: &Arc<str>,
        pattern: &Arc<str>,
        group: Option<&str>,
        options: Options,
    ) -> Result<(Arc<Feed>, oneshot::Receiver<()>), NotGranted> {
        let known = match group {
            Some(_) => self.filters.get(filter),
            None => self.filters.values().find(|one| one.feed.is_some() && !one.shared),
        };
        let feed = match known.and_then(|known| known.feed.clone()) {
            Some(feed) => feed,
            None => {
                let feed = self.hub.router.open(&self.peer, group);
                let feed = feed.ok_or_else(|| over(Limit::RouterLinks))?;
                self.seat.feeds.push(Arc::clone(&feed));
                feed
            }
        };
        match self.hub.router.subscribe(&feed, pattern, options) {
            Some(in_force) => Ok((feed, in_force)),
            None => {
                self.close_if_unused(&feed);
                Err(over(Limit::RouterFilters))
            }
        }
    }

    /// Answers a SUBSCRIBE, and queues what comes first right behind the answer.
    pub(super) fn subscribed(&mut self, subscribed: Subscribed) -> Result<(), Ending> {
        let Subscribed { packet, codes, reason, letters } = subscribed;
        self.subscribing = false;
        let (version, reason) = (self.codec.version(), reason.filter(|_| self.reasons));
        match self.codec.send(packets::suback(version, packet, codes.clone(), reason)?) {
            // The client takes no packet that long: it is told without words (MQTT 5, 3.9.2.1.2).
            Err(MqttError::PacketTooLarge) => {
                self.codec.send(packets::suback(version, packet, codes, None)?)?;
            }
            sent => sent?,
        }
        self.peer.outbox.lock().push_first(letters);
        Ok(())
    }

    /// Takes an UNSUBSCRIBE.
    pub(super) fn unsubscribe(&mut self, packet: u16, filters: &[MqttString]) -> Result<(), Ending> {
        if !filters.iter().all(|filter| strict::is_text(filter.as_str())) {
            return Err(Ending::Violation(Code::MalformedPacket));
        }
        let codes = filters.iter().map(|filter| self.end_filter(filter.as_str())).collect();
        Ok(self.codec.send(packets::unsuback(self.codec.version(), packet, codes)?)?)
    }

    fn end_filter(&mut self, filter: &str) -> UnsubackReasonCode {
        let Some(ended) = self.filters.remove(filter) else {
            return UnsubackReasonCode::NoSubscriptionExisted;
        };
        if ended.own {
            self.seat.own_filters.retain(|own| **own != *filter);
            self.hub.tree.unsubscribe(filter, &self.peer);
        }
        if let Some(feed) = ended.feed
            && !self.close_if_unused(&feed)
        {
            self.hub.router.unsubscribe(&feed, &ended.pattern);
        }
        UnsubackReasonCode::Success
    }

    /// Closes a way from the router that no filter uses.
    fn close_if_unused(&mut self, feed: &Arc<Feed>) -> bool {
        let uses = |one: &Filtered| one.feed.as_ref().is_some_and(|used| Arc::ptr_eq(used, feed));
        if self.filters.values().any(uses) {
            return false;
        }
        self.seat.feeds.retain(|one| !Arc::ptr_eq(one, feed));
        self.hub.router.close(feed);
        true
    }
}

/// The subscription identifier, of which a SUBSCRIBE has one at most (MQTT 5, 3.8.2.1.2).
fn identifier(properties: &[Property]) -> Result<Option<u32>, Ending> {
    let mut identifiers = properties.iter().filter_map(|property| match property {
        Property::SubscriptionIdentifier(identifier) => Some(identifier.val()),
        _ => None,
    });
    let identifier = identifiers.next();
    match identifiers.next() {
        Some(_) => Err(Ending::Violation(Code::ProtocolError)),
        None => Ok(identifier),
    }
}

fn granted(qos: QoS) -> SubackReasonCode {
    match qos {
        QoS::AtMostOnce => SubackReasonCode::GrantedQos0,
        QoS::AtLeastOnce => SubackReasonCode::GrantedQos1,
        QoS::ExactlyOnce => SubackReasonCode::GrantedQos2,
    }
}

/// Waits until all filters are in force, and collects what the client must see first.
async fn what_comes_first(
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
