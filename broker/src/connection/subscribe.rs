//! Subscriptions: checked, put in force, answered once whoever keeps the state has said what comes first.

use std::sync::Arc;

use mqtt_protocol_core::mqtt::connection::Version;
use mqtt_protocol_core::mqtt::packet::{MqttString, Property, RetainHandling, SubEntry, SubOpts};
use mqtt_protocol_core::mqtt::result_code::{
    DisconnectReasonCode as Code, MqttError, SubackReasonCode, UnsubackReasonCode,
};
use tokio::sync::oneshot;

use super::first::{Asked, what_comes_first};
use super::wish::quality;
use super::{Session, Waited, packets, strict};
use crate::QoS;
use crate::ending::Ending;
use crate::limits::Limit;
use crate::outbox::Letter;
use crate::session::Writes;
use crate::topics::{self, BadTopic, Filter};
use crate::tree::{Options, Subscriber, Subscription};

/// A filter that is in force.
pub(super) struct Filtered {
    options: Options,
    /// What it matches: the filter without `$share/group/`.
    pattern: Arc<str>,
    /// It is matched by the router as far as it reaches routed topics; else only here.
    at_router: bool,
}

impl Filtered {
    /// A filter of a session that outlasts the connection.
    pub(super) fn of_session(options: Options, pattern: &str) -> Self {
        Self { options, pattern: pattern.into(), at_router: false }
    }
}

/// Why a filter isn't put in force.
struct NotGranted {
    code: SubackReasonCode,
    reason: &'static str,
}

const NOT_AUTHORIZED: NotGranted =
    NotGranted { code: SubackReasonCode::NotAuthorized, reason: "not allowed to subscribe to this" };

const ENDED: NotGranted =
    NotGranted { code: SubackReasonCode::UnspecifiedError, reason: "the session has ended" };

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

/// All that an UNSUBACK needs.
pub(super) struct Unsubscribed {
    packet: u16,
    codes: Vec<UnsubackReasonCode>,
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
        let old = self.codec.version() != Version::V5_0;
        let malformed = |entry: &SubEntry| {
            !strict::is_filter(entry.topic_filter()) || old && strict::has_new_options(entry.sub_opts())
        };
        if entries.iter().any(malformed) {
            return Err(Ending::Violation(Code::MalformedPacket));
        }
        let shares = |entry: &SubEntry| topics::take_apart(entry.topic_filter()).group.is_some();
        if entries.iter().any(|entry| entry.sub_opts().nl() && shares(entry)) {
            // Who shares can't keep its own messages from the others (MQTT 5, 3.8.3.1).
            return Err(Ending::Violation(Code::ProtocolError));
        }
        let (mut codes, mut reason) = (Vec::with_capacity(entries.len()), None);
        let mut asked = Vec::new();
        let hub = Arc::clone(&self.hub);
        let desk = hub.writer.desk();
        let mut writes = Writes::default();
        for entry in entries {
            let filter: Arc<str> = entry.topic_filter().into();
            match self.put_in_force(&filter, entry.sub_opts(), identifier, &mut writes) {
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
        let durable = (!writes.list.is_empty()).then(|| desk.enter_waiting(writes));
        if durable.is_none() && !asked.iter().any(|one| one.wanted || one.in_force.is_some()) {
            return self.subscribed(Subscribed { packet, codes, reason, letters: Vec::new() });
        }
        let letters =
            what_comes_first(Arc::clone(&hub), Arc::clone(&self.peer.client), asked, self.patterns());
        let identifiers: Vec<u32> = identifier.into_iter().collect();
        self.subscribing = true;
        self.wait = Some(Box::pin(async move {
            if let Some(durable) = durable
                && durable.await.is_err()
            {
                return Waited::InVain;
            }
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
        writes: &mut Writes,
    ) -> Result<Asked, NotGranted> {
        let config = &self.hub.config;
        let Filter { pattern, group } = topics::check_filter(filter, config).map_err(|bad| match bad {
            BadTopic::Malformed => {
                NotGranted { code: SubackReasonCode::TopicFilterInvalid, reason: "no valid filter" }
            }
            BadTopic::TooLong => over(Limit::TopicBytes),
            BadTopic::TooDeep => over(Limit::TopicLevels),
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
        // What must miss nothing, and what one of several gets, is matched here.
        let at_router = reach.routed && !shared && self.lasting.is_none();
        let in_force = if at_router { Some(self.subscribe_routed(&pattern, options)?) } else { None };
        if let Some(lasting) = &self.lasting {
            writes.list.push(lasting.subscribe(filter, options).ok_or(ENDED)?);
            self.hub.put_in_trees(filter, self.subscriber(), options);
        } else if shared || reach.own {
            if at_router {
                let subscription = Subscription { subscriber: self.subscriber(), options };
                self.hub.tree.subscribe(filter, subscription);
            } else {
                self.hub.put_in_trees(filter, self.subscriber(), options);
            }
            if !self.seat.filters.contains(filter) {
                self.seat.filters.push(Arc::clone(filter));
            }
        }
        self.filters.insert(Arc::clone(filter), Filtered { options, pattern, at_router });
        let (filter, own, retained) = (Arc::clone(filter), reach.own, reach.routed && !shared);
        Ok(Asked { filter, wanted: wanted && (own || retained), own, retained, in_force })
    }

    /// Who subscribes: the session, if it outlasts the connection.
    pub(super) fn subscriber(&self) -> Subscriber {
        match &self.lasting {
            Some(lasting) => Subscriber::Session(Arc::clone(lasting)),
            None => Subscriber::Connection(Arc::clone(&self.peer)),
        }
    }

    /// What is matched, and at which quality.
    pub(super) fn patterns(&self) -> Vec<(Arc<str>, QoS)> {
        self.filters.values().map(|one| (Arc::clone(&one.pattern), one.options.qos)).collect()
    }

    /// Shows a filter to the router.
    fn subscribe_routed(
        &mut self,
        pattern: &Arc<str>,
        options: Options,
    ) -> Result<oneshot::Receiver<()>, NotGranted> {
        let feed = match &self.seat.feed {
            Some(feed) => Arc::clone(feed),
            None => self.hub.router.open(&self.peer).ok_or_else(|| over(Limit::RouterLinks))?,
        };
        self.seat.feed = Some(Arc::clone(&feed));
        let in_force = self.hub.router.subscribe(&feed, pattern, options);
        if in_force.is_none() {
            self.close_unused_feed();
        }
        in_force.ok_or_else(|| over(Limit::RouterFilters))
    }

    /// Answers a SUBSCRIBE, and queues what comes first right behind the answer.
    pub(super) fn subscribed(&mut self, subscribed: Subscribed) -> Result<(), Ending> {
        let Subscribed { packet, codes, reason, mut letters } = subscribed;
        self.subscribing = false;
        let (version, reason) = (self.codec.version(), reason.filter(|_| self.reasons));
        match self.codec.send(packets::suback(version, packet, codes.clone(), reason)?) {
            // The client takes no packet that long: it is told without words (MQTT 5, 3.9.2.1.2).
            Err(MqttError::PacketTooLarge) => {
                self.codec.send(packets::suback(version, packet, codes, None)?)?;
            }
            sent => sent?,
        }
        if let Some(lasting) = &self.lasting {
            // What must not be lost goes the way of all that must not.
            let desk = self.hub.writer.desk();
            let mut writes = Writes::default();
            letters.retain(|letter| {
                let kept = letter.qos > QoS::AtMostOnce && !letter.latest_only;
                if kept {
                    lasting.take(letter.clone(), &self.hub.config, &mut writes);
                }
                !kept
            });
            desk.enter(writes, || ());
        }
        self.peer.outbox.lock().push_first(letters);
        Ok(())
    }

    /// Takes an UNSUBSCRIBE.
    pub(super) fn unsubscribe(&mut self, packet: u16, filters: &[MqttString]) -> Result<(), Ending> {
        if !filters.iter().all(|filter| strict::is_filter(filter.as_str())) {
            return Err(Ending::Violation(Code::MalformedPacket));
        }
        let hub = Arc::clone(&self.hub);
        let desk = hub.writer.desk();
        let mut writes = Writes::default();
        let codes = filters.iter().map(|filter| self.end_filter(filter.as_str(), &mut writes)).collect();
        let unsubscribed = Unsubscribed { packet, codes };
        if writes.list.is_empty() {
            return self.unsubscribed(unsubscribed);
        }
        let durable = desk.enter_waiting(writes);
        self.wait = Some(Box::pin(async move {
            match durable.await {
                Ok(()) => Waited::Unsubscribed(unsubscribed),
                Err(_) => Waited::InVain,
            }
        }));
        Ok(())
    }

    /// Answers an UNSUBSCRIBE.
    pub(super) fn unsubscribed(&mut self, unsubscribed: Unsubscribed) -> Result<(), Ending> {
        let Unsubscribed { packet, codes } = unsubscribed;
        Ok(self.codec.send(packets::unsuback(self.codec.version(), packet, codes)?)?)
    }

    fn end_filter(&mut self, filter: &str, writes: &mut Writes) -> UnsubackReasonCode {
        let Some((filter, ended)) = self.filters.remove_entry(filter) else {
            return UnsubackReasonCode::NoSubscriptionExisted;
        };
        self.seat.filters.retain(|one| *one != filter);
        self.hub.take_from_trees(&filter, &self.subscriber());
        if let Some(lasting) = &self.lasting {
            writes.list.push(lasting.unsubscribe(&filter));
        }
        if ended.at_router
            && !self.close_unused_feed()
            && let Some(feed) = &self.seat.feed
        {
            self.hub.router.unsubscribe(feed, &ended.pattern);
        }
        UnsubackReasonCode::Success
    }

    /// Closes the way from the router if no filter uses it.
    fn close_unused_feed(&mut self) -> bool {
        let unused = !self.filters.values().any(|one| one.at_router);
        if unused && let Some(feed) = self.seat.feed.take() {
            self.hub.router.close(&feed);
        }
        unused
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
