//! Packets of the server.

use std::num::NonZeroU16;

use bytes::{BufMut, BytesMut};
use model::broker;

use super::properties::id;
use super::{Version, reason};

/// The longest User Properties and the like that are written are those that came in one packet;
/// what does not fit the four bytes of a length is not written at all.
const LONGEST: usize = 268_435_455;

/// First bytes of the packets that acknowledge.
pub(crate) mod first {
    pub(crate) const PUBACK: u8 = 0x40;
    pub(crate) const PUBREC: u8 = 0x50;
    pub(crate) const PUBREL: u8 = 0x62;
    pub(crate) const PUBCOMP: u8 = 0x70;
    pub(crate) const SUBACK: u8 = 0x90;
    pub(crate) const UNSUBACK: u8 = 0xB0;
}

fn put_variable(mut value: usize, out: &mut BytesMut) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn variable_len(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

/// Strings here came in a packet or are cut by the caller: they fit 16 bits.
fn put_binary(bytes: &[u8], out: &mut BytesMut) {
    out.put_u16(bytes.len() as u16);
    out.put_slice(bytes);
}

/// What CONNACK of 5 tells besides its reason.
#[derive(Clone, Debug, Default)]
pub(crate) struct Announcement {
    pub(crate) session_expiry: Option<u32>,
    pub(crate) receive_maximum: u16,
    pub(crate) maximum_packet_size: u32,
    pub(crate) assigned_client_id: Option<String>,
    pub(crate) topic_alias_maximum: u16,
    pub(crate) server_keep_alive: Option<u16>,
}

/// CONNACK; the announcement is of 5 only and goes with a success.
pub(crate) fn connack(
    version: Version,
    present: bool,
    reason: u8,
    told: Option<&Announcement>,
    out: &mut BytesMut,
) {
    let present = u8::from(present);
    if !version.is_v5() {
        out.put_slice(&[0x20, 2, present, reason]);
        return;
    }
    let mut properties = BytesMut::new();
    if let Some(told) = told {
        let p = &mut properties;
        if let Some(seconds) = told.session_expiry {
            p.put_u8(id::SESSION_EXPIRY);
            p.put_u32(seconds);
        }
        p.put_u8(id::RECEIVE_MAXIMUM);
        p.put_u16(told.receive_maximum);
        p.put_u8(id::MAXIMUM_PACKET_SIZE);
        p.put_u32(told.maximum_packet_size);
        if let Some(client_id) = &told.assigned_client_id {
            p.put_u8(id::ASSIGNED_CLIENT_ID);
            put_binary(client_id.as_bytes(), p);
        }
        if told.topic_alias_maximum > 0 {
            p.put_u8(id::TOPIC_ALIAS_MAXIMUM);
            p.put_u16(told.topic_alias_maximum);
        }
        if let Some(seconds) = told.server_keep_alive {
            p.put_u8(id::SERVER_KEEP_ALIVE);
            p.put_u16(seconds);
        }
    }
    out.put_u8(0x20);
    put_variable(2 + variable_len(properties.len()) + properties.len(), out);
    out.put_slice(&[present, reason]);
    put_variable(properties.len(), out);
    out.put_slice(&properties);
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP: four bytes for a success in both versions (5: 3.4.2.1).
/// `text` (at most 200 bytes) goes only where it fits into `most` bytes (3.4.2-2).
pub(crate) fn ack(
    version: Version,
    first: u8,
    packet_id: NonZeroU16,
    reason: u8,
    text: Option<&str>,
    most: usize,
    out: &mut BytesMut,
) {
    let [high, low] = packet_id.get().to_be_bytes();
    if reason == reason::SUCCESS || !version.is_v5() {
        out.put_slice(&[first, 2, high, low]);
        return;
    }
    match text.filter(|text| text.len() + 10 <= most) {
        None => out.put_slice(&[first, 3, high, low, reason]),
        Some(text) => {
            let properties = 3 + text.len();
            out.put_u8(first);
            put_variable(3 + variable_len(properties) + properties, out);
            out.put_slice(&[high, low, reason]);
            put_variable(properties, out);
            out.put_u8(id::REASON_STRING);
            put_binary(text.as_bytes(), out);
        }
    }
}

/// SUBACK or UNSUBACK. 3.1.1 knows one failure, and no codes at all in UNSUBACK.
pub(crate) fn codes(version: Version, first: u8, packet_id: NonZeroU16, codes: &[u8], out: &mut BytesMut) {
    out.put_u8(first);
    match version {
        Version::V5 => {
            put_variable(3 + codes.len(), out);
            out.put_u16(packet_id.get());
            out.put_u8(0);
            out.put_slice(codes);
        }
        Version::V3 if first == first::UNSUBACK => {
            out.put_u8(2);
            out.put_u16(packet_id.get());
        }
        Version::V3 => {
            put_variable(2 + codes.len(), out);
            out.put_u16(packet_id.get());
            out.extend(codes.iter().map(|code| if *code < 0x80 { *code } else { 0x80 }));
        }
    }
}

/// PINGRESP.
pub(crate) fn pong(out: &mut BytesMut) {
    out.put_slice(&[0xD0, 0]);
}

/// DISCONNECT with a reason; 3.1.1 has none from the server.
pub(crate) fn disconnect(version: Version, reason: u8, out: &mut BytesMut) {
    if version.is_v5() {
        out.put_slice(&[0xE0, 1, reason]);
    }
}

/// A PUBLISH to be.
pub(crate) struct Outgoing<'a> {
    pub(crate) message: &'a broker::Message,
    /// The topic as written; empty behind an alias the client knows.
    pub(crate) topic: &'a str,
    pub(crate) alias: Option<u16>,
    pub(crate) dup: bool,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) packet_id: Option<NonZeroU16>,
    /// Seconds the message still has.
    pub(crate) expiry: Option<u32>,
    pub(crate) identifiers: &'a [u32],
}

/// PUBLISH; `false`, with nothing written, when it is longer than `most` bytes.
#[must_use]
pub(crate) fn publish(version: Version, packet: &Outgoing<'_>, most: usize, out: &mut BytesMut) -> bool {
    let properties = if version.is_v5() { properties_len(packet) } else { 0 };
    let rest = 2
        + packet.topic.len()
        + 2 * usize::from(packet.packet_id.is_some())
        + if version.is_v5() { variable_len(properties) + properties } else { 0 }
        + packet.message.payload.len();
    if 1 + variable_len(rest) + rest > most.min(LONGEST) {
        return false;
    }
    out.reserve(5 + rest);
    let first = 0x30 | u8::from(packet.dup) << 3 | packet.qos << 1 | u8::from(packet.retain);
    out.put_u8(first);
    put_variable(rest, out);
    put_binary(packet.topic.as_bytes(), out);
    if let Some(packet_id) = packet.packet_id {
        out.put_u16(packet_id.get());
    }
    if version.is_v5() {
        put_variable(properties, out);
        put_properties(packet, out);
    }
    out.put_slice(&packet.message.payload);
    true
}

fn properties_len(packet: &Outgoing<'_>) -> usize {
    let mut n = 3 * usize::from(packet.alias.is_some()) + 5 * usize::from(packet.expiry.is_some());
    n += packet.identifiers.iter().map(|id| 1 + variable_len(*id as usize)).sum::<usize>();
    if let Some(p) = packet.message.properties.as_deref() {
        n += 2 * usize::from(p.text.is_some());
        n += p.content_type.as_ref().map_or(0, |text| 3 + text.len());
        n += p.response_topic.as_ref().map_or(0, |text| 3 + text.len());
        n += p.correlation_data.as_ref().map_or(0, |data| 3 + data.len());
        n += p.user.iter().map(|(name, value)| 5 + name.len() + value.len()).sum::<usize>();
    }
    n
}

fn put_properties(packet: &Outgoing<'_>, out: &mut BytesMut) {
    if let Some(alias) = packet.alias {
        out.put_u8(id::TOPIC_ALIAS);
        out.put_u16(alias);
    }
    if let Some(seconds) = packet.expiry {
        out.put_u8(id::MESSAGE_EXPIRY);
        out.put_u32(seconds);
    }
    for identifier in packet.identifiers {
        out.put_u8(id::SUBSCRIPTION_ID);
        put_variable(*identifier as usize, out);
    }
    let Some(p) = packet.message.properties.as_deref() else { return };
    if let Some(text) = p.text {
        out.put_slice(&[id::PAYLOAD_FORMAT, u8::from(text)]);
    }
    let texts = [(id::CONTENT_TYPE, &p.content_type), (id::RESPONSE_TOPIC, &p.response_topic)];
    for (id, text) in texts {
        if let Some(text) = text {
            out.put_u8(id);
            put_binary(text.as_bytes(), out);
        }
    }
    if let Some(data) = &p.correlation_data {
        out.put_u8(id::CORRELATION_DATA);
        put_binary(data, out);
    }
    for (name, value) in &p.user {
        out.put_u8(id::USER);
        put_binary(name.as_bytes(), out);
        put_binary(value.as_bytes(), out);
    }
}
