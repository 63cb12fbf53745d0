//! Devices that answer questions (`docs/devices.md`) after a time of their own: many connections
//! on one thread, MQTT 3.1.1.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rand::Rng as _;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::net::{AddressFamily, SocketType};

use super::packet::{self, Version};
use crate::city::Thing;
use crate::interrupt;

/// How long a server may take to answer CONNECT and SUBSCRIBE.
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections from one address of loopback: a port is not used twice towards one server.
const A_SOURCE: usize = 20_000;
/// Seconds within which a client would have to be heard of: longer than any sweep.
const KEEP_ALIVE: u16 = 1200;
/// Connections that are ready are taken so many at a time.
const READY: usize = 256;
/// What is read at once.
const CHUNK: usize = 4096;

/// How devices answer.
#[derive(Clone, Debug)]
pub struct Manner {
    /// The quickest answer.
    pub after: Duration,
    /// The slowest.
    pub within: Duration,
    /// Who never answers, by code.
    pub mute: HashSet<String>,
}

/// What they did until they were stopped.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// Questions that came.
    pub asked: u64,
    /// Answers given.
    pub answered: u64,
    /// When the last answer was written.
    pub last: Option<Instant>,
}

/// Devices that listen for questions, on a thread of their own.
#[derive(Debug)]
pub struct Answering {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(Done, Fleet)>>,
}

/// Connected devices that listen to their commands.
#[derive(Debug)]
pub struct Fleet {
    epoll: OwnedFd,
    devices: Vec<Device>,
}

#[derive(Debug)]
struct Device {
    code: String,
    stream: TcpStream,
    /// The beginning of a packet that is not whole yet.
    rest: Vec<u8>,
    id: u16,
}

/// A connection from an address of loopback of our choice.
fn open(source: Ipv4Addr, address: SocketAddr) -> Result<TcpStream> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(source, 0))?;
    rustix::net::connect(&socket, &address).with_context(|| format!("failed to connect to {address}"))?;
    Ok(TcpStream::from(socket))
}

impl Device {
    fn connect(source: Ipv4Addr, address: SocketAddr, thing: &Thing) -> Result<Self> {
        let mut stream = open(source, address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let user = Some((thing.code.as_str(), thing.secret.as_str()));
        stream.write_all(&packet::connect(Version::V311, &thing.code, user, KEEP_ALIVE))?;
        let filter = format!("zs/v1/{}/command", thing.code);
        stream.write_all(&packet::subscribe(&filter))?;
        let (mut bytes, mut chunk, mut granted) = (Vec::new(), [0_u8; 256], 0);
        while granted < 2 {
            match stream.read(&mut chunk).with_context(|| format!("{} got no answer", thing.code))? {
                0 => bail!("the server closed the connection of {}", thing.code),
                n => bytes.extend_from_slice(&chunk[..n]),
            }
            while let Some((kind, rest, took)) = packet::first(&bytes)? {
                match (kind, rest) {
                    (0x20, [_, 0]) | (0x90, [_, _, 0..=2]) => granted += 1,
                    _ => bail!("{} was not taken: {kind:#x} {rest:?}", thing.code),
                }
                bytes.drain(..took);
            }
        }
        stream.set_nonblocking(true)?;
        Ok(Self { code: thing.code.clone(), stream, rest: bytes, id: 0 })
    }

    /// Writes whole: what a device has in flight is far less than the buffer of its socket.
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.stream.write(bytes).context("a connection took no message")?;
        if written != bytes.len() {
            bail!("a connection took {written} of {} bytes", bytes.len());
        }
        Ok(())
    }

    /// Reads once; the ids of the questions that came, which are acknowledged.
    fn receive(&mut self, chunk: &mut [u8]) -> Result<Vec<String>> {
        match self.stream.read(chunk) {
            Ok(0) => bail!("the server closed the connection of {}", self.code),
            Ok(n) => self.rest.extend_from_slice(&chunk[..n]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(e) => return Err(e).context("a connection broke"),
        }
        let mut questions = Vec::new();
        while let Some((kind, rest, took)) = packet::first(&self.rest)? {
            match kind {
                0x32 | 0x3a => {
                    let (id, payload) = packet::published(rest).context("a question that does not read")?;
                    let question: serde_json::Value = serde_json::from_slice(payload)?;
                    let named = question.get("id").and_then(serde_json::Value::as_str);
                    questions.push(named.context("a question without an id")?.to_owned());
                    self.write(&packet::puback(id))?;
                }
                0x40 => {}
                other => bail!("the server sent {other:#x}"),
            }
            self.rest.drain(..took);
        }
        Ok(questions)
    }

    fn answer(&mut self, id: &str) -> Result<()> {
        self.id = self.id.checked_add(1).unwrap_or(1);
        let value = f64::from(250 + u32::from(self.id) % 100) / 1000.0;
        let payload = serde_json::json!({ "id": id, "v": value }).to_string();
        let topic = format!("zs/v1/{}/reply", self.code);
        let bytes = packet::publish(&topic, self.id, payload.as_bytes());
        self.write(&bytes)
    }
}

impl Fleet {
    /// Connects every thing, and has it listen.
    pub fn connect(address: SocketAddr, things: &[Thing]) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut devices = Vec::with_capacity(things.len());
        for (n, thing) in things.iter().enumerate() {
            interrupt::check()?;
            let source = Ipv4Addr::new(127, 0, 0, u8::try_from(2 + n / A_SOURCE)?);
            let device = Device::connect(source, address, thing)?;
            epoll::add(&epoll, &device.stream, epoll::EventData::new_u64(n as u64), epoll::EventFlags::IN)?;
            devices.push(device);
        }
        Ok(Self { epoll, devices })
    }

    /// Listens and answers, on a thread of its own.
    pub fn answer(self, manner: Manner) -> Answering {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = std::thread::spawn(move || self.run(&manner, &told));
        Answering { stop, thread }
    }

    fn run(mut self, manner: &Manner, stop: &AtomicBool) -> Result<(Done, Self)> {
        let mut done = Done::default();
        let mut owed: BinaryHeap<Reverse<(Instant, usize, String)>> = BinaryHeap::new();
        let mut ready = Vec::with_capacity(READY);
        let mut chunk = vec![0_u8; CHUNK];
        let mut rng = rand::rng();
        while !stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            while owed.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
                let Some(Reverse((_, device, id))) = owed.pop() else { break };
                self.devices[device].answer(&id)?;
                done.answered += 1;
                done.last = Some(Instant::now());
            }
            // Answers are a millisecond late at most.
            ready.clear();
            let most = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
            match epoll::wait(&self.epoll, spare_capacity(&mut ready), Some(&most)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e).context("failed to wait for connections"),
            }
            for event in ready.drain(..) {
                let at = event.data.u64() as usize;
                let device = &mut self.devices[at];
                for id in device.receive(&mut chunk)? {
                    done.asked += 1;
                    if !manner.mute.contains(&device.code) {
                        let wait = manner.after + (manner.within - manner.after).mul_f64(rng.random());
                        owed.push(Reverse((Instant::now() + wait, at, id)));
                    }
                }
            }
        }
        Ok((done, self))
    }
}

impl Answering {
    /// Stops listening; what was done, and the devices, still connected.
    pub fn stop(self) -> Result<(Done, Fleet)> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|_| bail!("the devices' thread broke"))
    }
}
