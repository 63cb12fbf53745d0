//! Packets of both versions as one vocabulary, over `rmqtt-codec`.

use std::num::NonZeroU16;

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use rmqtt_codec::error::DecodeError;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::{DisconnectReasonCode, PublishAckReason, SubscribeAckReason, UnsubscribeAckReason};
use rmqtt_codec::{MqttCodec, MqttPacket, v3, v5};
use tokio_util::codec::{Decoder, Encoder};

use crate::payload::cut;

/// What a client may send after its CONNECT.
pub(crate) enum Incoming {
    Publish(Box<Publish>),
    /// PUBACK of a command.
    CommandAck(NonZeroU16),
    Subscribe {
        packet_id: NonZeroU16,
        filters: Vec<(ByteString, QoS)>,
        with_identifier: bool,
    },
    Unsubscribe {
        packet_id: NonZeroU16,
        filters: Vec<ByteString>,
    },
    Ping,
    Disconnect,
    /// A packet that a client must not send now.
    OutOfPlace,
}

/// Encoder and decoder of one connection.
pub(crate) struct Wire {
    codec: MqttCodec,
    /// 5: the client wants reasons in words (Request Problem Information).
    words: bool,
    /// The longest packet the client takes.
    max_out: usize,
}

impl Wire {
    pub(crate) fn v3(codec: v3::Codec) -> Self {
        Self { codec: MqttCodec::V3(codec), words: false, max_out: usize::MAX }
    }

    pub(crate) fn v5(mut codec: v5::Codec, connect: &v5::Connect) -> Self {
        let max_out = connect.max_packet_size.map_or(u32::MAX, |max| max.get());
        if max_out < u32::MAX {
            codec.set_max_outbound_size(max_out);
        }
        Self { codec: MqttCodec::V5(codec), words: connect.request_problem_info, max_out: max_out as usize }
    }

    pub(crate) fn is_v5(&self) -> bool {
        matches!(self.codec, MqttCodec::V5(_))
    }

    pub(crate) fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Incoming>, DecodeError> {
        use Incoming as I;
        let Some((packet, _)) = self.codec.decode(input)? else { return Ok(None) };
        Ok(Some(match packet {
            MqttPacket::V3(packet) => match packet {
                v3::Packet::Publish(publish) => I::Publish(publish),
                v3::Packet::PublishAck { packet_id } => I::CommandAck(packet_id),
                v3::Packet::Subscribe { packet_id, topic_filters } => {
                    I::Subscribe { packet_id, filters: topic_filters, with_identifier: false }
                }
                v3::Packet::Unsubscribe { packet_id, topic_filters } => {
                    I::Unsubscribe { packet_id, filters: topic_filters }
                }
                v3::Packet::PingRequest => I::Ping,
                v3::Packet::Disconnect => I::Disconnect,
                _ => I::OutOfPlace,
            },
            MqttPacket::V5(packet) => match packet {
                v5::Packet::Publish(publish) => I::Publish(publish),
                v5::Packet::PublishAck(ack) => I::CommandAck(ack.packet_id),
                v5::Packet::Subscribe(s) => I::Subscribe {
                    packet_id: s.packet_id,
                    filters: s.topic_filters.into_iter().map(|(f, o)| (f, o.qos)).collect(),
                    with_identifier: s.id.is_some(),
                },
                v5::Packet::Unsubscribe(u) => {
                    I::Unsubscribe { packet_id: u.packet_id, filters: u.topic_filters }
                }
                v5::Packet::PingRequest => I::Ping,
                v5::Packet::Disconnect(_) => I::Disconnect,
                _ => I::OutOfPlace,
            },
            MqttPacket::Version(_) => I::OutOfPlace,
        }))
    }

    /// PUBACK. Written by hand: it is the packet sent most, and its short form is four bytes in
    /// both versions (5: 3.4.2.1 lets a success go without reason code).
    pub(crate) fn publish_ack(
        &mut self,
        packet_id: NonZeroU16,
        reason: PublishAckReason,
        text: Option<&str>,
        out: &mut BytesMut,
    ) {
        let [high, low] = packet_id.get().to_be_bytes();
        if reason == PublishAckReason::Success || !self.is_v5() {
            out.put_slice(&[0x40, 2, high, low]);
            return;
        }
        let text = text.filter(|_| self.words).map(|text| cut(text, 200));
        match text.filter(|text| text.len() + 16 <= self.max_out) {
            Some(text) => {
                let ack = v5::PublishAck {
                    packet_id,
                    reason_code: reason,
                    properties: Vec::new(),
                    reason_string: Some(ByteString::from(text.as_ref())),
                };
                self.encode(MqttPacket::V5(v5::Packet::PublishAck(ack)), out);
            }
            None => out.put_slice(&[0x40, 3, high, low, reason.into()]),
        }
    }

    pub(crate) fn subscribe_ack(
        &mut self,
        packet_id: NonZeroU16,
        status: Vec<SubscribeAckReason>,
        out: &mut BytesMut,
    ) {
        let packet = if self.is_v5() {
            let ack = v5::SubscribeAck { packet_id, properties: Vec::new(), reason_string: None, status };
            MqttPacket::V5(v5::Packet::SubscribeAck(ack))
        } else {
            let status = status
                .into_iter()
                .map(|status| match status {
                    SubscribeAckReason::GrantedQos0 => v3::SubscribeReturnCode::Success(QoS::AtMostOnce),
                    SubscribeAckReason::GrantedQos1 => v3::SubscribeReturnCode::Success(QoS::AtLeastOnce),
                    _ => v3::SubscribeReturnCode::Failure,
                })
                .collect();
            MqttPacket::V3(v3::Packet::SubscribeAck { packet_id, status })
        };
        self.encode(packet, out);
    }

    pub(crate) fn unsubscribe_ack(
        &mut self,
        packet_id: NonZeroU16,
        status: Vec<UnsubscribeAckReason>,
        out: &mut BytesMut,
    ) {
        let packet = if self.is_v5() {
            let ack = v5::UnsubscribeAck { packet_id, properties: Vec::new(), reason_string: None, status };
            MqttPacket::V5(v5::Packet::UnsubscribeAck(ack))
        } else {
            MqttPacket::V3(v3::Packet::UnsubscribeAck { packet_id })
        };
        self.encode(packet, out);
    }

    pub(crate) fn pong(&mut self, out: &mut BytesMut) {
        out.put_slice(&[0xD0, 0]);
    }

    /// A command to the client; `false` when it is longer than the client takes.
    pub(crate) fn publish(
        &mut self,
        topic: &str,
        packet_id: Option<NonZeroU16>,
        payload: Bytes,
        out: &mut BytesMut,
    ) -> bool {
        // Fixed header, length of the topic, packet id and (5) empty properties: at most 10 bytes.
        if topic.len() + payload.len() + 10 > self.max_out {
            return false;
        }
        let publish = Box::new(Publish {
            dup: false,
            retain: false,
            qos: if packet_id.is_some() { QoS::AtLeastOnce } else { QoS::AtMostOnce },
            topic: ByteString::from(topic),
            packet_id,
            payload,
            properties: None,
        });
        let packet = if self.is_v5() {
            MqttPacket::V5(v5::Packet::Publish(publish))
        } else {
            MqttPacket::V3(v3::Packet::Publish(publish))
        };
        self.encode(packet, out)
    }

    /// DISCONNECT with a reason; 3.1.1 has none from the server and just closes.
    pub(crate) fn disconnect(&mut self, reason: DisconnectReasonCode, out: &mut BytesMut) {
        if self.is_v5() {
            out.put_slice(&[0xE0, 1, reason.into()]);
        }
    }

    pub(crate) fn encode(&mut self, packet: MqttPacket, out: &mut BytesMut) -> bool {
        let before = out.len();
        match self.codec.encode(packet, out) {
            Ok(()) => true,
            Err(error) => {
                // Only a client whose Maximum Packet Size is smaller than an answer gets here; it
                // must not see the packet (5: 3.1.2.11.4) nor half of it.
                out.truncate(before);
                tracing::debug!(%error, "answer not sent");
                false
            }
        }
    }
}
