//! Starts the real hub in process with a temporary store, so that tests and benches are clients:
//! they speak HTTP and MQTT to it and know nothing of its inside.

mod client;
// The same server that `make test` runs tests beside, one that a test may stop. `xtask` depends on
// nothing of ours and nothing of ours on it, so that the file is shared and not the crate.
#[path = "../../../xtask/src/postgres/server.rs"]
pub mod postgres;
pub mod power;
pub mod process;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use store::Backend;
use store::testing::TestDatabase;
use zhongshu::commands::{admin, import, pack};
use zhongshu::hub::open_store;
use zhongshu::{Config, Hub};

pub use client::{Client, Stream, Told};
pub use power::Disk;
pub use process::{Installation, Running};

/// A hub with a database of its own; both are gone when it is dropped.
pub struct TestHub {
    hub: Option<Hub>,
    config: Config,
    _database: TestDatabase,
    _folder: tempfile::TempDir,
}

/// What a hub begins with.
#[derive(Default)]
pub struct Setup {
    /// Folders of packs to install.
    pub packs: Vec<PathBuf>,
    /// A folder to import.
    pub city: Option<PathBuf>,
    /// Accounts: login, name, grants `ROLE@AREA`, duties `POST@AREA`.
    pub accounts: Vec<(String, Vec<String>, Vec<String>)>,
    /// By how much durations in processes are sped up.
    pub process_speed: f64,
    /// Who must have a second factor; nobody when absent.
    pub second_factor: Option<String>,
}

impl Setup {
    /// An account with one grant and perhaps a duty.
    #[must_use]
    pub fn account(mut self, login: &str, grant: &str, duty: Option<&str>) -> Self {
        let duties = duty.map(|d| vec![d.to_owned()]).unwrap_or_default();
        self.accounts.push((login.to_owned(), vec![grant.to_owned()], duties));
        self
    }
}

impl TestHub {
    /// Sets up a hub by the doors of production and starts it; the passwords of its accounts.
    ///
    /// # Errors
    /// What could not be set up.
    pub async fn start(database: TestDatabase, setup: Setup) -> Result<(Self, Vec<(String, String)>)> {
        let folder = tempfile::tempdir()?;
        let database_url = match &database.backend {
            Backend::Sqlite { path } => path.to_string_lossy().into_owned(),
            Backend::Postgres { url } => url.clone(),
        };
        let speed = if setup.process_speed > 0.0 { setup.process_speed } else { 1.0 };
        let flags = [
            ("data_folder", Some(folder.path().to_string_lossy().into_owned())),
            ("database", Some(database_url)),
            ("http", Some("127.0.0.1:0".to_owned())),
            ("mqtt", Some("127.0.0.1:0".to_owned())),
            ("process_speed", Some(speed.to_string())),
            ("log", Some("warn".to_owned())),
            ("second_factor", Some(setup.second_factor.unwrap_or_else(|| "optional".to_owned()))),
        ];
        let config = Config::from_sources(None, Vec::new(), &flags)?;
        // TESTKIT_LOG shows what the hub says while a test is being mended.
        if std::env::var_os("TESTKIT_LOG").is_some() {
            zhongshu::telemetry::start_logging(&config)?;
        }
        let store = open_store(&config).await?;
        for folder in &setup.packs {
            pack::install(&store, folder).await?;
        }
        if let Some(city) = &setup.city {
            import::folder(&store, city, |_| {}).await?;
        }
        let mut passwords = Vec::new();
        for (login, grants, duties) in setup.accounts {
            let account = admin::Create {
                name: login.clone(),
                login: login.clone(),
                organisation: None,
                grants,
                duties,
                demo: false,
                change_password: Some(false),
            };
            passwords.push((login, admin::create(&store, account).await?));
        }
        store.stop().await;
        drop(store);
        let hub = Hub::start(config.clone()).await.context("failed to start the hub")?;
        Ok((Self { hub: Some(hub), config, _database: database, _folder: folder }, passwords))
    }

    fn hub(&self) -> Result<&Hub> {
        self.hub.as_ref().context("the hub is stopped")
    }

    /// `http://127.0.0.1:…`
    ///
    /// # Errors
    /// When the hub is stopped.
    pub fn url(&self) -> Result<String> {
        Ok(format!("http://{}", self.hub()?.http()))
    }

    /// Where devices connect.
    ///
    /// # Errors
    /// When the hub is stopped.
    pub fn mqtt(&self) -> Result<std::net::SocketAddr> {
        Ok(self.hub()?.mqtt())
    }

    /// Every route: method, path, and the permission it names (`None` for a session, `Some("")`
    /// for anyone).
    ///
    /// # Errors
    /// When the hub is stopped.
    pub fn routes(&self) -> Result<Vec<(String, String, Access)>> {
        let routes = self.hub()?.routes();
        Ok(routes.iter().map(|r| (r.method.clone(), r.path.clone(), r.access.into())).collect())
    }

    /// Logs in.
    ///
    /// # Errors
    /// When the hub refuses.
    pub async fn log_in(&self, login: &str, password: &str) -> Result<Client> {
        Client::log_in(&self.url()?, login, password).await
    }

    /// The folder of the hub's data.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self._folder.path()
    }

    /// Stops the hub in order.
    pub async fn stop(&mut self) {
        if let Some(hub) = self.hub.take() {
            hub.stop().await;
        }
    }

    /// Starts it again on the same data; its addresses are new.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_again(&mut self) -> Result<()> {
        self.hub = Some(Hub::start(self.config.clone()).await?);
        Ok(())
    }
}

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anyone.
    Public,
    /// Anyone who is logged in.
    Session,
    /// Anyone who is logged in, even one who must first change the password.
    Unsettled,
    /// Who holds the permission.
    Permission(&'static str),
    /// Whose token gives the right.
    Token,
    /// Who holds the permission, or whose token gives the right.
    PermissionOrToken(&'static str),
}

impl From<zhongshu::http::Access> for Access {
    fn from(access: zhongshu::http::Access) -> Self {
        match access {
            zhongshu::http::Access::Public => Self::Public,
            zhongshu::http::Access::Session => Self::Session,
            zhongshu::http::Access::Unsettled => Self::Unsettled,
            zhongshu::http::Access::Permission(p) => Self::Permission(p),
            zhongshu::http::Access::Token(..) => Self::Token,
            zhongshu::http::Access::PermissionOrToken(p, _) => Self::PermissionOrToken(p),
        }
    }
}
