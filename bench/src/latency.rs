//! Latencies: a histogram from a microsecond to ten minutes, three digits exact.

use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;

/// What is longer counts as this.
const LONGEST_MICROS: u64 = 600_000_000;

/// A histogram of durations.
#[derive(Clone, Debug)]
pub struct Latency(Histogram<u64>);

impl Latency {
    /// An empty one.
    pub fn new() -> Result<Self> {
        Ok(Self(Histogram::new_with_bounds(1, LONGEST_MICROS, 3)?))
    }

    /// Counts one.
    pub fn record(&mut self, took: Duration) {
        self.0.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// Counts all that another counted.
    pub fn add(&mut self, other: &Self) -> Result<()> {
        Ok(self.0.add(&other.0)?)
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// A quantile (0 to 1) in milliseconds.
    pub fn millis(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1000.0
    }

    /// The cells of a table: count, p50, p90, p99, largest, in milliseconds.
    pub fn cells(&self, what: &str) -> Vec<String> {
        let mut cells = vec![what.to_owned(), self.count().to_string()];
        cells.extend([0.5, 0.9, 0.99, 1.0].map(|q| format!("{:.1}", self.millis(q))));
        cells
    }

    /// The heads of [`Self::cells`].
    pub const HEADS: [&str; 6] = ["", "count", "p50 ms", "p90 ms", "p99 ms", "max ms"];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_in_milliseconds_and_the_longest_saturates() {
        let mut latency = Latency::new().unwrap();
        for n in 1..=100 {
            latency.record(Duration::from_millis(n));
        }
        assert_eq!((latency.millis(0.5).round(), latency.millis(0.99).round()), (50.0, 99.0));
        latency.record(Duration::from_secs(86_400));
        assert!((latency.millis(1.0) - 600_000.0).abs() < 600.0);
    }
}
