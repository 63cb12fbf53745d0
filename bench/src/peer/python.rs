//! Python with DuckDB and deltalake: a process that is asked line by line (`bench/peers/lake.py`).

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::INSTALL;

/// The program.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/lake.py");

/// A running Python; ended when dropped.
#[derive(Debug)]
pub struct Python {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Python {
    /// Starts it.
    pub fn start() -> Result<Self> {
        let python = interpreter()?;
        let mut command = Command::new(&python);
        command.arg("-u").arg(SCRIPT).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("failed to run {}", python.display()))?;
        let asks = child.stdin.take().context("Python has no standard input")?;
        let answers = BufReader::new(child.stdout.take().context("Python has no standard output")?);
        Ok(Self { child, asks, answers })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks, and waits for the answer.
    pub fn ask(&mut self, question: &Value) -> Result<Value> {
        writeln!(self.asks, "{question}").context("Python ended")?;
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            bail!("Python ended; see what it said above");
        }
        let answer: Value = serde_json::from_str(&line).with_context(|| format!("Python said {line:?}"))?;
        if let Some(error) = answer.get("error").and_then(Value::as_str) {
            bail!("Python: {error}");
        }
        Ok(answer)
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // Both fail only when it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The interpreter of the virtual environment, beside this program's target folder.
fn interpreter() -> Result<PathBuf> {
    let ours = std::env::current_exe()?;
    let beside = ours.ancestors().skip(2).take(2).map(Path::to_path_buf);
    let repository = crate::hub::repository().join("target");
    let mut candidates = beside.chain([repository]).map(|target| target.join("python/bin/python"));
    candidates.find(|p| p.exists()).with_context(|| format!("there is no Python with DuckDB: {INSTALL}"))
}
