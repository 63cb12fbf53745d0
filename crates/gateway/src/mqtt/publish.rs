//! PUBLISH of a device: judge the topic, read the payload, put the acknowledgement in line.

use std::num::NonZeroU16;

use bytes::Bytes;
use model::observation::Unreadable;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::{DisconnectReasonCode as Reason, PublishAckReason};

use super::ack::Waiting;
use super::session::{End, Session};
use crate::payload::{self, cut};
use crate::server::Reply;
use crate::topic::{Place, place};

/// What is kept of an unreadable message ([`Unreadable`]).
const TOPIC_KEPT: usize = 256;
const PAYLOAD_KEPT: usize = 4096;

impl Session {
    pub(super) fn publish(&mut self, publish: &Publish) -> Result<(), End> {
        self.check_announced(publish)?;
        let packet_id = publish.packet_id;
        match place(&publish.topic, &self.device.thing) {
            Place::Invalid => Err(End::say(Reason::TopicNameInvalid, "topic-invalid")),
            Place::NotOwn => match packet_id {
                Some(_) if self.wire.is_v5() => {
                    self.shared.meters.refused("topic-not-own");
                    let text = "this topic is not of your thing; publish on zs/v1/{thing}/{datastream}";
                    self.acknowledge(packet_id, PublishAckReason::NotAuthorized, Some(text.into()), false);
                    Ok(())
                }
                _ => Err(End::say(Reason::NotAuthorized, "topic-not-own")),
            },
            Place::Reply => {
                // An error only says that nobody listens.
                let _ = self.shared.replies.send(Reply {
                    thing: self.device.thing.clone(),
                    payload: Bytes::copy_from_slice(&publish.payload),
                    received_at: self.now,
                });
                self.acknowledge(packet_id, PublishAckReason::Success, None, false);
                Ok(())
            }
            Place::Datastream(code) => {
                match self.device.datastreams.get(code) {
                    Some(&key) => {
                        match payload::decode(&publish.payload, key, self.now, &mut self.group.samples) {
                            Ok(()) => self.acknowledge(packet_id, PublishAckReason::Success, None, true),
                            Err(error) => {
                                self.keep(publish, PublishAckReason::PayloadFormatInvalid, error.to_string());
                            }
                        }
                    }
                    None => {
                        let reason = format!(
                            "thing {} has no datastream {:?}; check its declaration",
                            self.device.thing,
                            cut(code, 64)
                        );
                        self.keep(publish, PublishAckReason::TopicNameInvalid, reason);
                    }
                }
                Ok(())
            }
        }
    }

    /// What CONNACK announced as missing, used nevertheless.
    fn check_announced(&self, publish: &Publish) -> Result<(), End> {
        if publish.qos == QoS::ExactlyOnce {
            return Err(End::say(Reason::QosNotSupported, "qos-2"));
        }
        if !self.wire.is_v5() {
            return Ok(());
        }
        if publish.retain {
            return Err(End::say(Reason::RetainNotSupported, "retain"));
        }
        if let Some(properties) = &publish.properties {
            if properties.topic_alias.is_some() {
                return Err(End::say(Reason::TopicAliasInvalid, "topic-alias"));
            }
            if !properties.subscription_ids.is_empty() {
                return Err(End::say(Reason::ProtocolError, "protocol"));
            }
        }
        if publish.topic.is_empty() {
            return Err(End::say(Reason::ProtocolError, "protocol"));
        }
        if publish.packet_id.is_some() && self.acks.len() >= self.receive_maximum {
            return Err(End::say(Reason::ReceiveMaximumExceeded, "receive-maximum"));
        }
        Ok(())
    }

    /// Keeps what could not be read, with its reason; acknowledged like an observation.
    fn keep(&mut self, publish: &Publish, reason: PublishAckReason, words: String) {
        self.shared.meters.unreadable.increment(1);
        self.acknowledge(publish.packet_id, reason, Some(words.as_str().into()), true);
        let payload = &publish.payload[..publish.payload.len().min(PAYLOAD_KEPT)];
        self.group.unreadable.push(Unreadable {
            thing: self.device.thing.clone(),
            topic: cut(&publish.topic, TOPIC_KEPT).into_owned(),
            // Copied: a slice would hold on to the whole read buffer.
            payload: Bytes::copy_from_slice(payload),
            reason: words,
            received_at: self.now,
        });
    }

    /// Puts a PUBACK in line; QoS 0 gets none.
    fn acknowledge(
        &mut self,
        packet_id: Option<NonZeroU16>,
        reason: PublishAckReason,
        text: Option<Box<str>>,
        after_commit: bool,
    ) {
        if let Some(packet_id) = packet_id {
            self.acks.push(Waiting { packet_id, received: self.received, reason, text, after_commit });
            self.group.acks += u64::from(after_commit);
        }
    }
}
