//! A peer's process.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How long a peer may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running peer; ended when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its output in `folder`, and returns once it listens at `address`.
    pub fn start(
        name: &'static str,
        command: &mut Command,
        folder: &Path,
        address: SocketAddr,
    ) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let out = File::create(&log).with_context(|| format!("failed to write {}", log.display()))?;
        command.stdin(Stdio::null()).stderr(out.try_clone()?).stdout(out);
        let child = command.spawn().with_context(|| format!("failed to start {name}"))?;
        let mut process = Self { child, log };
        let began = Instant::now();
        while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            if let Some(status) = process.child.try_wait()? {
                bail!("{name} ended with {status}: {}", process.said());
            }
            if began.elapsed() > PATIENCE {
                bail!("{name} does not listen at {address}: {}", process.said());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(process)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The last lines of its log.
    pub fn said(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the first line says that a program prints about its version.
pub(super) fn version(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let Ok(output) = output else { return String::new() };
    let both = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&both);
    let digits = |word: &&str| word.contains('.') && word.chars().any(|c| c.is_ascii_digit());
    let words = text.split(|c: char| c.is_whitespace() || c == '-' || c == '~' || c == '+');
    let first = words.map(|w| w.trim_start_matches('v')).find(digits);
    first.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_ends_says_why_and_one_that_runs_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();
        let shut = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut fails = Command::new("sh");
        let error =
            Process::start("fails", fails.args(["-c", "echo no disk >&2; exit 3"]), folder.path(), shut);
        let error = format!("{:#}", error.unwrap_err());
        assert!(error.contains("no disk"), "{error}");
        let mut sleeps = Command::new("sleep");
        let process = Process::start("sleeps", sleeps.arg("60"), folder.path(), open).unwrap();
        let stat = format!("/proc/{}/stat", process.pid());
        assert!(Path::new(&stat).exists());
        drop(process);
        assert!(!Path::new(&stat).exists());
    }

    #[test]
    fn versions_are_found_in_what_programs_print() {
        for (printed, expected) in [
            ("mosquitto version 2.0.11", "2.0.11"),
            ("InfluxDB v1.6.7~rc0 (git: unknown unknown)", "1.6.7"),
            ("victoria-metrics-20220101-tags-v1.79.5+ds1", "1.79.5"),
        ] {
            assert_eq!(version(Command::new("echo").arg(printed)), expected);
        }
    }
}
