//! One device on MQTT 5: connect, publish at QoS 1, resolve on PUBACK, reconnect, re-send.
//!
//! Light enough for some thousands in one process: one task and one socket each. A sample that
//! was not acknowledged when the connection was lost is sent again on the next one; the hub knows
//! it by its time, so that a repeat is the same sample.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rand::Rng as _;
use rumqttc::NetworkOptions;
use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PubAckReason};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// Commands that wait to be read before further ones are dropped.
const COMMANDS_WAITING: usize = 64;
/// Packet identifiers in use at once, at most: the client's tables are this long.
const PACKET_IDS: u16 = 256;
/// The longest wait between two attempts to connect.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What a fleet counts, shared by its devices.
#[derive(Debug, Default)]
pub struct Counters {
    /// Devices with a connection now.
    pub connected: AtomicU64,
    /// Samples handed to a device for sending, repeats not counted.
    pub sent: AtomicU64,
    /// Samples acknowledged.
    pub acked: AtomicU64,
    /// Samples the hub refused (MQTT 5 reason code 0x80 and above).
    pub refused: AtomicU64,
    /// Samples sent again after a lost connection.
    pub resent: AtomicU64,
    /// Samples never sent, because as many as may waited for their PUBACK already.
    pub dropped: AtomicU64,
    /// Connections lost or refused.
    pub lost: AtomicU64,
}

/// How a device connects.
#[derive(Clone, Debug)]
pub struct Options {
    /// The hub's MQTT address.
    pub address: SocketAddr,
    /// The thing's code: client id, user name and second level of its topics.
    pub thing: String,
    /// The password.
    pub secret: String,
    /// Whether to subscribe to `zs/v1/{thing}/command`.
    pub listen: bool,
    /// MQTT keep-alive.
    pub keep_alive: Duration,
    /// Samples that may wait for their PUBACK at once; at most 128.
    pub window: usize,
    /// Where to count.
    pub counters: Arc<Counters>,
}

impl Options {
    /// Keep-alive 60 s, window 32, no subscription, counters of its own.
    #[must_use]
    pub fn new(address: SocketAddr, thing: &str, secret: &str) -> Self {
        Self {
            address,
            thing: thing.to_owned(),
            secret: secret.to_owned(),
            listen: false,
            keep_alive: Duration::from_secs(60),
            window: 32,
            counters: Arc::default(),
        }
    }
}

/// How the connection stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not tried yet, or trying again.
    Connecting,
    /// CONNACK came and said success.
    Connected,
    /// Lost or refused, with the reason; it will be tried again.
    Lost(String),
}

/// Why a device could not connect.
#[derive(Debug, thiserror::Error)]
#[error("{thing} cannot connect to {address}: {reason}")]
pub struct ConnectError {
    /// The thing's code.
    pub thing: String,
    /// The hub's MQTT address.
    pub address: SocketAddr,
    /// What the socket or the hub said.
    pub reason: String,
}

/// Why a sample was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// As many samples wait for their PUBACK as may.
    #[error("{0} samples wait for their acknowledgement already")]
    WindowFull(usize),
    /// The hub answered PUBACK with a reason code of 0x80 or above.
    #[error("the hub refused the sample: {0}")]
    Refused(String),
    /// The device was closed.
    #[error("the device was closed before the hub acknowledged")]
    Closed,
}

/// One device. Dropping it closes the connection without goodbye.
#[derive(Debug)]
pub struct Device {
    thing: String,
    line: Arc<Line>,
    window: Arc<Semaphore>,
    size: usize,
    commands: mpsc::Receiver<Bytes>,
    status: watch::Receiver<Status>,
    driver: JoinHandle<()>,
}

/// A sample on its way.
#[derive(Debug)]
pub struct Pending(oneshot::Receiver<Result<(), PublishError>>);

impl Pending {
    /// Waits for the PUBACK, over lost connections if need be.
    ///
    /// # Errors
    /// [`PublishError::Refused`] and [`PublishError::Closed`].
    pub async fn acked(self) -> Result<(), PublishError> {
        self.0.await.unwrap_or(Err(PublishError::Closed))
    }
}

impl Device {
    /// Connects, and returns when the hub has accepted; later losses are mended by themselves.
    ///
    /// # Errors
    /// When the first attempt fails.
    pub async fn connect(address: SocketAddr, thing: &str, secret: &str) -> Result<Self, ConnectError> {
        let mut device = Self::start(Options::new(address, thing, secret));
        match device.settled().await {
            Status::Connected => Ok(device),
            Status::Lost(reason) => Err(ConnectError { thing: thing.to_owned(), address, reason }),
            Status::Connecting => {
                Err(ConnectError { thing: thing.to_owned(), address, reason: "the task ended".to_owned() })
            }
        }
    }

    /// Starts a device and returns at once; it tries until it has a connection. Call it inside a
    /// tokio runtime.
    #[must_use]
    pub fn start(options: Options) -> Self {
        let size = options.window.clamp(1, usize::from(PACKET_IDS) / 2);
        let (to_commands, commands) = mpsc::channel(COMMANDS_WAITING);
        let (to_status, status) = watch::channel(Status::Connecting);
        let line = Arc::new(Line { state: Mutex::default(), counters: Arc::clone(&options.counters) });
        let thing = options.thing.clone();
        let driver = tokio::spawn(drive(options, size, Arc::clone(&line), to_commands, to_status));
        Self { thing, line, window: Arc::new(Semaphore::new(size)), size, commands, status, driver }
    }

    /// The thing's code.
    #[must_use]
    pub fn thing(&self) -> &str {
        &self.thing
    }

    /// How the connection stands now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Waits until the connection has been accepted or has failed once.
    pub async fn settled(&mut self) -> Status {
        match self.status.wait_for(|s| *s != Status::Connecting).await {
            Ok(status) => status.clone(),
            Err(_) => Status::Connecting,
        }
    }

    /// Publishes on `zs/v1/{thing}/{datastream}` at QoS 1 and waits for the PUBACK.
    ///
    /// # Errors
    /// [`PublishError::Refused`] with the hub's reason, [`PublishError::Closed`].
    pub async fn publish(&self, datastream: &str, payload: impl Into<Bytes>) -> Result<(), PublishError> {
        let permit = Arc::clone(&self.window).acquire_owned().await.map_err(|_| PublishError::Closed)?;
        self.send(datastream, payload.into(), permit).acked().await
    }

    /// The same without waiting: the sample is on its way when this returns.
    ///
    /// # Errors
    /// [`PublishError::WindowFull`].
    pub fn begin(&self, datastream: &str, payload: impl Into<Bytes>) -> Result<Pending, PublishError> {
        let permit = Arc::clone(&self.window).try_acquire_owned().map_err(|_| {
            self.line.counters.dropped.fetch_add(1, Ordering::Relaxed);
            PublishError::WindowFull(self.size)
        })?;
        Ok(self.send(datastream, payload.into(), permit))
    }

    fn send(&self, datastream: &str, payload: Bytes, permit: OwnedSemaphorePermit) -> Pending {
        let (done, pending) = oneshot::channel();
        let topic = format!("zs/v1/{}/{datastream}", self.thing);
        self.line.counters.sent.fetch_add(1, Ordering::Relaxed);
        self.line.send(Message { order: 0, topic, payload, done, _permit: permit });
        Pending(pending)
    }

    /// The next command; `None` only after the device was closed. Cancel-safe.
    pub async fn command(&mut self) -> Option<Bytes> {
        self.commands.recv().await
    }

    /// Waits up to `patience` for what is on its way, then says goodbye (DISCONNECT).
    pub async fn close(mut self, patience: Duration) {
        let all = u32::try_from(self.size).unwrap_or(u32::MAX);
        let drained = tokio::time::timeout(patience, Arc::clone(&self.window).acquire_many_owned(all));
        let _ = drained.await;
        let client = self.line.lock().client.clone();
        if let Some(client) = client
            && client.try_disconnect().is_ok()
        {
            let _ = tokio::time::timeout(Duration::from_secs(1), &mut self.driver).await;
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.driver.abort();
        if self.line.lock().client.take().is_some() {
            self.line.counters.connected.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A sample until its PUBACK.
#[derive(Debug)]
struct Message {
    order: u64,
    topic: String,
    payload: Bytes,
    done: oneshot::Sender<Result<(), PublishError>>,
    _permit: OwnedSemaphorePermit,
}

/// What is on its way, shared by the device and its driver.
#[derive(Debug)]
struct Line {
    state: Mutex<LineState>,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct LineState {
    /// There while connected.
    client: Option<AsyncClient>,
    order: u64,
    /// Handed to the client, not numbered yet: in the order the client will number them.
    queued: VecDeque<Message>,
    /// Sent under a packet identifier.
    numbered: HashMap<u16, Message>,
    /// Waiting for a connection.
    backlog: VecDeque<Message>,
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, LineState> {
        // Nothing between a lock and its release can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, mut message: Message) {
        let mut state = self.lock();
        state.order += 1;
        message.order = state.order;
        state.backlog.push_back(message);
        state.flush();
    }

    fn connected(&self, client: AsyncClient) {
        let mut state = self.lock();
        state.client = Some(client);
        self.counters.connected.fetch_add(1, Ordering::Relaxed);
        state.flush();
    }

    fn numbered(&self, packet: u16) {
        let mut state = self.lock();
        if let Some(message) = state.queued.pop_front() {
            state.numbered.insert(packet, message);
        }
        state.flush();
    }

    fn acked(&self, packet: u16, reason: PubAckReason) {
        let message = self.lock().numbered.remove(&packet);
        let Some(message) = message else { return };
        let result = match reason {
            PubAckReason::Success | PubAckReason::NoMatchingSubscribers => {
                self.counters.acked.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            other => {
                self.counters.refused.fetch_add(1, Ordering::Relaxed);
                Err(PublishError::Refused(format!("{other:?}")))
            }
        };
        // Nobody need be waiting.
        let _ = message.done.send(result);
    }

    /// Takes back what was not acknowledged, to send it again in its first order.
    fn lost(&self) {
        let mut state = self.lock();
        if state.client.take().is_some() {
            self.counters.connected.fetch_sub(1, Ordering::Relaxed);
        }
        self.counters.lost.fetch_add(1, Ordering::Relaxed);
        let mut again: Vec<Message> = state.numbered.drain().map(|(_, m)| m).collect();
        again.extend(state.queued.drain(..));
        self.counters.resent.fetch_add(again.len() as u64, Ordering::Relaxed);
        again.extend(state.backlog.drain(..));
        again.sort_by_key(|m| m.order);
        state.backlog = again.into();
    }
}

impl LineState {
    /// Hands the backlog to the client. The client's queue is longer than the window, so it is
    /// full only for a moment after a burst of control packets; the rest goes with the next send.
    fn flush(&mut self) {
        let Some(client) = &self.client else { return };
        while let Some(message) = self.backlog.pop_front() {
            let sent =
                client.try_publish(message.topic.clone(), QoS::AtLeastOnce, false, message.payload.clone());
            if sent.is_err() {
                self.backlog.push_front(message);
                return;
            }
            self.queued.push_back(message);
        }
    }
}

async fn drive(
    options: Options,
    window: usize,
    line: Arc<Line>,
    commands: mpsc::Sender<Bytes>,
    status: watch::Sender<Status>,
) {
    let mut failures = 0_u32;
    loop {
        let mut mqtt =
            MqttOptions::new(options.thing.clone(), options.address.ip().to_string(), options.address.port());
        mqtt.set_credentials(options.thing.clone(), options.secret.clone());
        mqtt.set_keep_alive(options.keep_alive);
        mqtt.set_clean_start(true);
        mqtt.set_connection_timeout(5);
        mqtt.set_outgoing_inflight_upper_limit(PACKET_IDS);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        mqtt.set_network_options(network);
        // A new client each time: nothing of the lost session may leak into the next.
        let (client, mut events) = AsyncClient::new(mqtt, window + 8);
        let topic = options.listen.then(|| format!("zs/v1/{}/command", options.thing));
        let reason = session(&client, &mut events, topic, &line, &commands, &status, &mut failures).await;
        line.lost();
        tracing::debug!(thing = options.thing, reason, failures, "connection lost");
        if matches!(reason.as_str(), GOODBYE) {
            return;
        }
        status.send_replace(Status::Lost(reason));
        failures = failures.saturating_add(1);
        let longest = Duration::from_millis(250).saturating_mul(1 << failures.min(10)).min(LONGEST_WAIT);
        // Jitter, so that a fleet does not come back as one.
        let wait = longest.mul_f64(rand::rng().random_range(0.5..1.0));
        tokio::time::sleep(wait).await;
    }
}

const GOODBYE: &str = "closed by this side";

/// One connection from CONNECT to its end; answers why it ended.
async fn session(
    client: &AsyncClient,
    events: &mut EventLoop,
    subscribe: Option<String>,
    line: &Line,
    commands: &mpsc::Sender<Bytes>,
    status: &watch::Sender<Status>,
    failures: &mut u32,
) -> String {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                *failures = 0;
                if let Some(topic) = &subscribe {
                    let _ = client.try_subscribe(topic.clone(), QoS::AtLeastOnce);
                }
                line.connected(client.clone());
                status.send_replace(Status::Connected);
            }
            Ok(Event::Outgoing(Outgoing::Publish(packet))) => line.numbered(packet),
            Ok(Event::Incoming(Packet::PubAck(ack))) => line.acked(ack.pkid, ack.reason),
            Ok(Event::Incoming(Packet::Publish(publish))) => {
                if commands.try_send(publish.payload).is_err() {
                    tracing::warn!("a command was dropped: nobody reads them");
                }
            }
            Ok(Event::Outgoing(Outgoing::Disconnect)) => return GOODBYE.to_owned(),
            Ok(_) => {}
            Err(ConnectionError::ConnectionRefused(code)) => return format!("refused: {code:?}"),
            Err(error) => return error.to_string(),
        }
    }
}
