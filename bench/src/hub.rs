//! The hub under the bench: the real binary, set up by the doors of production, a process of its
//! own so that what it takes of the machine can be told from what the load takes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::city;
use crate::database::Database;

/// How long it may take to start, and to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary beside this one, built now as this one was.
pub fn binary() -> Result<PathBuf> {
    let ours = std::env::current_exe()?;
    let folder = ours.parent().context("this program lies in no folder")?;
    let target = folder.parent().context("this program lies in no target folder")?;
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // The packages of `make bench`: another selection gives what they share other features, and all
    // of it is compiled once more.
    build.args(["build", "--locked", "-p", "zhongshu", "-p", "citysim", "-p", "zhongshu-bench"]);
    build.arg("--target-dir").arg(target);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    eprintln!("building the hub …");
    let built = build.current_dir(repository()).status().context("failed to run cargo")?;
    if !built.success() {
        bail!("the hub does not build");
    }
    Ok(folder.join("zhongshu"))
}

/// A new folder on the disk that the build lies on: the temporary folder may be memory.
pub fn data_folder(binary: &Path) -> Result<tempfile::TempDir> {
    let beside = binary.parent().unwrap_or_else(|| Path::new("."));
    let made = tempfile::Builder::new().prefix("bench-data-").tempdir_in(beside);
    made.with_context(|| format!("failed to make a folder in {}", beside.display()))
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What a hub begins with.
#[derive(Debug)]
pub struct Setup<'a> {
    /// The binary.
    pub binary: &'a Path,
    /// Where its data goes.
    pub data: PathBuf,
    /// Its database.
    pub database: &'a Database,
    /// Folders of packs to install.
    pub packs: Vec<PathBuf>,
    /// The import folder.
    pub city: PathBuf,
    /// Accounts: login, grant `ROLE@AREA`, duty `POST@AREA`.
    pub accounts: Vec<(&'static str, String, String)>,
    /// Names of tokens that may write in the whole district.
    pub tokens: Vec<&'static str>,
    /// Settings beside addresses and folders, by key.
    pub settings: Vec<(&'static str, String)>,
}

/// A running hub.
#[derive(Debug)]
pub struct Hub {
    child: Child,
    /// `http://127.0.0.1:…`
    pub url: String,
    /// Where devices connect.
    pub mqtt: SocketAddr,
    /// One-time passwords by login.
    pub passwords: BTreeMap<String, String>,
    /// Tokens by name.
    pub tokens: BTreeMap<String, String>,
    log: PathBuf,
}

impl Setup<'_> {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.binary);
        // Nothing of whoever runs the bench may change what is measured.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ZHONGSHU_") {
                command.env_remove(name);
            }
        }
        command.arg("--data-folder").arg(&self.data).args(["--database", &self.database.url]);
        command.args(["--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--log", "warn"]);
        for (key, value) in &self.settings {
            command.env(format!("ZHONGSHU_{}", key.to_uppercase()), value);
        }
        command.args(args).stdin(Stdio::null());
        command
    }

    /// Runs one of the doors to its end; what it printed.
    fn door(&self, args: &[&str]) -> Result<String> {
        let output = self.command(args).output().context("failed to run the hub's binary")?;
        if !output.status.success() {
            bail!("zhongshu {} said: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Sets the hub up and starts it.
    pub fn start(&self) -> Result<Hub> {
        for pack in &self.packs {
            self.door(&["pack", "install", &pack.to_string_lossy()])?;
        }
        self.door(&["import", &self.city.to_string_lossy()])?;
        let mut passwords = BTreeMap::new();
        for (login, grant, duty) in &self.accounts {
            let args = [
                "admin",
                "create",
                "--login",
                login,
                "--name",
                login,
                "--grant",
                grant,
                "--duty",
                duty,
                "--change-password=false",
            ];
            let printed = self.door(&args)?;
            let password = printed.trim().split_once('\t').context("admin create printed no password")?.1;
            passwords.insert((*login).to_owned(), password.to_owned());
        }
        let mut tokens = BTreeMap::new();
        for name in &self.tokens {
            let printed =
                self.door(&["token", "create", "--name", name, "--area", city::DISTRICT, "--write"])?;
            let token = printed.trim().rsplit('\t').next().filter(|t| t.starts_with("zst_"));
            let token = token.with_context(|| format!("token create printed {printed:?}"))?;
            tokens.insert((*name).to_owned(), token.to_owned());
        }
        self.serve(passwords, tokens)
    }

    /// Stops a hub in order, and starts it again on what it has stored.
    pub fn again(&self, mut hub: Hub) -> Result<Hub> {
        let (passwords, tokens) = (std::mem::take(&mut hub.passwords), std::mem::take(&mut hub.tokens));
        hub.stop()?;
        self.serve(passwords, tokens)
    }

    fn serve(&self, passwords: BTreeMap<String, String>, tokens: BTreeMap<String, String>) -> Result<Hub> {
        let log = self.data.join("hub.log");
        let mut child = self
            .command(&["serve"])
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log)?)
            .spawn()
            .context("failed to start the hub")?;
        let mut lines = BufReader::new(child.stdout.take().context("the hub has no standard output")?);
        let mut hub =
            Hub { child, url: String::new(), mqtt: ([127, 0, 0, 1], 0).into(), passwords, tokens, log };
        hub.url = address(&mut lines, &hub)?;
        hub.mqtt = address(&mut lines, &hub)?.parse().context("the hub printed no MQTT address")?;
        Ok(hub)
    }
}

/// The address at the end of the next line that the hub prints once it listens.
fn address(lines: &mut impl BufRead, hub: &Hub) -> Result<String> {
    let mut line = String::new();
    // Ends with the process when it cannot start, and its log says why.
    if lines.read_line(&mut line)? == 0 {
        bail!("the hub did not start: {}", hub.said());
    }
    let (_, address) = line.trim().split_once(": ").with_context(|| format!("the hub printed {line:?}"))?;
    Ok(address.to_owned())
}

impl Hub {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The end of what it logged.
    pub fn said(&self) -> String {
        let mut text = String::new();
        let read = std::fs::File::open(&self.log).and_then(|mut f| f.read_to_string(&mut text));
        if let Err(e) = read {
            return format!("its log cannot be read: {e}");
        }
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }

    /// Where HTTP listens.
    pub fn http(&self) -> Result<SocketAddr> {
        let address = self.url.strip_prefix("http://").unwrap_or(&self.url);
        address.parse().with_context(|| format!("{} is no address", self.url))
    }

    /// Sums and counts of its histograms, and its counters, over all labels.
    pub async fn metrics(&self) -> Result<BTreeMap<String, f64>> {
        let answer =
            reqwest::Client::builder().no_proxy().build()?.get(format!("{}/metrics", self.url)).send();
        Ok(parse_metrics(&answer.await?.error_for_status()?.text().await?))
    }

    /// Stops it in order; how long that took.
    pub fn stop(mut self) -> Result<Duration> {
        let began = Instant::now();
        let pid =
            i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("the hub has no pid")?;
        kill_process(pid, Signal::TERM).context("failed to tell the hub to stop")?;
        while self.child.try_wait()?.is_none() {
            if began.elapsed() > PATIENCE {
                bail!("the hub did not stop within {} s", PATIENCE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(began.elapsed())
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // Both fail only when it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Prometheus text: name to value, summed over labels; buckets and quantiles left out.
fn parse_metrics(text: &str) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        if name.ends_with("_bucket") || labels.contains("quantile=") {
            continue;
        }
        if let Ok(value) = value.parse::<f64>() {
            *all.entry(name.to_owned()).or_insert(0.0) += value;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_summed_over_labels() {
        let text = "# HELP a x\n# TYPE a histogram\na_bucket{le=\"1\"} 4\na_sum{m=\"GET\"} 1.5\na_sum{m=\"POST\"} 2\n\
                    a_count{m=\"GET\"} 3\nb_total 7\nc{quantile=\"0.5\"} 9\nnonsense\n";
        let all = parse_metrics(text);
        let expected = [("a_sum", 3.5), ("a_count", 3.0), ("b_total", 7.0)];
        assert_eq!(all, expected.into_iter().map(|(n, v)| (n.to_owned(), v)).collect());
    }
}
