//! Many connections on few threads. Each keeps so many messages in flight: whatever is
//! acknowledged is followed by the next message, one write(2) each.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use super::packet::{self, Publish, Version};
use crate::city::Thing;
use crate::interrupt;
use crate::latency::Latency;
use crate::rounds::Round;

/// How long a server may take to answer CONNECT, and to acknowledge what is in flight at the end.
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections that are ready are taken so many at a time.
const READY: usize = 256;
/// What is read at once.
const CHUNK: usize = 16 * 1024;
/// Seconds within which a client would have to be heard of: longer than any round.
const KEEP_ALIVE: u16 = 900;

/// Connects and waits for CONNACK (blocking).
pub fn connect(address: SocketAddr, version: Version, thing: &Thing) -> Result<TcpStream> {
    let mut stream =
        TcpStream::connect(address).with_context(|| format!("failed to connect to {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&packet::connect(
        version,
        &thing.code,
        Some((&thing.code, &thing.secret)),
        KEEP_ALIVE,
    ))?;
    let (mut bytes, mut chunk) = (Vec::new(), [0_u8; 256]);
    loop {
        if let Some((kind, rest, _)) = packet::first(&bytes)? {
            match (kind, rest) {
                (0x20, [_, 0, ..]) => return Ok(stream),
                _ => bail!("{} was not taken: {kind:#x} {rest:?}", thing.code),
            }
        }
        match stream.read(&mut chunk).with_context(|| format!("{} got no answer to CONNECT", thing.code))? {
            0 => bail!("the server closed the connection of {}", thing.code),
            n => bytes.extend_from_slice(&chunk[..n]),
        }
    }
}

/// Connected devices, each on one of the threads.
#[derive(Debug)]
pub struct Fleet {
    shares: Vec<Share>,
    acknowledged: u64,
}

impl Fleet {
    /// Connects every thing; `in_flight` messages of each, `threads` to serve them.
    pub fn connect(
        address: SocketAddr,
        version: Version,
        things: &[Thing],
        in_flight: usize,
        threads: usize,
    ) -> Result<Self> {
        let mut shares = Vec::new();
        for things in things.chunks(things.len().div_ceil(threads.max(1)).max(1)) {
            let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            let mut connections = Vec::with_capacity(things.len());
            for (n, thing) in things.iter().enumerate() {
                interrupt::check()?;
                let stream = connect(address, version, thing)?;
                stream.set_nonblocking(true)?;
                epoll::add(&epoll, &stream, epoll::EventData::new_u64(n as u64), epoll::EventFlags::IN)?;
                connections.push(Connection {
                    stream,
                    publish: Publish::new(version, &thing.code),
                    id: 0,
                    last: 0,
                    waiting: VecDeque::with_capacity(in_flight),
                    rest: Vec::new(),
                });
            }
            shares.push(Share { epoll, connections, in_flight });
        }
        Ok(Self { shares, acknowledged: 0 })
    }

    /// Sends for so long.
    pub fn run(&mut self, lasts: Duration) -> Result<Round> {
        let began = Instant::now();
        let shares = &mut self.shares;
        let rounds: Vec<Result<(u64, Latency)>> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                shares.iter_mut().map(|share| scope.spawn(move || share.run(began, lasts))).collect();
            threads
                .into_iter()
                .map(|t| t.join().unwrap_or_else(|_| bail!("a thread of the fleet broke")))
                .collect()
        });
        let mut all = Round { done: 0, took: lasts, acks: Latency::new()? };
        for round in rounds {
            let (done, acks) = round?;
            all.done += done;
            all.acks.add(&acks)?;
        }
        self.acknowledged += all.done;
        Ok(all)
    }

    /// Waits for what is in flight and disconnects; how many messages were acknowledged in all.
    pub fn close(mut self) -> Result<u64> {
        for share in &mut self.shares {
            self.acknowledged += share.drain()?;
            for connection in &mut share.connections {
                // A server that has gone needs no goodbye.
                let _ = connection.stream.write_all(&packet::DISCONNECT);
            }
        }
        Ok(self.acknowledged)
    }
}

/// The connections of one thread.
#[derive(Debug)]
struct Share {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    in_flight: usize,
}

impl Share {
    fn run(&mut self, began: Instant, lasts: Duration) -> Result<(u64, Latency)> {
        let (mut done, mut acks) = (0, Latency::new()?);
        let mut clock = Clock::new();
        for connection in &mut self.connections {
            while connection.waiting.len() < self.in_flight {
                connection.send(&mut clock)?;
            }
        }
        let mut ready = Vec::with_capacity(READY);
        let mut chunk = vec![0_u8; CHUNK];
        while began.elapsed() < lasts {
            interrupt::check()?;
            self.wait(&mut ready)?;
            for event in ready.drain(..) {
                let connection = &mut self.connections[event.data.u64() as usize];
                let acknowledged = connection.receive(&mut chunk, &mut acks)?;
                for _ in 0..acknowledged {
                    connection.send(&mut clock)?;
                }
                done += acknowledged as u64;
            }
        }
        Ok((done, acks))
    }

    /// Waits until nothing is in flight; how many were acknowledged.
    fn drain(&mut self) -> Result<u64> {
        let (mut done, mut unmeasured, began) = (0, Latency::new()?, Instant::now());
        let mut ready = Vec::with_capacity(READY);
        let mut chunk = vec![0_u8; CHUNK];
        while self.connections.iter().any(|c| !c.waiting.is_empty()) {
            if began.elapsed() > PATIENCE {
                bail!("messages were not acknowledged within {} s", PATIENCE.as_secs());
            }
            self.wait(&mut ready)?;
            for event in ready.drain(..) {
                done +=
                    self.connections[event.data.u64() as usize].receive(&mut chunk, &mut unmeasured)? as u64;
            }
        }
        Ok(done)
    }

    fn wait(&self, ready: &mut Vec<epoll::Event>) -> Result<()> {
        ready.clear();
        let most = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        match epoll::wait(&self.epoll, spare_capacity(ready), Some(&most)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(e) => Err(e).context("failed to wait for connections"),
        }
    }
}

/// The wall clock, from the monotonic one.
#[derive(Debug)]
struct Clock {
    began: Instant,
    millis: u64,
}

impl Clock {
    fn new() -> Self {
        let millis = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Self { began: Instant::now(), millis: u64::try_from(millis).unwrap_or(u64::MAX) }
    }

    fn millis(&self, now: Instant) -> u64 {
        self.millis + (now - self.began).as_millis() as u64
    }
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    publish: Publish,
    id: u16,
    /// The time of the last message: no two share one, or they would be one sample.
    last: u64,
    /// When what is in flight was sent, the oldest first.
    waiting: VecDeque<(u16, Instant)>,
    /// The beginning of a packet that is not whole yet.
    rest: Vec<u8>,
}

impl Connection {
    fn send(&mut self, clock: &mut Clock) -> Result<()> {
        let now = Instant::now();
        self.id = self.id.checked_add(1).unwrap_or(1);
        self.last = clock.millis(now).max(self.last + 1);
        let bytes = self.publish.at(self.id, self.last, 300 + (self.last % 97) as u16);
        // What may be in flight is far less than the buffer of a socket.
        let written = self.stream.write(bytes).context("a connection took no message")?;
        if written != bytes.len() {
            bail!("a connection took {written} of {} bytes", bytes.len());
        }
        self.waiting.push_back((self.id, now));
        Ok(())
    }

    /// Reads once; how many messages were acknowledged.
    fn receive(&mut self, chunk: &mut [u8], acks: &mut Latency) -> Result<usize> {
        let read = match self.stream.read(chunk) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(n) => n,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(0),
            Err(e) => return Err(e).context("a connection broke"),
        };
        let now = Instant::now();
        let Self { rest, waiting, .. } = self;
        let carried = !rest.is_empty();
        if carried {
            rest.extend_from_slice(&chunk[..read]);
        }
        let bytes = if carried { rest.as_slice() } else { &chunk[..read] };
        let (mut at, mut done) = (0, 0);
        while let Some((kind, content, took)) = packet::first(&bytes[at..])? {
            at += took;
            match (kind, content) {
                // No reason is success; below 0x80 are successes too (MQTT 5, 3.4.2.1).
                (0x40, [high, low, reason @ ..]) if reason.first().is_none_or(|r| *r < 0x80) => {
                    let id = u16::from_be_bytes([*high, *low]);
                    match waiting.pop_front() {
                        Some((expected, sent)) if expected == id => acks.record(now - sent),
                        // Ordered acknowledgements are what MQTT asks for (4.6.0-2).
                        other => bail!("message {id} was acknowledged where {other:?} was expected"),
                    }
                    done += 1;
                }
                _ => bail!("the server answered {kind:#x} {content:?}"),
            }
        }
        if carried {
            rest.drain(..at);
        } else {
            rest.extend_from_slice(&chunk[at..read]);
        }
        Ok(done)
    }
}
