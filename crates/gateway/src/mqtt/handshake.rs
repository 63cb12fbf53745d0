//! CONNECT and its answer.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use model::observation::Device;
use rmqtt_codec::error::DecodeError;
use rmqtt_codec::types::QoS;
use rmqtt_codec::version::{ProtocolVersion, VersionCodec};
use rmqtt_codec::{v3, v5};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_util::codec::{Decoder, Encoder};

use super::wire::Wire;
use crate::server::Shared;

/// 3.1.1 with keep-alive 0 asks never to be disconnected; a dead one would then hold its place for
/// ever. The standard lets a server end an inactive client at any time (3.1.2.10).
const SILENT_DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A client that proved who it is.
pub(crate) struct Welcome {
    pub(crate) wire: Wire,
    pub(crate) device: Arc<Device>,
    pub(crate) client_id: ByteString,
    /// After so long without a packet it counts as gone: 1.5 × keep-alive (3.1.2-22).
    pub(crate) silence: Duration,
    /// QoS 1 messages it takes at the same time.
    pub(crate) receive_max: u16,
    /// CONNACK, to be written first.
    pub(crate) answer: BytesMut,
}

/// A client that did not get in.
pub(crate) struct Refusal {
    /// The word it is counted under.
    pub(crate) why: &'static str,
    /// CONNACK with the reason, or nothing where the standard has none.
    pub(crate) answer: BytesMut,
}

impl Refusal {
    fn silent(why: &'static str) -> Self {
        Self { why, answer: BytesMut::new() }
    }

    fn v3(why: &'static str, code: v3::ConnectAckReason) -> Self {
        Self { why, answer: BytesMut::from([0x20, 2, 0, code.into()].as_slice()) }
    }

    fn v5(why: &'static str, code: v5::ConnectAckReason) -> Self {
        Self { why, answer: BytesMut::from([0x20, 3, 0, code.into(), 0].as_slice()) }
    }
}

/// Reads CONNECT and judges it. The caller bounds the time.
pub(crate) async fn shake(
    stream: &mut TcpStream,
    input: &mut BytesMut,
    shared: &Shared,
) -> Result<Welcome, Refusal> {
    let version = loop {
        match VersionCodec.decode(input) {
            Ok(Some(version)) => break version,
            Ok(None) => read(stream, input).await?,
            // "MQTT" with a level that is neither 4 nor 5 is told (3.1.2-2), garbage is not.
            Err(DecodeError::InvalidProtocol) if input.windows(6).any(|w| w == b"\0\x04MQTT") => {
                return Err(Refusal::v3("version", v3::ConnectAckReason::UnacceptableProtocolVersion));
            }
            Err(_) => return Err(Refusal::silent("not-mqtt")),
        }
    };
    match version {
        ProtocolVersion::MQTT3 => shake_v3(stream, input, shared).await,
        ProtocolVersion::MQTT5 => shake_v5(stream, input, shared).await,
    }
}

async fn shake_v3(stream: &mut TcpStream, input: &mut BytesMut, shared: &Shared) -> Result<Welcome, Refusal> {
    use v3::ConnectAckReason as Code;
    let mut codec = v3::Codec::new(shared.config.max_packet_bytes);
    let connect = loop {
        match codec.decode(input) {
            Ok(Some((v3::Packet::Connect(connect), _))) => break connect,
            Ok(Some(_)) => return Err(Refusal::silent("protocol")),
            Ok(None) => read(stream, input).await?,
            // An empty client id without Clean Session (3.1.3-8).
            Err(DecodeError::InvalidClientId) => {
                return Err(Refusal::v3("client-id", Code::IdentifierRejected));
            }
            Err(_) => return Err(Refusal::silent("malformed")),
        }
    };
    if connect.protocol.level() != 4 {
        return Err(Refusal::v3("version", Code::UnacceptableProtocolVersion));
    }
    let (Some(name), Some(secret)) = (&connect.username, &connect.password) else {
        return Err(Refusal::v3("no-credentials", Code::NotAuthorized));
    };
    let Some(device) = authenticate(shared, name, secret).await else {
        return Err(Refusal::v3("credentials", Code::BadUserNameOrPassword));
    };
    let client_id = if connect.client_id.is_empty() { assigned(shared) } else { connect.client_id };
    Ok(Welcome {
        wire: Wire::v3(codec),
        device,
        client_id,
        silence: match connect.keep_alive {
            0 => SILENT_DAY,
            seconds => one_and_a_half(seconds),
        },
        receive_max: u16::MAX,
        answer: BytesMut::from([0x20, 2, 0, 0].as_slice()),
    })
}

async fn shake_v5(stream: &mut TcpStream, input: &mut BytesMut, shared: &Shared) -> Result<Welcome, Refusal> {
    use v5::ConnectAckReason as Code;
    let config = &shared.config;
    let mut codec = v5::Codec::new(config.max_packet_bytes, 0);
    let connect = loop {
        match codec.decode(input) {
            Ok(Some((v5::Packet::Connect(connect), _))) => break connect,
            Ok(Some(_)) => return Err(Refusal::silent("protocol")),
            Ok(None) => read(stream, input).await?,
            Err(DecodeError::InvalidClientId) => {
                return Err(Refusal::v5("client-id", Code::ClientIdentifierNotValid));
            }
            Err(DecodeError::MaxSizeExceeded { .. }) => {
                return Err(Refusal::v5("packet-too-large", Code::PacketTooLarge));
            }
            Err(_) => return Err(Refusal::v5("malformed", Code::MalformedPacket)),
        }
    };
    if connect.auth_method.is_some() {
        return Err(Refusal::v5("auth-method", Code::BadAuthenticationMethod));
    }
    if let Some(will) = &connect.last_will {
        // What CONNACK would announce as missing must be refused in a will (3.2.2-12, 3.2.2-13).
        if will.qos == QoS::ExactlyOnce {
            return Err(Refusal::v5("will-qos-2", Code::QosNotSupported));
        }
        if will.retain {
            return Err(Refusal::v5("will-retain", Code::RetainNotSupported));
        }
    }
    let (Some(name), Some(secret)) = (&connect.username, &connect.password) else {
        return Err(Refusal::v5("no-credentials", Code::NotAuthorized));
    };
    let Some(device) = authenticate(shared, name, secret).await else {
        return Err(Refusal::v5("credentials", Code::BadUserNameOrPassword));
    };
    let client_id = if connect.client_id.is_empty() { assigned(shared) } else { connect.client_id.clone() };
    let longest = config.max_keep_alive.max(1);
    let (keep_alive, told) = match connect.keep_alive {
        asked if asked == 0 || asked > longest => (longest, Some(longest)),
        asked => (asked, None),
    };
    let connack = v5::ConnectAck {
        session_present: false,
        reason_code: Code::Success,
        session_expiry_interval_secs: (connect.session_expiry_interval_secs > 0).then_some(0),
        receive_max: NonZeroU16::new(config.receive_maximum).unwrap_or(NonZeroU16::MIN),
        max_qos: QoS::AtLeastOnce,
        max_packet_size: Some(config.max_packet_bytes),
        assigned_client_id: connect.client_id.is_empty().then(|| client_id.clone()),
        topic_alias_max: 0,
        retain_available: false,
        wildcard_subscription_available: true,
        subscription_identifiers_available: false,
        shared_subscription_available: false,
        server_keepalive_sec: told,
        ..v5::ConnectAck::default()
    };
    let mut answer = BytesMut::new();
    if v5::Codec::new(0, connect.max_packet_size.map_or(0, |max| max.get()))
        .encode(v5::Packet::ConnectAck(Box::new(connack)), &mut answer)
        .is_err()
    {
        return Err(Refusal::silent("client-packet-maximum"));
    }
    Ok(Welcome {
        wire: Wire::v5(codec, &connect),
        device,
        client_id,
        silence: one_and_a_half(keep_alive),
        receive_max: connect.receive_max.map_or(u16::MAX, NonZeroU16::get),
        answer,
    })
}

async fn authenticate(shared: &Shared, name: &str, secret: &Bytes) -> Option<Arc<Device>> {
    // A name with a topic separator or wildcard could reach into another thing's topics.
    if name.is_empty() || name.contains(['/', '+', '#', '\0']) {
        return None;
    }
    shared.devices.authenticate(name, secret).await
}

async fn read(stream: &mut TcpStream, input: &mut BytesMut) -> Result<(), Refusal> {
    input.reserve(512);
    match stream.read_buf(input).await {
        Ok(0) | Err(_) => Err(Refusal::silent("left-before-connect")),
        Ok(_) => Ok(()),
    }
}

fn one_and_a_half(seconds: u16) -> Duration {
    Duration::from_millis(u64::from(seconds) * 1500)
}

/// A client id for a client without one; told by 5, only kept here for 3.1.1.
fn assigned(shared: &Shared) -> ByteString {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let now = (shared.config.clock)().0;
    ByteString::from(format!("zs-{now:x}-{:x}", NEXT.fetch_add(1, Ordering::Relaxed)))
}
