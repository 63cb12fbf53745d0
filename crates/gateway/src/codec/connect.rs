//! CONNECT (3.1).

use super::properties::{OF_CONNECT, OF_WILL, Properties};
use super::take::{Fields, variable};
use super::{Fault, Version};

/// What a client says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect<'a> {
    /// Of the connection.
    pub version: Version,
    /// Clean Start of 5, Clean Session of 3.1.1.
    pub clean: bool,
    /// Seconds; 0 is none.
    pub keep_alive: u16,
    /// Properties of 5.
    pub properties: Properties<'a>,
    /// May be empty.
    pub client_id: &'a str,
    /// The will, if there is one.
    pub will: Option<Will<'a>>,
    /// User Name.
    pub user_name: Option<&'a str>,
    /// Password.
    pub password: Option<&'a [u8]>,
}

/// The will of a CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will<'a> {
    /// 0 to 2.
    pub qos: u8,
    /// Will Retain.
    pub retain: bool,
    /// Will Properties of 5.
    pub properties: Properties<'a>,
    /// Will Topic.
    pub topic: &'a str,
    /// Will Payload.
    pub payload: &'a [u8],
}

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Too few to say.
    Unknown,
    /// CONNECT of a version that is spoken here.
    Connect(Version),
    /// CONNECT of another version.
    OtherVersion,
    /// No CONNECT.
    NotMqtt,
}

/// Judges the first bytes, before the packet they announce is waited for.
#[must_use]
pub fn opening(input: &[u8]) -> Opening {
    let Some((&first, rest)) = input.split_first() else { return Opening::Unknown };
    if first != 0x10 {
        return Opening::NotMqtt;
    }
    let at = match variable(rest) {
        Ok(Some((_, n))) => n,
        Ok(None) => return Opening::Unknown,
        Err(_) => return Opening::NotMqtt,
    };
    let rest = &rest[at..];
    for (name, known) in [(&b"\0\x04MQTT"[..], true), (&b"\0\x06MQIsdp"[..], false)] {
        if let Some(after) = rest.strip_prefix(name) {
            return match after.first() {
                None => Opening::Unknown,
                Some(4) if known => Opening::Connect(Version::V3),
                Some(5) if known => Opening::Connect(Version::V5),
                Some(_) => Opening::OtherVersion,
            };
        }
        if name.starts_with(rest) {
            return Opening::Unknown;
        }
    }
    Opening::NotMqtt
}

const USER_NAME: u8 = 0x80;
const PASSWORD: u8 = 0x40;
const WILL_RETAIN: u8 = 0x20;
const WILL: u8 = 0x04;
const CLEAN: u8 = 0x02;
const RESERVED: u8 = 0x01;

/// Reads the body of a CONNECT whose [`opening`] was judged.
///
/// # Errors
/// [`Fault`].
pub fn connect(body: &[u8]) -> Result<Connect<'_>, Fault> {
    let mut fields = Fields(body);
    if fields.binary()? != b"MQTT" {
        return Err(Fault::Malformed("the protocol name is not MQTT"));
    }
    let version = match fields.byte()? {
        4 => Version::V3,
        5 => Version::V5,
        _ => return Err(Fault::Malformed("the protocol level is neither 4 nor 5")),
    };
    let flags = fields.byte()?;
    if flags & RESERVED != 0 {
        return Err(Fault::Malformed("the reserved flag of CONNECT is set"));
    }
    let will_qos = flags >> 3 & 3;
    if will_qos == 3 || flags & WILL == 0 && (will_qos > 0 || flags & WILL_RETAIN != 0) {
        return Err(Fault::Malformed("the will flags contradict each other"));
    }
    if version == Version::V3 && flags & PASSWORD != 0 && flags & USER_NAME == 0 {
        return Err(Fault::Malformed("a password without a user name"));
    }
    let keep_alive = fields.two()?;
    let properties = match version {
        Version::V3 => Properties::default(),
        Version::V5 => Properties::read(&mut fields, OF_CONNECT)?,
    };
    if properties.auth_data.is_some() && properties.auth_method.is_none() {
        return Err(Fault::Protocol("authentication data without a method"));
    }
    let client_id = fields.string()?;
    let will = if flags & WILL == 0 {
        None
    } else {
        let properties = match version {
            Version::V3 => Properties::default(),
            Version::V5 => Properties::read(&mut fields, OF_WILL)?,
        };
        let (topic, payload) = (fields.string()?, fields.binary()?);
        Some(Will { qos: will_qos, retain: flags & WILL_RETAIN != 0, properties, topic, payload })
    };
    let user_name = if flags & USER_NAME != 0 { Some(fields.string()?) } else { None };
    let password = if flags & PASSWORD != 0 { Some(fields.binary()?) } else { None };
    if !fields.is_empty() {
        return Err(Fault::Malformed("it goes on after its fields"));
    }
    let clean = flags & CLEAN != 0;
    Ok(Connect { version, clean, keep_alive, properties, client_id, will, user_name, password })
}
