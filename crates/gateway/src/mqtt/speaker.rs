//! How to speak to one client: its version, what it takes, the aliases it knows.

use std::collections::HashMap;
use std::num::NonZeroU16;

use bytes::BytesMut;
use tokio::time::Instant;

use crate::broker::{Delivery, Post};
use crate::codec::write::{self, Outgoing};
use crate::codec::{Version, connect::Connect};
use crate::payload::cut;

/// What CONNECT said of the client.
pub(crate) struct Speaker {
    pub(crate) version: Version,
    /// 5: the client wants reasons in words (Request Problem Information).
    words: bool,
    /// The longest packet the client takes.
    most: usize,
    /// Topic aliases it takes, and those it was given.
    aliases: u16,
    given: HashMap<String, u16>,
}

impl Speaker {
    /// `aliases` is the most that we give.
    pub(crate) fn new(connect: &Connect<'_>, aliases: u16) -> Self {
        let told = &connect.properties;
        Self {
            version: connect.version,
            words: connect.version.is_v5() && told.request_problem != Some(0),
            most: told.maximum_packet_size.map_or(usize::MAX, |most| most as usize),
            aliases: told.topic_alias_maximum.unwrap_or(0).min(aliases),
            given: HashMap::new(),
        }
    }

    pub(crate) fn is_v5(&self) -> bool {
        self.version.is_v5()
    }

    pub(crate) fn ack(
        &self,
        first: u8,
        packet_id: NonZeroU16,
        reason: u8,
        text: Option<&str>,
        out: &mut BytesMut,
    ) {
        let text = text.filter(|_| self.words).map(|text| cut(text, 200));
        write::ack(self.version, first, packet_id, reason, text.as_deref(), self.most, out);
    }

    /// Whether so many bytes may be sent in one packet.
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        bytes <= self.most
    }

    /// A message of the mailbox; `false`, with nothing written, when it is longer than the client
    /// takes.
    pub(crate) fn publish(&mut self, delivery: &Delivery, now: Instant, out: &mut BytesMut) -> bool {
        let topic = delivery.post.message.topic.as_str();
        let known = self.given.get(topic).copied();
        let given = self.given.len();
        let new = if known.is_none() && given < usize::from(self.aliases) {
            u16::try_from(given + 1).ok()
        } else {
            None
        };
        let packet = Outgoing {
            message: &delivery.post.message,
            topic: if known.is_some() { "" } else { topic },
            alias: known.or(new),
            dup: delivery.dup,
            qos: delivery.qos,
            retain: delivery.retain,
            packet_id: delivery.packet_id,
            expiry: delivery.post.seconds_left(now),
            identifiers: &delivery.identifiers,
        };
        let written = write::publish(self.version, &packet, self.most, out);
        if written && let Some(alias) = new {
            self.given.insert(topic.to_owned(), alias);
        }
        written
    }

    /// A command of the hub.
    pub(crate) fn command(
        &self,
        post: &Post,
        packet_id: Option<NonZeroU16>,
        now: Instant,
        out: &mut BytesMut,
    ) -> bool {
        let packet = Outgoing {
            message: &post.message,
            topic: &post.message.topic,
            alias: None,
            dup: false,
            qos: u8::from(packet_id.is_some()),
            retain: false,
            packet_id,
            expiry: post.seconds_left(now),
            identifiers: &[],
        };
        write::publish(self.version, &packet, self.most, out)
    }
}
