//! The real binary as a process of its own: set up, served, killed.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// How long a hub may take to print its addresses: generous, since tests share a machine.
const STARTING: Duration = Duration::from_secs(60);

/// A hub on a disk: its binary, its data folder and its database.
#[derive(Clone, Debug)]
pub struct Installation {
    /// The binary.
    pub binary: PathBuf,
    /// Everything that is not in PostgreSQL.
    pub data: PathBuf,
    /// `postgres://…`; `state.db` in the data folder when absent.
    pub database: Option<String>,
    /// Variables of the process, the only ones it sees.
    pub variables: Vec<(OsString, OsString)>,
    /// What is logged.
    pub log: String,
    /// The file that the log is added to; the test's standard error when absent.
    pub log_file: Option<PathBuf>,
}

impl Installation {
    /// `binary` on `data`, which it makes, with the state in SQLite there or in `database`.
    #[must_use]
    pub fn new(binary: &Path, data: &Path, database: Option<String>) -> Self {
        let log = std::env::var("TESTKIT_LOG").unwrap_or_else(|_| "off".into());
        let (binary, data) = (binary.to_owned(), data.to_owned());
        Self { binary, data, database, variables: Vec::new(), log, log_file: None }
    }

    /// The same with one more variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.variables.push((name.into(), value.as_ref().into()));
        self
    }

    fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(args).arg("--data-folder").arg(&self.data);
        if let Some(database) = &self.database {
            command.args(["--database", database]);
        }
        command.args(["--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--log", &self.log]);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(self.variables.iter().map(|(k, v)| (k, v)));
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs a command of set-up; what it printed.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub async fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<String> {
        let output = self.command(args).output().await.context("failed to start the binary")?;
        if !output.status.success() {
            bail!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Makes an account; its password.
    ///
    /// # Errors
    /// When the command fails.
    pub async fn account(&self, login: &str, grant: &str, duty: Option<&str>) -> Result<String> {
        let mut args = vec![
            "admin",
            "create",
            "--login",
            login,
            "--name",
            login,
            "--grant",
            grant,
            "--change-password=false",
        ];
        args.extend(duty.iter().flat_map(|duty| ["--duty", duty]));
        let printed = self.run(&args).await?;
        Ok(printed.trim().split('\t').nth(1).context("a login without a password")?.to_owned())
    }

    /// Starts the hub; it listens when this returns.
    ///
    /// # Errors
    /// When it ends instead.
    pub async fn serve(&self) -> Result<Running> {
        let began = Instant::now();
        let mut command = self.command(&["serve"]);
        let log = match &self.log_file {
            Some(file) => std::fs::OpenOptions::new().append(true).create(true).open(file)?.into(),
            None => Stdio::inherit(),
        };
        command.stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().context("failed to start the hub")?;
        let stdout = child.stdout.take().context("a child without its output")?;
        let mut lines = BufReader::new(stdout).lines();
        let (mut http, mut mqtt) = (None, None);
        let addresses = async {
            while let Some(line) = lines.next_line().await? {
                let address = line.rsplit([' ', '/']).next().unwrap_or_default().parse::<SocketAddr>();
                match address {
                    Ok(address) if line.starts_with("pages") => http = Some(address),
                    Ok(address) if line.starts_with("devices (MQTT)") => mqtt = Some(address),
                    _ => {}
                }
                if let (Some(http), Some(mqtt)) = (http, mqtt) {
                    return Ok((http, mqtt));
                }
            }
            bail!("the hub ended before it listened")
        };
        let (http, mqtt) =
            tokio::time::timeout(STARTING, addresses).await.context("the hub did not listen in time")??;
        // Whatever it prints later must not block it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let mut running = Running { child, url: format!("http://{http}"), mqtt, ready_after: Duration::ZERO };
        running.wait_ready().await?;
        running.ready_after = began.elapsed();
        Ok(running)
    }
}

/// A hub that runs as a process; killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// `http://127.0.0.1:…`
    pub url: String,
    /// Where devices connect.
    pub mqtt: SocketAddr,
    /// From the start of the process until `/readyz` said 200.
    pub ready_after: Duration,
}

impl Running {
    async fn wait_ready(&self) -> Result<()> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let ready = async {
            loop {
                let answer = http.get(format!("{}/readyz", self.url)).send().await;
                if answer.is_ok_and(|a| a.status().is_success()) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(STARTING, ready).await.context("the hub did not become ready in time")
    }

    /// The process's number.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// The metric of this name (with its labels, as `/metrics` writes it); 0 when absent.
    ///
    /// # Errors
    /// When the hub does not answer.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let text = http.get(format!("{}/metrics", self.url)).send().await?.text().await?;
        let values = text.lines().filter_map(|line| {
            let (metric, value) = line.rsplit_once(' ')?;
            (metric == name || metric.split('{').next() == Some(name)).then(|| value.parse::<f64>().ok())?
        });
        Ok(values.sum())
    }

    /// SIGKILL: no goodbye, nothing flushed.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// SIGTERM, and waits; whether it ended well.
    ///
    /// # Errors
    /// When it does not end within a minute.
    pub async fn stop(mut self) -> Result<bool> {
        if let Some(pid) = self.child.id() {
            Command::new("kill").args(["-TERM", &pid.to_string()]).status().await?;
        }
        self.ended().await
    }

    /// Waits for its end; whether it ended well.
    ///
    /// # Errors
    /// When it does not end within a minute.
    pub async fn ended(&mut self) -> Result<bool> {
        let status = tokio::time::timeout(Duration::from_secs(60), self.child.wait());
        Ok(status.await.context("the hub did not end within a minute")??.success())
    }
}
