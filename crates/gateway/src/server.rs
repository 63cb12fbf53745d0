//! The gateway as a whole: start, stop, and what its tasks share.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use model::Micros;
use model::command::CommandDown;
use model::observation::{Devices, Ingest};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::batcher::{self, Queue};
use crate::commands::Down;
use crate::config::GatewayConfig;
use crate::meters::Meters;
use crate::mqtt::link::Register;
use crate::mqtt::listener;

/// Replies that wait for their slowest reader; an older one is dropped for it.
const REPLIES: usize = 256;

/// What a device answered to a command (`zs/v1/{thing}/reply`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The thing's code, as authenticated.
    pub thing: String,
    /// As sent; nothing is known of its form here.
    pub payload: Bytes,
    /// When it came.
    pub received_at: Micros,
}

/// What listener, sessions and batcher share.
pub(crate) struct Shared {
    pub(crate) config: GatewayConfig,
    pub(crate) devices: Arc<dyn Devices>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) register: Arc<Register>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) replies: broadcast::Sender<Reply>,
    pub(crate) stopping: CancellationToken,
}

/// A running gateway. Dropping it ends everything at once; [`Gateway::stop`] ends it well.
pub struct Gateway {
    shared: Arc<Shared>,
    mqtt_addr: SocketAddr,
    listener: JoinHandle<()>,
    batcher: JoinHandle<()>,
}

impl Gateway {
    /// Opens the socket and starts. Install the metrics recorder before.
    ///
    /// # Errors
    /// The address cannot be listened on; the message names it.
    pub async fn start(
        config: GatewayConfig,
        devices: Arc<dyn Devices>,
        ingest: Arc<dyn Ingest>,
    ) -> io::Result<Self> {
        let socket = TcpListener::bind(config.mqtt).await.map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen for mqtt on {}: {error}", config.mqtt))
        })?;
        let mqtt_addr = socket.local_addr()?;
        let shared = Arc::new(Shared {
            queue: Arc::new(Queue::new(config.queued_batches)),
            config,
            devices,
            register: Arc::default(),
            meters: Arc::new(Meters::new()),
            replies: broadcast::channel(REPLIES).0,
            stopping: CancellationToken::new(),
        });
        let batcher = tokio::spawn(batcher::run(shared.queue.clone(), ingest, shared.meters.clone()));
        let listener = tokio::spawn(listener::run(socket, shared.clone()));
        tracing::info!(%mqtt_addr, "mqtt listens");
        Ok(Self { shared, mqtt_addr, listener, batcher })
    }

    /// Where MQTT listens.
    #[must_use]
    pub fn mqtt_addr(&self) -> SocketAddr {
        self.mqtt_addr
    }

    /// The way down to the devices.
    #[must_use]
    pub fn commands(&self) -> Arc<dyn CommandDown> {
        Arc::new(Down {
            register: self.shared.register.clone(),
            longest: self.shared.config.max_packet_bytes as usize,
        })
    }

    /// What devices answer from now on. A reader that falls behind loses the oldest and is told.
    #[must_use]
    pub fn replies(&self) -> broadcast::Receiver<Reply> {
        self.shared.replies.subscribe()
    }

    /// Ends every connection of `thing` (5: DISCONNECT 0x98) and says how many there were. To be
    /// called when its secret or its datastreams changed: a session keeps the
    /// [`model::observation::Device`] it was authenticated with until it connects again.
    pub fn disconnect(&self, thing: &str) -> usize {
        self.shared.register.dismiss(thing)
    }

    /// Stops well: no new connections, nothing more read, what was read is committed and
    /// acknowledged, each client is told (5: DISCONNECT 0x8B). Returns after
    /// [`GatewayConfig::stop_timeout`] at the latest, with the rest cut off unacknowledged.
    pub async fn stop(mut self) {
        let latest = Instant::now() + self.shared.config.stop_timeout;
        self.shared.stopping.cancel();
        // The listener ends its sessions within the timeout by itself.
        if let Err(error) = (&mut self.listener).await {
            tracing::error!(%error, "the mqtt listener did not end well");
        }
        self.shared.queue.close();
        if timeout_at(latest, &mut self.batcher).await.is_err() {
            tracing::error!("the last batch was not committed in time; its senders were not acknowledged");
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.listener.abort();
        self.batcher.abort();
    }
}
