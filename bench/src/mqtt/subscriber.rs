//! A subscriber that commits to SQLite, as a process of its own: what a house would build around
//! a broker that keeps nothing.
//!
//! It is built to be a strong peer: while one commit runs it reads on; what is there then is the
//! next batch; a batch is one row of 22 bytes a sample (as the hub's segments are, and nothing is
//! judged); only after the commit does it acknowledge to the broker.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};

use super::packet::{self, Version};

/// The most samples of a batch.
const BATCH_CAP: usize = 32_768;
/// What it subscribes to.
const FILTER: &str = "zs/v1/+/pressure";

/// The subscriber's process, asked how much it has committed; ended when dropped.
#[derive(Debug)]
pub struct Subscriber {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Subscriber {
    /// Starts one that is subscribed at `broker` and commits to a new database in `folder`.
    pub fn start(broker: SocketAddr, folder: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--subscriber").arg(broker.to_string());
        command.arg("--into").arg(folder.join("subscriber.db"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let asks = child.stdin.take().context("the subscriber has no standard input")?;
        let answers = BufReader::new(child.stdout.take().context("the subscriber has no standard output")?);
        let mut subscriber = Self { child, asks, answers };
        // The first answer comes once it is subscribed.
        subscriber.committed()?;
        Ok(subscriber)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How many samples it has committed.
    pub fn committed(&mut self) -> Result<u64> {
        self.asks.write_all(b"\n").context("the subscriber ended")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        line.trim().parse().with_context(|| format!("the subscriber said {line:?}"))
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        // Both fail only when it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is there to commit.
#[derive(Debug, Default)]
struct Batch {
    /// Datastream i32, time i64, value f64, quality i16, little-endian.
    samples: Vec<u8>,
    ids: Vec<u16>,
    ended: bool,
}

#[derive(Debug, Default)]
struct Shared {
    batch: Mutex<Batch>,
    changed: Condvar,
    committed: AtomicU64,
}

#[derive(Deserialize)]
struct Payload {
    t: i64,
    v: f64,
}

/// The process: subscribes, commits, and answers each line of its input with what it has committed.
pub async fn run(broker: SocketAddr, database: &Path) -> Result<()> {
    let mut stream = TcpStream::connect(broker)?;
    stream.set_nodelay(true)?;
    stream.write_all(&packet::connect(Version::V311, "subscriber", None, 0))?;
    stream.write_all(&packet::subscribe(FILTER))?;
    let options = SqliteConnectOptions::new().filename(database).create_if_missing(true);
    let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
    let mut connection = options.disable_statement_logging().connect().await?;
    sqlx::query("CREATE TABLE batches (seq INTEGER PRIMARY KEY, samples BLOB NOT NULL)")
        .execute(&mut connection)
        .await?;
    let shared = Arc::<Shared>::default();
    let (reading, answering) = (Arc::clone(&shared), Arc::clone(&shared));
    let mut source = stream.try_clone()?;
    let (subscribed, ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let ended = read(&mut source, &reading, &subscribed);
        if let Err(e) = ended {
            eprintln!("subscriber: {e:#}");
        }
        reading.batch.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        reading.changed.notify_all();
    });
    ready.recv().context("the broker took no subscription")?;
    std::thread::spawn(move || {
        for _ in std::io::stdin().lines() {
            println!("{}", answering.committed.load(Ordering::Relaxed));
        }
        // Whoever asks has gone.
        std::process::exit(0);
    });
    let mut acks = Vec::new();
    loop {
        let Batch { samples, ids, ended } = take(&shared);
        if ids.is_empty() && ended {
            break;
        }
        sqlx::query("INSERT INTO batches (samples) VALUES (?)")
            .bind(samples)
            .execute(&mut connection)
            .await?;
        shared.committed.fetch_add(ids.len() as u64, Ordering::Relaxed);
        acks.clear();
        ids.iter().for_each(|id| acks.extend_from_slice(&packet::puback(*id)));
        stream.write_all(&acks)?;
    }
    connection.close().await?;
    Ok(())
}

/// Waits until something is there.
fn take(shared: &Shared) -> Batch {
    let mut batch = shared.batch.lock().unwrap_or_else(PoisonError::into_inner);
    while batch.ids.is_empty() && !batch.ended {
        batch = shared.changed.wait(batch).unwrap_or_else(PoisonError::into_inner);
    }
    let ended = batch.ended;
    let taken = std::mem::replace(&mut *batch, Batch { ended, ..Batch::default() });
    shared.changed.notify_all();
    taken
}

fn read(source: &mut TcpStream, shared: &Shared, subscribed: &std::sync::mpsc::Sender<()>) -> Result<()> {
    let mut keys: HashMap<Vec<u8>, i32> = HashMap::new();
    let mut bytes = Vec::with_capacity(1 << 20);
    let mut chunk = vec![0_u8; 1 << 18];
    loop {
        let n = source.read(&mut chunk)?;
        if n == 0 {
            bail!("the broker closed the connection");
        }
        bytes.extend_from_slice(&chunk[..n]);
        let mut at = 0;
        let mut batch = shared.batch.lock().unwrap_or_else(PoisonError::into_inner);
        while batch.ids.len() >= BATCH_CAP {
            batch = shared.changed.wait(batch).unwrap_or_else(PoisonError::into_inner);
        }
        while let Some((kind, content, took)) = packet::first(&bytes[at..])? {
            at += took;
            match kind & 0xf0 {
                0x30 => {
                    let (topic, id, payload) = publish(content).context("a PUBLISH without its parts")?;
                    let Payload { t, v } = serde_json::from_slice(payload)?;
                    let next = i32::try_from(keys.len())?;
                    let key = match keys.get(topic) {
                        Some(key) => *key,
                        None => *keys.entry(topic.to_vec()).or_insert(next),
                    };
                    batch.samples.extend_from_slice(&key.to_le_bytes());
                    batch.samples.extend_from_slice(&(t * 1000).to_le_bytes());
                    batch.samples.extend_from_slice(&v.to_le_bytes());
                    batch.samples.extend_from_slice(&0_i16.to_le_bytes());
                    batch.ids.push(id);
                }
                0x20 if content.get(1) == Some(&0) => {}
                0x90 if content.get(2) == Some(&1) => {
                    // Nobody waits for it any more only when the process ends.
                    let _ = subscribed.send(());
                }
                _ => bail!("the broker said {kind:#x} {content:?}"),
            }
        }
        drop(batch);
        shared.changed.notify_all();
        bytes.drain(..at);
    }
}

/// Topic, packet id and payload of a PUBLISH at QoS 1, in 3.1.1.
fn publish(content: &[u8]) -> Option<(&[u8], u16, &[u8])> {
    let (length, rest) = content.split_first_chunk::<2>()?;
    let (topic, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let (id, payload) = rest.split_first_chunk::<2>()?;
    Some((topic, u16::from_be_bytes(*id), payload))
}
