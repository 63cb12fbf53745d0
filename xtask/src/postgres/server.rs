//! A private PostgreSQL server: Debian's binaries, a temporary folder, loopback, gone afterwards.
//!
//! `initdb` refuses root, so that as root everything runs as the user `postgres`, in a folder of
//! that user. The server keeps `fsync` on: the hub refuses one without.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How long a server may take until it answers.
const STARTING: Duration = Duration::from_secs(30);

/// A server of one's own, stopped and its folder removed when dropped.
pub struct Server {
    child: Child,
    binaries: PathBuf,
    folder: PathBuf,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.signal("-INT");
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Server {
    /// Makes a cluster and starts a server on it.
    ///
    /// # Errors
    /// When PostgreSQL is not installed (`make deps` installs it), or does not start.
    pub fn start() -> Result<Self> {
        let binaries = binaries()?;
        let folder = tempfile::Builder::new().prefix("zhongshu-postgres-").tempdir()?.keep();
        if is_root() {
            let owned = Command::new("chown").arg("postgres").arg(&folder).status()?;
            if !owned.success() {
                bail!("failed to give {} to the user postgres", folder.display());
            }
        }
        let made = unprivileged(&binaries.join("initdb"), &folder)
            .args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-D"])
            .arg(folder.join("data"))
            .stdout(Stdio::null())
            .status()
            .context("failed to run initdb")?;
        if !made.success() {
            bail!("initdb failed");
        }
        // A free port; another process could take it in between, and then the server says so.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = serve(&binaries, &folder, port)?;
        let server = Self { child, binaries, folder, port };
        server.wait_ready()?;
        Ok(server)
    }

    /// `postgres://…`, of the database `postgres`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Where its programs are.
    #[must_use]
    pub fn binaries(&self) -> &Path {
        &self.binaries
    }

    /// Stops it at once, as a crash does: connections break, the log is replayed at the next start.
    ///
    /// # Errors
    /// When it is not there to be stopped.
    #[allow(dead_code, reason = "tests stop servers, make does not")]
    pub fn stop(&mut self) -> Result<()> {
        self.signal("-QUIT")?;
        self.child.wait().context("failed to wait for the server's end")?;
        Ok(())
    }

    /// Starts it again on the same port and data.
    ///
    /// # Errors
    /// When it does not start.
    #[allow(dead_code, reason = "tests start servers again, make does not")]
    pub fn start_again(&mut self) -> Result<()> {
        self.child = serve(&self.binaries, &self.folder, self.port)?;
        self.wait_ready()
    }

    /// The child may be `runuser`, which passes a signal on only to its own child: the postmaster's
    /// pid stands in its folder.
    fn signal(&self, signal: &str) -> Result<()> {
        let file = std::fs::read_to_string(self.folder.join("data/postmaster.pid"));
        let file = file.context("failed to read the server's pid")?;
        let pid = file.lines().next().context("the server's pid file is empty")?;
        let sent = Command::new("kill").args([signal, pid]).status().context("failed to run kill")?;
        if !sent.success() {
            bail!("failed to send {signal} to process {pid}");
        }
        Ok(())
    }

    fn wait_ready(&self) -> Result<()> {
        let deadline = Instant::now() + STARTING;
        // It takes connections before it takes queries: "the database system is starting up".
        let ready = || {
            let mut asked = Command::new(self.binaries.join("pg_isready"));
            asked.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres"]);
            asked.status().is_ok_and(|s| s.success())
        };
        while !ready() {
            if Instant::now() > deadline {
                bail!("PostgreSQL did not answer within {STARTING:?}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

fn serve(binaries: &Path, folder: &Path, port: u16) -> Result<Child> {
    let settings = ["listen_addresses=127.0.0.1", "max_connections=300", "log_min_messages=fatal"];
    unprivileged(&binaries.join("postgres"), folder)
        .arg("-D")
        .arg(folder.join("data"))
        .args(["-p", &port.to_string(), "-k", ""])
        .args(settings.iter().flat_map(|s| ["-c", s]))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("failed to start the server")
}

/// Where Debian keeps the newest server's binaries.
fn binaries() -> Result<PathBuf> {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path().join("bin"))
        .filter(|p| p.join("initdb").exists())
        .collect();
    versions.sort();
    versions.pop().context("no PostgreSQL server found below /usr/lib/postgresql; run make deps")
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout.trim_ascii() == b"0")
}

/// `program` run as a user that may run a server, from a folder that user may stand in.
fn unprivileged(program: &Path, folder: &Path) -> Command {
    let mut command = if is_root() {
        let mut c = Command::new("runuser");
        c.args(["-u", "postgres", "--"]).arg(program);
        c
    } else {
        Command::new(program)
    };
    command.current_dir(folder);
    command
}
