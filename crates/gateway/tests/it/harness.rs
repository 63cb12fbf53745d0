//! What every test here stands on.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use gateway::{Gateway, GatewayConfig, MemoryBroker};
use model::broker::BrokerStore;
use model::command::{Answer, Answers, Correlation};
use model::observation::{
    Columns, Device, Devices, Ingest, IngestError, Integrator, Peer, Sample, Unreadable,
};
use model::{AreaPath, DatastreamKey, Micros};
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::{MqttCodec, MqttPacket, v3, v5};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_util::codec::{Decoder, Encoder};

/// The hub's clock in these tests: 2026-11-24T06:32:05.120Z.
pub const NOW: Micros = Micros(1_795_501_925_120_000);

/// Long enough for anything that happens; a test that waits so long has failed.
pub const SOON: Duration = Duration::from_secs(10);

/// Long enough that what must not happen would have happened.
pub const A_WHILE: Duration = Duration::from_millis(150);

/// Two things with the datastreams `pressure` (10·n + 1) and `level` (10·n + 2); secret `s-{code}`.
/// `h-1` is in the area `50/1/`, `h-2` in `50/2/`. The token `reader` reads and writes in `50/1/`,
/// `city` reads everywhere and writes nowhere.
pub struct Table;

pub fn area(path: &str) -> AreaPath {
    AreaPath::parse(path).unwrap()
}

fn thing(n: i32) -> Arc<Device> {
    Arc::new(Device {
        thing: format!("h-{n}"),
        area: area(&format!("50/{n}/")),
        datastreams: HashMap::from([
            ("pressure".to_owned(), DatastreamKey(10 * n + 1)),
            ("level".to_owned(), DatastreamKey(10 * n + 2)),
        ]),
    })
}

#[async_trait]
impl Devices for Table {
    async fn authenticate(&self, name: &str, secret: &[u8]) -> Option<Peer> {
        let integrator = |name: &str, read: &[&str], write: &[&str]| {
            let areas = |paths: &[&str]| paths.iter().map(|path| area(path)).collect();
            let (read, write) = (areas(read), areas(write));
            Some(Peer::Integrator(Arc::new(Integrator { name: name.to_owned(), read, write })))
        };
        match secret {
            b"s-reader" => integrator("reader", &["50/1/"], &["50/1/"]),
            b"s-city" => integrator("city", &["50/"], &[]),
            secret if secret == format!("s-{name}").as_bytes() => self.device(name).map(Peer::Device),
            _ => None,
        }
    }

    fn device(&self, code: &str) -> Option<Arc<Device>> {
        match code {
            "h-1" => Some(thing(1)),
            "h-2" => Some(thing(2)),
            _ => None,
        }
    }

    fn owner(&self, key: DatastreamKey) -> Option<Arc<Device>> {
        (1..=2).map(thing).find(|device| device.datastreams.values().any(|own| *own == key))
    }
}

/// Waits for one answer: that of `h-1` to [`QUESTION`], of its pressure.
#[derive(Default)]
pub struct Awaited(Mutex<Vec<Answer>>);

/// The question that somebody waits for the answer of.
pub const QUESTION: Correlation = Correlation { asker: model::Id::from_u128(0x7), number: 3 };

impl Awaited {
    /// What was told so far.
    pub fn told(&self) -> Vec<Answer> {
        self.0.lock().unwrap().clone()
    }
}

impl Answers for Awaited {
    fn expected(&self, thing: &str, correlation: Correlation) -> Option<DatastreamKey> {
        (thing == "h-1" && correlation == QUESTION).then_some(DatastreamKey(11))
    }

    fn take(&self, answers: Vec<Answer>) {
        self.0.lock().unwrap().extend(answers);
    }
}

/// A store that commits when the test says so.
struct Gated(mpsc::UnboundedSender<Begun>);

/// A commit that has begun and waits for the test.
pub struct Begun {
    pub samples: Columns,
    pub unreadable: Vec<Unreadable>,
    answer: oneshot::Sender<Result<(), IngestError>>,
}

impl Begun {
    pub fn commit(self) -> (Vec<Sample>, Vec<Unreadable>) {
        self.answer.send(Ok(())).unwrap();
        (self.samples.iter().collect(), self.unreadable)
    }

    pub fn refuse(self) {
        self.answer.send(Err(IngestError::Store("disk full".into()))).unwrap();
    }

    /// The store's task panics.
    pub fn break_down(self) {
        drop(self.answer);
    }
}

#[async_trait]
impl Ingest for Gated {
    async fn ingest(&self, samples: Columns, unreadable: Vec<Unreadable>) -> Result<(), IngestError> {
        let (answer, answered) = oneshot::channel();
        if self.0.send(Begun { samples, unreadable, answer }).is_err() {
            return Err(IngestError::Stopping);
        }
        answered.await.unwrap()
    }
}

/// A gateway and its store.
pub struct Hub {
    pub gateway: Gateway,
    pub answers: Arc<Awaited>,
    pub store: mpsc::UnboundedReceiver<Begun>,
}

impl Hub {
    pub async fn start() -> Self {
        Self::with(|_| ()).await
    }

    pub async fn with(change: impl FnOnce(&mut GatewayConfig)) -> Self {
        let mut config = GatewayConfig {
            mqtt: "127.0.0.1:0".parse().unwrap(),
            clock: || NOW,
            stop_timeout: Duration::from_secs(5),
            ..GatewayConfig::default()
        };
        change(&mut config);
        Self::over(config, Arc::new(MemoryBroker::default())).await
    }

    /// A gateway whose sessions are in `broker`.
    pub async fn over(config: GatewayConfig, broker: Arc<dyn BrokerStore>) -> Self {
        let (begun, store) = mpsc::unbounded_channel();
        let answers = Arc::<Awaited>::default();
        let (devices, ingest) = (Arc::new(Table), Arc::new(Gated(begun)));
        let gateway = Gateway::start(config, devices, ingest, answers.clone(), broker).await.unwrap();
        Self { gateway, answers, store }
    }

    pub fn addr(&self) -> SocketAddr {
        self.gateway.mqtt_addr()
    }

    /// The next commit that begins.
    pub async fn begun(&mut self) -> Begun {
        tokio::time::timeout(SOON, self.store.recv()).await.unwrap().unwrap()
    }

    /// Commits until `observations` of them are in.
    pub async fn commit(&mut self, observations: usize) -> (Vec<Sample>, Vec<Unreadable>) {
        let (mut samples, mut unreadable) = (Vec::new(), Vec::new());
        while samples.len() + unreadable.len() < observations {
            let (s, u) = self.begun().await.commit();
            samples.extend(s);
            unreadable.extend(u);
        }
        (samples, unreadable)
    }

    pub async fn client(&self, version: u8) -> Client {
        self.client_of("h-1", "c", version).await
    }

    /// A client of `thing`, connected.
    pub async fn client_of(&self, thing: &str, id: &str, version: u8) -> Client {
        self.client_with(thing, &format!("s-{thing}"), id, version).await
    }

    pub async fn client_with(&self, name: &str, secret: &str, id: &str, version: u8) -> Client {
        let mut client = Client::open(self.addr(), version).await;
        client.connect_with(name, secret, id).await;
        match client.packet().await {
            Some(MqttPacket::V3(v3::Packet::ConnectAck(ack))) => {
                assert_eq!(ack.return_code, v3::ConnectAckReason::ConnectionAccepted);
            }
            Some(MqttPacket::V5(v5::Packet::ConnectAck(ack))) => {
                assert_eq!(ack.reason_code, v5::ConnectAckReason::Success);
            }
            other => panic!("no connack: {other:?}"),
        }
        client
    }
}

/// A client that says exactly what the test says and hides nothing of what it hears.
pub struct Client {
    pub stream: TcpStream,
    codec: MqttCodec,
    input: BytesMut,
}

/// What a client heard, short enough for a table.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// PUBACK: packet id, reason.
    Ack(u16, u8),
    /// DISCONNECT: reason.
    Disconnect(u8),
    /// SUBACK or UNSUBACK: codes.
    Codes(Vec<u8>),
    /// PUBLISH: topic, QoS, packet id, payload.
    Publish(String, u8, Option<u16>, Bytes),
    Pong,
    Closed,
    Other(String),
}

impl Client {
    pub async fn open(addr: SocketAddr, version: u8) -> Self {
        Self::over(TcpStream::connect(addr).await.unwrap(), version)
    }

    pub fn over(stream: TcpStream, version: u8) -> Self {
        let codec = match version {
            5 => MqttCodec::V5(v5::Codec::new(0, 0)),
            _ => MqttCodec::V3(v3::Codec::new(0)),
        };
        Self { stream, codec, input: BytesMut::new() }
    }

    pub fn is_v5(&self) -> bool {
        matches!(self.codec, MqttCodec::V5(_))
    }

    pub async fn connect(&mut self, thing: &str, id: &str) {
        self.connect_with(thing, &format!("s-{thing}"), id).await;
    }

    pub async fn connect_with(&mut self, thing: &str, secret: &str, id: &str) {
        let secret = Bytes::copy_from_slice(secret.as_bytes());
        if self.is_v5() {
            self.send5(v5::Packet::Connect(Box::new(v5::Connect {
                clean_start: true,
                client_id: id.into(),
                username: Some(thing.into()),
                password: Some(secret),
                ..v5::Connect::default()
            })))
            .await;
        } else {
            self.send3(v3::Packet::Connect(Box::new(v3::Connect {
                clean_session: true,
                client_id: id.into(),
                username: Some(thing.into()),
                password: Some(secret),
                ..v3::Connect::default()
            })))
            .await;
        }
    }

    pub async fn send3(&mut self, packet: v3::Packet) {
        self.send(MqttPacket::V3(packet)).await;
    }

    pub async fn send5(&mut self, packet: v5::Packet) {
        self.send(MqttPacket::V5(packet)).await;
    }

    async fn send(&mut self, packet: MqttPacket) {
        let mut bytes = BytesMut::new();
        self.codec.encode(packet, &mut bytes).unwrap();
        self.raw(&bytes).await;
    }

    pub async fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// PUBLISH; QoS 1 with a packet id, QoS 0 without.
    pub async fn publish(&mut self, topic: &str, packet_id: Option<u16>, payload: &str) {
        let publish = publish(topic, packet_id, payload);
        self.publish_this(publish).await;
    }

    pub async fn publish_this(&mut self, publish: Publish) {
        if self.is_v5() {
            self.send5(publish.into()).await;
        } else {
            self.send3(publish.into()).await;
        }
    }

    pub async fn subscribe(&mut self, filters: &[(&str, QoS)]) -> Vec<u8> {
        let packet_id = NonZeroU16::new(77).unwrap();
        if self.is_v5() {
            let topic_filters = filters
                .iter()
                .map(|&(f, qos)| (f.into(), v5::SubscriptionOptions { qos, ..Default::default() }))
                .collect();
            self.send5(v5::Packet::Subscribe(v5::Subscribe {
                packet_id,
                id: None,
                user_properties: Vec::new(),
                topic_filters,
            }))
            .await;
        } else {
            let topic_filters = filters.iter().map(|&(f, qos)| (f.into(), qos)).collect();
            self.send3(v3::Packet::Subscribe { packet_id, topic_filters }).await;
        }
        match self.heard().await {
            Heard::Codes(codes) => codes,
            other => panic!("no suback: {other:?}"),
        }
    }

    /// The next packet; `None` when the connection is closed.
    pub async fn packet(&mut self) -> Option<MqttPacket> {
        loop {
            if let Some((packet, _)) = self.codec.decode(&mut self.input).unwrap() {
                return Some(packet);
            }
            let read = tokio::time::timeout(SOON, self.stream.read_buf(&mut self.input)).await;
            match read.unwrap() {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub async fn heard(&mut self) -> Heard {
        let Some(packet) = self.packet().await else { return Heard::Closed };
        match packet {
            MqttPacket::V3(v3::Packet::PublishAck { packet_id }) => Heard::Ack(packet_id.get(), 0),
            MqttPacket::V5(v5::Packet::PublishAck(ack)) => {
                Heard::Ack(ack.packet_id.get(), ack.reason_code.into())
            }
            MqttPacket::V5(v5::Packet::Disconnect(end)) => Heard::Disconnect(end.reason_code.into()),
            MqttPacket::V3(v3::Packet::SubscribeAck { status, .. }) => Heard::Codes(
                status
                    .into_iter()
                    .map(|status| match status {
                        v3::SubscribeReturnCode::Success(qos) => qos.value(),
                        v3::SubscribeReturnCode::Failure => 0x80,
                    })
                    .collect(),
            ),
            MqttPacket::V5(v5::Packet::SubscribeAck(ack)) => {
                Heard::Codes(ack.status.into_iter().map(u8::from).collect())
            }
            MqttPacket::V3(v3::Packet::UnsubscribeAck { .. }) => Heard::Codes(Vec::new()),
            MqttPacket::V5(v5::Packet::UnsubscribeAck(ack)) => {
                Heard::Codes(ack.status.into_iter().map(u8::from).collect())
            }
            MqttPacket::V3(v3::Packet::Publish(p)) | MqttPacket::V5(v5::Packet::Publish(p)) => {
                let id = p.packet_id.map(NonZeroU16::get);
                Heard::Publish(p.topic.to_string(), p.qos.value(), id, p.payload)
            }
            MqttPacket::V3(v3::Packet::PingResponse) | MqttPacket::V5(v5::Packet::PingResponse) => {
                Heard::Pong
            }
            other => Heard::Other(format!("{other:?}")),
        }
    }

    /// Fails if anything is heard for a while.
    pub async fn hears_nothing(&mut self) {
        if let Ok(heard) = tokio::time::timeout(A_WHILE, self.heard()).await {
            panic!("heard {heard:?}");
        }
    }

    /// How the gateway ends it: with the reason in 5, by closing in 3.1.1.
    pub async fn hears_the_end(&mut self, reason: u8) {
        if self.is_v5() {
            assert_eq!(self.heard().await, Heard::Disconnect(reason));
        }
        assert_eq!(self.heard().await, Heard::Closed);
    }

    /// Whether the session still works.
    pub async fn is_alive(&mut self) -> bool {
        self.stream.write_all(&[0xC0, 0]).await.is_ok() && self.heard().await == Heard::Pong
    }
}

/// A PUBLISH as most devices send it.
pub fn publish(topic: &str, packet_id: Option<u16>, payload: &str) -> Publish {
    Publish {
        dup: false,
        retain: false,
        qos: if packet_id.is_some() { QoS::AtLeastOnce } else { QoS::AtMostOnce },
        topic: topic.into(),
        packet_id: packet_id.map(|id| NonZeroU16::new(id).unwrap()),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        properties: None,
    }
}

pub const PRESSURE: &str = "zs/v1/h-1/pressure";
