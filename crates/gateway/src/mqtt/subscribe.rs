//! SUBSCRIBE and UNSUBSCRIBE.

use std::num::NonZeroU16;

use bytes::BytesMut;

use super::handshake::Party;
use super::session::{End, Session};
use crate::broker::Options;
use crate::codec::read::Subscribe;
use crate::codec::reason;
use crate::codec::write::{codes, first};
use crate::topic::{Filter, is_of};

/// Levels of a topic filter; what walks the tree of filters goes as deep.
const LEVELS: usize = 64;

/// Filters that stay refused where everything else is open: by these, test suites look for a SUBACK
/// that refuses.
const NEVER_OPEN: [&str; 2] = ["nosubscribe", "test/nosubscribe"];

impl Session {
    pub(super) fn subscribe(&mut self, packet: Subscribe<'_>) -> Result<(), End> {
        let mut granted = Vec::with_capacity(packet.filters.len());
        let mut stored = false;
        for (text, options) in packet.filters {
            // What 3.1.1 does not know is 0 there.
            let options = Options(options);
            let filter = Filter::read(text).filter(|_| text.split('/').count() <= LEVELS);
            granted.push(match filter {
                None => reason::TOPIC_FILTER_INVALID,
                Some(filter) if filter.group.is_some() && options.no_local() => {
                    return Err(End::say(reason::PROTOCOL_ERROR, "protocol"));
                }
                Some(filter) if self.shared.config.open_topics && NEVER_OPEN.contains(&filter.filter) => {
                    reason::UNSPECIFIED
                }
                Some(filter) if !self.may_subscribe(filter.filter) => {
                    self.shared.meters.refused("subscribe-not-own");
                    reason::NOT_AUTHORIZED
                }
                Some(filter) => {
                    let broker = &self.shared.broker;
                    match broker.subscribe(&self.mailbox, text, filter, options, packet.identifier) {
                        Ok(kept) => {
                            stored |= kept;
                            options.qos()
                        }
                        Err(_) => reason::QUOTA_EXCEEDED,
                    }
                }
            });
        }
        self.note_listening();
        self.answer(first::SUBACK, packet.packet_id, &granted, stored);
        Ok(())
    }

    /// A device listens to its own topics; an integrator to any, and is sent what it may read.
    fn may_subscribe(&self, filter: &str) -> bool {
        self.shared.config.open_topics
            || match &self.party {
                Party::Device(device) => is_of(filter, &device.thing),
                Party::Integrator(_) => true,
                Party::Anonymous => false,
            }
    }

    pub(super) fn unsubscribe(&mut self, packet_id: NonZeroU16, filters: &[&str]) {
        let mut stored = false;
        let codes: Vec<u8> = filters
            .iter()
            .map(|filter| {
                let (was, kept) = self.shared.broker.unsubscribe(&self.mailbox, filter);
                stored |= kept;
                if was { reason::SUCCESS } else { reason::NO_SUBSCRIPTION_EXISTED }
            })
            .collect();
        self.note_listening();
        self.answer(first::UNSUBACK, packet_id, &codes, stored);
    }

    /// For a durable session the answer leaves once the store has the subscription.
    fn answer(&mut self, first: u8, packet_id: NonZeroU16, answer: &[u8], stored: bool) {
        let mut packet = BytesMut::new();
        codes(self.speaker.version, first, packet_id, answer, &mut packet);
        if !self.speaker.fits(packet.len()) {
            // The client must not see it (3.1.2-24); it asked for more than it takes an answer to.
            return;
        }
        if stored {
            self.hold(&packet);
        } else {
            self.out.extend_from_slice(&packet);
        }
    }
}
