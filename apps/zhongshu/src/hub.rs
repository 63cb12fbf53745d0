//! The running hub: rooms opened, wired, listening, and stopped in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use gateway::{Gateway, GatewayConfig};
use lake::query::{Engine, QueryConfig};
use lake::{Lake, LakeConfig, LakeLocation};
use metrics_exporter_prometheus::PrometheusHandle;
use platform::audit::anchor::Anchors;
use platform::http::RouteAccess;
use platform::notification::Notifications;
use platform::{Platform, PlatformConfig, pack, person};
use store::{Store, StoreConfig};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use watch::Watch;
use watch::broker::StoredBroker;
use watch::bulk::{Bulk, BulkConfig};
use watch::sweep::Sweeps;
use work::{Work, WorkConfig};

use crate::config::Config;
use crate::http::{Streams, Tail, application, serve};
use crate::services::AskDevice;
use crate::telemetry;
use crate::tls::Certificate;

/// How long the whole of stopping may take; what hangs then is left to the next start.
const STOPPING: Duration = Duration::from_secs(45);

/// What handlers that join rooms are given.
pub struct Rooms {
    /// How the hub is set up.
    pub config: Config,
    /// The state.
    pub store: Store,
    /// People, areas, files, notices.
    pub platform: Arc<Platform>,
    /// Observations, rules, alerts.
    pub watch: Arc<Watch>,
    /// Files of observations on their way into the lake.
    pub bulk: Arc<Bulk>,
    /// Devices asked all at once.
    pub sweeps: Arc<Sweeps>,
    /// Cases, tasks, timers.
    pub work: Arc<Work>,
    /// Reads the lake for people and pages.
    pub query: Arc<Engine>,
    /// The end of the outbox, for event streams.
    pub tail: Arc<Tail>,
    /// The event streams that are open.
    pub streams: Arc<Streams>,
    /// The process's metrics.
    pub metrics: PrometheusHandle,
    /// Whether demo accounts can log in.
    pub demo: bool,
    /// Cancelled when the hub begins to stop.
    pub stop: CancellationToken,
}

/// A running hub.
pub struct Hub {
    rooms: Arc<Rooms>,
    lake: Arc<Lake>,
    gateway: Gateway,
    http: SocketAddr,
    https: Option<SocketAddr>,
    servers: Vec<JoinHandle<()>>,
    routes: Vec<RouteAccess>,
}

/// Opens the store as configured; with `exclusive`, for this process alone.
///
/// # Errors
/// What is wrong with the configuration or the database.
pub async fn open_store(config: &Config) -> anyhow::Result<Store> {
    let time_zone = config.time_zone()?;
    let store = StoreConfig { backend: config.backend(), time_zone, exclusive: true };
    Ok(Store::open(store).await?)
}

/// How often the connections of integrators are held against their tokens.
const TOKENS: Duration = Duration::from_secs(2);

/// Ends the connections of tokens that were revoked or have expired, until the hub stops.
async fn follow_tokens(rooms: Arc<Rooms>, end: impl Fn(&str) -> usize) {
    let mut live = rooms.platform.live_tokens();
    while rooms.stop.run_until_cancelled(tokio::time::sleep(TOKENS)).await.is_some() {
        let now = rooms.platform.live_tokens();
        for name in live.difference(&now) {
            let connections = end(name);
            tracing::info!(name, connections, "a token holds no more; its connections are ended");
        }
        live = now;
    }
}

/// The lake as configured.
///
/// # Errors
/// What is wrong with its settings.
pub fn lake_config(config: &Config) -> anyhow::Result<LakeConfig> {
    let mut lake = LakeConfig::beside(&config.backend(), &config.data_folder);
    lake.memory = config.lake_memory << 20;
    [lake.take_in_every, lake.optimise_every] = config.lake_paces()?;
    if let Some(place) = &config.lake {
        lake.location = if place.contains("://") {
            let url = place.parse().with_context(|| format!("failed to read lake = {place:?} as a URL"))?;
            let options = config.lake_options.clone().into_iter().collect();
            LakeLocation::Url { url, options }
        } else {
            LakeLocation::Folder(place.into())
        };
    }
    Ok(lake)
}

impl Hub {
    /// Opens every room, replays what was not judged, and listens.
    ///
    /// # Errors
    /// What could not be opened and what to do about it. Demo accounts on an address that other
    /// machines reach are refused.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let store = open_store(&config).await?;
        match Self::start_on(store.clone(), config).await {
            Ok(hub) => Ok(hub),
            Err(e) => {
                store.stop().await;
                Err(e)
            }
        }
    }

    async fn start_on(store: Store, config: Config) -> anyhow::Result<Self> {
        let metrics = telemetry::metrics().context("failed to make the metrics")?;
        let demo = person::demo_accounts(&store).await?;
        if !demo.is_empty() && !config.is_loopback() {
            bail!(
                "failed to listen on {} and {}: demo accounts ({}) may only be used on loopback; \
                 remove them, or set http and mqtt to 127.0.0.1",
                config.http,
                config.mqtt,
                demo.join(", ")
            );
        }
        let packs = pack::installed(&store).await?;
        let files = config.data_folder.join("files");
        let notifications = Notifications::new(store.clone(), config.notification()?)?;
        let platform_config = PlatformConfig {
            files,
            secure_cookies: config.secure_cookies,
            keys: Some(config.key_folder()),
            second_factor: config.second_factor,
        };
        let platform = Platform::open_with(store.clone(), &packs, platform_config, notifications).await?;
        let lake = Lake::open(lake_config(&config)?).await?;
        let watch = Watch::open(store.clone(), platform.clone(), lake.clone(), &packs).await?;
        let bulk_config =
            BulkConfig { folder: config.data_folder.join("imports"), largest: config.import_largest };
        let bulk = Bulk::open(watch.clone(), bulk_config)
            .await
            .context("failed to open the imports of observations")?;
        let ask_device = AskDevice::new();
        let work_config = WorkConfig { process_speed: config.process_speed };
        let work = Work::open(store.clone(), platform.clone(), &packs, work_config, vec![ask_device.clone()])
            .await?;
        let certificate = match (&config.tls_certificate, &config.tls_key) {
            (Some(chain), Some(key)) => Some(Certificate::read(chain, key)?),
            _ => None,
        };
        let mqtts = match (config.mqtts, &certificate) {
            (Some(address), Some(certificate)) => Some((address, certificate.server(&[b"mqtt"])?)),
            _ => None,
        };
        let gateway_config = GatewayConfig {
            mqtt: config.mqtt,
            mqtts,
            max_connections: config.mqtt_connections,
            anonymous: config.mqtt_anonymous,
            open_topics: config.mqtt_open_topics,
            ..GatewayConfig::default()
        };
        let broker = StoredBroker::new(store.clone());
        let gateway = Gateway::start(gateway_config, watch.clone(), watch.clone(), watch.clone(), broker)
            .await
            .with_context(|| format!("failed to listen for MQTT on {}", config.mqtt))?;
        ask_device.connect(gateway.commands());
        let sweeps = Sweeps::open(watch.clone(), gateway.commands()).await?;
        let listener = TcpListener::bind(config.http)
            .await
            .with_context(|| format!("failed to listen for HTTP on {}", config.http))?;
        let http = listener.local_addr()?;
        let secure = match (config.https, &certificate) {
            (Some(address), Some(certificate)) => {
                let listener = TcpListener::bind(address)
                    .await
                    .with_context(|| format!("failed to listen for HTTPS on {address}"))?;
                Some((listener, certificate.server(&[b"h2", b"http/1.1"])?))
            }
            _ => None,
        };
        let https = secure.as_ref().map(|(listener, _)| listener.local_addr()).transpose()?;
        let stop = CancellationToken::new();
        let tail = Tail::follow(store.clone());
        let query = Engine::over(lake.clone(), QueryConfig::default())?;
        let rooms = Arc::new(Rooms {
            config,
            store,
            platform,
            watch,
            bulk,
            sweeps,
            work,
            query,
            tail,
            streams: Arc::default(),
            metrics,
            demo: !demo.is_empty(),
            stop,
        });
        let (application, routes) = application(&rooms);
        let mut servers = vec![tokio::spawn(serve(listener, None, application.clone(), rooms.stop.clone()))];
        if let Some((listener, tls)) = secure {
            servers.push(tokio::spawn(serve(listener, Some(tls), application, rooms.stop.clone())));
        }
        let anchors = Anchors::open(&rooms.config.anchor_folder(), &rooms.config.key_folder())
            .context("failed to open the anchors of the audit")?;
        tracing::info!(public_key = anchors.public_key(), "the audit is anchored");
        servers.push(tokio::spawn(anchors.follow(rooms.store.clone(), rooms.stop.clone())));
        servers.push(tokio::spawn(follow_tokens(rooms.clone(), gateway.integrators())));
        servers.push(rooms.platform.notifications().start());
        if let Some(certificate) = certificate {
            servers.push(tokio::spawn(certificate.follow(rooms.stop.clone())));
        }
        tracing::info!(%http, mqtt = %gateway.mqtt_addr(), database = rooms.store.backend().name(), "the hub runs");
        Ok(Self { rooms, lake, gateway, http, https, servers, routes })
    }

    /// Where pages and API are.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where pages and API are with TLS.
    #[must_use]
    pub fn https(&self) -> Option<SocketAddr> {
        self.https
    }

    /// Where devices connect with TLS.
    #[must_use]
    pub fn mqtts(&self) -> Option<SocketAddr> {
        self.gateway.mqtts_addr()
    }

    /// Where devices connect.
    #[must_use]
    pub fn mqtt(&self) -> SocketAddr {
        self.gateway.mqtt_addr()
    }

    /// The rooms.
    #[must_use]
    pub fn rooms(&self) -> &Arc<Rooms> {
        &self.rooms
    }

    /// Every route with its access.
    #[must_use]
    pub fn routes(&self) -> &[RouteAccess] {
        &self.routes
    }

    /// Ends when the store lost its hold on the database: the hub must stop then.
    pub async fn store_stopped(&self) {
        self.rooms.store.stopped().await;
    }

    /// Stops in order: no new work in, what was taken is finished and acknowledged, then closed.
    /// Whether it came to its end: a store that hangs (disk full, server gone) must not keep the
    /// process for ever, and what is not finished then the next start takes up.
    pub async fn stop(self) -> bool {
        tracing::info!("the hub stops");
        let done = tokio::time::timeout(STOPPING, self.stop_in_order()).await.is_ok();
        if done {
            tracing::info!("the hub has stopped");
        } else {
            tracing::error!("the hub did not stop within {} s and is cut off", STOPPING.as_secs());
        }
        done
    }

    async fn stop_in_order(self) {
        self.rooms.stop.cancel();
        self.rooms.platform.notifications().stop();
        self.rooms.sweeps.stop().await;
        self.gateway.stop().await;
        for server in self.servers {
            if let Err(e) = server.await {
                tracing::warn!(error = %e, "the HTTP server ended badly");
            }
        }
        self.rooms.bulk.stop().await;
        self.rooms.watch.stop().await;
        self.rooms.work.stop().await;
        self.rooms.store.stop().await;
        self.lake.close().await;
    }
}
