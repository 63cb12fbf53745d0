//! The routes of the watch centre, one file a resource.

mod alerts;
mod export;
mod import;
mod map;
mod observations;
mod situation;
mod sweep;
mod things;
mod write;

use std::sync::Arc;

use model::AreaPath;
use platform::http::{Api, Caller, Problem};
use store::Filter;

use crate::Watch;
use crate::sweep::Sweeps;

pub use alerts::{Alert, AlertChange, AlertDetail, AlertState};
pub use import::import_routes;
pub use map::{MapThing, MapThings};
pub use observations::{Curve, ThresholdView};
pub use situation::Situation;
pub use sweep::{Sweep, SweepReason, SweepRow};
pub use things::{DatastreamView, ThingView};

pub(crate) use alerts::STATEMENTS;
pub(crate) use sweep::STATEMENTS as SWEEP_STATEMENTS;

/// The routes.
#[must_use]
pub fn routes(watch: Arc<Watch>) -> Api<()> {
    Api::new()
        .merge(things::routes())
        .merge(map::routes())
        .merge(observations::routes())
        .merge(situation::routes())
        .merge(alerts::routes())
        .with_state(watch.clone())
        .merge(write::routes(watch))
}

/// The routes of sweeps.
#[must_use]
pub fn sweep_routes(sweeps: Arc<Sweeps>) -> Api<()> {
    sweep::routes(sweeps)
}

/// The area a query names: a path.
fn area(text: Option<&str>) -> Result<Option<AreaPath>, Problem> {
    text.filter(|t| !t.is_empty())
        .map(AreaPath::parse)
        .transpose()
        .map_err(|e| Problem::bad_request(format!("area: {e}")))
}

/// Whether something at `at` is in what the caller sees and in the area asked for.
fn is_shown(scope: &[AreaPath], asked: Option<&AreaPath>, at: &AreaPath) -> bool {
    scope.iter().any(|s| at.is_in(s)) && asked.is_none_or(|a| at.is_in(a))
}

/// The same for rows.
fn shown(caller: &Caller, asked: Option<AreaPath>) -> Filter {
    let scope = Filter::And(vec![Filter::Within("area", caller.scope())]);
    match asked {
        Some(area) => scope.and(Filter::Within("area", vec![area])),
        None => scope,
    }
}
