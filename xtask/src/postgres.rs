//! A private PostgreSQL: Debian's binaries, a temporary folder, loopback, gone afterwards.
//!
//! `initdb` refuses root, so that as root everything runs as the user `postgres`, in a folder of
//! that user. The server keeps `fsync` on: the hub refuses one without.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// The variable that names the server to tests.
const VARIABLE: &str = "ZHONGSHU_TEST_POSTGRES";

struct Server {
    child: Child,
    folder: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGINT is PostgreSQL's fast shutdown. The child may be `runuser`, which passes it on
        // only to its own child: the postmaster's pid stands in its folder.
        let pid = std::fs::read_to_string(self.folder.join("data/postmaster.pid"));
        if let Some(pid) = pid.ok().and_then(|p| p.lines().next().map(ToOwned::to_owned)) {
            let _ = Command::new("kill").args(["-INT", &pid]).status();
        }
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub fn run_beside(command: &[String]) -> Result<()> {
    let [program, args @ ..] = command else { bail!("with-postgres needs a command") };
    if std::env::var_os(VARIABLE).is_some() {
        eprintln!("{VARIABLE} is set: using that server");
        return finish(plain(program).args(args).status());
    }
    let server = start()?;
    let status = plain(program).args(args).env(VARIABLE, url(&server.folder)?).status();
    drop(server);
    finish(status)
}

/// A command without what cargo told this program about itself: the build script of `ring` looks at
/// those variables, and a cargo below this one would build it anew, and all that stands on it.
fn plain(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let told = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_", "CARGO_PRIMARY_"];
        if told.iter().any(|told| name.to_string_lossy().starts_with(told)) {
            command.env_remove(name);
        }
    }
    command
}

fn finish(status: std::io::Result<std::process::ExitStatus>) -> Result<()> {
    let status = status.context("failed to start the command")?;
    // The command's own output has said what failed.
    std::process::exit(status.code().unwrap_or(1));
}

fn url(folder: &Path) -> Result<String> {
    let port = std::fs::read_to_string(folder.join("port")).context("failed to read the port")?;
    Ok(format!("postgres://postgres@127.0.0.1:{port}/postgres"))
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

fn start() -> Result<Server> {
    let bin = binaries()?;
    let folder = tempfile::Builder::new().prefix("zhongshu-postgres-").tempdir()?.keep();
    if is_root() {
        let owned = Command::new("chown").arg("postgres").arg(&folder).status()?;
        if !owned.success() {
            bail!("failed to give {} to the user postgres", folder.display());
        }
    }
    let data = folder.join("data");
    let made = unprivileged(&bin.join("initdb"), &folder)
        .args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-D"])
        .arg(&data)
        .stdout(Stdio::null())
        .status()
        .context("failed to run initdb")?;
    if !made.success() {
        bail!("initdb failed");
    }
    // A free port; another process could take it in between, and then the server says so.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    std::fs::write(folder.join("port"), port.to_string())?;
    let child = unprivileged(&bin.join("postgres"), &folder)
        .arg("-D")
        .arg(&data)
        .args(["-p", &port.to_string(), "-k", ""])
        .args([
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "max_connections=300",
            "-c",
            "log_min_messages=fatal",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("failed to start the server")?;
    let server = Server { child, folder };
    let deadline = Instant::now() + Duration::from_secs(30);
    // It takes connections before it takes queries: "the database system is starting up".
    let ready = || {
        let mut asked = Command::new(bin.join("pg_isready"));
        asked.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string(), "-U", "postgres"]);
        asked.status().is_ok_and(|s| s.success())
    };
    while !ready() {
        if Instant::now() > deadline {
            bail!("PostgreSQL did not answer within 30 s");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    eprintln!("PostgreSQL: {} on 127.0.0.1:{port}", bin.display());
    Ok(server)
}
