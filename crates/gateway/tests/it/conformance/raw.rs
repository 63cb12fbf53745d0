//! A client that speaks bytes: it shares no code with the server, sends what no library would, and
//! shows every packet it is sent.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gateway::{Gateway, GatewayConfig, MemoryBroker};
use model::broker::BrokerStore;
use model::observation::{Columns, Ingest, IngestError, Unreadable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Awaited, SOON, Table};

/// A store that takes everything at once.
pub struct Takes;

#[async_trait]
impl Ingest for Takes {
    async fn ingest(&self, _: Columns, _: Vec<Unreadable>) -> Result<(), IngestError> {
        Ok(())
    }
}

/// A gateway with the profile of conformance tests.
pub struct Plain {
    pub gateway: Gateway,
}

pub fn profile() -> GatewayConfig {
    GatewayConfig {
        mqtt: "127.0.0.1:0".parse().unwrap(),
        anonymous: true,
        open_topics: true,
        stop_timeout: Duration::from_secs(5),
        ..GatewayConfig::default()
    }
}

impl Plain {
    pub async fn start() -> Self {
        Self::with(|_| ()).await
    }

    pub async fn with(change: impl FnOnce(&mut GatewayConfig)) -> Self {
        let mut config = profile();
        change(&mut config);
        Self::over(config, Arc::new(MemoryBroker::default())).await
    }

    pub async fn over(config: GatewayConfig, store: Arc<dyn BrokerStore>) -> Self {
        let gateway =
            Gateway::start(config, Arc::new(Table), Arc::new(Takes), Arc::<Awaited>::default(), store)
                .await
                .unwrap();
        Self { gateway }
    }

    pub async fn open(&self, version: u8) -> Raw {
        Raw::over(TcpStream::connect(self.gateway.mqtt_addr()).await.unwrap(), version)
    }

    /// A connected client with a session of its own.
    pub async fn client(&self, version: u8, id: &str) -> Raw {
        self.join(Hello { version, id: id.into(), ..Hello::default() }).await.0
    }

    /// Connects; the client and its CONNACK.
    pub async fn join(&self, hello: Hello) -> (Raw, Packet) {
        let mut raw = self.open(hello.version).await;
        raw.send(&hello.bytes()).await;
        let connack = raw.next().await;
        assert_eq!((connack.first, connack.body[1]), (0x20, 0), "{connack:?}");
        (raw, connack)
    }
}

/// A will: topic, payload, QoS, retain, properties.
#[derive(Clone)]
pub struct Will(pub &'static str, pub &'static [u8], pub u8, pub bool, pub Vec<u8>);

/// A CONNECT to be.
#[derive(Clone)]
pub struct Hello {
    pub version: u8,
    pub clean: bool,
    pub keep_alive: u16,
    pub id: String,
    pub properties: Vec<u8>,
    pub will: Option<Will>,
    pub user: Option<(&'static str, &'static str)>,
}

impl Default for Hello {
    fn default() -> Self {
        Self {
            version: 5,
            clean: true,
            keep_alive: 60,
            id: "c".into(),
            properties: Vec::new(),
            will: None,
            user: None,
        }
    }
}

impl Hello {
    /// A session that outlives its connection.
    pub fn durable(version: u8, id: &str) -> Self {
        Self { version, clean: false, id: id.into(), properties: expiry(3600), ..Self::default() }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut flags = u8::from(self.clean) << 1;
        if let Some(Will(_, _, qos, retain, _)) = &self.will {
            flags |= 4 | qos << 3 | u8::from(*retain) << 5;
        }
        if self.user.is_some() {
            flags |= 0xC0;
        }
        let mut body = b"\0\x04MQTT".to_vec();
        body.extend([self.version, flags]);
        body.extend(self.keep_alive.to_be_bytes());
        if self.version == 5 {
            body.extend(sized(&self.properties));
        }
        body.extend(text(&self.id));
        if let Some(Will(topic, payload, _, _, properties)) = &self.will {
            if self.version == 5 {
                body.extend(sized(properties));
            }
            body.extend(text(topic));
            body.extend(binary(payload));
        }
        if let Some((name, secret)) = self.user {
            body.extend(text(name));
            body.extend(text(secret));
        }
        packet(0x10, &body)
    }
}

/// Session Expiry Interval.
pub fn expiry(seconds: u32) -> Vec<u8> {
    four(0x11, seconds)
}

pub fn four(id: u8, value: u32) -> Vec<u8> {
    let mut property = vec![id];
    property.extend(value.to_be_bytes());
    property
}

pub fn two(id: u8, value: u16) -> Vec<u8> {
    let mut property = vec![id];
    property.extend(value.to_be_bytes());
    property
}

pub fn named(id: u8, value: &str) -> Vec<u8> {
    let mut property = vec![id];
    property.extend(text(value));
    property
}

pub fn user(name: &str, value: &str) -> Vec<u8> {
    let mut property = named(0x26, name);
    property.extend(text(value));
    property
}

pub fn binary(bytes: &[u8]) -> Vec<u8> {
    let mut out = u16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    out.extend(bytes);
    out
}

pub fn text(text: &str) -> Vec<u8> {
    binary(text.as_bytes())
}

/// With its length in front, as properties are.
pub fn sized(bytes: &[u8]) -> Vec<u8> {
    let mut out = length(bytes.len());
    out.extend(bytes);
    out
}

fn length(mut n: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out
}

pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    out.extend(sized(body));
    out
}

/// A PUBLISH, to be sent or received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub dup: bool,
    pub qos: u8,
    pub retain: bool,
    pub topic: String,
    pub id: Option<u16>,
    pub properties: Vec<u8>,
    pub payload: Vec<u8>,
}

impl Message {
    pub fn new(topic: &str, qos: u8, id: u16, payload: &str) -> Self {
        let id = (qos > 0).then_some(id);
        Self { qos, topic: topic.into(), id, payload: payload.into(), ..Self::default() }
    }

    pub fn retained(topic: &str, payload: &str) -> Self {
        Self { retain: true, ..Self::new(topic, 1, 9, payload) }
    }

    pub fn with(self, properties: Vec<u8>) -> Self {
        Self { properties, ..self }
    }

    fn bytes(&self, version: u8) -> Vec<u8> {
        let mut body = text(&self.topic);
        body.extend(self.id.into_iter().flat_map(u16::to_be_bytes));
        if version == 5 {
            body.extend(sized(&self.properties));
        }
        body.extend(&self.payload);
        packet(0x30 | u8::from(self.dup) << 3 | self.qos << 1 | u8::from(self.retain), &body)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub first: u8,
    pub body: Vec<u8>,
}

impl Packet {
    /// The packet id of an acknowledgement.
    pub fn id(&self) -> u16 {
        u16::from_be_bytes([self.body[0], self.body[1]])
    }

    /// The properties of a CONNACK.
    pub fn properties(&self) -> &[u8] {
        let n = usize::from(self.body[2]);
        &self.body[3..3 + n]
    }

    /// Whether a CONNACK says Session Present.
    pub fn present(&self) -> bool {
        self.body[0] == 1
    }

    pub fn message(&self, version: u8) -> Message {
        assert_eq!(self.first >> 4, 3, "no PUBLISH: {self:?}");
        let qos = self.first >> 1 & 3;
        let n = usize::from(u16::from_be_bytes([self.body[0], self.body[1]]));
        let topic = String::from_utf8(self.body[2..2 + n].to_vec()).unwrap();
        let mut rest = &self.body[2 + n..];
        let mut id = None;
        if qos > 0 {
            id = Some(u16::from_be_bytes([rest[0], rest[1]]));
            rest = &rest[2..];
        }
        let mut properties = Vec::new();
        if version == 5 {
            let (mut n, mut at) = (usize::from(rest[0] & 0x7F), 1);
            if rest[0] & 0x80 != 0 {
                n |= usize::from(rest[1]) << 7;
                at = 2;
            }
            properties = rest[at..at + n].to_vec();
            rest = &rest[at + n..];
        }
        let (dup, retain) = (self.first & 8 != 0, self.first & 1 != 0);
        Message { dup, qos, retain, topic, id, properties, payload: rest.to_vec() }
    }
}

pub struct Raw {
    pub stream: TcpStream,
    input: Vec<u8>,
    pub version: u8,
}

impl Raw {
    pub fn over(stream: TcpStream, version: u8) -> Self {
        Self { stream, input: Vec::new(), version }
    }

    /// Sends; `false` when the connection is gone.
    pub async fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    pub async fn try_publish(&mut self, message: &Message) -> bool {
        self.try_send(&message.bytes(self.version)).await
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next packet, or `None` when the server closed.
    pub async fn maybe(&mut self) -> Option<Packet> {
        loop {
            if let Some(packet) = self.cut() {
                return Some(packet);
            }
            let mut bytes = [0; 4096];
            match tokio::time::timeout(SOON, self.stream.read(&mut bytes)).await.unwrap() {
                Ok(0) | Err(_) => return None,
                Ok(n) => self.input.extend(&bytes[..n]),
            }
        }
    }

    fn cut(&mut self) -> Option<Packet> {
        let (mut n, mut at) = (0usize, 1);
        loop {
            let byte = *self.input.get(at)?;
            n |= usize::from(byte & 0x7F) << (7 * (at - 1));
            at += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        if self.input.len() < at + n {
            return None;
        }
        let first = self.input[0];
        let body = self.input[at..at + n].to_vec();
        self.input.drain(..at + n);
        Some(Packet { first, body })
    }

    pub async fn next(&mut self) -> Packet {
        self.maybe().await.expect("the server closed")
    }

    /// The next packet is a message.
    pub async fn message(&mut self) -> Message {
        let packet = self.next().await;
        packet.message(self.version)
    }

    /// The next packet is a message, which is acknowledged; its payload.
    pub async fn payload(&mut self) -> String {
        let message = self.message().await;
        match (message.qos, message.id) {
            (1, Some(id)) => self.ack(0x40, id).await,
            (2, Some(id)) => {
                self.ack(0x50, id).await;
                assert_eq!(self.next().await, Packet { first: 0x62, body: id.to_be_bytes().to_vec() });
                self.ack(0x70, id).await;
                // The PUBCOMP is taken before anything that follows.
                self.quiet().await;
            }
            _ => {}
        }
        String::from_utf8(message.payload).unwrap()
    }

    pub async fn ack(&mut self, first: u8, id: u16) {
        self.send(&packet(first, &id.to_be_bytes())).await;
    }

    pub async fn publish(&mut self, message: &Message) {
        let bytes = message.bytes(self.version);
        self.send(&bytes).await;
    }

    /// Publishes and takes whatever handshake the QoS has: after it the message was routed.
    pub async fn say(&mut self, message: &Message) {
        self.publish(message).await;
        match (message.qos, message.id) {
            (1, Some(id)) => self.expect(0x40, id).await,
            (2, Some(id)) => {
                self.expect(0x50, id).await;
                self.ack(0x62, id).await;
                self.expect(0x70, id).await;
            }
            _ => {}
        }
    }

    pub async fn tell(&mut self, topic: &str, qos: u8, payload: &str) {
        self.say(&Message::new(topic, qos, 77, payload)).await;
    }

    async fn expect(&mut self, first: u8, id: u16) {
        let packet = self.next().await;
        assert_eq!((packet.first, packet.id()), (first, id), "{packet:?}");
        assert!(packet.body.get(2).is_none_or(|reason| *reason < 0x80), "{packet:?}");
    }

    /// SUBSCRIBE with options bytes; the codes of its SUBACK.
    pub async fn subscribe(&mut self, filters: &[(&str, u8)]) -> Vec<u8> {
        self.subscribe_with(&[], filters).await
    }

    pub async fn subscribe_with(&mut self, properties: &[u8], filters: &[(&str, u8)]) -> Vec<u8> {
        let mut body = vec![0, 5];
        if self.version == 5 {
            body.extend(sized(properties));
        }
        for (filter, options) in filters {
            body.extend(text(filter));
            body.push(*options);
        }
        self.send(&packet(0x82, &body)).await;
        self.codes(0x90).await
    }

    pub async fn unsubscribe(&mut self, filters: &[&str]) -> Vec<u8> {
        let mut body = vec![0, 5];
        if self.version == 5 {
            body.push(0);
        }
        for filter in filters {
            body.extend(text(filter));
        }
        self.send(&packet(0xA2, &body)).await;
        self.codes(0xB0).await
    }

    async fn codes(&mut self, first: u8) -> Vec<u8> {
        let packet = self.next().await;
        assert_eq!((packet.first, packet.id()), (first, 5), "{packet:?}");
        packet.body[if self.version == 5 { 3 } else { 2 }..].to_vec()
    }

    /// Nothing came, and nothing is on its way: what was routed before was sent before the second
    /// answer.
    pub async fn quiet(&mut self) {
        for _ in 0..2 {
            self.send(&[0xC0, 0]).await;
            assert_eq!(self.next().await, Packet { first: 0xD0, body: Vec::new() });
        }
    }

    /// The server ends it: 5 with this reason, 3.1.1 by closing.
    pub async fn ended(&mut self, reason: u8) {
        if self.version == 5 {
            assert_eq!(self.next().await, Packet { first: 0xE0, body: vec![reason] });
        }
        assert_eq!(self.maybe().await, None);
    }

    /// DISCONNECT, and the server has closed.
    pub async fn leave(mut self) {
        self.send(&[0xE0, 0]).await;
        assert_eq!(self.maybe().await, None);
    }

    /// The connection breaks, and the server has noticed.
    pub async fn vanish(mut self) {
        self.stream.shutdown().await.unwrap();
        while self.maybe().await.is_some() {}
    }
}
