//! Queries over a lake that commits, takes in and opens again, on both databases.

use std::sync::Arc;

use lake::Lake;
use lake::query::{Engine, Fill, QueryConfig, Scope, Steps};
use model::{DatastreamKey, Micros};

use super::{DAY, SECOND, catalog, texts};
use crate::{append, each, reopen, sample};

const ALL: &str = "SELECT datastream, to_unixtime(phenomenon_time), value FROM observations ORDER BY datastream, phenomenon_time";

#[tokio::test]
async fn what_was_committed_is_found_wherever_it_is() {
    for (kept, config) in each().await {
        // With no memory for rows every segment but the newest leaves it before it is taken in.
        for memory in [usize::MAX, 1] {
            let mut config = config.clone();
            config.memory = memory;
            let mut lake = Lake::open(config.clone()).await.unwrap();
            let now = Micros(DAY);
            let at = |s: i64| Micros(DAY + s * SECOND);
            let expected = |value: &str| {
                let second = |s: i64| (DAY / SECOND) + s;
                vec![
                    format!("1 {} 0.5", second(0)),
                    format!("1 {} {value}", second(1)),
                    format!("1 {} 0.7", second(2)),
                    format!("2 {} 0.9", second(0)),
                ]
            };
            let catalog = catalog(2);
            append(&lake, now, &[sample(1, at(0), 0.5), sample(2, at(0), 0.9)]).await;
            append(&lake, now, &[sample(1, at(2), 0.7), sample(1, at(1), 0.6)]).await;
            append(&lake, now, &[sample(1, at(1), 0.65)]).await;
            for round in ["committed", "taken in", "replaced", "opened again", "taken in again"] {
                match round {
                    "taken in" | "taken in again" => drop(lake.take_in().await.unwrap()),
                    "replaced" => {
                        append(&lake, now, &[sample(1, at(1), 0.8), sample(1, at(2), 0.7)]).await;
                    }
                    "opened again" => lake = reopen(lake, &config).await,
                    _ => {}
                }
                let engine = Engine::over(lake.clone(), QueryConfig::default()).unwrap();
                let value = if matches!(round, "committed" | "taken in") { "0.65" } else { "0.8" };
                let found = texts(&engine, &catalog, &Scope::All, ALL).await;
                assert_eq!(found, expected(value), "{round}, memory {memory}");
                let latest = "SELECT datastream, value FROM latest ORDER BY datastream";
                assert_eq!(
                    texts(&engine, &catalog, &Scope::All, latest).await,
                    ["1 0.7", "2 0.9"],
                    "{round}"
                );
                let steps = Steps {
                    keys: vec![DatastreamKey(1)],
                    from: at(0),
                    to: at(60),
                    step: 60 * SECOND,
                    origin: Micros(0),
                    fill: Fill::None,
                };
                let steps = engine.steps(&steps).await.unwrap();
                assert_eq!(
                    (steps[0][0].count, steps[0][0].max),
                    (3, Some(if value == "0.8" { 0.8 } else { 0.7 }))
                );
            }
            lake.close().await;
            drop::<Arc<Lake>>(lake);
        }
        drop(kept);
    }
}
