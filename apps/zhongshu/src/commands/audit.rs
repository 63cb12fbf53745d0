//! `zhongshu audit verify`: the chain of the audit and its anchors, read whole, beside a hub that
//! runs.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use platform::audit::anchor;
use store::{Store, StoreConfig};

use crate::config::Config;

/// How to verify.
#[derive(Args, Debug)]
pub struct Verify {
    /// The file of anchors [default: the hub's own]
    #[arg(long, value_name = "FILE")]
    pub anchors: Option<PathBuf>,
    /// The public key that must have signed them (hexadecimal) [default: the one beside them]
    #[arg(long, value_name = "HEX")]
    pub public_key: Option<String>,
}

/// Reads the whole audit; what was found.
///
/// # Errors
/// The first broken entry, or the first anchor that the key did not sign.
pub async fn verify(config: &Config, asked: &Verify) -> anyhow::Result<String> {
    let folder = config.anchor_folder();
    let file = asked.anchors.clone().unwrap_or_else(|| folder.join(anchor::FILE));
    let public = match &asked.public_key {
        Some(key) => Some(key.clone()),
        None => std::fs::read_to_string(file.with_file_name(anchor::PUBLIC_FILE)).ok(),
    };
    let anchors = match public {
        Some(key) => {
            let key = decode(key.trim()).context("the public key is not 32 bytes in hexadecimal")?;
            anchor::read(&file, &key)?
        }
        None if asked.anchors.is_some() => {
            bail!("no public key beside {}; give --public-key", file.display())
        }
        None => Vec::new(),
    };
    let store = Store::open(StoreConfig {
        backend: config.backend(),
        time_zone: config.time_zone()?,
        exclusive: false,
    })
    .await?;
    let outcome = store.verify_audit(&anchor::hashes(&anchors)?).await;
    store.stop().await;
    match outcome? {
        Ok(held) => {
            let anchored = anchors.last().map_or_else(
                || "no anchor yet".to_owned(),
                |a| format!("{} anchors hold, the last at entry {} of {}", anchors.len(), a.position, a.at),
            );
            Ok(format!(
                "the audit holds: {} entries in the chain, {} older ones before it; {anchored}",
                held.entries, held.start
            ))
        }
        Err(broken) => bail!("the audit is broken: {broken}"),
    }
}

fn decode(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    digits
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect()
}
