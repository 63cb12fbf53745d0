//! Power loss: the disk of a process as it would be had the machine lost its power.
//!
//! `shim/powerloss.c` says how it works and what its logs look like; this is the other half, which
//! builds it, plays the undo logs backwards after a kill, and reads the log of events.

use std::collections::HashMap;
use std::fs;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::Installation;

const SOURCE: &str = include_str!("../shim/powerloss.c");

/// A disk whose writes can be taken back to the last sync.
#[derive(Debug)]
pub struct Disk {
    library: PathBuf,
    data: PathBuf,
    undo: PathBuf,
}

/// What a sync does on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syncs {
    /// What it should.
    Honest,
    /// Nothing, and says it did: the negative control.
    Lie,
    /// Nothing below `lake/`, and what it should elsewhere.
    LieInLake,
}

/// What a power loss took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Writes and truncations taken back.
    pub writes: usize,
    /// Names made, changed or removed and taken back.
    pub names: usize,
}

/// What a process did, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A connection was accepted on this port.
    Accepted {
        /// Which connection.
        connection: u32,
        /// On which local port.
        port: u16,
    },
    /// Bytes were read from a connection.
    Read {
        /// Which connection.
        connection: u32,
        /// What was read.
        bytes: Vec<u8>,
    },
    /// Bytes were written to a connection; this is when the write began.
    Sent {
        /// Which connection.
        connection: u32,
        /// What the socket took.
        bytes: Vec<u8>,
    },
    /// A write to a file of the observations returned.
    Wrote,
    /// A sync of a file of the observations returned.
    Synced,
}

impl Disk {
    /// Builds the shim in `folder` (outside `data`, on the same file system) for a hub on `data`.
    ///
    /// # Errors
    /// When there is no C compiler or it refuses: `build-essential` gives one.
    pub fn new(folder: &Path, data: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        fs::create_dir_all(data)?;
        let folder = folder.canonicalize()?;
        let library = folder.join("powerloss.so");
        let source = folder.join("powerloss.c");
        let undo = folder.join("undo");
        fs::create_dir_all(&undo)?;
        fs::write(&source, SOURCE)?;
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .output()
            .context("no C compiler; install build-essential")?;
        if !built.status.success() {
            bail!("the shim does not compile: {}", String::from_utf8_lossy(&built.stderr));
        }
        Ok(Self { library, data: data.canonicalize()?, undo })
    }

    /// The installation with the shim under it.
    #[must_use]
    pub fn under(&self, installation: &Installation, syncs: Syncs) -> Installation {
        let under = installation
            .clone()
            .variable("LD_PRELOAD", &self.library)
            .variable("ZS_SHIM_DATA", &self.data)
            .variable("ZS_SHIM_UNDO", &self.undo);
        match syncs {
            Syncs::Honest => under,
            Syncs::Lie => under.variable("ZS_SHIM_LIE", "1"),
            Syncs::LieInLake => under.variable("ZS_SHIM_LIE", "lake"),
        }
    }

    /// The installation with the shim under it, and what can be turned while it runs.
    ///
    /// # Errors
    /// When the file that is turned cannot be written.
    pub fn controlled(&self, installation: &Installation) -> Result<(Installation, Control)> {
        let path = self.library.with_file_name("control");
        fs::write(&path, [0; 24])?;
        let file = fs::OpenOptions::new().write(true).open(&path)?;
        Ok((self.under(installation, Syncs::Honest).variable("ZS_SHIM_CONTROL", path), Control { file }))
    }

    /// The power fails: what was not synced never happened. The process must be dead.
    ///
    /// # Errors
    /// When the undo logs do not read: the test proves nothing then.
    pub fn lose_power(&self) -> Result<Lost> {
        let mut lost = Lost::default();
        let mut logs = Vec::new();
        for entry in fs::read_dir(&self.undo)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "undo") {
                logs.push(path);
            }
        }
        for log in logs {
            lost.writes += take_back(&log)?;
        }
        lost.names = self.take_back_names()?;
        // After a restart of the machine no process has it mapped, and SQLite makes it anew.
        for entry in fs::read_dir(&self.data)? {
            let path = entry?.path();
            if path.to_string_lossy().ends_with("-shm") {
                fs::remove_file(path)?;
            }
        }
        self.forget()?;
        Ok(lost)
    }

    /// Empties the logs: what is on disk now counts as synced.
    ///
    /// # Errors
    /// When a log cannot be removed.
    pub fn forget(&self) -> Result<()> {
        fs::remove_dir_all(&self.undo)?;
        fs::create_dir(&self.undo)?;
        Ok(())
    }

    fn take_back_names(&self) -> Result<usize> {
        let text = match fs::read_to_string(self.undo.join("names")) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(0),
            Err(e) => return Err(e.into()),
        };
        // What a folder's sync made lasting is not taken back.
        let mut steps: Vec<(&Path, &str)> = Vec::new();
        for line in text.lines() {
            let (kind, rest) = line.split_once(' ').context("a line of names without a kind")?;
            let name = rest.rsplit(['\t', ' ']).next().unwrap_or_default();
            match kind {
                "D" => steps.retain(|(name, _)| name.parent() != Some(Path::new(rest))),
                _ => steps.push((Path::new(name), line)),
            }
        }
        let undone = steps.len();
        for (_, line) in steps.into_iter().rev() {
            let (kind, rest) = line.split_once(' ').context("a line of names without a kind")?;
            match kind {
                "C" => absent(fs::remove_file(rest))?,
                "U" => {
                    let (saved, path) = rest.split_once(' ').context("a removal without a name")?;
                    fs::rename(self.undo.join(saved), path)?;
                }
                "R" => {
                    let (saved, paths) = rest.split_once(' ').context("a renaming without names")?;
                    let (from, to) = paths.split_once('\t').context("a renaming without names")?;
                    absent(fs::rename(to, from))?;
                    if saved != "-" {
                        absent(fs::rename(self.undo.join(saved), to))?;
                    }
                }
                other => bail!("the log of names has a {other:?}"),
            }
        }
        Ok(undone)
    }

    /// What the process did since the last power loss, in its order.
    ///
    /// # Errors
    /// When the log does not read.
    pub fn steps(&self) -> Result<Vec<Step>> {
        let mut bytes = Vec::new();
        fs::File::open(self.undo.join("events"))?.read_to_end(&mut bytes)?;
        let mut steps = Vec::new();
        // Where the last write of a connection stands, until it is known what the socket took.
        let mut begun: HashMap<u32, usize> = HashMap::new();
        let mut rest = bytes.as_slice();
        while let Some((head, tail)) = rest.split_first_chunk::<9>() {
            let connection = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
            let length = u32::from_le_bytes([head[5], head[6], head[7], head[8]]) as usize;
            // A kill may cut the last record.
            let Some((body, tail)) = tail.split_at_checked(length) else { break };
            rest = tail;
            match (head[0], body) {
                (b'C', &[low, high]) => {
                    steps.push(Step::Accepted { connection, port: u16::from_le_bytes([low, high]) });
                }
                (b'R', body) => steps.push(Step::Read { connection, bytes: body.to_vec() }),
                (b'P', body) => {
                    begun.insert(connection, steps.len());
                    steps.push(Step::Sent { connection, bytes: body.to_vec() });
                }
                (b'A', &[a, b, c, d]) => {
                    let taken = usize::try_from(i32::from_le_bytes([a, b, c, d]))?;
                    let at = begun.remove(&connection).context("a write that ended before it began")?;
                    if let Some(Step::Sent { bytes, .. }) = steps.get_mut(at) {
                        bytes.truncate(taken);
                    }
                }
                (b'W', &[]) => steps.push(Step::Wrote),
                (b'S', &[]) => steps.push(Step::Synced),
                (kind, _) => bail!("the log of events has a {kind}"),
            }
        }
        Ok(steps)
    }
}

/// Turns the clock and the disk of a hub that runs.
#[derive(Debug)]
pub struct Control {
    file: fs::File,
}

impl Control {
    /// By how many microseconds the hub's clock is ahead.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn clock(&self, microseconds: i64) -> std::io::Result<()> {
        self.file.write_all_at(&microseconds.to_le_bytes(), 0)
    }

    /// Whether the disk is full.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn full(&self, full: bool) -> std::io::Result<()> {
        self.file.write_all_at(&i64::from(full).to_le_bytes(), 8)
    }

    /// By how many microseconds each sync, and each write to the lake, takes longer.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn slow(&self, microseconds: i64) -> std::io::Result<()> {
        self.file.write_all_at(&microseconds.to_le_bytes(), 16)
    }
}

fn absent(done: std::io::Result<()>) -> std::io::Result<()> {
    match done {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Plays one file's undo log backwards; how many records it had.
fn take_back(log: &Path) -> Result<usize> {
    let bytes = fs::read(log)?;
    let mut records = Vec::new();
    let mut rest = bytes.as_slice();
    while let Some((head, tail)) = rest.split_first_chunk::<24>() {
        let number = |at: usize| -> Result<u64> {
            let eight: [u8; 8] = head[at..at + 8].try_into()?;
            Ok(u64::try_from(i64::from_le_bytes(eight))?)
        };
        let (size, offset, length) = (number(0)?, number(8)?, usize::try_from(number(16)?)?);
        // A kill may cut the last record; its write had not begun then.
        let Some((before, tail)) = tail.split_at_checked(length) else { break };
        records.push((size, offset, before));
        rest = tail;
    }
    let file = fs::OpenOptions::new().write(true).open(log.with_extension("file"));
    let file = match file {
        Ok(file) => file,
        Err(e) if records.is_empty() && e.kind() == ErrorKind::NotFound => return Ok(0),
        Err(e) => return Err(e.into()),
    };
    for (size, offset, before) in records.iter().rev() {
        file.write_all_at(before, *offset)?;
        file.set_len(*size)?;
    }
    Ok(records.len())
}
