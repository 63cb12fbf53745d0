//! PUBLISH: judge the topic, read the payload, put the acknowledgement in line.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::broker::Message;
use model::command::{Answer, Correlation};
use model::observation::Unreadable;
use model::{DatastreamKey, Micros};
use tokio::time::Instant;

use super::ack::Waiting;
use super::handshake::{Party, passed_on};
use super::session::{End, Session};
use crate::broker::{Passage, Post};
use crate::codec::read::Publish;
use crate::codec::reason;
use crate::codec::write::first;
use crate::payload::{self, cut};
use crate::topic::{Place, is_name, place};

/// What is kept of an unreadable message ([`Unreadable`]).
const TOPIC_KEPT: usize = 256;
const PAYLOAD_KEPT: usize = 4096;

/// What a publication on a topic of this hub becomes.
enum Meaning {
    /// An observation of this datastream.
    Observation(DatastreamKey),
    /// One of a datastream that the thing does not have.
    Undeclared,
    /// Somebody else's, or nothing of this hub's.
    NotOwn,
}

impl Session {
    pub(super) fn publish(&mut self, publish: &Publish<'_>) -> Result<(), End> {
        let aliased = self.resolve_alias(publish)?;
        let topic = aliased.as_deref().unwrap_or(publish.topic);
        self.check(publish, topic)?;
        if publish.qos == 2 {
            if publish.packet_id.is_some_and(|packet_id| self.mailbox.has_received(packet_id)) {
                // A repeat of what is stored: said again, not done again (4.3.3).
                self.acknowledge(publish, reason::SUCCESS, None, false);
                return Ok(());
            }
            self.open += 1;
        }
        let place = place(topic);
        let open = self.shared.config.open_topics;
        match place {
            Place::Invalid => Err(End::say(reason::TOPIC_NAME_INVALID, "topic-invalid")),
            Place::Datastream { thing, code } => match self.datastream(thing, code) {
                Meaning::Observation(key) => {
                    let read = payload::decode(publish.payload, key, self.now, &mut self.group.samples);
                    self.observed(publish, topic, thing, read);
                    Ok(())
                }
                _ if open => {
                    self.pass_on(publish, topic);
                    Ok(())
                }
                Meaning::Undeclared => {
                    let words =
                        format!("thing {thing} has no datastream {:?}; check its declaration", cut(code, 64));
                    self.keep(publish, topic, thing, reason::TOPIC_NAME_INVALID, words);
                    Ok(())
                }
                Meaning::NotOwn => self.not_own(publish),
            },
            Place::Observations(key) => match self.thing_of(key) {
                Some(thing) => {
                    let read =
                        payload::decode_observation(publish.payload, key, self.now, &mut self.group.samples);
                    self.observed(publish, topic, &thing, read);
                    Ok(())
                }
                None if open => {
                    self.pass_on(publish, topic);
                    Ok(())
                }
                None => self.not_own(publish),
            },
            Place::Reply { thing } if self.is_thing(thing) => {
                self.reply(publish, topic, thing);
                Ok(())
            }
            _ if open => {
                self.pass_on(publish, topic);
                Ok(())
            }
            _ => self.not_own(publish),
        }
    }

    /// The topic that an alias stands for (3.3.2.3.4).
    fn resolve_alias(&mut self, publish: &Publish<'_>) -> Result<Option<Arc<str>>, End> {
        let Some(alias) = publish.properties.topic_alias else { return Ok(None) };
        let at = usize::from(alias);
        if at == 0 || alias > self.shared.config.topic_alias_maximum {
            return Err(End::say(reason::TOPIC_ALIAS_INVALID, "topic-alias"));
        }
        if publish.topic.is_empty() {
            return match self.aliases.get(at).cloned().flatten() {
                Some(topic) => Ok(Some(topic)),
                None => Err(End::say(reason::PROTOCOL_ERROR, "topic-alias")),
            };
        }
        if !is_name(publish.topic) {
            return Err(End::say(reason::TOPIC_NAME_INVALID, "topic-invalid"));
        }
        if self.aliases.len() <= at {
            self.aliases.resize(at + 1, None);
        }
        self.aliases[at] = Some(publish.topic.into());
        Ok(None)
    }

    /// What 5 forbids in a PUBLISH of a client.
    fn check(&self, publish: &Publish<'_>, topic: &str) -> Result<(), End> {
        if !self.speaker.is_v5() {
            return Ok(());
        }
        let properties = &publish.properties;
        let answers = properties.response_topic.is_none_or(is_name);
        if properties.subscription_id.is_some() || topic.is_empty() || !answers {
            return Err(End::say(reason::PROTOCOL_ERROR, "protocol"));
        }
        if publish.packet_id.is_some() && self.acks.of_qos_1() + self.open >= self.receive_maximum() {
            let repeat =
                publish.packet_id.is_some_and(|id| publish.qos == 2 && self.mailbox.has_received(id));
            if !repeat {
                return Err(End::say(reason::RECEIVE_MAXIMUM_EXCEEDED, "receive-maximum"));
            }
        }
        Ok(())
    }

    fn is_thing(&self, thing: &str) -> bool {
        matches!(&self.party, Party::Device(device) if device.thing == thing)
    }

    /// What `zs/v1/{thing}/{code}` is to whoever publishes on it.
    fn datastream(&self, thing: &str, code: &str) -> Meaning {
        let key = match &self.party {
            Party::Device(device) if device.thing == thing => device.datastreams.get(code).copied(),
            Party::Integrator(integrator) => match self.shared.devices.device(thing) {
                Some(device) if integrator.may_write(&device.area) => device.datastreams.get(code).copied(),
                _ => return Meaning::NotOwn,
            },
            _ => return Meaning::NotOwn,
        };
        key.map_or(Meaning::Undeclared, Meaning::Observation)
    }

    /// The thing of a datastream, when the client may write on it.
    fn thing_of(&self, key: DatastreamKey) -> Option<String> {
        match &self.party {
            Party::Device(device) => {
                device.datastreams.values().any(|own| *own == key).then(|| device.thing.clone())
            }
            Party::Integrator(integrator) => {
                let device = self.shared.devices.owner(key)?;
                integrator.may_write(&device.area).then(|| device.thing.clone())
            }
            Party::Anonymous => None,
        }
    }

    fn not_own(&mut self, publish: &Publish<'_>) -> Result<(), End> {
        if publish.packet_id.is_some() && self.speaker.is_v5() {
            self.shared.meters.refused("topic-not-own");
            let text = "this topic is not of your thing; publish on zs/v1/{thing}/{datastream}";
            self.acknowledge(publish, reason::NOT_AUTHORIZED, Some(text.into()), false);
            return Ok(());
        }
        Err(End::say(reason::NOT_AUTHORIZED, "topic-not-own"))
    }

    /// An observation was read into the group, or could not be.
    fn observed(
        &mut self,
        publish: &Publish<'_>,
        topic: &str,
        thing: &str,
        read: Result<(), payload::PayloadError>,
    ) {
        match read {
            Ok(()) => {
                // The way of almost every message: nobody listens, nothing is retained.
                if publish.qos == 2 || publish.retain || self.shared.broker.listens() {
                    self.pass(publish, topic);
                }
                self.acknowledge(publish, reason::SUCCESS, None, true);
            }
            Err(error) => {
                self.keep(publish, topic, thing, reason::PAYLOAD_FORMAT_INVALID, error.to_string());
            }
        }
    }

    /// The answer to a question becomes an observation and is told after the commit; any other
    /// reply goes to whoever subscribes to it.
    fn reply(&mut self, publish: &Publish<'_>, topic: &str, thing: &str) {
        let read = payload::reply(publish.payload);
        let given = publish.properties.correlation_data;
        let named =
            given.or_else(|| read.as_ref().ok().and_then(|reply| reply.id.as_deref().map(str::as_bytes)));
        let awaited = named.and_then(Correlation::parse).and_then(|correlation| {
            self.shared.answers.expected(thing, correlation).map(|key| (correlation, key))
        });
        let Some((correlation, key)) = awaited else {
            self.shared.meters.unmatched.increment(1);
            self.pass_on(publish, topic);
            return;
        };
        match read.and_then(|reply| reply.take(key, self.now, &mut self.group.samples)) {
            Ok(reply) => {
                self.shared.meters.answers.increment(1);
                self.group.answers.push(Answer { correlation, reply, received_at: self.now });
                self.observed(publish, topic, thing, Ok(()));
            }
            Err(error) => self.observed(publish, topic, thing, Err(error)),
        }
    }

    /// A message that is no observation: routed, if anybody may be waiting for it.
    fn pass_on(&mut self, publish: &Publish<'_>, topic: &str) {
        if publish.retain && !publish.payload.is_empty() && self.speaker.is_v5() && publish.qos > 0 {
            let weight = topic.len() + publish.payload.len() + 64;
            if !self.shared.broker.retains(topic, weight) {
                let text = "no more retained messages are kept; publish without retain";
                self.acknowledge(publish, reason::QUOTA_EXCEEDED, Some(text.into()), false);
                return;
            }
        }
        let passes = publish.qos == 2 || publish.retain || self.shared.broker.listens();
        if passes {
            self.pass(publish, topic);
        }
        self.acknowledge(publish, reason::SUCCESS, None, passes);
    }

    /// Has the message routed after the commit of its batch.
    fn pass(&mut self, publish: &Publish<'_>, topic: &str) {
        let wanted = publish.retain || self.shared.broker.listens();
        let seconds = publish.properties.message_expiry;
        let post = wanted.then(|| {
            let message = Message {
                topic: topic.to_owned(),
                // Copied: a slice would hold on to the whole read buffer.
                payload: Bytes::copy_from_slice(publish.payload),
                qos: publish.qos,
                retain: publish.retain,
                expires_at: seconds.map(|n| self.now.plus(i64::from(n) * Micros::SECOND)),
                properties: passed_on(&publish.properties),
            };
            Post::new(message, seconds.map(|n| Instant::now() + Duration::from_secs(u64::from(n))))
        });
        let packet_id = publish.packet_id.filter(|_| publish.qos == 2);
        self.group.pass(Passage { from: Some(self.mailbox.clone()), packet_id, post });
    }

    /// Keeps what could not be read, with its reason; acknowledged like an observation.
    fn keep(&mut self, publish: &Publish<'_>, topic: &str, thing: &str, reason: u8, words: String) {
        self.shared.meters.unreadable.increment(1);
        self.acknowledge(publish, reason, Some(words.as_str().into()), true);
        let payload = &publish.payload[..publish.payload.len().min(PAYLOAD_KEPT)];
        self.group.unreadable.push(Unreadable {
            thing: thing.to_owned(),
            topic: cut(topic, TOPIC_KEPT).into_owned(),
            payload: Bytes::copy_from_slice(payload),
            reason: words,
            received_at: self.now,
        });
    }

    /// Puts a PUBACK or PUBREC in line; QoS 0 gets none.
    fn acknowledge(&mut self, publish: &Publish<'_>, reason: u8, text: Option<Box<str>>, after_commit: bool) {
        if let Some(packet_id) = publish.packet_id {
            let first = if publish.qos == 2 { first::PUBREC } else { first::PUBACK };
            let received = self.received;
            self.acks.push(Waiting { packet_id, received, first, reason, text, after_commit });
            self.group.acks += u64::from(after_commit);
        }
    }
}
