//! What every bench is given, and what most begin with: an empty hub beside which nothing else
//! runs, in a folder of its own on the disk that the build lies on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tokio::runtime::Handle;

use crate::city::{self, DISTRICT, Thing};
use crate::database::Database;
use crate::figure::Figure;
use crate::hub::{self, Hub, Setup};
use crate::machine;
use crate::pack::{self, Rules};

/// The name of every bench's token.
const TOKEN: &str = "bench";
/// The login of every bench's analyst.
pub const ANALYST: &str = "analyst";

/// What a bench is asked.
#[derive(Clone, Debug)]
pub struct Bench {
    /// The hub's binary.
    pub binary: PathBuf,
    /// For what is asynchronous.
    pub runtime: Handle,
    /// How long each round lasts.
    pub round: Duration,
    /// How many rounds each side has.
    pub rounds: usize,
    /// Only these, where a bench has several parts.
    pub only: Option<String>,
    /// Lines a second, where a bench runs at a pace; each has its own default.
    pub rate: Option<f64>,
    /// How many minutes the bench of memory lasts.
    pub minutes: u64,
}

/// What a hub of a bench needs.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// What is registered.
    pub things: &'a [Thing],
    /// Whether samples are judged.
    pub rules: Rules,
    /// Whether it has a token for writing.
    pub token: bool,
    /// Whether somebody may query.
    pub analyst: bool,
    /// Settings beside.
    pub settings: Vec<(&'static str, String)>,
}

impl<'a> Wanted<'a> {
    /// A hub that judges and takes line protocol.
    pub fn new(things: &'a [Thing]) -> Self {
        Self { things, rules: Rules::On, token: true, analyst: false, settings: Vec::new() }
    }
}

impl Bench {
    /// A folder for all that a bench writes.
    pub fn folder(&self) -> Result<TempDir> {
        hub::data_folder(&self.binary)
    }

    /// What the machine is, said once a bench: a ratio does not travel without it.
    pub fn introduce(&self, name: &str, folder: &Path) -> Result<Duration> {
        let sync = machine::fdatasync_p50(folder)?;
        println!(
            "{name}: {} cores, load average {:.1} before, fdatasync of 4 KiB p50 {:.2} ms",
            machine::cores(),
            machine::load_average(),
            sync.as_secs_f64() * 1e3
        );
        Ok(sync)
    }

    /// Sets a hub up in `folder/name` on SQLite, and starts it.
    pub fn hub(&self, folder: &Path, name: &str, wanted: &Wanted<'_>) -> Result<Hub> {
        let folder = folder.join(name);
        std::fs::create_dir_all(folder.join("hub"))?;
        city::write(&folder.join("city"), wanted.things)?;
        let pack = pack::write(&folder, wanted.rules)?;
        eprintln!("setting up a hub with {} things …", wanted.things.len());
        self.with_setup(&folder, pack, wanted, |setup| setup.start())
    }

    /// Stops that hub in order and starts it again: what it kept in memory is gone.
    pub fn again(&self, hub: Hub, folder: &Path, name: &str, wanted: &Wanted<'_>) -> Result<Hub> {
        let folder = folder.join(name);
        let pack = folder.join("pack");
        self.with_setup(&folder, pack, wanted, |setup| setup.again(hub))
    }

    fn with_setup(
        &self,
        folder: &Path,
        pack: PathBuf,
        wanted: &Wanted<'_>,
        run: impl FnOnce(&Setup<'_>) -> Result<Hub>,
    ) -> Result<Hub> {
        let data = folder.join("hub");
        let database = Database::sqlite(&data);
        let analyst = (ANALYST, format!("{}@{DISTRICT}", pack::READER), format!("district-duty@{DISTRICT}"));
        run(&Setup {
            binary: &self.binary,
            data,
            database: &database,
            packs: vec![pack],
            city: folder.join("city"),
            accounts: wanted.analyst.then_some(analyst).into_iter().collect(),
            tokens: wanted.token.then_some(TOKEN).into_iter().collect(),
            settings: wanted.settings.clone(),
        })
    }

    /// One of a hub's counters now.
    pub fn counter(&self, hub: &Hub, name: &str) -> Result<f64> {
        let all = self.runtime.block_on(hub.metrics())?;
        Ok(all.get(name).copied().unwrap_or(0.0))
    }
}

/// The token of a hub that was given one.
pub fn token(hub: &Hub) -> Result<String> {
    Ok(hub.tokens.get(TOKEN).context("the hub was given no token")?.clone())
}

/// Where a hub takes line protocol.
pub fn write_door(hub: &Hub) -> Result<crate::line_protocol::Target> {
    Ok(crate::line_protocol::Target {
        address: hub.http()?,
        path: "/api/v2/write?precision=ns".to_owned(),
        token: Some(token(hub)?),
    })
}

/// The figures, one JSON line each, as the last lines of a bench.
pub fn conclude(figures: &[Figure]) -> Result<()> {
    for figure in figures {
        println!("{}", serde_json::to_string(figure)?);
    }
    Ok(())
}
