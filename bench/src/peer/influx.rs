//! InfluxDB 1.x: a time-series database that acknowledges after it synced its log.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Process, free_port, process, program};

/// A running InfluxDB.
#[derive(Debug)]
pub struct Influx {
    /// Its process.
    pub process: Process,
    /// Where it listens.
    pub address: SocketAddr,
    /// `InfluxDB 1.6.7`.
    pub name: String,
}

impl Influx {
    /// Starts an empty one with a database `bench`, as Debian configures it: its log is synced
    /// before each answer (`wal-fsync-delay = "0s"`), its index is in memory.
    pub async fn start(folder: &Path) -> Result<Self> {
        let binary = program(&["influxd"])?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let other = free_port()?;
        let config = folder.join("influxdb.conf");
        let data = folder.join("influx").to_string_lossy().into_owned();
        let text = format!(
            "reporting-disabled = true\nreporting-enabled = false\nbind-address = \"127.0.0.1:{other}\"\n\
             [meta]\ndir = \"{data}/meta\"\n\
             [data]\ndir = \"{data}/data\"\nwal-dir = \"{data}/wal\"\nwal-fsync-delay = \"0s\"\n\
             [monitor]\nstore-enabled = false\n\
             [http]\nbind-address = \"{address}\"\nauth-enabled = false\nlog-enabled = false\n"
        );
        std::fs::write(&config, text).with_context(|| format!("failed to write {}", config.display()))?;
        let mut command = Command::new(&binary);
        let process =
            Process::start("influxd", command.arg("run").arg("-config").arg(&config), folder, address)?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        let create = http.post(format!("http://{address}/query?q=CREATE%20DATABASE%20bench")).send().await?;
        create.error_for_status().context("InfluxDB made no database")?;
        let version = process::version(Command::new(&binary).arg("version"));
        Ok(Self { process, address, name: format!("InfluxDB {version}") })
    }

    /// Where line protocol goes.
    pub const PATH: &'static str = "/write?db=bench&precision=ns";
}
