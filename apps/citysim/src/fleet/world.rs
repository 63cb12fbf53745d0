//! What the hydrants share: the mains, the hour, and who misbehaves.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use model::Micros;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{FaultError, HydrantSummary};
use crate::city::Thing;
use crate::faults::Fault;
use crate::hydraulics::{MainState, Network, Outlet};

/// What a hydrant does instead of its duty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Behaviour {
    Dutiful,
    Silent { until: Instant },
    Malformed { until: Instant },
}

impl Behaviour {
    /// The behaviour now: faults end by themselves.
    pub(super) fn now(self) -> Self {
        match self {
            Self::Silent { until } | Self::Malformed { until } if Instant::now() >= until => Self::Dutiful,
            other => other,
        }
    }
}

#[derive(Debug)]
pub(super) struct Hydrant {
    pub code: String,
    pub outlet: Outlet,
    pub behaviour: watch::Sender<Behaviour>,
}

#[derive(Debug)]
pub(super) struct World {
    pub hydrants: Vec<Hydrant>,
    network: Mutex<Network>,
    /// Told when the pressure of a main begins to change.
    changed: BTreeMap<String, watch::Sender<()>>,
    started: Instant,
    hour_at_start: f64,
    time_scale: f64,
}

impl World {
    pub(super) fn new(things: &[Thing], time_scale: f64) -> Result<Self> {
        let mut hydrants = Vec::with_capacity(things.len());
        for thing in things {
            let Some(outlet) = Outlet::of(thing) else {
                bail!("{} hangs on no main: its properties need \"main\"", thing.code);
            };
            let behaviour = watch::Sender::new(Behaviour::Dutiful);
            hydrants.push(Hydrant { code: thing.code.clone(), outlet, behaviour });
        }
        let network = Network::of(things);
        let changed = network.codes().map(|code| (code.to_owned(), watch::Sender::new(()))).collect();
        let since_midnight = (micros_now().0 / 1_000_000 + 8 * 3600).rem_euclid(86_400);
        Ok(Self {
            hydrants,
            network: Mutex::new(network),
            changed,
            started: Instant::now(),
            hour_at_start: since_midnight as f64 / 3600.0,
            time_scale,
        })
    }

    fn network(&self) -> MutexGuard<'_, Network> {
        self.network.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn elapsed(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// The hour of the simulated day; Asia/Shanghai (UTC+8, no summer time) at the start.
    pub(super) fn hour(&self) -> f64 {
        (self.hour_at_start + self.elapsed() * self.time_scale / 3600.0).rem_euclid(24.0)
    }

    pub(super) fn pressure(&self, outlet: &Outlet, noise: f64) -> f64 {
        self.network().pressure(outlet, self.elapsed(), self.hour(), noise)
    }

    /// Tells when a main begins to change; `None` for an unknown main.
    pub(super) fn changes(&self, main: &str) -> Option<watch::Receiver<()>> {
        self.changed.get(main).map(watch::Sender::subscribe)
    }

    pub(super) fn inject(&self, fault: &Fault) -> Result<(), FaultError> {
        let at = self.elapsed();
        match fault {
            Fault::Burst { target } => self.strike(target, |network| network.burst(target, at)),
            Fault::Leak { target, over } => {
                self.strike(target, |network| network.leak(target, over.as_secs_f64(), at))
            }
            Fault::Silent { target, duration } => {
                self.misbehave(target, Behaviour::Silent { until: Instant::now() + *duration })
            }
            Fault::Malformed { target, duration } => {
                self.misbehave(target, Behaviour::Malformed { until: Instant::now() + *duration })
            }
        }
    }

    pub(super) fn repaired(&self, main: &str) -> Result<bool, FaultError> {
        let mut broken = false;
        let at = self.elapsed();
        self.strike(main, |network| broken = network.repair(main, at))?;
        Ok(broken)
    }

    fn strike(&self, main: &str, change: impl FnOnce(&mut Network)) -> Result<(), FaultError> {
        let touched = {
            let mut network = self.network();
            if !network.has(main) {
                return Err(FaultError::NoSuchMain(main.to_owned()));
            }
            change(&mut network);
            network.downstream(main)
        };
        for main in touched {
            if let Some(changed) = self.changed.get(&main) {
                changed.send_replace(());
            }
        }
        Ok(())
    }

    fn misbehave(&self, thing: &str, behaviour: Behaviour) -> Result<(), FaultError> {
        let hydrant = self.hydrants.iter().find(|h| h.code == thing);
        let hydrant = hydrant.ok_or_else(|| FaultError::NoSuchThing(thing.to_owned()))?;
        hydrant.behaviour.send_replace(behaviour);
        Ok(())
    }

    pub(super) fn mains(&self) -> Vec<MainState> {
        self.network().state(self.elapsed())
    }

    pub(super) fn summary(&self) -> HydrantSummary {
        let (at, hour, network) = (self.elapsed(), self.hour(), self.network());
        let pressures: Vec<f64> =
            self.hydrants.iter().map(|h| network.pressure(&h.outlet, at, hour, 0.0)).collect();
        let how_many = |is: fn(Behaviour) -> bool| {
            self.hydrants.iter().filter(|h| is(h.behaviour.borrow().now())).count()
        };
        HydrantSummary {
            total: self.hydrants.len(),
            silent: how_many(|b| matches!(b, Behaviour::Silent { .. })),
            malformed: how_many(|b| matches!(b, Behaviour::Malformed { .. })),
            below_0_20: pressures.iter().filter(|p| **p < 0.20).count(),
            lowest: pressures.iter().copied().fold(f64::INFINITY, f64::min),
            highest: pressures.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

/// The true time, which every sample carries whatever the time scale.
pub(super) fn micros_now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Milliseconds are what such sensors know.
    Micros(i64::try_from(since.as_millis()).unwrap_or(i64::MAX / 1000).saturating_mul(1000))
}
