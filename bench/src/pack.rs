//! The pack that the benches run on: three kinds of devices and one rule, in `bench/pack`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Its files, rules apart.
const FILES: [(&str, &str); 5] = [
    ("pack.toml", include_str!("../pack/pack.toml")),
    ("roles.toml", include_str!("../pack/roles.toml")),
    ("things/fire-hydrant.toml", include_str!("../pack/things/fire-hydrant.toml")),
    ("things/weather-station.toml", include_str!("../pack/things/weather-station.toml")),
    ("things/noise-meter.toml", include_str!("../pack/things/noise-meter.toml")),
];

/// Its rules: one threshold a hydrant.
const RULES: &str = include_str!("../pack/rules.toml");

/// The role that may read and query.
pub const READER: &str = "bench-reader";

/// Whether samples are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// Every sample of a hydrant.
    On,
    /// None.
    Off,
}

/// Writes the pack into `folder`; where it lies.
pub fn write(folder: &Path, rules: Rules) -> Result<PathBuf> {
    let pack = folder.join("pack");
    std::fs::create_dir_all(pack.join("things"))?;
    let rules = (rules == Rules::On).then_some(("rules.toml", RULES));
    for (name, text) in FILES.into_iter().chain(rules) {
        let file = pack.join(name);
        std::fs::write(&file, text).with_context(|| format!("failed to write {}", file.display()))?;
    }
    Ok(pack)
}
