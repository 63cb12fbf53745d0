//! Rounds: ours and the peers in turn, and what each came to.
//!
//! A round begins when the server of the round before has gone quiet. What a server still does
//! after its last acknowledgement counts as its CPU, not as its time.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::figure::table;
use crate::interrupt;
use crate::latency::Latency;
use crate::machine;

/// A server counts as quiet when it takes less than this of a core.
const QUIET_CORES: f64 = 0.05;
/// No server is waited for longer than this.
const SETTLING: Duration = Duration::from_secs(60);
/// How often it is looked whether it is quiet.
const LOOK: Duration = Duration::from_millis(500);

/// What a generator did in one round.
#[derive(Clone, Debug)]
pub struct Round {
    /// What was acknowledged in time.
    pub done: u64,
    /// In how long.
    pub took: Duration,
    /// Acknowledgements, by how long they took.
    pub acks: Latency,
}

impl Round {
    /// A second.
    pub fn rate(&self) -> f64 {
        self.done as f64 / self.took.as_secs_f64()
    }
}

/// One server and its rounds.
#[derive(Clone, Debug)]
pub struct Side {
    /// Its name, with its version.
    pub name: String,
    pids: Vec<u32>,
    rates: Vec<f64>,
    acks: Latency,
    done: u64,
    seconds: f64,
    server_cpu: f64,
    generator_cpu: f64,
}

impl Side {
    /// A server that is these processes.
    pub fn new(name: impl Into<String>, pids: Vec<u32>) -> Result<Self> {
        Ok(Self {
            name: name.into(),
            pids,
            rates: Vec::new(),
            acks: Latency::new()?,
            done: 0,
            seconds: 0.0,
            server_cpu: 0.0,
            generator_cpu: 0.0,
        })
    }

    fn cpu(&self) -> Result<f64> {
        self.pids.iter().map(|pid| machine::cpu_seconds(*pid)).sum()
    }

    /// Runs a round, and waits until the server is quiet again.
    pub fn round(&mut self, generate: impl FnOnce() -> Result<Round>) -> Result<()> {
        self.round_after(|| Ok(()), |()| generate())
    }

    /// The same, after what is not measured.
    pub fn round_after<T>(
        &mut self,
        prepare: impl FnOnce() -> Result<T>,
        generate: impl FnOnce(T) -> Result<Round>,
    ) -> Result<()> {
        let prepared = prepare()?;
        let (server, own) = (self.cpu()?, machine::cpu_seconds(std::process::id())?);
        let round = generate(prepared)?;
        self.generator_cpu += machine::cpu_seconds(std::process::id())? - own;
        self.settle()?;
        self.server_cpu += self.cpu()? - server;
        self.rates.push(round.rate());
        self.acks.add(&round.acks)?;
        self.done += round.done;
        self.seconds += round.took.as_secs_f64();
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        let began = Instant::now();
        let mut before = self.cpu()?;
        while began.elapsed() < SETTLING {
            interrupt::sleep(LOOK)?;
            let now = self.cpu()?;
            if now - before < QUIET_CORES * LOOK.as_secs_f64() {
                break;
            }
            before = now;
        }
        Ok(())
    }

    /// The median of its rounds' rates.
    pub fn rate(&self) -> f64 {
        median(&self.rates)
    }

    /// All that was acknowledged.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// All acknowledgements.
    pub fn acks(&self) -> &Latency {
        &self.acks
    }

    fn cells(&self) -> Vec<String> {
        let (low, high) = self.rates.iter().fold((f64::MAX, 0.0_f64), |(l, h), r| (l.min(*r), h.max(*r)));
        // Where something else than acknowledgements was counted there are none.
        let millis = |quantile| match self.acks.count() {
            0 => "–".to_owned(),
            _ => format!("{:.2}", self.acks.millis(quantile)),
        };
        let of_machine = 100.0 / (self.seconds * machine::cores() as f64);
        vec![
            self.name.clone(),
            format!("{:.0}", self.rate()),
            format!("{low:.0}–{high:.0}"),
            millis(0.5),
            millis(0.99),
            format!("{:.2}", self.server_cpu / self.seconds),
            format!("{:.0} %", self.server_cpu * of_machine),
            format!("{:.2}", self.server_cpu / self.done as f64 * 1e6),
            format!("{:.2}", self.generator_cpu / self.seconds),
            format!("{:.0} %", self.generator_cpu * of_machine),
        ]
    }
}

/// The table of the sides; `unit` is what the rate counts.
pub fn report(unit: &str, sides: &[&Side]) -> String {
    let rate = format!("{unit}/s");
    let heads = [
        "",
        &rate,
        "least–most",
        "p50 ms",
        "p99 ms",
        "server cores",
        "of machine",
        "CPU s per million",
        "generator cores",
        "of machine",
    ];
    table(&heads, &sides.iter().map(|s| s.cells()).collect::<Vec<_>>())
}

/// The middle one, or the mean of the two in the middle.
pub fn median(of: &[f64]) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        for (of, expected) in [(vec![3.0], 3.0), (vec![9.0, 1.0, 5.0], 5.0), (vec![4.0, 1.0, 2.0, 9.0], 3.0)]
        {
            assert!((median(&of) - expected).abs() < 1e-9, "{of:?}");
        }
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_side_comes_to_its_rounds() {
        let mut side = Side::new("self", vec![std::process::id()]).unwrap();
        for done in [100, 300, 200] {
            let acks = Latency::new().unwrap();
            side.round(|| Ok(Round { done, took: Duration::from_secs(1), acks })).unwrap();
        }
        assert!((side.rate() - 200.0).abs() < 1e-9);
        assert_eq!(side.done(), 600);
        let text = report("points", &[&side]);
        assert!(text.contains("points/s") && text.contains("100–300"), "{text}");
        assert!(Side::new("gone", vec![u32::MAX]).unwrap().round(|| panic!("never begun")).is_err());
    }
}
