//! CONNECT and its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use model::broker::{Message, Owner, SessionKey, Will};
use model::observation::{Device, Integrator, Peer};
use tokio::sync::oneshot;

use super::link::Link;
use super::speaker::Speaker;
use super::stream::Stream;
use crate::broker::writer::Waiter;
use crate::broker::{Arrival, Mailbox, Reach};
use crate::codec::connect::{self, Connect, Opening};
use crate::codec::properties::Properties;
use crate::codec::write::{Announcement, connack};
use crate::codec::{Version, read, reason};
use crate::server::Shared;
use crate::topic::{Place, is_name, place};

/// 3.1.1 with keep-alive 0 asks never to be disconnected; a dead one would then hold its place for
/// ever. The standard lets a server end an inactive client at any time (3.1.2.10).
const SILENT_DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest keep-alive of a client without credentials, in seconds: nobody vouches for it.
const ANONYMOUS_KEEP_ALIVE: u16 = 60;

/// The longest client identifier, in bytes.
const CLIENT_ID: usize = 256;

/// Who is at the other end.
#[derive(Clone)]
pub(crate) enum Party {
    Device(Arc<Device>),
    Integrator(Arc<Integrator>),
    Anonymous,
}

impl Party {
    fn owner(&self) -> Owner {
        match self {
            Self::Device(device) => Owner::Device(device.thing.clone()),
            Self::Integrator(integrator) => Owner::Integrator(integrator.name.clone()),
            Self::Anonymous => Owner::Anonymous,
        }
    }

    /// Name as logs and tables show it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Device(device) => &device.thing,
            Self::Integrator(integrator) => &integrator.name,
            Self::Anonymous => "anonymous",
        }
    }
}

/// A client that proved who it is.
pub(crate) struct Welcome {
    pub(crate) speaker: Speaker,
    pub(crate) party: Party,
    pub(crate) link: Arc<Link>,
    pub(crate) mailbox: Arc<Mailbox>,
    /// Session Expiry Interval as granted.
    pub(crate) expiry: u32,
    /// After so long without a packet it counts as gone: 1.5 × keep-alive (3.1.2-22).
    pub(crate) silence: Duration,
    /// QoS 1 and 2 messages it takes at the same time.
    pub(crate) receive_maximum: u16,
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

    /// 3.1.1 has its own codes; those above 5 close without an answer.
    fn told(version: Version, why: &'static str, v5: u8) -> Self {
        let mut answer = BytesMut::new();
        let code = match (version, v5) {
            (Version::V5, code) => Some(code),
            (Version::V3, reason::UNSUPPORTED_VERSION) => Some(1),
            (Version::V3, reason::CLIENT_ID_NOT_VALID) => Some(2),
            (Version::V3, reason::QUOTA_EXCEEDED) => Some(3),
            (Version::V3, reason::BAD_CREDENTIALS) => Some(4),
            (Version::V3, reason::NOT_AUTHORIZED) => Some(5),
            (Version::V3, _) => None,
        };
        if let Some(code) = code {
            connack(version, false, code, None, &mut answer);
        }
        Self { why, answer }
    }
}

/// Reads CONNECT, judges it and gives the client its session. The caller bounds the time.
pub(crate) async fn shake(
    stream: &mut Stream,
    input: &mut BytesMut,
    shared: &Shared,
    seat: &mut (dyn FnMut(&Arc<Mailbox>, &Arc<Link>) + Send),
) -> Result<Welcome, Refusal> {
    let version = loop {
        match connect::opening(input) {
            Opening::Connect(version) => break version,
            Opening::Unknown => read_more(stream, input).await?,
            Opening::OtherVersion => {
                return Err(Refusal::told(Version::V3, "version", reason::UNSUPPORTED_VERSION));
            }
            Opening::NotMqtt => return Err(Refusal::silent("not-mqtt")),
        }
    };
    let most = shared.config.max_packet_bytes as usize;
    let length = loop {
        match read::frame(input, most) {
            Ok(Some(frame)) => break frame.length,
            Ok(None) => read_more(stream, input).await?,
            Err(fault) => return Err(Refusal::told(version, fault.word(), fault.reason())),
        }
    };
    let packet = input.split_to(length).freeze();
    // The header was read above: it cannot fail here.
    let frame = read::frame(&packet, most).ok().flatten();
    let connect = match frame.map_or(Ok(None), |frame| connect::connect(frame.body).map(Some)) {
        Ok(Some(connect)) => connect,
        Ok(None) => return Err(Refusal::silent("malformed")),
        Err(fault) => return Err(Refusal::told(version, fault.word(), fault.reason())),
    };
    welcome(&connect, shared, seat).await
}

async fn welcome(
    connect: &Connect<'_>,
    shared: &Shared,
    seat: &mut (dyn FnMut(&Arc<Mailbox>, &Arc<Link>) + Send),
) -> Result<Welcome, Refusal> {
    let version = connect.version;
    let refuse = |why, code| Err(Refusal::told(version, why, code));
    let config = &shared.config;
    if connect.properties.auth_method.is_some() {
        return refuse("auth-method", reason::BAD_AUTHENTICATION_METHOD);
    }
    if connect.client_id.len() > CLIENT_ID
        || version == Version::V3 && connect.client_id.is_empty() && !connect.clean
    {
        return refuse("client-id", reason::CLIENT_ID_NOT_VALID);
    }
    let party = match (connect.user_name, connect.password) {
        (None, None) if config.anonymous => Party::Anonymous,
        (Some(name), Some(secret)) => match authenticate(shared, name, secret).await {
            Some(party) => party,
            None => return refuse("credentials", reason::BAD_CREDENTIALS),
        },
        _ => return refuse("no-credentials", reason::NOT_AUTHORIZED),
    };
    let will = match &connect.will {
        None => None,
        Some(will) if !is_name(will.topic) => return refuse("will-topic", reason::TOPIC_NAME_INVALID),
        Some(will) if !may_will(shared, &party, will.topic) => {
            return refuse("will-not-own", reason::NOT_AUTHORIZED);
        }
        Some(will) => Some(read_will(will)),
    };
    let assigned = connect.client_id.is_empty().then(|| assigned(shared));
    let client = assigned.clone().unwrap_or_else(|| connect.client_id.to_owned());
    let asked = match version {
        // 3.1.1 knows no interval: without Clean Session it lives as long as any.
        Version::V3 if connect.clean => 0,
        Version::V3 => u32::MAX,
        Version::V5 => connect.properties.session_expiry.unwrap_or(0),
    };
    let expiry = asked.min(config.max_session_expiry);
    let reach = match &party {
        Party::Integrator(integrator) if !config.open_topics => Reach::Areas(integrator.read.clone()),
        Party::Anonymous if !config.open_topics => Reach::Areas(Vec::new()),
        _ => Reach::Granted,
    };
    let link = Arc::new(Link::new(Arc::new(SessionKey { owner: party.owner(), client })));
    let arrival = Arrival { key: link.key.clone(), link: &link, clean: connect.clean, expiry, reach, will };
    let Ok((mailbox, present, wait)) = shared.broker.attach(arrival) else {
        return refuse("sessions-full", reason::QUOTA_EXCEEDED);
    };
    // From here on the place is given back however this ends.
    seat(&mailbox, &link);
    if wait {
        let (told, stored) = oneshot::channel();
        shared.broker.common.writer.after(Waiter::Told(told));
        if stored.await.is_err() {
            return Err(Refusal::told(version, "sessions-store", reason::SERVER_UNAVAILABLE));
        }
    }
    let longest = match party {
        Party::Anonymous => config.max_keep_alive.clamp(1, ANONYMOUS_KEEP_ALIVE),
        Party::Device(_) | Party::Integrator(_) => config.max_keep_alive.max(1),
    };
    let (silence, server_keep_alive) = match (version, connect.keep_alive) {
        (Version::V3, 0) => (SILENT_DAY, None),
        (Version::V5, asked) if asked == 0 || asked > longest => (one_and_a_half(longest), Some(longest)),
        (_, asked) => (one_and_a_half(asked), None),
    };
    let speaker = Speaker::new(connect, config.topic_alias_maximum);
    let mut answer = BytesMut::new();
    let told = Announcement {
        session_expiry: (version.is_v5() && asked != expiry).then_some(expiry),
        receive_maximum: config.receive_maximum.max(1),
        maximum_packet_size: config.max_packet_bytes,
        assigned_client_id: assigned,
        topic_alias_maximum: config.topic_alias_maximum,
        server_keep_alive,
    };
    connack(version, present, reason::SUCCESS, Some(&told), &mut answer);
    if !speaker.fits(answer.len()) {
        return Err(Refusal::silent("client-packet-maximum"));
    }
    let receive_maximum = connect.properties.receive_maximum.unwrap_or(u16::MAX);
    Ok(Welcome { speaker, party, link, mailbox, expiry, silence, receive_maximum, answer })
}

async fn authenticate(shared: &Shared, name: &str, secret: &[u8]) -> Option<Party> {
    match shared.devices.authenticate(name, secret).await? {
        // A name with a topic separator or wildcard could reach into another thing's topics.
        Peer::Device(device) if device.thing.is_empty() || device.thing.contains(['/', '+', '#', '\0']) => {
            None
        }
        Peer::Device(device) => Some(Party::Device(device)),
        Peer::Integrator(integrator) => Some(Party::Integrator(integrator)),
    }
}

/// Whether `party` may have a will on `topic`: a datastream or the `status` of the device itself, of
/// an integrator's things where it may write. No more topics than that can be filled with retained
/// wills by a client that connects again and again.
fn may_will(shared: &Shared, party: &Party, topic: &str) -> bool {
    if shared.config.open_topics {
        return true;
    }
    let Place::Datastream { thing, code } = place(topic) else { return false };
    let declared = |device: &Device| code == "status" || device.datastreams.contains_key(code);
    match party {
        Party::Device(device) => device.thing == thing && declared(device),
        Party::Integrator(integrator) => shared
            .devices
            .device(thing)
            .is_some_and(|device| integrator.may_write(&device.area) && declared(&device)),
        Party::Anonymous => false,
    }
}

fn read_will(will: &connect::Will<'_>) -> Will {
    let message = Message {
        topic: will.topic.to_owned(),
        payload: bytes::Bytes::copy_from_slice(will.payload),
        qos: will.qos,
        retain: will.retain,
        expires_at: None,
        properties: passed_on(&will.properties),
    };
    Will {
        message,
        expiry_seconds: will.properties.message_expiry,
        delay_seconds: will.properties.will_delay.unwrap_or(0),
        due_at: None,
    }
}

/// The properties that travel with a message (3.3.2.3), if there are any.
pub(crate) fn passed_on(properties: &Properties<'_>) -> Option<Box<model::broker::Properties>> {
    let passed = model::broker::Properties {
        text: properties.payload_format.map(|format| format == 1),
        content_type: properties.content_type.map(str::to_owned),
        response_topic: properties.response_topic.map(str::to_owned),
        correlation_data: properties.correlation_data.map(<[u8]>::to_vec),
        user: properties.users().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    };
    (passed != model::broker::Properties::default()).then(|| Box::new(passed))
}

async fn read_more(stream: &mut Stream, input: &mut BytesMut) -> Result<(), Refusal> {
    match stream.read_some(input).await {
        Ok(0) | Err(_) => Err(Refusal::silent("left-before-connect")),
        Ok(_) => Ok(()),
    }
}

fn one_and_a_half(seconds: u16) -> Duration {
    Duration::from_millis(u64::from(seconds) * 1500)
}

/// A client id for a client without one; told by 5, only kept here for 3.1.1.
fn assigned(shared: &Shared) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let now = (shared.config.clock)().0;
    format!("zs-{now:x}-{:x}", NEXT.fetch_add(1, Ordering::Relaxed))
}
