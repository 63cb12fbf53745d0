//! One connection from CONNACK to close: a loop that decodes, hands over, acknowledges, delivers
//! and waits.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use model::Micros;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::ack::{AckQueue, Held};
use super::handshake::{Party, Welcome};
use super::link::{Link, signal};
use super::serve::{Seat, goodbye};
use super::speaker::Speaker;
use super::stream::{Stream, spare};
use crate::batcher::Group;
use crate::broker::{By, Mailbox, Parting};
use crate::codec::read::{self, Packet};
use crate::codec::{Fault, reason, write};
use crate::server::Shared;

/// Answers that may wait for the socket; beyond, nothing more is read of the one who does not read.
pub(super) const OUT_CAP: usize = 32 * 1024;

/// An output buffer larger than this is given back when it is empty.
const OUT_KEPT: usize = 256;

/// Why a session is over.
pub(crate) struct End {
    /// DISCONNECT with this (5 only).
    say: Option<u8>,
    /// The word it is counted under; none when the client left in peace.
    why: Option<&'static str>,
    /// Acknowledgements that still wait are waited for.
    settle: bool,
    /// The socket no longer works, or the client has left.
    broken: bool,
    parting: Parting,
}

impl End {
    /// Closed by us, for `reason`, counted under `why`.
    pub(crate) fn say(reason: u8, why: &'static str) -> Self {
        let parting = Parting::default();
        Self { say: Some(reason), why: Some(why), settle: false, broken: false, parting }
    }

    fn left() -> Self {
        Self { say: None, why: None, settle: false, broken: true, parting: Parting::default() }
    }

    fn broken(why: &'static str) -> Self {
        Self { why: Some(why), ..Self::left() }
    }

    fn stopping() -> Self {
        let parting = Parting { stopping: true, ..Parting::default() };
        Self { say: Some(reason::SERVER_SHUTTING_DOWN), why: None, settle: true, broken: false, parting }
    }
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::say(fault.reason(), fault.word())
    }
}

/// The state of one connection.
pub(crate) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) link: Arc<Link>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) party: Party,
    pub(super) speaker: Speaker,
    input: BytesMut,
    pub(super) out: BytesMut,
    pub(super) acks: AckQueue,
    pub(super) held: Held,
    /// QoS 2 messages whose PUBREL has not come.
    pub(super) open: usize,
    /// Decoded and not yet in line.
    pub(super) group: Group,
    /// When the bytes being decoded were read: wall clock and stopwatch.
    pub(super) now: Micros,
    pub(super) received: std::time::Instant,
    /// Topics behind aliases of the client.
    pub(super) aliases: Vec<Option<Arc<str>>>,
    /// Messages on the way to the client at the same time.
    pub(super) window: usize,
    /// Session Expiry Interval as granted.
    expiry: u32,
    /// Commands that are in `out`.
    pub(super) unwritten: Vec<oneshot::Sender<()>>,
    silence: Duration,
    /// The decoder wants more bytes; while it does not, the socket is not read.
    hungry: bool,
    /// There was no room in line for `group`.
    stalled: bool,
    /// Something may wait in the mailbox that could go.
    pub(super) mail: bool,
    /// The socket took nothing since then.
    stuck: Option<Instant>,
}

/// Why the loop goes round again.
enum Event {
    Told,
    Read,
    Alarm,
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, welcome: Welcome, input: BytesMut) -> Self {
        let mut session = Self {
            window: usize::from(welcome.receive_maximum.min(super::deliver::WINDOW)),
            now: (shared.config.clock)(),
            received: std::time::Instant::now(),
            shared,
            link: welcome.link,
            open: welcome.mailbox.received(),
            mailbox: welcome.mailbox,
            party: welcome.party,
            speaker: welcome.speaker,
            input,
            out: welcome.answer,
            acks: AckQueue::default(),
            held: Held::default(),
            group: Group::default(),
            aliases: Vec::new(),
            expiry: welcome.expiry,
            unwritten: Vec::new(),
            silence: welcome.silence,
            hungry: false,
            stalled: false,
            mail: false,
            stuck: None,
        };
        session.resume();
        session
    }

    pub(super) async fn run(mut self, stream: &mut Stream, mut seat: Seat) {
        let Err(end) = self.talk(stream).await;
        if let Some(why) = end.why {
            self.shared.meters.refused(why);
            tracing::debug!(client = self.party.name(), why, "connection closed");
        }
        // Boxed: needed once, and not part of every idle session.
        Box::pin(async move {
            self.settle(&end).await;
            seat.parting = end.parting;
            drop(seat);
            if end.broken {
                return;
            }
            if let Some(reason) = end.say {
                write::disconnect(self.speaker.version, reason, &mut self.out);
            }
            goodbye(stream, &self.out).await;
        })
        .await;
    }

    async fn talk(&mut self, stream: &mut Stream) -> Result<std::convert::Infallible, End> {
        let mut heard = Instant::now();
        let mut alarm = pin!(sleep_until(heard + self.silence));
        loop {
            let signals = self.link.signals();
            self.release();
            self.heed(signals)?;
            self.take_in()?;
            // Refusals and replies are acknowledged without a commit.
            self.release();
            self.deliver();

            let may_read = self.hungry && !self.is_blocked();
            if let Some(late) = self.stuck.map(|since| since + self.shared.config.write_timeout)
                && late < alarm.deadline()
            {
                alarm.as_mut().reset(late);
            }
            let event =
                std::future::poll_fn(|context| self.poll_event(stream, context, alarm.as_mut(), may_read));
            match event.await? {
                Event::Told => {}
                Event::Read => {
                    heard = Instant::now();
                    self.received = heard.into_std();
                    self.now = (self.shared.config.clock)();
                }
                Event::Alarm => {
                    let now = Instant::now();
                    if self.stuck.is_some_and(|since| now >= since + self.shared.config.write_timeout) {
                        return Err(End::broken("slow-reader"));
                    }
                    if !may_read {
                        // Not heard because not listened to.
                        heard = now;
                    }
                    if now >= heard + self.silence {
                        return Err(End::say(reason::KEEP_ALIVE_TIMEOUT, "keep-alive"));
                    }
                    alarm.as_mut().reset(heard + self.silence);
                }
            }
        }
    }

    /// Writes what the socket takes, and says what came.
    fn poll_event(
        &mut self,
        stream: &mut Stream,
        context: &mut Context<'_>,
        alarm: Pin<&mut Sleep>,
        may_read: bool,
    ) -> Poll<Result<Event, End>> {
        if !self.out.is_empty() || self.stuck.is_some() {
            let before = self.out.len();
            match stream.poll_write_all(context, &mut self.out) {
                Poll::Ready(Err(_)) => return Poll::Ready(Err(End::left())),
                Poll::Ready(Ok(())) => {
                    self.written();
                    // There is room again: for messages that wait, and to read on.
                    if self.mail || !may_read {
                        return Poll::Ready(Ok(Event::Told));
                    }
                }
                Poll::Pending => {
                    if self.stuck.is_none() || self.out.len() < before {
                        let first = self.stuck.is_none();
                        self.stuck = Some(Instant::now());
                        if first {
                            // Once round, so that the alarm is set for it.
                            return Poll::Ready(Ok(Event::Told));
                        }
                    }
                }
            }
        }
        if self.link.poll_woken(context).is_ready() {
            return Poll::Ready(Ok(Event::Told));
        }
        if may_read && let Poll::Ready(read) = stream.poll_read_some(context, &mut self.input) {
            return Poll::Ready(match read {
                Ok(0) | Err(_) => Err(End::left()),
                Ok(_) => Ok(Event::Read),
            });
        }
        alarm.poll(context).map(|()| Ok(Event::Alarm))
    }

    /// Everything left for the socket.
    fn written(&mut self) {
        self.stuck = None;
        for written in self.unwritten.drain(..) {
            // The sender may have given up; the command is on its way nevertheless.
            let _ = written.send(());
        }
        if self.out.capacity() > OUT_KEPT {
            spare(&mut self.out);
        }
    }

    /// Does what other tasks asked for.
    fn heed(&mut self, signals: u8) -> Result<(), End> {
        if signals == 0 {
            return Ok(());
        }
        if signals & signal::COMMANDS != 0 {
            self.send_commands();
        }
        if signals & signal::MAIL != 0 {
            self.link.heed(signal::MAIL);
            self.mail = true;
        }
        if signals & signal::STOP != 0 {
            return Err(End::stopping());
        }
        if signals & signal::NOT_STORED != 0 {
            // Nothing after the refused batch can be acknowledged in order; the device connects
            // again and re-sends. 0x89 tells it to wait a little.
            return Err(End::say(reason::SERVER_BUSY, "not-stored"));
        }
        if signals & signal::DISMISSED != 0 {
            return Err(End::say(reason::ADMINISTRATIVE_ACTION, "dismissed"));
        }
        if signals & signal::TAKEN_OVER != 0 {
            return Err(End::say(reason::SESSION_TAKEN_OVER, "taken-over"));
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
        // Taken out, so that packets may borrow from it while the session changes.
        let mut input = std::mem::take(&mut self.input);
        let most = self.shared.config.max_packet_bytes as usize;
        let (mut at, mut messages) = (0, 0);
        let outcome = loop {
            if self.group.is_full() || self.is_blocked() {
                self.hungry = false;
                break Ok(());
            }
            let frame = match read::frame(&input[at..], most) {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    self.hungry = true;
                    break Ok(());
                }
                Err(fault) => break Err(fault.into()),
            };
            at += frame.length;
            let done = match read::packet(frame, self.speaker.version) {
                Ok(packet) => {
                    messages += u64::from(matches!(packet, Packet::Publish(_)));
                    self.act_on(packet)
                }
                Err(fault) => Err(fault.into()),
            };
            if done.is_err() {
                break done;
            }
        };
        input.advance(at);
        if input.is_empty() {
            spare(&mut input);
        }
        self.input = input;
        if messages > 0 {
            self.shared.meters.messages.increment(messages);
        }
        outcome
    }

    fn act_on(&mut self, packet: Packet<'_>) -> Result<(), End> {
        match packet {
            Packet::Publish(publish) => self.publish(&publish)?,
            Packet::PublishAck(ack) => self.acknowledged(ack, By::Puback),
            Packet::PublishReceived(ack) => self.received(ack),
            Packet::PublishRelease(ack) => self.released(ack),
            Packet::PublishComplete(ack) => self.acknowledged(ack, By::Pubcomp),
            Packet::Subscribe(subscribe) => self.subscribe(subscribe)?,
            Packet::Unsubscribe(packet_id, filters) => self.unsubscribe(packet_id, &filters),
            Packet::Ping => write::pong(&mut self.out),
            Packet::Disconnect { reason, session_expiry } => {
                if session_expiry.is_some_and(|seconds| seconds > 0) && self.expiry == 0 {
                    return Err(End::say(reason::PROTOCOL_ERROR, "protocol"));
                }
                let longest = self.shared.config.max_session_expiry;
                let parting = Parting {
                    peaceful: reason == reason::SUCCESS,
                    expiry: session_expiry.map(|seconds| seconds.min(longest)),
                    stopping: false,
                };
                return Err(End { parting, ..End::left() });
            }
            Packet::OutOfPlace => return Err(End::say(reason::PROTOCOL_ERROR, "protocol")),
        }
        Ok(())
    }

    /// Puts the group in line; `false` when there is no room, and a wake follows once there is.
    fn hand_over(&mut self) -> bool {
        self.stalled = !self.group.is_empty() && !self.shared.queue.try_push(&self.link, &mut self.group);
        !self.stalled
    }

    /// Nothing more is decoded: the line is full, the client does not read, too much waits for the
    /// sessions' store, or (3.1.1, which knows no Receive Maximum) enough acknowledgements wait.
    fn is_blocked(&self) -> bool {
        let most = self.receive_maximum();
        self.stalled
            || self.is_slow()
            || self.held.len() > most
            || (!self.speaker.is_v5() && self.acks.len() >= most)
    }

    pub(super) fn receive_maximum(&self) -> usize {
        usize::from(self.shared.config.receive_maximum.max(1))
    }

    /// The client does not read what it is sent.
    pub(super) fn is_slow(&self) -> bool {
        self.out.len() >= OUT_CAP
    }

    fn release(&mut self) {
        if self.acks.len() > 0 {
            let committed = self.link.total_committed();
            let seconds = &self.shared.meters.ack_seconds;
            let refused = self.acks.release(committed, &self.speaker, &mut self.out, seconds);
            self.open = self.open.saturating_sub(refused);
        }
        if !self.held.is_empty() {
            self.held.release(self.link.total_let_go(), &mut self.out);
        }
    }

    /// What was read goes in line; what must be told before the end is waited for.
    async fn settle(&mut self, end: &End) {
        // A little shorter than the stop itself, so that there is time for the goodbye.
        let bound = self.shared.config.stop_timeout.mul_f64(0.8);
        let settled = async {
            while !self.hand_over() {
                self.link.woken().await;
            }
            while end.settle && self.acks.len() + self.held.len() > 0 {
                let refused = self.link.signals() & signal::NOT_STORED != 0;
                self.release();
                if refused || self.acks.len() + self.held.len() == 0 {
                    break;
                }
                self.link.woken().await;
            }
        };
        let _ = timeout(bound, settled).await;
        self.release();
    }
}
