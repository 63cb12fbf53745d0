//! VictoriaMetrics: a time-series database that acknowledges before it syncs.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{Process, free_port, process, program};

/// A running VictoriaMetrics.
#[derive(Debug)]
pub struct Victoria {
    /// Its process.
    pub process: Process,
    /// Where it listens.
    pub address: SocketAddr,
    /// `VictoriaMetrics 1.79.5`.
    pub name: String,
}

impl Victoria {
    /// Starts an empty one.
    pub fn start(folder: &Path) -> Result<Self> {
        let binary = program(&["victoria-metrics"])?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let mut command = Command::new(&binary);
        command.arg(format!("-storageDataPath={}", folder.join("victoria").display()));
        command.arg(format!("-httpListenAddr={address}")).arg("-retentionPeriod=10y");
        let process = Process::start("victoria-metrics", &mut command, folder, address)?;
        let mut version = process::version(Command::new(&binary).arg("-version"));
        if version.is_empty() {
            // Debian's build does not know its own.
            let package = ["-W", "-f", "${Version}", "victoria-metrics"];
            version = process::version(Command::new("dpkg-query").args(package));
        }
        Ok(Self { process, address, name: format!("VictoriaMetrics {version}") })
    }

    /// Where line protocol goes.
    pub const PATH: &'static str = "/write?precision=ns";
}
