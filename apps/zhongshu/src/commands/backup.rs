//! `zhongshu backup FOLDER`: a consistent copy of a hub that goes on running.
//!
//! The order makes the whole consistent although its parts are taken one after the other:
//!
//! 1. **State.** Up to which segment the rules have judged stands in it, so that the segments come
//!    later: a restored hub judges what its state has not seen, and never skips any.
//! 2. **Segments** of observations (on PostgreSQL in the same snapshot as the state).
//! 3. **The lake.** What was a segment in step 2 may be in the lake too by now: the same samples
//!    twice are the same samples. The other way round, one that moved in between would be in
//!    neither. So the lake may know numbers of segments that the copied counter has not given yet:
//!    the lake starts its counter after what its table has taken in.
//! 4. **Photos.** Their bytes are on disk before their rows are.
//!
//! Everything acknowledged before the backup began is in it. The hub's hold on the database is not
//! taken; nothing is written to the data folder.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use store::Backend;
use store::backup::{Pieces, copy_postgres, copy_sqlite};

use super::vault::{FORMAT, FileEntry, Manifest, Stream, Vault, VaultError, Written};
use crate::config::Config;

/// How often the lake is listed anew when a file went between listing and copying.
const ATTEMPTS: usize = 5;

/// What to back up to and how.
#[derive(Args, Debug)]
pub struct Backup {
    /// The folder of backups; made if absent, shared by all backups of this hub.
    pub folder: PathBuf,
    /// Keep this many backups and remove older ones [default: all]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep: Option<u32>,
    /// Read back every backup in the folder instead, and say what is damaged
    #[arg(long, conflicts_with = "keep")]
    pub verify: bool,
}

/// What a backup did.
#[derive(Debug)]
pub struct Report {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub manifest: Manifest,
    /// What was not in the folder before.
    pub written: Written,
    /// How many backups and objects were removed.
    pub pruned: (usize, usize),
}

/// A bar on a terminal; nothing elsewhere.
pub(super) fn progress(what: &str, bytes: Option<u64>) -> ProgressBar {
    let bar = match bytes {
        Some(bytes) => ProgressBar::new(bytes),
        None => ProgressBar::new_spinner(),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
    let template = match bytes {
        Some(_) => "{msg} {bar:30} {bytes} / {total_bytes} {eta}",
        None => "{spinner} {msg} {bytes} {elapsed}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar
}

/// Puts the pieces of databases into the folder of backups.
struct Collect<'a> {
    vault: &'a mut Vault,
    streams: Vec<Stream>,
    bar: &'a ProgressBar,
}

impl Pieces for Collect<'_> {
    fn begin(&mut self, stream: &str) -> io::Result<()> {
        self.bar.set_message(stream.to_owned());
        self.streams.push(Stream { name: stream.to_owned(), bytes: 0, pieces: Vec::new() });
        Ok(())
    }

    fn piece(&mut self, bytes: &[u8]) -> io::Result<()> {
        let object = self.vault.put(bytes).map_err(io::Error::other)?;
        self.bar.inc(bytes.len() as u64);
        if let Some(stream) = self.streams.last_mut() {
            stream.bytes += bytes.len() as u64;
            stream.pieces.push(object);
        }
        Ok(())
    }
}

/// Backs up the configured hub into the folder.
///
/// # Errors
/// What could not be read or written; the folder then holds no backup of this time.
pub async fn backup(config: &Config, folder: &Path, keep: Option<u32>) -> anyhow::Result<Report> {
    let mut vault = Vault::open_to_write(folder)?;
    let before = match vault.list()?.last() {
        Some(last) => vault.read(last).map(|m| m.files).unwrap_or_default(),
        None => Vec::new(),
    };
    let bar = progress("backup", None);
    let began = store::now();
    let backend = config.backend();
    let scratch = vault.scratch();
    let mut collect = Collect { vault: &mut vault, streams: Vec::new(), bar: &bar };
    let mut schema = None;
    match &backend {
        Backend::Sqlite { path } => {
            if !path.exists() {
                bail!("{} is not there: is this the hub's data folder?", path.display());
            }
            // A hub that was set up and has never run has no observations.
            for (database, name) in databases(path).into_iter().filter(|(database, _)| database.exists()) {
                copy_sqlite(&database, &scratch, name, &mut collect).await?;
            }
        }
        Backend::Postgres { url } => schema = Some(copy_postgres(url, &mut collect).await?),
    }
    let streams = collect.streams;
    let mut files = Vec::new();
    // A lake on an object store has its own versions and is not copied.
    let lake = lake_folder(config).map(|folder| (folder, "lake"));
    for (folder, part) in lake.into_iter().chain([(config.data_folder.join("files"), "files")]) {
        bar.set_message(part);
        files.extend(copy_folder(&mut vault, &folder, part, &before, &bar)?);
    }
    let manifest = Manifest {
        format: FORMAT,
        hub: env!("CARGO_PKG_VERSION").to_owned(),
        database: backend.name().to_owned(),
        began,
        ended: store::now(),
        streams,
        schema,
        files,
    };
    let name = vault.seal(manifest.clone())?;
    let pruned = match keep {
        Some(keep) => {
            vault.prune(keep as usize).context("the backup is made; failed to remove older ones")?
        }
        None => (0, 0),
    };
    bar.finish_and_clear();
    Ok(Report { name, manifest, written: vault.written(), pruned })
}

/// The SQLite files of a hub and their names in a backup, in the order of copying.
pub(super) fn databases(state: &Path) -> [(PathBuf, &'static str); 2] {
    [(state.to_owned(), "state.db"), (state.with_file_name("observations.db"), "observations.db")]
}

/// The folder of the lake's tables; none when they lie in an object store.
pub(super) fn lake_folder(config: &Config) -> Option<PathBuf> {
    match &config.lake {
        None => Some(config.data_folder.join("lake")),
        Some(lake) if lake.contains("://") => None,
        Some(lake) => Some(lake.into()),
    }
}

/// Copies what is below `folder` under the name `part`. Files there are written once under a name of their own and
/// never changed, so that one which the backup before has by path and length is not read again.
fn copy_folder(
    vault: &mut Vault,
    folder: &Path,
    part: &str,
    before: &[FileEntry],
    bar: &ProgressBar,
) -> anyhow::Result<Vec<FileEntry>> {
    let before: HashMap<&str, &FileEntry> = before.iter().map(|f| (f.path.as_str(), f)).collect();
    'attempt: for _ in 0..ATTEMPTS {
        let mut listed = Vec::new();
        list(folder, Path::new(""), &mut listed)?;
        let mut files = Vec::new();
        for (below, bytes) in listed {
            let path = format!("{part}/{below}");
            if let Some(same) = before.get(path.as_str())
                && same.bytes == bytes
                && vault.has(&same.sha256)
            {
                files.push((*same).clone());
                continue;
            }
            match vault.put_file(&folder.join(&below)) {
                Ok((sha256, bytes)) => {
                    bar.inc(bytes);
                    files.push(FileEntry { path, bytes, sha256 });
                }
                // The lake tidied up in between: what it lists now is whole.
                Err(VaultError::Disk { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                    continue 'attempt;
                }
                Err(e) => return Err(e.into()),
            }
        }
        return Ok(files);
    }
    bail!("{} changes faster than it can be copied; try again at a quieter time", folder.display())
}

/// The files below `root/folder` with their lengths: the log of each table of the lake before its
/// files, so that every file a listed log names is there to be listed.
fn list(root: &Path, folder: &Path, to: &mut Vec<(String, u64)>) -> anyhow::Result<()> {
    let entries = match fs::read_dir(root.join(folder)) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e).with_context(|| format!("failed to list {}", root.join(folder).display())),
    };
    let mut entries: Vec<fs::DirEntry> = entries.collect::<io::Result<_>>()?;
    entries.sort_by_key(|e| (e.file_name() != "_delta_log", e.file_name()));
    for entry in entries {
        let name = entry.file_name();
        let text = name.to_string_lossy();
        // Half written: photos coming in, and what an object store has not named yet. The hint at
        // the last checkpoint may be newer than the log as listed; readers do without.
        if text == "incoming" || text.contains('#') || text.ends_with(".tmp") || text == "_last_checkpoint" {
            continue;
        }
        let path = folder.join(&name);
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e.into()),
        };
        if metadata.is_dir() {
            list(root, &path, to)?;
        } else if let Some(path) = path.to_str() {
            to.push((path.to_owned(), metadata.len()));
        }
    }
    Ok(())
}

/// Reads back every backup in the folder; what was read, a line a backup.
///
/// # Errors
/// Every damaged object, with the backup and the file or table that it is part of.
pub fn verify(folder: &Path) -> anyhow::Result<Vec<String>> {
    let vault = Vault::open(folder)?;
    let names = vault.list()?;
    if names.is_empty() {
        bail!("{} holds no backup", folder.display());
    }
    let (mut lines, mut wrong, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    let bar = progress("reading back", None);
    for name in names {
        match vault.read(&name) {
            Ok(manifest) => {
                let found = vault.verify(&manifest, &mut seen, &mut |bytes| bar.inc(bytes));
                lines.push(format!(
                    "{name}: {} objects, {} bytes",
                    manifest.objects().count(),
                    manifest.bytes()
                ));
                wrong.extend(found.into_iter().map(|line| format!("{name}: {line}")));
            }
            Err(e) => wrong.push(format!("{name}: failed to {e}")),
        }
    }
    bar.finish_and_clear();
    if wrong.is_empty() {
        return Ok(lines);
    }
    bail!("{} of the backups' objects are damaged:\n{}", wrong.len(), wrong.join("\n"))
}
