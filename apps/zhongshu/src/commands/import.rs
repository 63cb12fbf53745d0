//! `zhongshu import FOLDER`: areas, features, organisations, posts and things from files.
//!
//! Each file may be absent; each is checked whole before any of it is written; importing a folder
//! again changes nothing.

use std::path::Path;

use anyhow::{Context as _, bail};
use platform::import::{self, ImportError};
use store::Store;

use super::operator;

/// What was imported: file and number of rows.
pub type Report = Vec<(&'static str, usize)>;

fn read(folder: &Path, file: &str) -> anyhow::Result<Option<String>> {
    let path = folder.join(file);
    if !path.exists() {
        return Ok(None);
    }
    std::fs::read_to_string(&path).map(Some).with_context(|| format!("failed to read {}", path.display()))
}

fn told(folder: &Path, error: ImportError) -> anyhow::Error {
    match error {
        ImportError::Rows(rows) => {
            let shown: String = rows.iter().take(50).map(|r| format!("{}/{r}\n", folder.display())).collect();
            let more = rows.len().saturating_sub(50);
            let more = if more > 0 { format!("… and {more} more\n") } else { String::new() };
            anyhow::anyhow!("nothing of the file was imported:\n{shown}{more}")
        }
        ImportError::Store(e) => e.into(),
    }
}

/// Imports a folder; `progress` is told of each file as it begins.
///
/// # Errors
/// The wrong rows of the first file that has any, or the store.
pub async fn folder(store: &Store, folder: &Path, mut progress: impl FnMut(&str)) -> anyhow::Result<Report> {
    if !folder.is_dir() {
        bail!("{} is not a folder", folder.display());
    }
    let context = operator("import");
    let mut report = Report::new();
    if let Some(text) = read(folder, "areas.csv")? {
        progress("areas.csv");
        report.push(("areas.csv", import::areas(store, &context, &text).await.map_err(|e| told(folder, e))?));
    }
    if let Some(text) = read(folder, "features.geojson")? {
        progress("features.geojson");
        let rows = import::features(store, &context, &text).await.map_err(|e| told(folder, e))?;
        report.push(("features.geojson", rows));
    }
    if let Some(text) = read(folder, "organisations.csv")? {
        progress("organisations.csv");
        let rows = import::organisations(store, &context, &text).await.map_err(|e| told(folder, e))?;
        report.push(("organisations.csv", rows));
    }
    if let Some(text) = read(folder, "posts.csv")? {
        progress("posts.csv");
        report.push(("posts.csv", import::posts(store, &context, &text).await.map_err(|e| told(folder, e))?));
    }
    let packs = platform::pack::installed(store).await?;
    if let Some(text) = read(folder, "things.csv")? {
        progress("things.csv");
        let rows =
            watch::import::things(store, &context, &packs, &text).await.map_err(|e| told(folder, e))?;
        report.push(("things.csv", rows));
    }
    if let Some(text) = read(folder, "credentials.csv")? {
        progress("credentials.csv");
        let rows = watch::import::credentials(store, &context, &text).await.map_err(|e| told(folder, e))?;
        report.push(("credentials.csv", rows));
    }
    if report.is_empty() {
        bail!(
            "{} holds none of the files that are imported: areas.csv, features.geojson, organisations.csv, posts.csv, \
             things.csv, credentials.csv",
            folder.display()
        );
    }
    Ok(report)
}
