//! Properties of MQTT 5 (2.2.2).

use super::Fault;
use super::take::Fields;

/// Identifiers of the standard's table 2-4.
pub(super) mod id {
    pub(crate) const PAYLOAD_FORMAT: u8 = 0x01;
    pub(crate) const MESSAGE_EXPIRY: u8 = 0x02;
    pub(crate) const CONTENT_TYPE: u8 = 0x03;
    pub(crate) const RESPONSE_TOPIC: u8 = 0x08;
    pub(crate) const CORRELATION_DATA: u8 = 0x09;
    pub(crate) const SUBSCRIPTION_ID: u8 = 0x0B;
    pub(crate) const SESSION_EXPIRY: u8 = 0x11;
    pub(crate) const ASSIGNED_CLIENT_ID: u8 = 0x12;
    pub(crate) const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub(crate) const AUTH_METHOD: u8 = 0x15;
    pub(crate) const AUTH_DATA: u8 = 0x16;
    pub(crate) const REQUEST_PROBLEM: u8 = 0x17;
    pub(crate) const WILL_DELAY: u8 = 0x18;
    pub(crate) const REQUEST_RESPONSE: u8 = 0x19;
    pub(crate) const REASON_STRING: u8 = 0x1F;
    pub(crate) const RECEIVE_MAXIMUM: u8 = 0x21;
    pub(crate) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    pub(crate) const TOPIC_ALIAS: u8 = 0x23;
    pub(crate) const USER: u8 = 0x26;
    pub(crate) const MAXIMUM_PACKET_SIZE: u8 = 0x27;
}

/// The properties a client may send, of whatever packet; which may stand in which is said by the
/// list that the reader of the packet gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the standard's own")]
pub struct Properties<'a> {
    pub payload_format: Option<u8>,
    pub message_expiry: Option<u32>,
    pub content_type: Option<&'a str>,
    pub response_topic: Option<&'a str>,
    pub correlation_data: Option<&'a [u8]>,
    pub subscription_id: Option<u32>,
    pub session_expiry: Option<u32>,
    pub auth_method: Option<&'a str>,
    pub auth_data: Option<&'a [u8]>,
    pub request_problem: Option<u8>,
    pub request_response: Option<u8>,
    pub will_delay: Option<u32>,
    pub reason_string: Option<&'a str>,
    pub receive_maximum: Option<u16>,
    pub topic_alias_maximum: Option<u16>,
    pub topic_alias: Option<u16>,
    pub maximum_packet_size: Option<u32>,
    /// How many User Properties; [`Properties::users`] gives them.
    pub user_properties: usize,
    raw: &'a [u8],
}

pub(super) const OF_CONNECT: &[u8] = &[
    id::SESSION_EXPIRY,
    id::RECEIVE_MAXIMUM,
    id::MAXIMUM_PACKET_SIZE,
    id::TOPIC_ALIAS_MAXIMUM,
    id::REQUEST_RESPONSE,
    id::REQUEST_PROBLEM,
    id::USER,
    id::AUTH_METHOD,
    id::AUTH_DATA,
];
pub(super) const OF_WILL: &[u8] = &[
    id::WILL_DELAY,
    id::PAYLOAD_FORMAT,
    id::MESSAGE_EXPIRY,
    id::CONTENT_TYPE,
    id::RESPONSE_TOPIC,
    id::CORRELATION_DATA,
    id::USER,
];
pub(super) const OF_PUBLISH: &[u8] = &[
    id::PAYLOAD_FORMAT,
    id::MESSAGE_EXPIRY,
    id::TOPIC_ALIAS,
    id::RESPONSE_TOPIC,
    id::CORRELATION_DATA,
    id::USER,
    id::SUBSCRIPTION_ID,
    id::CONTENT_TYPE,
];
pub(super) const OF_ACK: &[u8] = &[id::REASON_STRING, id::USER];
pub(super) const OF_SUBSCRIBE: &[u8] = &[id::SUBSCRIPTION_ID, id::USER];
pub(super) const OF_UNSUBSCRIBE: &[u8] = &[id::USER];
pub(super) const OF_DISCONNECT: &[u8] = &[id::SESSION_EXPIRY, id::REASON_STRING, id::USER];

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Fault> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Fault::Protocol("a property stands twice")),
    }
}

fn flag(value: u8) -> Result<u8, Fault> {
    if value > 1 { Err(Fault::Protocol("a property of 0 or 1 is neither")) } else { Ok(value) }
}

impl<'a> Properties<'a> {
    /// Reads the length and the properties after it; one that is not `allowed` here is a fault.
    pub(super) fn read(fields: &mut Fields<'a>, allowed: &[u8]) -> Result<Self, Fault> {
        let length = fields.variable()?;
        let mut properties = Self::default();
        if length == 0 {
            return Ok(properties);
        }
        let raw = fields.bytes(length as usize)?;
        properties.raw = raw;
        let mut fields = Fields(raw);
        while !fields.is_empty() {
            // Identifiers are variable byte integers (2.2.2.2), all known ones of one byte.
            let id = u8::try_from(fields.variable()?).unwrap_or(0);
            if !allowed.contains(&id) {
                return Err(Fault::Malformed("a property does not belong to its packet"));
            }
            properties.take(id, &mut fields)?;
        }
        Ok(properties)
    }

    fn take(&mut self, id: u8, fields: &mut Fields<'a>) -> Result<(), Fault> {
        match id {
            id::PAYLOAD_FORMAT => once(&mut self.payload_format, flag(fields.byte()?)?),
            id::MESSAGE_EXPIRY => once(&mut self.message_expiry, fields.four()?),
            id::CONTENT_TYPE => once(&mut self.content_type, fields.string()?),
            id::RESPONSE_TOPIC => once(&mut self.response_topic, fields.string()?),
            id::CORRELATION_DATA => once(&mut self.correlation_data, fields.binary()?),
            id::SUBSCRIPTION_ID => match fields.variable()? {
                0 => Err(Fault::Protocol("subscription identifier is 0")),
                value => once(&mut self.subscription_id, value),
            },
            id::SESSION_EXPIRY => once(&mut self.session_expiry, fields.four()?),
            id::AUTH_METHOD => once(&mut self.auth_method, fields.string()?),
            id::AUTH_DATA => once(&mut self.auth_data, fields.binary()?),
            id::REQUEST_PROBLEM => once(&mut self.request_problem, flag(fields.byte()?)?),
            id::WILL_DELAY => once(&mut self.will_delay, fields.four()?),
            id::REQUEST_RESPONSE => once(&mut self.request_response, flag(fields.byte()?)?),
            id::REASON_STRING => once(&mut self.reason_string, fields.string()?),
            id::RECEIVE_MAXIMUM => match fields.two()? {
                0 => Err(Fault::Protocol("receive maximum is 0")),
                value => once(&mut self.receive_maximum, value),
            },
            id::TOPIC_ALIAS_MAXIMUM => once(&mut self.topic_alias_maximum, fields.two()?),
            id::TOPIC_ALIAS => once(&mut self.topic_alias, fields.two()?),
            id::MAXIMUM_PACKET_SIZE => match fields.four()? {
                0 => Err(Fault::Protocol("maximum packet size is 0")),
                value => once(&mut self.maximum_packet_size, value),
            },
            // Only those a packet allows get here, and what is left is USER.
            _ => {
                fields.string()?;
                fields.string()?;
                self.user_properties += 1;
                Ok(())
            }
        }
    }

    /// The User Properties in their order.
    pub fn users(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut fields = Fields(self.raw);
        let mut left = self.user_properties;
        std::iter::from_fn(move || {
            while left > 0 {
                let id = fields.byte().ok()?;
                if id == id::USER {
                    left -= 1;
                    return Some((fields.string().ok()?, fields.string().ok()?));
                }
                skip(id, &mut fields).ok()?;
            }
            None
        })
    }
}

/// Passes over a property that was read before.
fn skip(id: u8, fields: &mut Fields<'_>) -> Result<(), Fault> {
    match id {
        id::PAYLOAD_FORMAT | id::REQUEST_PROBLEM | id::REQUEST_RESPONSE => fields.byte().map(drop),
        id::MESSAGE_EXPIRY | id::SESSION_EXPIRY | id::WILL_DELAY | id::MAXIMUM_PACKET_SIZE => {
            fields.four().map(drop)
        }
        id::RECEIVE_MAXIMUM | id::TOPIC_ALIAS_MAXIMUM | id::TOPIC_ALIAS => fields.two().map(drop),
        id::SUBSCRIPTION_ID => fields.variable().map(drop),
        _ => fields.binary().map(drop),
    }
}
