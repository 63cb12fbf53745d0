//! MQTT control packets of 3.1.1 and 5, read in place and written by hand.
//!
//! The reader borrows from the receive buffer and allocates nothing for a PUBLISH, the packet that
//! comes a hundred thousand times a second; it is as strict as the standard asks. Lengths are
//! checked before anything is believed, and no packet can make it fall.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`read`] | fixed header, packets of a client after its CONNECT |
//! | [`connect`] | CONNECT |
//! | [`properties`] | properties of 5 |
//! | [`mod@write`] | packets of the server |

pub mod connect;
pub mod properties;
pub mod read;
mod take;
pub mod write;

/// Why bytes are no packet, or none that may come now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Does not follow the format.
    #[error("malformed packet: {0}")]
    Malformed(&'static str),
    /// Follows the format and breaks a rule of it.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    /// Longer than Maximum Packet Size.
    #[error("packet of {0} bytes is too large")]
    TooLarge(usize),
}

/// Protocol version of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 3.1.1, protocol level 4.
    V3,
    /// 5.0, protocol level 5.
    V5,
}

impl Version {
    /// Whether it is 5.
    #[must_use]
    pub fn is_v5(self) -> bool {
        self == Self::V5
    }
}

/// Reason codes of MQTT 5 (2.4) that this server writes or reads.
#[expect(missing_docs, reason = "the names are the standard's own")]
pub mod reason {
    pub const SUCCESS: u8 = 0x00;
    pub const DISCONNECT_WITH_WILL: u8 = 0x04;
    pub const NO_SUBSCRIPTION_EXISTED: u8 = 0x11;
    pub const UNSPECIFIED: u8 = 0x80;
    pub const MALFORMED: u8 = 0x81;
    pub const PROTOCOL_ERROR: u8 = 0x82;
    pub const UNSUPPORTED_VERSION: u8 = 0x84;
    pub const CLIENT_ID_NOT_VALID: u8 = 0x85;
    pub const BAD_CREDENTIALS: u8 = 0x86;
    pub const NOT_AUTHORIZED: u8 = 0x87;
    pub const SERVER_UNAVAILABLE: u8 = 0x88;
    pub const SERVER_BUSY: u8 = 0x89;
    pub const SERVER_SHUTTING_DOWN: u8 = 0x8B;
    pub const BAD_AUTHENTICATION_METHOD: u8 = 0x8C;
    pub const KEEP_ALIVE_TIMEOUT: u8 = 0x8D;
    pub const SESSION_TAKEN_OVER: u8 = 0x8E;
    pub const TOPIC_FILTER_INVALID: u8 = 0x8F;
    pub const TOPIC_NAME_INVALID: u8 = 0x90;
    pub const PACKET_ID_NOT_FOUND: u8 = 0x92;
    pub const RECEIVE_MAXIMUM_EXCEEDED: u8 = 0x93;
    pub const TOPIC_ALIAS_INVALID: u8 = 0x94;
    pub const PACKET_TOO_LARGE: u8 = 0x95;
    pub const QUOTA_EXCEEDED: u8 = 0x97;
    pub const ADMINISTRATIVE_ACTION: u8 = 0x98;
    pub const PAYLOAD_FORMAT_INVALID: u8 = 0x99;
}

impl Fault {
    /// The reason code of 5 that says so.
    #[must_use]
    pub fn reason(self) -> u8 {
        match self {
            Self::Malformed(_) => reason::MALFORMED,
            Self::Protocol(_) => reason::PROTOCOL_ERROR,
            Self::TooLarge(_) => reason::PACKET_TOO_LARGE,
        }
    }

    /// The word it is counted under.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Protocol(_) => "protocol",
            Self::TooLarge(_) => "packet-too-large",
        }
    }
}
