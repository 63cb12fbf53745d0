//! Mosquitto: a broker that acknowledges from memory.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Process, free_port, process, program};

/// A running Mosquitto.
#[derive(Debug)]
pub struct Mosquitto {
    /// Its process.
    pub process: Process,
    /// Where it listens.
    pub address: SocketAddr,
    /// `mosquitto 2.0.11`.
    pub name: String,
}

impl Mosquitto {
    /// Starts one that keeps nothing on disk and takes everybody. No limits on what is in flight;
    /// for a subscriber that lags, `queued` messages wait and more are dropped.
    pub fn start(folder: &Path, queued: usize) -> Result<Self> {
        let binary = program(&["mosquitto"])?;
        let port = free_port()?;
        let config = folder.join("mosquitto.conf");
        // Run by root it would become the user mosquitto, who may not enter our folder.
        let user = if rustix::process::getuid().is_root() { "user root\n" } else { "" };
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n\
             max_inflight_messages 0\nmax_queued_messages {queued}\nmax_connections -1\n\
             log_type error\nlog_type warning\n{user}"
        );
        std::fs::write(&config, text).with_context(|| format!("failed to write {}", config.display()))?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut command = Command::new(&binary);
        let process = Process::start("mosquitto", command.arg("-c").arg(&config), folder, address)?;
        let version = process::version(Command::new(&binary).arg("-h"));
        Ok(Self { process, address, name: format!("mosquitto {version}") })
    }
}
