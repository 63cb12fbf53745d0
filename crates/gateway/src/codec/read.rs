//! The fixed header, and what a client may send after its CONNECT.

use std::num::NonZeroU16;

use super::properties::{OF_ACK, OF_DISCONNECT, OF_PUBLISH, OF_SUBSCRIBE, OF_UNSUBSCRIBE, Properties};
use super::take::{Fields, variable};
use super::{Fault, Version, reason};

/// A packet as it lies in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Packet type and flags.
    pub first: u8,
    /// Variable header and payload.
    pub body: &'a [u8],
    /// Bytes with the fixed header.
    pub length: usize,
}

/// The packet at the front of `input`.
///
/// # Errors
/// [`Fault`] for a length without end or above `most` bytes.
pub fn frame(input: &[u8], most: usize) -> Result<Option<Frame<'_>>, Fault> {
    let Some((&first, rest)) = input.split_first() else { return Ok(None) };
    let Some((remaining, n)) = variable(rest)? else { return Ok(None) };
    let length = 1 + n + remaining as usize;
    if length > most {
        return Err(Fault::TooLarge(length));
    }
    Ok(input.get(1 + n..length).map(|body| Frame { first, body, length }))
}

/// What a client may send after its CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// PUBLISH.
    Publish(Publish<'a>),
    /// PUBACK.
    PublishAck(Ack),
    /// PUBREC.
    PublishReceived(Ack),
    /// PUBREL.
    PublishRelease(Ack),
    /// PUBCOMP.
    PublishComplete(Ack),
    /// SUBSCRIBE.
    Subscribe(Subscribe<'a>),
    /// UNSUBSCRIBE: packet id and filters.
    Unsubscribe(NonZeroU16, Vec<&'a str>),
    /// PINGREQ.
    Ping,
    /// DISCONNECT.
    Disconnect {
        /// Reason code; 0 in 3.1.1.
        reason: u8,
        /// Session Expiry Interval.
        session_expiry: Option<u32>,
    },
    /// A packet that a client must not send, or not now.
    OutOfPlace,
}

/// An application message from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// DUP.
    pub dup: bool,
    /// QoS, 0 to 2.
    pub qos: u8,
    /// RETAIN.
    pub retain: bool,
    /// Empty where a topic alias stands for it.
    pub topic: &'a str,
    /// With QoS 1 and 2.
    pub packet_id: Option<NonZeroU16>,
    /// Properties of 5.
    pub properties: Properties<'a>,
    /// The payload.
    pub payload: &'a [u8],
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Of the PUBLISH.
    pub packet_id: NonZeroU16,
    /// Reason code; 0 where none stands.
    pub reason: u8,
}

/// SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// Of the SUBSCRIBE.
    pub packet_id: NonZeroU16,
    /// Subscription Identifier.
    pub identifier: Option<u32>,
    /// Filters, each with its options byte (3.8.3.1).
    pub filters: Vec<(&'a str, u8)>,
}

/// Reads a packet.
///
/// # Errors
/// [`Fault`].
pub fn packet(frame: Frame<'_>, version: Version) -> Result<Packet<'_>, Fault> {
    let mut fields = Fields(frame.body);
    let flags = frame.first & 0x0F;
    let expected = match frame.first >> 4 {
        3 => flags,
        6 | 8 | 10 => 2,
        _ => 0,
    };
    if flags != expected {
        return Err(Fault::Malformed("flags of the fixed header are not as they must be"));
    }
    let read = match frame.first >> 4 {
        3 => return publish(flags, fields, version).map(Packet::Publish),
        4 => Packet::PublishAck(ack(&mut fields, version)?),
        5 => Packet::PublishReceived(ack(&mut fields, version)?),
        6 => Packet::PublishRelease(ack(&mut fields, version)?),
        7 => Packet::PublishComplete(ack(&mut fields, version)?),
        8 => Packet::Subscribe(subscribe(&mut fields, version)?),
        10 => {
            let packet_id = fields.packet_id()?;
            if version.is_v5() {
                Properties::read(&mut fields, OF_UNSUBSCRIBE)?;
            }
            let mut filters = Vec::new();
            while !fields.is_empty() {
                filters.push(fields.string()?);
            }
            if filters.is_empty() {
                return Err(Fault::Protocol("UNSUBSCRIBE without a topic filter"));
            }
            Packet::Unsubscribe(packet_id, filters)
        }
        12 => Packet::Ping,
        14 if version.is_v5() && !fields.is_empty() => {
            let reason = fields.byte()?;
            // Those of table 3-13 that a client may say.
            if !matches!(reason, 0x00 | 0x04 | 0x80..=0x83 | 0x90 | 0x93..=0x97 | 0x99) {
                return Err(Fault::Malformed("DISCONNECT with a reason that no client has"));
            }
            let properties = match fields.is_empty() {
                true => Properties::default(),
                false => Properties::read(&mut fields, OF_DISCONNECT)?,
            };
            Packet::Disconnect { reason, session_expiry: properties.session_expiry }
        }
        14 => Packet::Disconnect { reason: reason::SUCCESS, session_expiry: None },
        0 => return Err(Fault::Malformed("packet type 0")),
        15 if !version.is_v5() => return Err(Fault::Malformed("packet type 15")),
        _ => return Ok(Packet::OutOfPlace),
    };
    if fields.is_empty() { Ok(read) } else { Err(Fault::Malformed("it goes on after its fields")) }
}

fn publish(flags: u8, mut fields: Fields<'_>, version: Version) -> Result<Publish<'_>, Fault> {
    let (dup, qos, retain) = (flags & 8 != 0, flags >> 1 & 3, flags & 1 != 0);
    if qos == 3 {
        return Err(Fault::Malformed("QoS 3"));
    }
    if dup && qos == 0 {
        return Err(Fault::Malformed("DUP with QoS 0"));
    }
    let topic = fields.topic()?;
    let packet_id = if qos == 0 { None } else { Some(fields.packet_id()?) };
    let properties = match version {
        Version::V3 => Properties::default(),
        Version::V5 => Properties::read(&mut fields, OF_PUBLISH)?,
    };
    Ok(Publish { dup, qos, retain, topic, packet_id, properties, payload: fields.0 })
}

fn ack(fields: &mut Fields<'_>, version: Version) -> Result<Ack, Fault> {
    let packet_id = fields.packet_id()?;
    if !version.is_v5() || fields.is_empty() {
        return Ok(Ack { packet_id, reason: reason::SUCCESS });
    }
    let reason = fields.byte()?;
    if !fields.is_empty() {
        Properties::read(fields, OF_ACK)?;
    }
    Ok(Ack { packet_id, reason })
}

fn subscribe<'a>(fields: &mut Fields<'a>, version: Version) -> Result<Subscribe<'a>, Fault> {
    let packet_id = fields.packet_id()?;
    let identifier = match version {
        Version::V3 => None,
        Version::V5 => Properties::read(fields, OF_SUBSCRIBE)?.subscription_id,
    };
    let mut filters = Vec::new();
    while !fields.is_empty() {
        // U+0000 makes a filter invalid, not the packet: it gets its own code in SUBACK.
        let filter = fields.topic()?;
        let options = fields.byte()?;
        let reserved = if version.is_v5() { 0xC0 } else { 0xFC };
        if options & reserved != 0 || options & 3 == 3 {
            return Err(Fault::Malformed("reserved bits of a subscription are set"));
        }
        if options >> 4 & 3 == 3 {
            return Err(Fault::Protocol("retain handling is 3"));
        }
        filters.push((filter, options));
    }
    if filters.is_empty() {
        return Err(Fault::Protocol("SUBSCRIBE without a topic filter"));
    }
    Ok(Subscribe { packet_id, identifier, filters })
}
