//! `zhongshu check [PACK …]`: whether configuration and packs are right, without touching the state.

use std::path::PathBuf;

use anyhow::bail;

use super::pack;

/// Checks the packs; the lines to print.
///
/// # Errors
/// All that is wrong with any of them.
pub fn packs(folders: &[PathBuf]) -> anyhow::Result<Vec<String>> {
    let mut good = Vec::new();
    let mut wrong = String::new();
    for folder in folders {
        match pack::read(folder) {
            Ok(pack) => {
                good.push(format!("{}: pack {} {} is right", folder.display(), pack.name, pack.version))
            }
            Err(e) => wrong.push_str(&format!("{}: {e}\n", folder.display())),
        }
    }
    if !wrong.is_empty() {
        bail!("{wrong}");
    }
    Ok(good)
}
