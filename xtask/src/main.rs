//! What `make` calls.
//!
//! - `xtask arrows` checks that crates depend on each other only along the allowed arrows.
//! - `xtask with-postgres COMMAND …` runs a command beside a private PostgreSQL server.

mod arrows;
mod postgres;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("arrows") => arrows::check(),
        Some("with-postgres") => postgres::run_beside(&args.collect::<Vec<_>>()),
        other => bail!("unknown task {other:?}; known are: arrows, with-postgres COMMAND …"),
    }
}
