//! `zhongshu restore FOLDER`: a backup, back to an empty machine.
//!
//! Everything is read and checked before anything is written; a target that holds something is
//! refused. What is restored is synced when the command ends.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use store::Backend;
use store::backup::{Copied, restore_postgres, restore_sqlite};

use super::backup::{databases, lake_folder, progress};
use super::vault::{Manifest, Vault, sync};
use crate::config::Config;

/// What to restore.
#[derive(Args, Debug)]
pub struct Restore {
    /// The folder of backups.
    pub folder: PathBuf,
    /// The name of a backup in it [default: the last]
    #[arg(long, value_name = "NAME")]
    pub at: Option<String>,
}

/// Gives the pieces of the streams of a backup in their order.
struct Pour<'a> {
    vault: &'a Vault,
    manifest: &'a Manifest,
    stream: String,
    next: usize,
    bar: &'a indicatif::ProgressBar,
}

impl Copied for Pour<'_> {
    fn next(&mut self, stream: &str) -> io::Result<Option<Vec<u8>>> {
        if self.stream != stream {
            stream.clone_into(&mut self.stream);
            self.next = 0;
        }
        let found = self.manifest.streams.iter().find(|s| s.name == stream);
        let found = found.ok_or_else(|| io::Error::other(format!("the backup holds no {stream}")))?;
        let Some(object) = found.pieces.get(self.next) else { return Ok(None) };
        self.next += 1;
        let bytes = self.vault.get(object).map_err(io::Error::other)?;
        self.bar.inc(bytes.len() as u64);
        Ok(Some(bytes))
    }
}

/// Restores a backup to the configured data folder and database; its name and what it holds.
///
/// # Errors
/// What is damaged, in the way, or could not be written.
pub async fn restore(config: &Config, restore: &Restore) -> anyhow::Result<(String, Manifest)> {
    let vault = Vault::open(&restore.folder)?;
    let names = vault.list()?;
    let name = match &restore.at {
        Some(at) if names.contains(at) => at.clone(),
        Some(at) => bail!("no backup {at:?}; there are:\n{}", names.join("\n")),
        None => names.last().context("the folder holds no backup")?.clone(),
    };
    let manifest = vault.read(&name)?;
    let backend = config.backend();
    if backend.name() != manifest.database {
        bail!(
            "the backup is of a hub on {}, the configuration names {}; set --database",
            manifest.database,
            backend.name()
        );
    }
    refuse_used(config, &backend)?;

    let bar = progress("checking", Some(manifest.bytes()));
    let wrong = vault.verify(&manifest, &mut HashSet::new(), &mut |bytes| bar.inc(bytes));
    bar.finish_and_clear();
    if !wrong.is_empty() {
        bail!(
            "nothing was restored: the backup {name} is damaged; try an earlier one:\n{}",
            wrong.join("\n")
        );
    }

    let bar = progress("restoring", Some(manifest.bytes()));
    fs::create_dir_all(&config.data_folder)?;
    let mut pour = Pour { vault: &vault, manifest: &manifest, stream: String::new(), next: 0, bar: &bar };
    match &backend {
        Backend::Sqlite { path } => {
            if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
                fs::create_dir_all(folder)?;
            }
            let held = |name: &str| manifest.streams.iter().any(|s| s.name == name);
            for (database, stream) in databases(path).into_iter().filter(|(_, name)| held(name)) {
                restore_sqlite(&database, stream, &mut pour)?;
            }
            sync(path.parent().unwrap_or(Path::new(".")))?;
        }
        Backend::Postgres { url } => {
            let schema = manifest.schema.as_ref().context("the backup names no tables")?;
            restore_postgres(url, schema, &mut pour)
                .await
                .context("the database may hold empty tables now: make it anew before the next attempt")?;
        }
    }
    let mut folders = HashSet::new();
    for file in &manifest.files {
        // The lake may lie elsewhere than it did.
        let (root, path) = match (file.path.strip_prefix("lake/"), lake_folder(config)) {
            (Some(below), Some(lake)) => (lake.clone(), lake.join(below)),
            _ => (config.data_folder.clone(), config.data_folder.join(&file.path)),
        };
        let folder = path.parent().unwrap_or(&root);
        fs::create_dir_all(folder)?;
        let mut to =
            File::create_new(&path).with_context(|| format!("failed to write {}", path.display()))?;
        bar.inc(vault.give(&file.sha256, &mut to)?);
        to.sync_all()?;
        folders.extend(folder.ancestors().take_while(|f| f.starts_with(&root)).map(Path::to_owned));
    }
    folders.insert(config.data_folder.clone());
    for folder in folders {
        sync(&folder)?;
    }
    bar.finish_and_clear();
    Ok((name, manifest))
}

/// A restore never writes over anything.
fn refuse_used(config: &Config, backend: &Backend) -> anyhow::Result<()> {
    for folder in [Some(config.data_folder.clone()), lake_folder(config)].into_iter().flatten() {
        if fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some()) {
            bail!("{} is not empty; a backup is restored to a new folder", folder.display());
        }
    }
    if let Backend::Sqlite { path } = backend {
        for (database, _) in databases(path) {
            if database.exists() {
                bail!("{} is there already; a backup is restored to a new one", database.display());
            }
        }
    }
    Ok(())
}
