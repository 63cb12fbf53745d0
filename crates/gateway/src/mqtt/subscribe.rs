//! SUBSCRIBE, UNSUBSCRIBE, and the commands that go down.

use std::num::NonZeroU16;

use bytestring::ByteString;
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::{DisconnectReasonCode as Reason, SubscribeAckReason, UnsubscribeAckReason};

use super::session::{End, Session};
use crate::topic::{Asked, asked};

impl Session {
    pub(super) fn subscribe(
        &mut self,
        packet_id: NonZeroU16,
        filters: Vec<(ByteString, QoS)>,
        with_identifier: bool,
    ) -> Result<(), End> {
        if with_identifier {
            return Err(End::say(Reason::SubscriptionIdentifiersNotSupported, "subscription-identifier"));
        }
        let status = filters.into_iter().map(|(filter, qos)| self.grant(filter, qos)).collect();
        self.link.listen(self.granted());
        self.wire.subscribe_ack(packet_id, status, &mut self.out);
        Ok(())
    }

    fn grant(&mut self, filter: ByteString, qos: QoS) -> SubscribeAckReason {
        match asked(&filter, &self.device.thing) {
            Asked::Commands => {
                let qos = qos.less_value(QoS::AtLeastOnce);
                self.subscriptions.retain(|(other, _)| *other != filter);
                // Copied: a slice would hold on to the read buffer for as long as the session lives.
                self.subscriptions.push((ByteString::from(&*filter), qos));
                match qos {
                    QoS::AtMostOnce => SubscribeAckReason::GrantedQos0,
                    _ => SubscribeAckReason::GrantedQos1,
                }
            }
            Asked::NotOwn => {
                self.shared.meters.refused("subscribe-not-own");
                SubscribeAckReason::NotAuthorized
            }
            Asked::Shared => SubscribeAckReason::SharedSubscriptionNotSupported,
            Asked::Invalid => SubscribeAckReason::TopicFilterInvalid,
        }
    }

    pub(super) fn unsubscribe(&mut self, packet_id: NonZeroU16, filters: &[ByteString]) {
        let status = filters
            .iter()
            .map(|filter| {
                let before = self.subscriptions.len();
                self.subscriptions.retain(|(other, _)| other != filter);
                if self.subscriptions.len() < before {
                    UnsubscribeAckReason::Success
                } else {
                    UnsubscribeAckReason::NoSubscriptionExisted
                }
            })
            .collect();
        self.link.listen(self.granted());
        self.wire.unsubscribe_ack(packet_id, status, &mut self.out);
    }

    /// The highest QoS granted on the command topic.
    fn granted(&self) -> Option<QoS> {
        self.subscriptions.iter().map(|(_, qos)| *qos).max()
    }

    /// Writes the commands that wait. One that cannot go is dropped, which tells its sender.
    pub(super) fn send_commands(&mut self) {
        for command in self.link.take_commands() {
            let Some(qos) = self.granted() else { continue };
            if self.is_slow() || self.in_flight.len() >= self.command_window {
                continue;
            }
            let packet_id = (qos == QoS::AtLeastOnce).then(|| self.free_packet_id());
            if self.wire.publish(&self.command_topic, packet_id, command.payload, &mut self.out) {
                self.in_flight.extend(packet_id);
                self.unwritten.push(command.written);
            }
        }
    }

    /// PUBACK of a command; one that nobody waits for is ignored.
    pub(super) fn command_acknowledged(&mut self, packet_id: NonZeroU16) {
        self.in_flight.retain(|id| *id != packet_id);
    }

    fn free_packet_id(&mut self) -> NonZeroU16 {
        loop {
            self.last_packet_id = self.last_packet_id.checked_add(1).unwrap_or(NonZeroU16::MIN);
            if !self.in_flight.contains(&self.last_packet_id) {
                return self.last_packet_id;
            }
        }
    }
}
