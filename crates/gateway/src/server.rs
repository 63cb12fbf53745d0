//! The gateway as a whole: start, stop, and what its tasks share.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use model::broker::{BrokerStore, Owner};
use model::command::{Answers, CommandDown};
use model::observation::{Devices, Ingest};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::batcher::{self, Queue};
use crate::broker::{self, Broker, writer};
use crate::commands::Down;
use crate::config::GatewayConfig;
use crate::meters::Meters;
use crate::mqtt::link::Register;
use crate::mqtt::listener;

/// What listener, sessions and batcher share.
pub(crate) struct Shared {
    pub(crate) config: GatewayConfig,
    pub(crate) devices: Arc<dyn Devices>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) register: Arc<Register>,
    pub(crate) broker: Arc<Broker>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) answers: Arc<dyn Answers>,
    pub(crate) stopping: CancellationToken,
}

/// A running gateway. Dropping it ends everything at once; [`Gateway::stop`] ends it well.
pub struct Gateway {
    shared: Arc<Shared>,
    mqtt_addr: SocketAddr,
    mqtts_addr: Option<SocketAddr>,
    listener: JoinHandle<()>,
    batcher: JoinHandle<()>,
    agenda: JoinHandle<()>,
    writer: JoinHandle<()>,
}

async fn listen(at: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = TcpListener::bind(at)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("cannot listen for mqtt on {at}: {error}")))?;
    let addr = socket.local_addr()?;
    Ok((socket, addr))
}

impl Gateway {
    /// Reads the sessions that survived, opens the sockets and starts. Install the metrics recorder
    /// before.
    ///
    /// # Errors
    /// [`GatewayConfig::check`] refuses the settings, an address cannot be listened on, or the
    /// sessions cannot be read; the message says which.
    pub async fn start(
        config: GatewayConfig,
        devices: Arc<dyn Devices>,
        ingest: Arc<dyn Ingest>,
        answers: Arc<dyn Answers>,
        store: Arc<dyn BrokerStore>,
    ) -> io::Result<Self> {
        config.check()?;
        let (plain, mqtt_addr) = listen(config.mqtt).await?;
        let (secure, mqtts_addr) = match &config.mqtts {
            None => (None, None),
            Some((at, tls)) => {
                let (socket, addr) = listen(*at).await?;
                (Some((socket, TlsAcceptor::from(tls.clone()))), Some(addr))
            }
        };
        let meters = Arc::new(Meters::new());
        let broker = Arc::new(Broker::new(&config, devices.clone(), meters.clone()));
        broker.load(&*store).await.map_err(io::Error::other)?;
        let shared = Arc::new(Shared {
            queue: Arc::new(Queue::new(config.queued_batches)),
            config,
            devices,
            register: Arc::default(),
            broker: broker.clone(),
            meters: meters.clone(),
            answers: answers.clone(),
            stopping: CancellationToken::new(),
        });
        let writer = tokio::spawn(writer::run(broker.common.writer.clone(), store));
        let batcher = tokio::spawn(batcher::run(shared.queue.clone(), ingest, answers, broker, meters));
        let agenda = tokio::spawn(broker::keep_agenda(shared.clone()));
        let listener = tokio::spawn(listener::run(plain, secure, shared.clone()));
        tracing::info!(%mqtt_addr, ?mqtts_addr, "mqtt listens");
        Ok(Self { shared, mqtt_addr, mqtts_addr, listener, batcher, agenda, writer })
    }

    /// Where MQTT over TLS listens, if it does.
    #[must_use]
    pub fn mqtts_addr(&self) -> Option<SocketAddr> {
        self.mqtts_addr
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

    /// Ends every connection of `thing` (5: DISCONNECT 0x98) and says how many there were. To be
    /// called when its secret or its datastreams changed: a session keeps the
    /// [`model::observation::Device`] it was authenticated with until it connects again. Its durable
    /// sessions stay, for whoever has the new secret.
    pub fn disconnect(&self, thing: &str) -> usize {
        self.shared.register.dismiss(&Owner::Device(thing.to_owned()))
    }

    /// What ends the connections of an integrator, by the name of its token, and forgets its
    /// sessions: to be called when the token was revoked or has expired. It may outlive the
    /// gateway, and does nothing then. Says how many connections there were.
    pub fn integrators(&self) -> impl Fn(&str) -> usize + Send + Sync + 'static {
        let shared = Arc::downgrade(&self.shared);
        move |name| {
            let Some(shared) = shared.upgrade() else { return 0 };
            let owner = Owner::Integrator(name.to_owned());
            shared.broker.forget(&owner);
            shared.register.dismiss(&owner)
        }
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
        self.agenda.abort();
        self.shared.queue.close();
        if timeout_at(latest, &mut self.batcher).await.is_err() {
            tracing::error!("the last batch was not committed in time; its senders were not acknowledged");
        }
        self.shared.broker.common.writer.close();
        if timeout_at(latest, &mut self.writer).await.is_err() {
            tracing::error!("the last changes of mqtt sessions were not committed in time");
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.listener.abort();
        self.batcher.abort();
        self.agenda.abort();
        self.writer.abort();
    }
}
