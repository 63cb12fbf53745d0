//! `zhongshu pack install FOLDER` and `zhongshu pack list`.

use std::path::Path;

use anyhow::bail;
use platform::{PackError, PackFiles, pack};
use store::Store;

use super::operator;
use crate::packs;

/// The lines that say what is wrong, each beginning with the file's path.
#[must_use]
pub fn lines(folder: &Path, errors: &[PackError]) -> String {
    errors.iter().map(|e| format!("{}/{e}\n", folder.display())).collect()
}

/// Reads a folder and has every room look at it.
///
/// # Errors
/// All that is wrong with it.
pub fn read(folder: &Path) -> anyhow::Result<PackFiles> {
    let pack = PackFiles::read(folder)
        .or_else(|errors| bail!("the pack is refused:\n{}", lines(folder, &errors)))?;
    let errors = packs::validate(&pack);
    if !errors.is_empty() {
        bail!("the pack is refused:\n{}", lines(folder, &errors));
    }
    Ok(pack)
}

/// Installs a pack whole, or says all that is wrong with it. Name and version.
///
/// # Errors
/// All that is wrong with it, or the store.
pub async fn install(store: &Store, folder: &Path) -> anyhow::Result<(String, String)> {
    let pack = read(folder)?;
    let installed = pack::installed(store).await?;
    let needs = pack.manifest().map_err(anyhow::Error::from)?.needs;
    let missing: Vec<_> = needs.iter().filter(|n| installed.iter().all(|p| p.name != **n)).cloned().collect();
    if !missing.is_empty() {
        bail!("the pack needs {}; install that first", missing.join(", "));
    }
    let named = (pack.name.clone(), pack.version.clone());
    pack::install(store, &operator("pack"), pack).await?;
    Ok(named)
}
