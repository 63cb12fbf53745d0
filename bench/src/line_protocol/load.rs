//! Several connections at once, each waiting for its acknowledgement before its next body.

use std::sync::Barrier;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};

use super::{Bodies, Client, Target};
use crate::interrupt;
use crate::latency::Latency;
use crate::rounds::Round;

/// How fast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As fast as it is acknowledged.
    Free,
    /// So many lines a second over all connections. What is late is sent at once, and its
    /// acknowledgement counts from when it should have been sent.
    Lines(f64),
}

/// Nanoseconds since 1970.
pub fn now_nanos() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// Sends for so long: one connection for each of `bodies`. Counts lines.
pub fn load(target: &Target, bodies: &mut [Bodies], lasts: Duration, pace: Pace) -> Result<Round> {
    let connections = bodies.len();
    if connections == 0 {
        bail!("a load without a connection");
    }
    let mut clients = bodies.iter().map(|_| Client::connect(target)).collect::<Result<Vec<_>>>()?;
    let together = Barrier::new(connections);
    let rounds: Vec<Result<Round>> = std::thread::scope(|scope| {
        let threads: Vec<_> = bodies
            .iter_mut()
            .zip(&mut clients)
            .enumerate()
            .map(|(n, (bodies, client))| {
                let together = &together;
                scope.spawn(move || {
                    together.wait();
                    one(client, bodies, lasts, pace, n, connections)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|t| t.join().unwrap_or_else(|_| bail!("a connection's thread broke")))
            .collect()
    });
    let mut all = Round { done: 0, took: lasts, acks: Latency::new()? };
    for round in rounds {
        let round = round?;
        all.done += round.done;
        all.acks.add(&round.acks)?;
        all.took = all.took.max(round.took);
    }
    Ok(all)
}

fn one(
    client: &mut Client,
    bodies: &mut Bodies,
    lasts: Duration,
    pace: Pace,
    number: usize,
    connections: usize,
) -> Result<Round> {
    let period = match pace {
        Pace::Free => Duration::ZERO,
        Pace::Lines(rate) => Duration::from_secs_f64(bodies.lines() as f64 * connections as f64 / rate),
    };
    let mut round = Round { done: 0, took: Duration::ZERO, acks: Latency::new()? };
    let began = Instant::now();
    // Not all at the same instant.
    let mut due = began + period.mul_f64(number as f64 / connections as f64);
    loop {
        let mut from = Instant::now();
        if pace != Pace::Free {
            if let Some(early) = due.checked_duration_since(from) {
                std::thread::sleep(early);
            }
            from = due;
            due += period;
        }
        if began.elapsed() >= lasts {
            break;
        }
        interrupt::check()?;
        client.write(bodies.next(now_nanos())).with_context(|| format!("connection {number}"))?;
        round.acks.record(from.elapsed());
        round.done += bodies.lines() as u64;
    }
    round.took = began.elapsed();
    Ok(round)
}
