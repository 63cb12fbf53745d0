//! Mains, risers and the pressures of the hydrants that hang on them.
//!
//! Good enough to look right, and no more: the municipal supply swings through the day with
//! demand, pressure falls with height, high-rises have boosted zones, and a main that bursts drags
//! its hydrants down together. Pure: time comes in as seconds, randomness as a number.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::city::Thing;

/// Pressure lost a metre of height: ρ·g, in MPa.
const MPA_A_METRE: f64 = 0.009_8;
/// Storeys of one boosted zone. With 3 m each, 27 m lose 0.24 MPa: more would leave the top short.
const ZONE_STOREYS: i64 = 9;
/// Height of a storey in metres.
const STOREY: f64 = 3.0;
/// What a booster holds at the foot of its zone, in MPa.
const BOOSTED: f64 = 0.50;
/// How quickly a burst main empties and a repaired one fills, seconds to 63 %.
const BURST_SECONDS: f64 = 0.7;
const REFILL_SECONDS: f64 = 1.3;
/// How much of its worst a leak reaches at its end.
const LEAK_WORST: f64 = 0.95;
/// What a main that has burst takes from a main that it feeds, in MPa: tanks, boosters and the
/// ring's other side hold the rest.
const TAKEN_DOWNSTREAM: f64 = 0.03;

/// A main's state of repair.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Condition {
    Sound,
    Burst { since: f64, from: f64 },
    Leak { since: f64, over: f64, from: f64 },
    Refilling { since: f64, from: f64 },
}

/// A main or riser.
#[derive(Clone, Debug)]
struct Main {
    feed: Option<String>,
    condition: Condition,
}

impl Main {
    /// 0 when sound, 1 when all is lost.
    fn lost(&self, at: f64) -> f64 {
        match self.condition {
            Condition::Sound => 0.0,
            Condition::Burst { since, from } => 1.0 - (1.0 - from) * (-(at - since) / BURST_SECONDS).exp(),
            Condition::Leak { since, over, from } => {
                let share = ((at - since) / over.max(0.001)).clamp(0.0, 1.0);
                from.max(from + (LEAK_WORST - from) * share)
            }
            Condition::Refilling { since, from } => from * (-(at - since) / REFILL_SECONDS).exp(),
        }
    }
}

/// What a page or a test may want to know of a main.
#[derive(Clone, Debug, Serialize)]
pub struct MainState {
    /// Its code.
    pub code: String,
    /// The main that feeds it.
    pub feed: Option<String>,
    /// `sound`, `burst`, `leak` or `refilling`.
    pub condition: &'static str,
    /// 0 when sound, 1 when all is lost.
    pub lost: f64,
}

/// A hydrant as the network sees it.
#[derive(Clone, Debug)]
pub struct Outlet {
    /// The main it hangs on.
    pub main: String,
    /// The storey, for an indoor one.
    pub floor: Option<i64>,
    /// Metres above the foot of its pressure zone.
    pub height: f64,
    /// What is left here when the main has burst, MPa: 0.05 to 0.15.
    pub residual: f64,
}

impl Outlet {
    /// Reads the properties of a thing: `main`, and `floor` or `elevation`. `None` without `main`.
    #[must_use]
    pub fn of(thing: &Thing) -> Option<Self> {
        let main = thing.properties.get("main")?.as_str()?.to_owned();
        let floor = thing.properties.get("floor").and_then(serde_json::Value::as_i64);
        let height = match floor {
            Some(floor) => ((floor - 1).rem_euclid(ZONE_STOREYS)) as f64 * STOREY,
            None => thing.properties.get("elevation").and_then(serde_json::Value::as_f64).unwrap_or(0.0),
        };
        // Spread by the code, so that neighbours differ and a run repeats.
        let number = thing.code.bytes().fold(0_u64, |n, b| n.wrapping_mul(31).wrapping_add(b.into()));
        let spread = number.wrapping_mul(37) % 101;
        Some(Self { main, floor, height, residual: 0.05 + 0.10 * spread as f64 / 100.0 })
    }
}

/// All mains of a city.
#[derive(Clone, Debug, Default)]
pub struct Network {
    mains: BTreeMap<String, Main>,
}

impl Network {
    /// The mains that `things` hang on. A riser is fed by the main its thing's `feed` names; the
    /// estate's ring by the municipal mains.
    #[must_use]
    pub fn of<'a>(things: impl IntoIterator<Item = &'a Thing>) -> Self {
        let mut mains = BTreeMap::new();
        for thing in things {
            let text = |key| thing.properties.get(key).and_then(serde_json::Value::as_str);
            let Some(code) = text("main") else { continue };
            let feed = text("feed").or(match code {
                "main-3" => Some("main-1"),
                "main-4" => Some("main-2"),
                _ => None,
            });
            mains
                .entry(code.to_owned())
                .or_insert_with(|| Main { feed: feed.map(str::to_owned), condition: Condition::Sound });
        }
        Self { mains }
    }

    /// Whether there is a main of this code.
    #[must_use]
    pub fn has(&self, main: &str) -> bool {
        self.mains.contains_key(main)
    }

    /// The codes of all mains.
    pub fn codes(&self) -> impl Iterator<Item = &str> {
        self.mains.keys().map(String::as_str)
    }

    /// The main and those it feeds, directly or through others: whose hydrants feel a change.
    #[must_use]
    pub fn downstream(&self, main: &str) -> Vec<String> {
        let mut found = vec![main.to_owned()];
        let mut at = 0;
        while at < found.len() {
            let above = found[at].clone();
            for (code, other) in &self.mains {
                if other.feed.as_deref() == Some(&above) && !found.contains(code) {
                    found.push(code.clone());
                }
            }
            at += 1;
        }
        found
    }

    /// The main bursts at `at` seconds. No effect on an unknown main.
    pub fn burst(&mut self, main: &str, at: f64) {
        self.change(main, at, |from| Condition::Burst { since: at, from });
    }

    /// The main begins to leak, and is at its worst after `over` seconds.
    pub fn leak(&mut self, main: &str, over: f64, at: f64) {
        self.change(main, at, |from| Condition::Leak { since: at, over, from });
    }

    /// The repair of the main is reported: it fills within about 5 seconds. Answers whether there
    /// was anything to repair.
    pub fn repair(&mut self, main: &str, at: f64) -> bool {
        let broken = self
            .mains
            .get(main)
            .is_some_and(|m| matches!(m.condition, Condition::Burst { .. } | Condition::Leak { .. }));
        if broken {
            self.change(main, at, |from| Condition::Refilling { since: at, from });
        }
        broken
    }

    fn change(&mut self, main: &str, at: f64, to: impl Fn(f64) -> Condition) {
        if let Some(main) = self.mains.get_mut(main) {
            main.condition = to(main.lost(at));
        }
    }

    /// The state of every main.
    #[must_use]
    pub fn state(&self, at: f64) -> Vec<MainState> {
        self.mains
            .iter()
            .map(|(code, main)| {
                let lost = main.lost(at);
                MainState {
                    code: code.clone(),
                    feed: main.feed.clone(),
                    condition: match main.condition {
                        Condition::Sound => "sound",
                        Condition::Burst { .. } => "burst",
                        Condition::Leak { .. } => "leak",
                        Condition::Refilling { .. } if lost < 0.01 => "sound",
                        Condition::Refilling { .. } => "refilling",
                    },
                    lost: (lost * 1000.0).round() / 1000.0,
                }
            })
            .collect()
    }

    /// The pressure at a hydrant in MPa, to 0.001.
    ///
    /// `at` is in seconds of the run, `hour` the hour of the simulated day (0 to 24), `noise` the
    /// sensor's, in MPa.
    #[must_use]
    pub fn pressure(&self, outlet: &Outlet, at: f64, hour: f64, noise: f64) -> f64 {
        let municipal = supply(hour);
        let foot = match outlet.floor {
            // A booster evens out what the street gives.
            Some(_) => BOOSTED + 0.1 * (municipal - 0.36),
            None => municipal,
        };
        let mut pressure = foot - MPA_A_METRE * outlet.height;
        if let Some(main) = self.mains.get(&outlet.main) {
            let mut feed = main.feed.as_ref().and_then(|f| self.mains.get(f));
            // A feed chain is three mains at most; the bound is against a loop in a file.
            for _ in 0..4 {
                let Some(above) = feed else { break };
                pressure -= TAKEN_DOWNSTREAM * above.lost(at);
                feed = above.feed.as_ref().and_then(|f| self.mains.get(f));
            }
            let lost = main.lost(at);
            pressure += (outlet.residual.min(pressure) - pressure) * lost;
        }
        ((pressure + noise) * 1000.0).round() / 1000.0
    }
}

/// What the municipal works give at the street, MPa: 0.42 at night, down to 0.30 when everybody
/// cooks and washes, 7 to 9 and 18 to 22.
fn supply(hour: f64) -> f64 {
    let peak = |centre: f64, width: f64| {
        let away = (hour - centre).abs();
        let away = away.min(24.0 - away);
        (-(away / width).powi(2)).exp()
    };
    0.42 - 0.04 * peak(13.0, 3.5) - 0.11 * peak(8.0, 1.3) - 0.12 * peak(20.0, 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::city::hydrants;

    fn all(network: &Network, at: f64, hour: f64, on: impl Fn(&str) -> bool) -> Vec<f64> {
        let outlets: Vec<_> = hydrants().iter().filter_map(Outlet::of).collect();
        outlets.iter().filter(|o| on(&o.main)).map(|o| network.pressure(o, at, hour, 0.0)).collect()
    }

    #[test]
    fn a_sound_city_stays_between_a_quarter_and_half_a_megapascal_all_day() {
        let network = Network::of(&hydrants());
        for quarter in 0..96 {
            let hour = f64::from(quarter) / 4.0;
            for pressure in all(&network, 0.0, hour, |_| true) {
                assert!((0.25..=0.515).contains(&pressure), "{pressure} at {hour} h");
            }
        }
    }

    #[test]
    fn a_burst_takes_its_own_hydrants_and_no_others_below_the_line() {
        for main in ["riser-03-1", "main-1", "main-2", "main-3", "main-4"] {
            let mut network = Network::of(&hydrants());
            network.burst(main, 10.0);
            let (own, other) =
                (all(&network, 14.0, 20.0, |m| m == main), all(&network, 1e5, 20.0, |m| m != main));
            assert_eq!(own.len(), 10, "{main}");
            assert!(own.iter().all(|p| (0.05..0.16).contains(p)), "{main}: {own:?}");
            assert!(other.iter().all(|p| *p >= 0.22), "{main} drags others down: {other:?}");
        }
    }

    #[test]
    fn a_repair_fills_the_main_within_five_seconds() {
        let mut network = Network::of(&hydrants());
        assert!(!network.repair("riser-03-1", 1.0), "nothing to repair yet");
        network.burst("riser-03-1", 10.0);
        assert!(network.repair("riser-03-1", 60.0));
        assert!(!network.repair("riser-03-1", 60.1), "a second report changes nothing");
        assert!(all(&network, 65.0, 20.0, |m| m == "riser-03-1").iter().all(|p| *p >= 0.24));
    }

    #[test]
    fn a_leak_falls_slowly() {
        let mut network = Network::of(&hydrants());
        network.leak("main-3", 600.0, 0.0);
        let mean = |at: f64| {
            let all = all(&network, at, 3.0, |m| m == "main-3");
            all.iter().sum::<f64>() / all.len() as f64
        };
        let falls: Vec<f64> = [0.0, 150.0, 300.0, 450.0, 600.0, 900.0].into_iter().map(mean).collect();
        assert!(falls.windows(2).all(|w| w[1] <= w[0]), "{falls:?}");
        assert!(falls[1] > 0.3 && falls[4] < 0.20, "{falls:?}");
    }

    #[test]
    fn a_change_is_felt_downstream_and_not_upstream() {
        let network = Network::of(&hydrants());
        let below = network.downstream("main-3");
        assert!(below.contains(&"riser-01-1".to_owned()) && !below.contains(&"main-1".to_owned()));
        assert!(network.downstream("main-1").contains(&"riser-01-1".to_owned()));
        assert_eq!(network.downstream("riser-03-1"), ["riser-03-1"]);
    }
}
