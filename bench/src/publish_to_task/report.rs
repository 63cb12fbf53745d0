//! What was measured, as tables and figures.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Result, bail};

use super::background::Load;
use super::openings::Published;
use super::witness::Sights;
use super::{AIM_MS, Before, MUST_MS, NAME, Options, Taken, WARM_UP};
use crate::database::Kind;
use crate::figure::{Figure, table};
use crate::latency::Latency;
use crate::machine;

/// Parts that a run is cut into, to see whether it grows slower.
const PARTS: usize = 6;
/// The share of the asked load that must have been there for the claim to stand.
const LOAD_KEPT: f64 = 0.98;

/// One run on one database.
pub(super) struct Report {
    /// Openings that were asked for.
    asked: usize,
    /// From PUBLISH to `task.opened`, and the same cut into parts.
    total: Latency,
    parts: Vec<Latency>,
    /// From PUBLISH to PUBACK, to `alert.opened`, and from there to `task.opened`.
    acked: Latency,
    alert: Latency,
    task: Latency,
    reads: Latency,
    unreadable: Vec<String>,
    /// Hydrants whose task is in the API and was not told of in time.
    untold: Vec<String>,
    /// Hydrants that have no task at all.
    lost: Vec<String>,
    more_tasks: usize,
    beside: Option<Beside>,
}

/// What went on beside the openings.
struct Beside {
    load: Load,
    lasted: Duration,
    took: Taken,
    metrics: Vec<(String, f64, f64)>,
    peak_memory: Option<f64>,
}

/// Means of the hub's histograms between two readings of its metrics: name, count, mean.
pub(super) fn means(
    before: &BTreeMap<String, f64>,
    after: &BTreeMap<String, f64>,
) -> Vec<(String, f64, f64)> {
    let grown = |name: &str| after.get(name).map(|a| a - before.get(name).unwrap_or(&0.0));
    let histograms = after.keys().filter_map(|name| name.strip_suffix("_count"));
    let mean = |name: &str| {
        let (count, sum) = (grown(&format!("{name}_count"))?, grown(&format!("{name}_sum"))?);
        (count > 0.0).then(|| (name.to_owned(), count, sum / count))
    };
    histograms.filter_map(mean).collect()
}

impl Report {
    /// Of the measured openings.
    pub(super) fn new(published: &[Published], seen: &Sights) -> Result<Self> {
        let empty = Latency::new()?;
        let mut report = Self {
            asked: published.len(),
            total: empty.clone(),
            parts: vec![empty.clone(); PARTS],
            acked: empty.clone(),
            alert: empty.clone(),
            task: empty.clone(),
            reads: empty,
            unreadable: seen.unreadable.clone(),
            untold: Vec::new(),
            lost: Vec::new(),
            more_tasks: seen.more,
            beside: None,
        };
        for took in &seen.reads {
            report.reads.record(*took);
        }
        for (n, opening) in published.iter().enumerate() {
            report.acked.record(opening.acked);
            let sight = seen.things.get(&opening.thing).cloned().unwrap_or_default();
            if let Some(alert) = sight.alert {
                report.alert.record(alert.saturating_duration_since(opening.at));
            }
            match sight.task {
                Some(task) => {
                    let took = task.saturating_duration_since(opening.at);
                    report.total.record(took);
                    report.parts[n * PARTS / published.len()].record(took);
                    if let Some(alert) = sight.alert {
                        report.task.record(task.saturating_duration_since(alert));
                    }
                }
                None if sight.listed => report.untold.push(opening.thing.clone()),
                None => report.lost.push(opening.thing.clone()),
            }
        }
        Ok(report)
    }

    /// With what went on beside.
    pub(super) fn with(
        mut self,
        load: Load,
        lasted: Duration,
        took: Taken,
        metrics: Vec<(String, f64, f64)>,
        peak_memory: Option<f64>,
    ) -> Self {
        self.beside = Some(Beside { load, lasted, took, metrics, peak_memory });
        self
    }

    /// # Errors
    /// When too little was seen to say anything: a task that is there and was never told of is a
    /// hole in what the bench saw. Tasks that are lost are a result, and a bad one.
    pub(super) fn measured(&self) -> Result<()> {
        if self.total.count() == 0 {
            bail!("no task was opened at all, of {} deciding samples", self.asked);
        }
        if let Some(first) = self.untold.first() {
            bail!(
                "{} tasks are in the API and were not seen on the event stream, first that of {first}",
                self.untold.len()
            );
        }
        Ok(())
    }

    /// Achieved samples a second of the devices beside.
    fn rate(&self) -> f64 {
        self.beside.as_ref().map_or(0.0, |b| b.load.acks.count() as f64 / b.lasted.as_secs_f64())
    }

    /// Whether what the bounds were promised under was so.
    fn condition_held(&self, options: &Options) -> bool {
        self.lost.is_empty()
            && self.unreadable.is_empty()
            && self.rate() >= f64::from(options.rate) * LOAD_KEPT
    }

    /// The tables.
    pub(super) fn text(&self, options: &Options, database: Kind, before: &Before) -> String {
        let mut text = format!(
            "{NAME} on {}: {} openings in {} s beside {} samples/s of {} devices, after {} s of warm-up\n",
            database.name(),
            self.asked,
            options.seconds,
            options.rate,
            options.devices,
            WARM_UP.as_secs()
        );
        let mut rows = vec![
            self.total.cells("PUBLISH to task.opened"),
            self.acked.cells("· PUBLISH to PUBACK"),
            self.alert.cells("· PUBLISH to alert.opened"),
            self.task.cells("· alert.opened to task.opened"),
            self.reads.cells("task.opened to GET task answered"),
        ];
        if let Some(beside) = &self.beside {
            rows.push(beside.load.acks.cells("PUBLISH to PUBACK, beside"));
        }
        text.push_str(&table(&Latency::HEADS, &rows));
        let parts: Vec<String> = self.parts.iter().map(|p| format!("{:.0}", p.millis(0.99))).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  p99 ms by sixths of the time: {}", parts.join(" "));
        let _ = writeln!(
            text,
            "  every task read over the API afterwards; {} lost, {} opened twice",
            self.lost.len(),
            self.more_tasks
        );
        for (what, all) in
            [("lost", &self.lost), ("unreadable", &self.unreadable), ("not told of", &self.untold)]
        {
            if let Some(first) = all.first() {
                let _ = writeln!(text, "  {} {what}, the first: {first}", all.len());
            }
        }
        let _ = writeln!(
            text,
            "  machine before the run: {} cores, load average {:.2}; 4 KiB + fdatasync p50 {:.2} ms in {}",
            machine::cores(),
            before.load_average,
            before.fdatasync.as_secs_f64() * 1000.0,
            match database {
                Kind::Sqlite => "the data folder",
                Kind::Postgres => "the temporary folder, where make bench has the server",
            }
        );
        if let Some(beside) = &self.beside {
            self.beside_text(beside, options, database, &mut text);
        }
        text
    }

    fn beside_text(&self, beside: &Beside, options: &Options, database: Kind, text: &mut String) {
        let Beside { load, lasted, took, metrics, peak_memory } = beside;
        let seconds = lasted.as_secs_f64();
        let _ = writeln!(
            text,
            "  beside: {:.0} samples/s acknowledged of {} asked; {} not sent for a full window, {} refused, {} connections lost",
            self.rate(),
            options.rate,
            load.dropped,
            load.refused,
            load.lost
        );
        if self.rate() < f64::from(options.rate) * LOAD_KEPT {
            text.push_str("  the load that was asked for was not there: the bounds do not count as met\n");
        }
        let mut taken = vec![("hub", took.hub), ("load and witness", took.load)];
        if database == Kind::Postgres {
            taken.push(("PostgreSQL", took.postgres));
        }
        let taken: Vec<String> =
            taken.iter().map(|(who, s)| format!("{who} {s:.1} s ({:.2} cores)", s / seconds)).collect();
        let _ = writeln!(text, "  CPU in {seconds:.1} s: {}", taken.join(", "));
        if let Some(peak) = peak_memory {
            let _ = writeln!(text, "  the hub's memory at its most: {peak:.0} MiB");
        }
        let rows: Vec<Vec<String>> = metrics
            .iter()
            .map(|(name, count, mean)| {
                let mean = match name.strip_suffix("_seconds") {
                    Some(_) => format!("{:.2} ms", mean * 1000.0),
                    None => format!("{mean:.2}"),
                };
                vec![name.clone(), format!("{count:.0}"), mean]
            })
            .collect();
        text.push_str(&table(&["of the hub's own metrics", "count", "mean"], &rows));
    }

    /// The figures.
    pub(super) fn figures(&self, options: &Options, database: Kind) -> Vec<Figure> {
        let on = database.name();
        let of = |what: &str| format!("{what} from PUBLISH of the deciding sample to task readable, {on}");
        let p99 = Figure::new(NAME, of("p99"), self.total.millis(0.99), "ms");
        let mut figures = vec![
            match database {
                Kind::Sqlite => p99.at_most(MUST_MS, AIM_MS, self.condition_held(options)),
                Kind::Postgres => p99,
            },
            Figure::new(NAME, of("p50"), self.total.millis(0.5), "ms"),
            Figure::new(NAME, format!("openings lost, {on}"), self.lost.len() as f64, "openings"),
            Figure::new(NAME, format!("acknowledged beside, {on}"), self.rate(), "samples/s"),
        ];
        if let Some(beside) = &self.beside {
            for (what, quantile) in [("p50", 0.5), ("p99", 0.99)] {
                let what = format!("{what} from PUBLISH to PUBACK beside, {on}");
                figures.push(Figure::new(NAME, what, beside.load.acks.millis(quantile), "ms"));
            }
        }
        figures
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::witness::Seen;
    use super::*;
    use crate::figure::Met;

    fn load(acks: u64) -> Load {
        let mut latency = Latency::new().unwrap();
        for _ in 0..acks {
            latency.record(Duration::from_millis(3));
        }
        Load { acks: latency, dropped: 0, refused: 0, lost: 0 }
    }

    /// Ten openings, the n-th seen after n × 10 ms; those of `hole` have no task, or only in the API.
    fn report(hole: &[(usize, bool)], acks: u64) -> Report {
        let at = Instant::now();
        let mut seen = Sights::default();
        let published: Vec<_> = (1..=10)
            .map(|n| {
                let thing = format!("t{n}");
                let task = at + Duration::from_millis(n as u64 * 10);
                let alert = at + Duration::from_millis(n as u64 * 6);
                let mut sight = Seen { alert: Some(alert), task: Some(task), listed: true };
                if let Some((_, listed)) = hole.iter().find(|(hole, _)| *hole == n) {
                    sight = Seen { alert: None, task: None, listed: *listed };
                }
                seen.things.insert(thing.clone(), sight);
                Published { order: n, thing, at, acked: Duration::from_millis(2) }
            })
            .collect();
        let took = Taken::default();
        let lasted = Duration::from_secs(1);
        Report::new(&published, &seen).unwrap().with(load(acks), lasted, took, Vec::new(), None)
    }

    #[test]
    fn lost_is_a_result_and_unseen_is_no_measurement() {
        let options = Options { seconds: 1, openings: 10, rate: 100, devices: 1, database: None };
        for (hole, acks, measured, met) in [
            (vec![], 100, true, Met::Aim),
            (vec![], 97, true, Met::No),
            (vec![(3, false)], 100, true, Met::No),
            (vec![(3, true)], 100, false, Met::Aim),
            ((1..=10).map(|n| (n, false)).collect(), 100, false, Met::No),
        ] {
            let report = report(&hole, acks);
            assert_eq!(report.measured().is_ok(), measured, "{hole:?}");
            let figures = report.figures(&options, Kind::Sqlite);
            assert_eq!(figures[0].met, Some(met), "{hole:?} {acks}");
            assert_eq!(report.figures(&options, Kind::Postgres)[0].met, None);
        }
    }

    #[test]
    fn the_table_tells_the_stages_apart() {
        let options = Options { seconds: 1, openings: 10, rate: 100, devices: 1, database: None };
        let report = report(&[], 100);
        assert!((report.total.millis(0.5) - 50.0).abs() < 0.2);
        assert!((report.task.millis(1.0) - 40.0).abs() < 0.2);
        let text = report.text(
            &options,
            Kind::Sqlite,
            &Before { load_average: 0.5, fdatasync: Duration::from_micros(800) },
        );
        for expected in ["10 openings", "PUBLISH to task.opened", "0 lost", "p50 0.80 ms", "100 samples/s"] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
    }

    #[test]
    fn means_are_of_what_came_between() {
        let read = |pairs: &[(&str, f64)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect();
        let before =
            read(&[("a_seconds_sum", 1.0), ("a_seconds_count", 2.0), ("b_sum", 5.0), ("b_count", 5.0)]);
        let after =
            read(&[("a_seconds_sum", 4.0), ("a_seconds_count", 8.0), ("b_sum", 5.0), ("b_count", 5.0)]);
        assert_eq!(means(&before, &after), [("a_seconds".to_owned(), 6.0, 0.5)]);
    }
}
