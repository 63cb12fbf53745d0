//! The allowed arrows (docs: ARCHITECTURE.md, "Arrows"), checked against `cargo metadata`.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// Crate, and what of ours it may depend on. A crate that is not listed fails.
const ALLOWED: &[(&str, &[&str])] = &[
    ("zhongshu-model", &[]),
    ("zhongshu-process", &["zhongshu-model"]),
    ("zhongshu-protocols", &["zhongshu-model"]),
    ("zhongshu-rules", &["zhongshu-model"]),
    ("zhongshu-store", &["zhongshu-model"]),
    ("zhongshu-platform", &["zhongshu-model", "zhongshu-store"]),
    ("zhongshu-work", &["zhongshu-model", "zhongshu-store", "zhongshu-platform", "zhongshu-process"]),
    ("zhongshu-lake", &["zhongshu-model", "zhongshu-store"]),
    (
        "zhongshu-watch",
        &[
            "zhongshu-model",
            "zhongshu-store",
            "zhongshu-platform",
            "zhongshu-work",
            "zhongshu-lake",
            "zhongshu-protocols",
            "zhongshu-rules",
        ],
    ),
    ("zhongshu-gateway", &["zhongshu-model", "zhongshu-protocols"]),
    (
        "zhongshu",
        &[
            "zhongshu-model",
            "zhongshu-store",
            "zhongshu-platform",
            "zhongshu-work",
            "zhongshu-lake",
            "zhongshu-watch",
            "zhongshu-gateway",
            "zhongshu-process",
            "zhongshu-rules",
        ],
    ),
    ("citysim", &["zhongshu-model"]),
    ("zhongshu-testkit", &["zhongshu", "zhongshu-store"]),
    (
        "zhongshu-bench",
        &["zhongshu-testkit", "citysim", "zhongshu-model", "zhongshu-process", "zhongshu-rules"],
    ),
    ("xtask", &[]),
];

/// Crates whose tests may use the testkit, against the arrows of their code.
const TESTS_MAY_USE_TESTKIT: &[&str] = &["zhongshu", "zhongshu-bench"];

pub fn check() -> Result<()> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .output()
        .context("failed to run cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let ours: Vec<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    let mut wrong = Vec::new();
    let mut arrows = 0;
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = ALLOWED.iter().find(|(n, _)| *n == name) else {
            wrong.push(format!("{name} is not in the list of xtask/src/arrows.rs"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let to = dependency["name"].as_str().unwrap_or_default();
            if !ours.contains(&to) || to == name {
                continue;
            }
            arrows += 1;
            let in_tests = dependency["kind"] == "dev";
            let excused = in_tests && to == "zhongshu-testkit" && TESTS_MAY_USE_TESTKIT.contains(&name)
                || in_tests && to == "citysim" && name == "zhongshu";
            if !allowed.contains(&to) && !excused {
                wrong.push(format!("{name} -> {to} is not an allowed arrow"));
            }
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    println!("arrows: {} crates, {arrows} arrows, all allowed", ours.len());
    Ok(())
}
