//! Subscriptions: checked, put in force, answered once whoever keeps the state has said what comes first.

use std::sync::Arc;

use mqtt_protocol_core::mqtt::packet::{MqttString, Property, Qos, RetainHandling, SubEntry, SubOpts};
use mqtt_protocol_core::mqtt::result_code::{
    DisconnectReasonCode as Code, SubackReasonCode, UnsubackReasonCode,
};

use super::wish::quality;
use super::{Session, Waited, packets};
use crate::broker::Hub;
use crate::ending::Ending;
use crate::outbox::Letter;
use crate::topics::{self, BadTopic, Reach};
use crate::tree::Subscription;
use crate::{Client, Publication, QoS};

/// A filter that is in force, without its options.
pub(super) struct Filtered {
    qos: QoS,
}

/// All that a SUBACK needs.
pub(super) struct Subscribed {
    packet: u16,
    codes: Vec<SubackReasonCode>,
    first: Vec<Publication>,
}

impl Session {
    /// Takes a v5 SUBSCRIBE with properties. Subscription identifiers are announced as not available.
    pub(super) fn subscribe_with(
        &mut self,
        packet: u16,
        entries: &[SubEntry],
        properties: &[Property],
    ) -> Result<(), Ending> {
        if properties.iter().any(|property| matches!(property, Property::SubscriptionIdentifier(_))) {
            return Err(Ending::Violation(Code::SubscriptionIdentifiersNotSupported));
        }
        self.subscribe(packet, entries)
    }

    /// Takes a SUBSCRIBE: puts in force what may be, then asks what the client must see first.
    pub(super) fn subscribe(&mut self, packet: u16, entries: &[SubEntry]) -> Result<(), Ending> {
        let mut codes = Vec::with_capacity(entries.len());
        let mut asked: Vec<Arc<str>> = Vec::new();
        for entry in entries {
            let filter: Arc<str> = entry.topic_filter().into();
            let known = self.filters.contains_key(&filter);
            match self.put_in_force(&filter, entry.sub_opts()) {
                Ok(code) => {
                    let wanted = match entry.sub_opts().rh() {
                        RetainHandling::SendRetained => true,
                        RetainHandling::SendRetainedIfNotExists => !known,
                        RetainHandling::DoNotSendRetained => false,
                    };
                    if wanted {
                        asked.push(filter);
                    }
                    codes.push(code);
                }
                Err(code) => codes.push(code),
            }
        }
        if asked.is_empty() {
            return self.subscribed(Subscribed { packet, codes, first: Vec::new() });
        }
        let waited = what_comes_first(Arc::clone(&self.hub), Arc::clone(&self.peer.client), asked);
        self.subscribing = true;
        self.wait = Some(Box::pin(async move {
            let first = waited.await;
            Waited::Subscribed(Subscribed { packet, codes, first })
        }));
        Ok(())
    }

    /// Puts one filter in force, or says why not.
    fn put_in_force(
        &mut self,
        filter: &Arc<str>,
        options: &SubOpts,
    ) -> Result<SubackReasonCode, SubackReasonCode> {
        let config = &self.hub.config;
        let topics::Filter { pattern, group } =
            topics::check_filter(filter, config).map_err(|bad| match bad {
                BadTopic::Malformed => SubackReasonCode::TopicFilterInvalid,
                BadTopic::TooLong => SubackReasonCode::QuotaExceeded,
                BadTopic::Reserved => SubackReasonCode::NotAuthorized,
            })?;
        if !self.peer.client.grants.may_subscribe(pattern) {
            return Err(SubackReasonCode::NotAuthorized);
        }
        if !self.filters.contains_key(filter) && self.filters.len() >= config.subscriptions_max {
            return Err(SubackReasonCode::QuotaExceeded);
        }
        let Reach { own, routed } = topics::reach(pattern, config);
        if group.is_some() && own {
            return Err(SubackReasonCode::SharedSubscriptionsNotSupported);
        }
        if routed && !own {
            return Err(SubackReasonCode::ImplementationSpecificError);
        }
        let qos = quality(options.qos());
        let subscription = Subscription {
            peer: Arc::clone(&self.peer),
            qos,
            no_local: options.nl(),
            keep_retain: options.rap(),
        };
        self.hub.tree.subscribe(filter, subscription);
        if self.filters.insert(Arc::clone(filter), Filtered { qos }).is_none() {
            self.seat.own_filters.push(Arc::clone(filter));
        }
        Ok(match options.qos() {
            Qos::AtMostOnce => SubackReasonCode::GrantedQos0,
            Qos::AtLeastOnce => SubackReasonCode::GrantedQos1,
            Qos::ExactlyOnce => SubackReasonCode::GrantedQos2,
        })
    }

    /// Answers a SUBSCRIBE, and queues what comes first right behind the answer.
    pub(super) fn subscribed(&mut self, subscribed: Subscribed) -> Result<(), Ending> {
        let Subscribed { packet, codes, first } = subscribed;
        self.subscribing = false;
        self.codec.send(packets::suback(self.codec.version(), packet, codes)?)?;
        let grants = &self.peer.client.grants;
        let letters = first
            .into_iter()
            .filter(|publication| grants.may_receive(&publication.topic))
            .filter_map(|publication| {
                let qos = self
                    .filters
                    .iter()
                    .filter(|(filter, _)| topics::matches(filter, &publication.topic))
                    .map(|(_, filtered)| filtered.qos)
                    .max()?;
                Some(Letter::new(&publication, qos, publication.retain))
            })
            .collect();
        self.peer.outbox.lock().push_first(letters);
        Ok(())
    }

    /// Takes an UNSUBSCRIBE.
    pub(super) fn unsubscribe(&mut self, packet: u16, filters: &[MqttString]) -> Result<(), Ending> {
        let codes = filters
            .iter()
            .map(|filter| {
                if self.filters.remove(filter.as_str()).is_none() {
                    return UnsubackReasonCode::NoSubscriptionExisted;
                }
                self.seat.own_filters.retain(|own| **own != *filter.as_str());
                self.hub.tree.unsubscribe(filter.as_str(), &self.peer);
                UnsubackReasonCode::Success
            })
            .collect();
        Ok(self.codec.send(packets::unsuback(self.codec.version(), packet, codes)?)?)
    }
}

async fn what_comes_first(hub: Arc<Hub>, client: Arc<Client>, filters: Vec<Arc<str>>) -> Vec<Publication> {
    hub.sessions.subscribed(&client, &filters).await
}
