//! A broker of the test's own: just enough MQTT 5, by hand, with a say over every PUBACK.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// What the broker answers to a PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Ack = 0,
    Hold = 1,
    Refuse = 2,
}

/// What a client did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Connect { user: String, password: String },
    Subscribe { user: String, filter: String },
    Publish { user: String, topic: String, payload: Vec<u8> },
    Gone { user: String },
}

type Writers = Arc<Mutex<HashMap<String, mpsc::UnboundedSender<Option<Vec<u8>>>>>>;

pub struct Broker {
    pub address: SocketAddr,
    seen: mpsc::UnboundedReceiver<Seen>,
    policy: Arc<AtomicU8>,
    writers: Writers,
}

impl Broker {
    /// Starts on a free port; `password` is the only one it takes.
    pub async fn start(password: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, seen) = mpsc::unbounded_channel();
        let policy = Arc::new(AtomicU8::new(Policy::Ack as u8));
        let writers = Writers::default();
        let (p, w, password) = (Arc::clone(&policy), Arc::clone(&writers), password.map(str::to_owned));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, tell.clone(), Arc::clone(&p), Arc::clone(&w), password.clone()));
            }
        });
        Self { address, seen, policy, writers }
    }

    pub fn policy(&self, policy: Policy) {
        self.policy.store(policy as u8, Ordering::SeqCst);
    }

    /// The next thing seen that `pick` wants; what it does not want is passed over.
    pub async fn next<T>(&mut self, mut pick: impl FnMut(&Seen) -> Option<T>) -> T {
        let search = async {
            loop {
                let seen = self.seen.recv().await.expect("the broker runs");
                if let Some(found) = pick(&seen) {
                    return found;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), search).await.expect("seen within 20 s")
    }

    /// The next sample on `topic`, as JSON.
    pub async fn sample(&mut self, on: &str) -> serde_json::Value {
        self.next(|seen| match seen {
            Seen::Publish { topic, payload, .. } if topic == on => serde_json::from_slice(payload).ok(),
            _ => None,
        })
        .await
    }

    /// Cuts the connection of `user`.
    pub fn cut(&self, user: &str) {
        let _ = self.writers.lock().unwrap()[user].send(None);
    }

    /// Publishes to `user` at QoS 1.
    pub fn command(&self, user: &str, payload: &str) {
        let topic = format!("zs/v1/{user}/command");
        let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
        body.extend(topic.as_bytes());
        body.extend([0, 9, 0]);
        body.extend(payload.as_bytes());
        let mut packet = vec![0x32];
        let mut length = body.len();
        while length >= 128 {
            packet.push((length % 128) as u8 | 0x80);
            length /= 128;
        }
        packet.push(length as u8);
        packet.extend(body);
        self.writers.lock().unwrap()[user].send(Some(packet)).unwrap();
    }
}

async fn packet(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> std::io::Result<(u8, Vec<u8>)> {
    let first = stream.read_u8().await?;
    let (mut length, mut shift) = (0_usize, 0);
    loop {
        let byte = stream.read_u8().await?;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok((first, body))
}

/// Takes a string with its length before it off the front.
fn string(body: &mut &[u8]) -> String {
    let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
    let text = String::from_utf8(body[2..2 + length].to_vec()).unwrap();
    *body = &body[2 + length..];
    text
}

async fn serve(
    stream: TcpStream,
    tell: mpsc::UnboundedSender<Seen>,
    policy: Arc<AtomicU8>,
    writers: Writers,
    password: Option<String>,
) {
    let (mut reader, mut writer) = stream.into_split();
    let (to_write, mut writes) = mpsc::unbounded_channel::<Option<Vec<u8>>>();
    let mut user = String::new();
    loop {
        let (first, body) = tokio::select! {
            read = packet(&mut reader) => match read { Ok(read) => read, Err(_) => break },
            bytes = writes.recv() => match bytes {
                Some(Some(bytes)) => { let _ = writer.write_all(&bytes).await; continue }
                _ => break,
            },
        };
        let mut rest = &body[..];
        match first >> 4 {
            1 => {
                assert_eq!(string(&mut rest), "MQTT");
                // Version, flags, keep-alive, then the properties' length (one byte here).
                rest = &rest[4..];
                rest = &rest[1 + usize::from(rest[0])..];
                let _client = string(&mut rest);
                user = string(&mut rest);
                let given = string(&mut rest);
                let fits = password.as_ref().is_none_or(|p| *p == given);
                let _ = tell.send(Seen::Connect { user: user.clone(), password: given });
                let _ = writer.write_all(&[0x20, 3, 0, if fits { 0 } else { 0x86 }, 0]).await;
                writers.lock().unwrap().insert(user.clone(), to_write.clone());
            }
            3 => {
                let topic = string(&mut rest);
                let id = [rest[0], rest[1]];
                let payload = rest[3 + usize::from(rest[2])..].to_vec();
                let _ = tell.send(Seen::Publish { user: user.clone(), topic, payload });
                let policy = policy.load(Ordering::SeqCst);
                if policy == Policy::Ack as u8 {
                    let _ = writer.write_all(&[0x40, 2, id[0], id[1]]).await;
                } else if policy == Policy::Refuse as u8 {
                    let _ = writer.write_all(&[0x40, 3, id[0], id[1], 0x99]).await;
                }
            }
            8 => {
                let id = [rest[0], rest[1]];
                rest = &rest[3 + usize::from(rest[2])..];
                let filter = string(&mut rest);
                let _ = writer.write_all(&[0x90, 4, id[0], id[1], 0, 1]).await;
                let _ = tell.send(Seen::Subscribe { user: user.clone(), filter });
            }
            12 => {
                let _ = writer.write_all(&[0xD0, 0]).await;
            }
            14 => break,
            _ => {}
        }
    }
    let _ = tell.send(Seen::Gone { user });
}
