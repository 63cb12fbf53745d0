//! From the PUBLISH of the deciding sample to the task readable over the API.
//!
//! Every opening is a hydrant of its own on a main of its own: a good value, two seconds before;
//! a low one, a second before; then the second low one in a row, which decides. The clock starts
//! when that sample is handed to its device and stops when the duty of the property company reads
//! `task.opened` from the event stream; both in this process, so that it is one clock. Beside it
//! other devices send at QoS 1, and after the run every task is read once over the API.
//!
//! | file | what is there |
//! | --- | --- |
//! | `background.rs` | the devices beside |
//! | `openings.rs` | the hydrants that lose pressure |
//! | `witness.rs` | what the person responsible sees, and when |
//! | `report.rs` | tables and figures |

mod background;
mod openings;
mod report;
mod witness;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::Instant;

use crate::api::Api;
use crate::city::{self, Thing};
use crate::database::{Database, Kind};
use crate::figure::Figure;
use crate::hub::{self, Hub, Setup, repository};
use crate::machine;
use background::Background;
use openings::Openings;
use report::Report;
use witness::Witness;

/// Its name.
pub const NAME: &str = "publish-to-task";
/// What must be: the bound on the p99, in milliseconds.
pub const MUST_MS: f64 = 500.0;
/// What we aim at.
pub const AIM_MS: f64 = 150.0;

/// Load before the measuring begins.
const WARM_UP: Duration = Duration::from_secs(5);
/// Between the first sample of a hydrant's story and its deciding one, connecting included.
const LEAD: Duration = Duration::from_secs(3);
/// How long tasks may still come after the last deciding sample.
const STRAGGLERS: Duration = Duration::from_secs(30);

/// What is asked.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long openings are measured, in seconds.
    pub seconds: u64,
    /// How many tasks are opened in that time.
    pub openings: usize,
    /// Samples a second beside.
    pub rate: u32,
    /// Devices that send them.
    pub devices: usize,
    /// One database only.
    pub database: Option<Kind>,
}

impl Options {
    /// Between two openings.
    fn gap(&self) -> Duration {
        Duration::from_secs(self.seconds).div_f64(self.openings as f64)
    }

    /// Openings during the warm-up: not measured.
    fn warm_openings(&self) -> usize {
        (WARM_UP.as_secs_f64() / self.gap().as_secs_f64()).ceil() as usize
    }
}

/// Runs the bench on every database there is, and prints what it found.
pub async fn run(options: &Options, binary: &Path) -> Result<()> {
    // Beside the devices: hydrants on the way to their deciding sample, files, the API.
    let files = options.devices as u64 + (20.0 / options.gap().as_secs_f64()) as u64 + 512;
    machine::allow_open_files(files)?;
    let mut figures = Vec::new();
    for kind in [Kind::Sqlite, Kind::Postgres] {
        if options.database.is_some_and(|only| only != kind) {
            continue;
        }
        let folder = hub::data_folder(binary)?;
        let database = match kind {
            Kind::Sqlite => Some(Database::sqlite(folder.path())),
            Kind::Postgres => Database::postgres()?,
        };
        match database {
            Some(database) => figures.extend(measure(options, binary, folder.path(), &database).await?),
            None => println!(
                "{NAME} on PostgreSQL: left out, for no server is named \
                 (make bench starts one; by hand: cargo run -p xtask -- with-postgres …)\n"
            ),
        }
    }
    if figures.is_empty() {
        bail!("there was no database to measure on");
    }
    for figure in figures {
        println!("{}", serde_json::to_string(&figure)?);
    }
    Ok(())
}

async fn measure(
    options: &Options,
    binary: &Path,
    folder: &Path,
    database: &Database,
) -> Result<Vec<Figure>> {
    let before = Before {
        load_average: machine::load_average(),
        fdatasync: machine::fdatasync_p50(&database.folder)?,
    };
    let numbered = |what: &str, count: usize, per_main: usize| -> Vec<Thing> {
        let one = |n| {
            Thing::hydrant(format!("bench-{what}-{n:06}"), format!("bench-{what}-main-{:06}", n / per_main))
        };
        (0..count).map(one).collect()
    };
    let beside = numbered("beside", options.devices, 10);
    let deciding = numbered("opens", options.warm_openings() + options.openings, 1);
    let city = folder.join("city");
    city::write(&city, &[beside.clone(), deciding.clone()].concat())?;
    let hub = start(binary, folder, database, city)?;
    let outcome = under_load(options, &hub, beside, deciding).await;
    let report =
        outcome.with_context(|| format!("on {}; the hub said: {}", database.kind.name(), hub.said()))?;
    let said = hub.said();
    let stopped = hub.stop()?;
    println!("{}", report.text(options, database.kind, &before));
    println!("  the hub stopped in order in {:.1} s", stopped.as_secs_f64());
    if !said.is_empty() {
        println!("  the hub said:\n{said}");
    }
    println!();
    report.measured()?;
    Ok(report.figures(options, database.kind))
}

fn start(binary: &Path, folder: &Path, database: &Database, city: PathBuf) -> Result<Hub> {
    let data = folder.join("hub");
    std::fs::create_dir_all(&data)?;
    let account = |login, role: &str, post: &str, area: &str| {
        (login, format!("{role}@{area}"), format!("{post}-duty@{area}"))
    };
    let setup = Setup {
        binary,
        data,
        database,
        packs: vec![repository().join("packs/fire")],
        city,
        accounts: vec![
            account("district", "district-officer", "district", "500112"),
            account("street", "street-officer", "street", "500112011"),
            account("community", "community-officer", "community", citysim::city::DEMO_COMMUNITY),
            account("property", "property-manager", "property", citysim::city::ESTATE),
        ],
        tokens: Vec::new(),
        settings: Vec::new(),
    };
    eprintln!("setting up the hub on {} …", database.kind.name());
    setup.start()
}

async fn under_load(
    options: &Options,
    hub: &Hub,
    beside: Vec<Thing>,
    deciding: Vec<Thing>,
) -> Result<Report> {
    let password = hub.passwords.get("property").context("the property company has no account")?;
    let api = Api::log_in(&hub.url, "property", password).await?;
    let witness = Witness::start(api.clone()).await?;
    eprintln!("connecting {} devices …", beside.len());
    let background = Background::connect(hub.mqtt, beside).await?;
    let running = background.run(options.rate);

    let begins = Instant::now() + LEAD;
    let (gap, warm) = (options.gap(), options.warm_openings());
    let openings = Openings::start(hub.mqtt, deciding, begins, gap);
    // The first measured hydrant decides when the warm ones are through.
    let measured_from = begins + gap.mul_f64(warm as f64);
    let measured_to = measured_from + Duration::from_secs(options.seconds);
    tokio::time::sleep_until(measured_from).await;
    eprintln!("measuring for {} s …", options.seconds);
    let metrics_before = hub.metrics().await?;
    let took = Taken::now(hub)?;
    running.mark()?;
    let window = Instant::now();
    let ended = tokio::select! {
        () = tokio::time::sleep_until(measured_to) => None,
        broken = witness.broken() => Some(broken),
    };
    if let Some(reason) = ended {
        bail!("the event stream ended: {reason}");
    }
    let load = running.marked()?;
    let lasted = window.elapsed();
    let took = Taken::now(hub)?.since(&took);
    let metrics = hub.metrics().await?;
    let published = openings.finish(STRAGGLERS).await?;
    witness.wait_for(published.len(), STRAGGLERS).await;
    running.stop().await;
    let seen = witness.finish(&api).await?;
    let metrics = report::means(&metrics_before, &metrics);
    let peak_memory = machine::peak_memory_mib(hub.pid());
    Ok(Report::new(&published[warm..], &seen)?.with(load, lasted, took, metrics, peak_memory))
}

/// The machine before the run.
#[derive(Clone, Copy, Debug)]
pub struct Before {
    /// Processes that wanted to run, on average of a minute.
    load_average: f64,
    /// Median of 4 KiB written and synced.
    fdatasync: Duration,
}

/// CPU seconds that each took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    /// The hub.
    hub: f64,
    /// This process.
    load: f64,
    /// PostgreSQL, all its processes on this machine.
    postgres: f64,
}

impl Taken {
    fn now(hub: &Hub) -> Result<Self> {
        Ok(Self {
            hub: machine::cpu_seconds(hub.pid())?,
            load: machine::cpu_seconds(std::process::id())?,
            postgres: machine::cpu_seconds_of_name("postgres"),
        })
    }

    fn since(self, before: &Self) -> Self {
        Self {
            hub: self.hub - before.hub,
            load: self.load - before.load,
            // A connection that ended took its count with it.
            postgres: (self.postgres - before.postgres).max(0.0),
        }
    }
}
