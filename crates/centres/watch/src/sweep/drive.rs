//! The task of one sweep: asks, writes down, tells, and ends in time.

use std::sync::Arc;
use std::time::Duration;

use lake::Point;
use model::command::{CommandDown, Question, Reply, Sent, To};
use model::{Context, DatastreamKey};
use store::{StoreError, new_id};
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::run::{Halt, Known, Run, Target};
use super::{Progress, SweepState, Verdict, record};
use crate::Watch;
use crate::http::SweepRow;

/// Devices asked together; then their rows are written.
const RUN: usize = 1024;
/// Rows of one command.
const ROWS: usize = 1024;
/// Between two reports of progress: four a second.
const TICK: Duration = Duration::from_millis(250);
/// Rows of one report; a page reads the others when it has room for them.
const TOLD: usize = 100;
/// Between two attempts at a store that does not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// What the task works with.
pub(super) struct Driver {
    pub(super) watch: Arc<Watch>,
    pub(super) down: Arc<dyn CommandDown>,
    pub(super) progress: broadcast::Sender<Arc<Progress>>,
}

/// Runs the sweep to its end.
pub(super) async fn run(driver: Driver, run: Arc<Run>, limit: Duration) {
    let began = Instant::now();
    let mut halted = driver.ask(&run, limit).await;
    run.all_asked();
    let asked_in = began.elapsed();
    let deadline = Instant::now() + limit;
    while halted.is_none() && !run.is_done() && Instant::now() < deadline {
        let tick = (Instant::now() + TICK).min(deadline);
        tokio::select! {
            () = run.wake.notified() => {}
            () = tokio::time::sleep_until(tick) => {}
        }
        halted = run.halted();
        driver.report(&run).await;
    }
    let by_limit = halted.is_none() && !run.is_done();
    // From here on an answer is an observation like any other.
    driver.watch.sweeping.leave(run.id);
    run.settle(halted.is_none());
    let reason = match halted {
        None if by_limit => record::Reason::Limit,
        None => record::Reason::Answered,
        Some(Halt::Stopped) => record::Reason::Stopped,
        Some(Halt::HubStops) => record::Reason::Restart,
    };
    let patient = reason != record::Reason::Restart;
    while let Err(e) = driver.finish(&run, reason).await {
        tracing::warn!(sweep = run.number, error = %e, "the end of a sweep is not on record yet");
        if !patient || matches!(e, StoreError::Stopping) || !e.is_transient() {
            // The next start ends it.
            return;
        }
        tokio::select! {
            () = run.wake.notified() => {}
            () = tokio::time::sleep(AGAIN) => {}
        }
        if run.halted() == Some(Halt::HubStops) {
            return;
        }
    }
    let counts = run.counts();
    tracing::info!(
        sweep = run.number,
        reason = reason.as_str(),
        total = counts.total,
        silent = counts.silent,
        low = counts.low,
        asked_ms = u64::try_from(asked_in.as_millis()).unwrap_or(u64::MAX),
        "a sweep has ended"
    );
}

impl Driver {
    /// Asks everybody, a run of devices at a time.
    async fn ask(&self, run: &Run, within: Duration) -> Option<Halt> {
        let question = Question { asker: run.id, datastream: run.scope.datastream.clone(), within };
        let mut told = Instant::now();
        for (targets, first) in run.targets.chunks(RUN).zip((0..).step_by(RUN)) {
            if let Some(halt) = run.halted() {
                return Some(halt);
            }
            let keys: Vec<DatastreamKey> = targets.iter().map(|target| target.key).collect();
            let last = self.watch.lake.last_many(&keys).into_iter();
            let last = last.map(|last| last.map(|Point { time, value, .. }| (time, value))).collect();
            run.asking(first, super::now(), last);
            let to: Vec<To<'_>> = targets
                .iter()
                .zip(first..)
                // At most `MOST_THINGS`.
                .map(|(target, n)| To { thing: &target.code, number: u32::try_from(n).unwrap_or(u32::MAX) })
                .collect();
            let sent = self.down.ask(&question, &to).await;
            let missed = sent.iter().zip(first..).filter(|(sent, _)| **sent == Sent::NotListening);
            run.not_reached(missed.map(|(_, place)| place));
            if told.elapsed() >= TICK || run.targets.len() > RUN {
                self.report(run).await;
                told = Instant::now();
            }
        }
        run.halted()
    }

    /// Writes what is behind, then tells the pages. What cannot be written stays behind.
    async fn report(&self, run: &Run) {
        let mut rows = Vec::new();
        match self.write(run, &mut rows).await {
            Ok(()) => {}
            Err(e) => tracing::warn!(sweep = run.number, error = %e, "rows of a sweep wait for the store"),
        }
        if rows.is_empty() {
            return;
        }
        let progress = Progress {
            id: run.id,
            number: run.number.clone(),
            area: run.scope.area.clone(),
            state: SweepState::Running,
            counts: run.counts(),
            rows,
        };
        // An error only says that no page looks.
        let _ = self.progress.send(Arc::new(progress));
    }

    /// Writes every row that is behind; the first of them go to `told` besides.
    async fn write(&self, run: &Run, told: &mut Vec<SweepRow>) -> Result<(), StoreError> {
        loop {
            let mut behind = run.behind(ROWS);
            if behind.is_empty() {
                return Ok(());
            }
            for (place, known) in &mut behind {
                if let Some(target) = run.targets.get(*place) {
                    self.judge(target.key, known);
                }
            }
            run.judged(&behind);
            let rows: Vec<SweepRow> = behind
                .iter()
                .filter_map(|(place, known)| Some(self.row(run, run.targets.get(*place)?, known)))
                .collect();
            let room = TOLD.saturating_sub(told.len());
            told.extend(rows.iter().take(room).cloned());
            if let Err(e) = record::write(&self.watch.store, run.id, rows).await {
                run.still_behind(behind.iter().map(|(place, _)| *place));
                return Err(e);
            }
        }
    }

    /// What an answer means.
    fn judge(&self, key: DatastreamKey, known: &mut Known) {
        let Some(heard) = &known.heard else { return };
        let range = self.watch.registry.by_key(key).and_then(|(.., stream)| stream.range);
        (known.verdict, known.severity) = match heard.reply {
            Reply::Fault(_) => (Verdict::Fault, None),
            Reply::Value { value, .. } if range.is_some_and(|[low, high]| !(low..=high).contains(&value)) => {
                (Verdict::Fault, None)
            }
            Reply::Value { value, .. } => {
                // Mildest first: the last that is broken is the gravest.
                let broken = self.watch.thresholds(key).into_iter().rfind(|t| value < t.below);
                match broken {
                    Some(threshold) => (Verdict::Low, Some(threshold.severity)),
                    None => (Verdict::Ok, None),
                }
            }
        };
    }

    fn row(&self, run: &Run, target: &Target, known: &Known) -> SweepRow {
        let thing = self.watch.registry.by_code(&target.code);
        let (measured_at, value, note) = match known.heard.as_ref().map(|heard| &heard.reply) {
            Some(Reply::Value { time, value }) => (Some(*time), Some(*value), None),
            Some(Reply::Fault(words)) => (None, None, Some(words.clone())),
            None => (None, None, None),
        };
        SweepRow {
            thing: target.code.to_string(),
            name: thing.map(|t| t.name.clone()).unwrap_or_default(),
            place: thing.map(|t| t.place.clone()).unwrap_or_default(),
            area: thing.map_or_else(|| run.scope.area.clone(), |t| t.area.clone()),
            datastream: target.key,
            asked_at: known.asked_at.filter(|_| known.reached),
            answered_at: known.heard.as_ref().map(|heard| heard.at),
            measured_at,
            value,
            via: known.heard.as_ref().map(|heard| heard.via),
            note,
            last_at: known.last.map(|(at, _)| at),
            last_value: known.last.map(|(_, value)| value),
            verdict: known.verdict,
            severity: known.severity,
        }
    }

    /// Writes the last rows and the end.
    async fn finish(&self, run: &Run, reason: record::Reason) -> Result<(), StoreError> {
        self.write(run, &mut Vec::new()).await?;
        let context = Context::system("watch", new_id());
        let end = record::End {
            id: run.id,
            area: run.scope.area.clone(),
            number: run.number.clone(),
            reason,
            counts: run.counts(),
            last_answer_at: run.last_answer_at(),
        };
        record::end(&self.watch.store, &context, end).await?;
        record::trim(&self.watch.store).await
    }
}

/// Where a row stands in its sweep's list: what needs a person first.
pub(super) fn sort(row: &SweepRow) -> i64 {
    match row.verdict {
        Verdict::Low => row.severity.map_or(9, model::Severity::rank),
        Verdict::Fault => 10,
        Verdict::Silent => 20,
        Verdict::Open => 30,
        Verdict::Ok => 40,
    }
}
