//! Other engines read the same table: `deltalake`, `polars` and `duckdb` of PyPI.

use std::path::PathBuf;
use std::process::Command;

use lake::cold::{Cold, ColdConfig};
use lake::{LakeLocation, Rows};
use model::Micros;
use model::observation::Columns;

use crate::sample;

/// The interpreter that has them: `scripts/python.sh` makes it.
fn python() -> Option<PathBuf> {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let named = std::env::var_os("ZHONGSHU_PYTHON").map(PathBuf::from);
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| manifest.join("../../../target"), PathBuf::from);
    let python = named.unwrap_or_else(|| target.join("python/bin/python"));
    if python.exists() {
        return Some(python);
    }
    eprintln!("SKIPPED other engines: no {}; scripts/python.sh makes it", python.display());
    None
}

#[tokio::test]
async fn other_engines_read_the_same_rows() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let location = LakeLocation::Folder(folder.path().join("lake"));
    let cold = Cold::open(ColdConfig::new(location)).await.unwrap();
    // 2026-11-22 to 24, microseconds and all; then a correction, and a rearrangement of two days.
    let start = 1_795_305_600 * Micros::SECOND;
    let of = |n: i64| {
        let time = Micros(start + n * 6 * Micros::HOUR + n);
        [sample(1, time, n as f64 / 8.0), sample(2, time, -1.0)]
    };
    for n in 0..12 {
        let rows = Rows::new(of(n).into_iter().collect::<Columns>());
        cold.append(rows, 1 + n as u64).await.unwrap();
        if n == 8 {
            cold.optimise(Micros(start + 2 * Micros::DAY)).await.unwrap();
            for _ in 0..20 {
                cold.checkpoint().await.unwrap();
            }
        }
    }
    let corrected = sample(2, Micros(start + 6 * Micros::HOUR + 1), 99.5);
    cold.append(Rows::new([corrected].into_iter().collect::<Columns>()), 13).await.unwrap();
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/python/engines.py");
    let done =
        Command::new(python).arg(script).arg(folder.path().join("lake/observations")).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{out}\n{err}");
    // rows, datastreams, sum of values, earliest and latest in microseconds
    let sum = (0..12).map(|n| f64::from(n) / 8.0 - 1.0).sum::<f64>() + 100.5;
    let expected = format!("24 2 {sum} {} {}", start, start + 11 * 6 * Micros::HOUR + 11);
    for engine in ["deltalake", "polars", "duckdb"] {
        assert!(out.lines().any(|l| l == format!("{engine} {expected}")), "{engine} {expected}\n{out}");
        assert!(out.lines().any(|l| l == format!("{engine} on 2026-11-23: 8")), "{engine}\n{out}");
    }
}
