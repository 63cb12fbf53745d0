//! One connection from CONNACK to close: a loop that decodes, hands over, acknowledges and waits.

use std::num::NonZeroU16;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use bytestring::ByteString;
use model::Micros;
use model::observation::Device;
use rmqtt_codec::error::DecodeError;
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::DisconnectReasonCode as Reason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::WriteHalf;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use super::ack::AckQueue;
use super::handshake::{Welcome, shake};
use super::link::{Link, signal};
use super::wire::{Incoming, Wire};
use crate::batcher::Group;
use crate::server::Shared;

/// Bytes that a read may bring, and what is left before the buffer grows by as much again.
const READ: usize = 4096;
const READ_LOW: usize = 1024;

/// Answers that may wait for the socket; beyond, nothing more is read of the one who does not read.
const OUT_CAP: usize = 32 * 1024;

/// Commands without PUBACK at the same time.
const COMMAND_WINDOW: u16 = 16;

/// How long a goodbye may take to be written, and how long its reader may take to close.
const GOODBYE: Duration = Duration::from_secs(5);
const LAST_READ: Duration = Duration::from_secs(1);
const LAST_READ_BYTES: u64 = 1 << 20;

/// Why a session is over.
pub(crate) struct End {
    /// DISCONNECT with this (5 only).
    say: Option<Reason>,
    /// The word it is counted under; none when the client left in peace.
    why: Option<&'static str>,
    /// Acknowledgements that still wait are waited for.
    settle: bool,
    /// The socket no longer works.
    broken: bool,
}

impl End {
    /// Closed by us, for `reason`, counted under `why`.
    pub(crate) fn say(reason: Reason, why: &'static str) -> Self {
        Self { say: Some(reason), why: Some(why), settle: false, broken: false }
    }

    fn left() -> Self {
        Self { say: None, why: None, settle: false, broken: true }
    }

    fn broken(why: &'static str) -> Self {
        Self { why: Some(why), ..Self::left() }
    }

    fn stopping() -> Self {
        Self { say: Some(Reason::ServerShuttingDown), why: None, settle: true, broken: false }
    }
}

impl From<DecodeError> for End {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::MaxSizeExceeded { .. } => Self::say(Reason::PacketTooLarge, "packet-too-large"),
            _ => Self::say(Reason::MalformedPacket, "malformed"),
        }
    }
}

/// Serves one connection until it is over.
pub(crate) async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    // Acknowledgements are small and awaited: without this they wait for the client's own ACK.
    let _ = stream.set_nodelay(true);
    let mut input = BytesMut::new();
    let shaken = tokio::select! {
        shaken = timeout(shared.config.connect_timeout, shake(&mut stream, &mut input, &shared)) => shaken,
        () = shared.stopping.cancelled() => return,
    };
    match shaken {
        Ok(Ok(welcome)) => {
            let seat = Seat::take(&shared, &welcome);
            Session::new(shared.clone(), seat.link.clone(), welcome, input).run(&mut stream).await;
        }
        Ok(Err(refusal)) => {
            shared.meters.refused(refusal.why);
            tracing::debug!(why = refusal.why, "connection refused");
            if !refusal.answer.is_empty() {
                goodbye(&mut stream, &refusal.answer).await;
            }
        }
        Err(_) => shared.meters.refused("connect-timeout"),
    }
}

/// A place in the register, given back however the session ends.
struct Seat {
    shared: Arc<Shared>,
    link: Arc<Link>,
}

impl Seat {
    fn take(shared: &Arc<Shared>, welcome: &Welcome) -> Self {
        let client_id = ByteString::from(&*welcome.client_id);
        let link = Arc::new(Link::new(welcome.device.thing.clone(), client_id));
        shared.register.enter(&link);
        shared.meters.connections.increment(1);
        Self { shared: shared.clone(), link }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.register.leave(&self.link);
        self.shared.meters.connections.decrement(1);
    }
}

/// The state of one connection.
pub(crate) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) link: Arc<Link>,
    pub(super) device: Arc<Device>,
    pub(super) wire: Wire,
    input: BytesMut,
    pub(super) out: BytesMut,
    pub(super) acks: AckQueue,
    pub(super) receive_maximum: usize,
    /// Decoded and not yet in line.
    pub(super) group: Group,
    /// When the bytes being decoded were read: wall clock and stopwatch.
    pub(super) now: Micros,
    pub(super) received: std::time::Instant,
    pub(super) subscriptions: Vec<(ByteString, QoS)>,
    pub(super) command_topic: String,
    pub(super) command_window: usize,
    pub(super) in_flight: Vec<NonZeroU16>,
    pub(super) last_packet_id: NonZeroU16,
    pub(super) unwritten: Vec<oneshot::Sender<()>>,
    silence: Duration,
    /// The decoder wants more bytes; while it does not, the socket is not read.
    hungry: bool,
    /// There was no room in line for `group`.
    stalled: bool,
    /// The socket took nothing since then.
    stuck: Option<Instant>,
}

impl Session {
    fn new(shared: Arc<Shared>, link: Arc<Link>, welcome: Welcome, input: BytesMut) -> Self {
        Self {
            receive_maximum: usize::from(shared.config.receive_maximum.max(1)),
            command_topic: crate::topic::command(&welcome.device.thing),
            command_window: usize::from(welcome.receive_max.min(COMMAND_WINDOW)),
            now: (shared.config.clock)(),
            received: std::time::Instant::now(),
            shared,
            link,
            device: welcome.device,
            wire: welcome.wire,
            input,
            out: welcome.answer,
            acks: AckQueue::default(),
            group: Group::default(),
            subscriptions: Vec::new(),
            in_flight: Vec::new(),
            last_packet_id: NonZeroU16::MAX,
            unwritten: Vec::new(),
            silence: welcome.silence,
            hungry: false,
            stalled: false,
            stuck: None,
        }
    }

    async fn run(mut self, stream: &mut TcpStream) {
        let Err(end) = self.talk(stream).await;
        if let Some(why) = end.why {
            self.shared.meters.refused(why);
            tracing::debug!(thing = self.device.thing, why, "connection closed");
        }
        self.part(stream, &end).await;
    }

    async fn talk(&mut self, stream: &mut TcpStream) -> Result<std::convert::Infallible, End> {
        let (mut reader, writer) = stream.split();
        let mut heard = Instant::now();
        let mut alarm = pin!(sleep_until(heard + self.silence));
        loop {
            let signals = self.link.signals();
            self.release();
            self.heed(signals)?;
            self.take_in()?;
            // Refusals and replies are acknowledged without a commit.
            self.release();
            self.flush(&writer)?;

            let may_read = self.hungry && !self.is_blocked();
            let waits_to_write = self.stuck.is_some();
            if may_read && self.input.capacity() - self.input.len() < READ_LOW {
                self.input.reserve(READ);
            }
            if let Some(late) = self.stuck.map(|since| since + self.shared.config.write_timeout)
                && late < alarm.deadline()
            {
                alarm.as_mut().reset(late);
            }
            tokio::select! {
                () = self.link.woken() => {}
                read = reader.read_buf(&mut self.input), if may_read => match read {
                    Ok(0) => return Err(End::left()),
                    Ok(_) => {
                        heard = Instant::now();
                        self.received = heard.into_std();
                        self.now = (self.shared.config.clock)();
                    }
                    Err(_) => return Err(End::left()),
                },
                ready = writer.writable(), if waits_to_write => {
                    if ready.is_err() {
                        return Err(End::left());
                    }
                }
                () = alarm.as_mut() => {
                    let now = Instant::now();
                    if self.stuck.is_some_and(|since| now >= since + self.shared.config.write_timeout) {
                        return Err(End::broken("slow-reader"));
                    }
                    if !may_read {
                        // Not heard because not listened to.
                        heard = now;
                    }
                    if now >= heard + self.silence {
                        return Err(End::say(Reason::KeepAliveTimeout, "keep-alive"));
                    }
                    alarm.as_mut().reset(heard + self.silence);
                }
            }
        }
    }

    /// Does what other tasks asked for.
    fn heed(&mut self, signals: u8) -> Result<(), End> {
        if signals & signal::COMMANDS != 0 {
            self.send_commands();
        }
        if signals & signal::STOP != 0 {
            return Err(End::stopping());
        }
        if signals & signal::NOT_STORED != 0 {
            // Nothing after the refused batch can be acknowledged in order; the device connects
            // again and re-sends. 0x89 tells it to wait a little.
            return Err(End::say(Reason::ServerBusy, "not-stored"));
        }
        if signals & signal::DISMISSED != 0 {
            return Err(End::say(Reason::AdministrativeAction, "dismissed"));
        }
        if signals & signal::TAKEN_OVER != 0 {
            return Err(End::say(Reason::SessionTakenOver, "taken-over"));
        }
        Ok(())
    }

    /// Decodes what is there and hands it over, as far as there is room.
    fn take_in(&mut self) -> Result<(), End> {
        loop {
            if !self.hand_over() || self.is_blocked() {
                return Ok(());
            }
            self.decode()?;
            if self.group.is_empty() {
                return Ok(());
            }
        }
    }

    fn decode(&mut self) -> Result<(), End> {
        let mut messages = 0;
        let outcome = loop {
            if self.group.is_full() || self.is_blocked() {
                self.hungry = false;
                break Ok(());
            }
            match self.wire.decode(&mut self.input) {
                Ok(Some(packet)) => {
                    messages += u64::from(matches!(packet, Incoming::Publish(_)));
                    if let Err(end) = self.act_on(packet) {
                        break Err(end);
                    }
                }
                Ok(None) => {
                    self.hungry = true;
                    break Ok(());
                }
                Err(error) => break Err(error.into()),
            }
        };
        self.shared.meters.messages.increment(messages);
        outcome
    }

    fn act_on(&mut self, packet: Incoming) -> Result<(), End> {
        match packet {
            Incoming::Publish(publish) => self.publish(&publish)?,
            Incoming::CommandAck(packet_id) => self.command_acknowledged(packet_id),
            Incoming::Subscribe { packet_id, filters, with_identifier } => {
                self.subscribe(packet_id, filters, with_identifier)?;
            }
            Incoming::Unsubscribe { packet_id, filters } => self.unsubscribe(packet_id, &filters),
            Incoming::Ping => self.wire.pong(&mut self.out),
            Incoming::Disconnect => return Err(End::left()),
            Incoming::OutOfPlace => return Err(End::say(Reason::ProtocolError, "protocol")),
        }
        Ok(())
    }

    /// Puts the group in line; `false` when there is no room, and a wake follows once there is.
    fn hand_over(&mut self) -> bool {
        self.stalled = !self.group.is_empty() && !self.shared.queue.try_push(&self.link, &mut self.group);
        !self.stalled
    }

    /// Nothing more is decoded: the line is full, the client does not read, or (3.1.1, which knows
    /// no Receive Maximum) enough acknowledgements wait.
    fn is_blocked(&self) -> bool {
        self.stalled || self.is_slow() || (!self.wire.is_v5() && self.acks.len() >= self.receive_maximum)
    }

    /// The client does not read what it is sent.
    pub(super) fn is_slow(&self) -> bool {
        self.out.len() >= OUT_CAP
    }

    fn release(&mut self) {
        let committed = self.link.total_committed();
        self.acks.release(committed, &mut self.wire, &mut self.out, &self.shared.meters.ack_seconds);
    }

    /// Writes what the socket takes at once.
    fn flush(&mut self, writer: &WriteHalf<'_>) -> Result<(), End> {
        while !self.out.is_empty() {
            match writer.try_write(&self.out) {
                Ok(0) => return Err(End::left()),
                Ok(n) => {
                    self.out.advance(n);
                    self.stuck = None;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    self.stuck.get_or_insert_with(Instant::now);
                    return Ok(());
                }
                Err(_) => return Err(End::left()),
            }
        }
        for written in self.unwritten.drain(..) {
            // The sender may have given up; the command is on its way nevertheless.
            let _ = written.send(());
        }
        Ok(())
    }

    /// Ends well: what was read goes in line, what must be told is told.
    async fn part(mut self, stream: &mut TcpStream, end: &End) {
        // A little shorter than the stop itself, so that there is time for the goodbye.
        let bound = self.shared.config.stop_timeout.mul_f64(0.8);
        let settled = async {
            while !self.hand_over() {
                self.link.woken().await;
            }
            while end.settle && self.acks.len() > 0 {
                let refused = self.link.signals() & signal::NOT_STORED != 0;
                self.release();
                if refused || self.acks.len() == 0 {
                    break;
                }
                self.link.woken().await;
            }
        };
        let _ = timeout(bound, settled).await;
        self.release();
        if end.broken {
            return;
        }
        if let Some(reason) = end.say {
            self.wire.disconnect(reason, &mut self.out);
        }
        goodbye(stream, &self.out).await;
    }
}

/// Writes the last bytes and lets the client read them: closing a socket with unread input resets
/// the connection, and the reset overtakes what was written.
async fn goodbye(stream: &mut TcpStream, last: &[u8]) {
    let said = async {
        stream.write_all(last).await?;
        stream.shutdown().await
    };
    if matches!(timeout(GOODBYE, said).await, Ok(Ok(()))) {
        let mut rest = stream.take(LAST_READ_BYTES);
        let _ = timeout(LAST_READ, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
    }
}
