//! The publishes of a client at quality 2, each from its arrival to its PUBREL.
//!
//! States of an exchange: begun, it isn't known whether the publish was applied, and it is delivered again with the same
//! key when it comes again; delivered, it isn't; and gone, once the client has let go of the packet id.

use super::lasting::random;
use super::{Lasting, Write, Writes};
use crate::sessions::KeptExchange;

/// A publish of the client at quality 2, until its PUBREL.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exchange {
    /// See [`KeptExchange::key`].
    pub(crate) key: u64,
    /// See [`KeptExchange::delivered`].
    pub(crate) delivered: bool,
}

impl Lasting {
    /// The packet ids of the client's publishes at quality 2 that it has yet to release.
    pub(crate) fn unreleased(&self) -> Vec<u16> {
        self.state().exchanges.keys().copied().collect()
    }

    /// The exchange of this packet id.
    pub(crate) fn exchange(&self, packet: u16) -> Option<Exchange> {
        self.state().exchanges.get(&packet).copied()
    }

    /// A publish at quality 2 arrived, perhaps again. Gives the key of its exchange.
    pub(crate) fn begin_exchange(&self, packet: u16, delivered: bool, writes: &mut Writes) -> u64 {
        let mut state = self.state();
        let new = Exchange { key: random(), delivered };
        let exchange = *state.exchanges.entry(packet).or_insert(new);
        writes.list.push(self.kept_exchange(packet, exchange));
        exchange.key
    }

    /// What a publish at quality 2 was for is done. False if that was known already; it may not be durable yet.
    pub(crate) fn delivered(&self, packet: u16, writes: &mut Writes) -> bool {
        writes.waits = true;
        let mut state = self.state();
        let Some(exchange) = state.exchanges.get_mut(&packet).filter(|exchange| !exchange.delivered) else {
            return false;
        };
        exchange.delivered = true;
        writes.list.push(self.kept_exchange(packet, *exchange));
        true
    }

    /// An exchange is over.
    pub(crate) fn complete(&self, packet: u16, writes: &mut Writes) {
        writes.waits = true;
        if self.state().exchanges.remove(&packet).is_some() {
            writes.list.push(Write::Complete(self.id.clone(), packet));
        }
    }

    fn kept_exchange(&self, packet: u16, Exchange { key, delivered }: Exchange) -> Write {
        Write::Exchange(KeptExchange { session: self.id.clone(), packet, key, delivered })
    }

    /// Takes back what was kept of it.
    pub(super) fn restore_exchange(&self, kept: &KeptExchange) {
        let exchange = Exchange { key: kept.key, delivered: kept.delivered };
        self.state().exchanges.insert(kept.packet, exchange);
    }
}
