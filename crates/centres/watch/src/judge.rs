//! Judging: committed segments in, alerts out.
//!
//! One task owns the rules. Segments come to it in the order of their commits; what waits is
//! judged together and its effects are one command, so that a burst costs one transaction. The
//! watermark goes with the effects, and alone every five seconds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Context, Micros};
use rules::{Effect, Engine, Kind};
use store::{StoreError, args, new_id, now};
use tokio::sync::mpsc;

use crate::alert::{self, Move, Opening, Verdict};
use crate::ingest::Taken;
use crate::standing::Unresolved;
use crate::{Watch, WatchError};

/// How many segments are judged for one command at most.
const TOGETHER: usize = 64;
/// How many effects one command writes at most.
const MOVES: usize = 500;
/// How often silence is looked for.
const TICK: Duration = Duration::from_secs(1);
/// How long the watermark may lag.
const WATERMARK: Duration = Duration::from_secs(5);
/// How often the engine's state is put down.
const PUT_DOWN: Duration = Duration::from_secs(60);
/// How many segments are read back at a time.
const PAGE: u32 = 64;

/// The task's own state.
pub(crate) struct Judge {
    pub(crate) engine: Engine,
    /// The last segment judged, and the last whose judging is on record.
    judged: u64,
    recorded: u64,
    recorded_at: Instant,
    /// The last segment whose engine state is put down, and when that was.
    put_down: u64,
    put_down_at: Instant,
}

impl Judge {
    /// The engine as it was before the restart: runs counted quietly, open alerts taken up.
    /// Returns what must be resolved because no rule watches it any more.
    pub(crate) async fn restore(
        watch: &Watch,
        mut engine: Engine,
    ) -> Result<(Self, Vec<Effect>), WatchError> {
        let row: Option<(i64, String)> = watch.store.read().opt(alert::JUDGED_TO, args![]).await?;
        let (judged, version) =
            row.map_or((0, String::new()), |(segment, version)| (segment.unsigned_abs(), version));
        let last = watch.lake.last_seq().await;
        if judged > last {
            tracing::warn!(
                judged,
                last,
                "the observations are older than the state (restored alone?): judging goes on from their end"
            );
        }
        let judged = judged.min(last);
        if judged > 0 && version != engine.version() {
            tracing::info!(
                from = version,
                to = engine.version(),
                "the rules are others than before the restart"
            );
        }
        for thing in watch.registry.things() {
            for (key, _) in &thing.datastreams {
                if let Some(last) = watch.lake.last(*key) {
                    engine.seed_heard(*key, last.time.min(now()));
                }
            }
        }
        // From the state put down on; without one from the beginning of the log.
        let mut after = take_up(watch, &mut engine, judged).await?.unwrap_or_default();
        let put_down = after;
        watch.lake.release(put_down);
        while after < judged {
            let page = watch.lake.segments_after(after, PAGE).await?;
            let Some(end) = page.last() else { break };
            let end = match end {
                Ok(segment) => segment.seq,
                Err(damaged) => damaged.seq,
            };
            for segment in page.into_iter().flatten().filter(|s| s.seq <= judged) {
                engine.replay(segment.rows.iter(), segment.received_at);
            }
            after = end;
        }
        let mut orphans = Vec::new();
        let open: Vec<(String, i64, i64, i64, i64)> =
            watch.store.read().all(alert::UNRESOLVED, args![]).await?;
        for (rule, datastream, opened_at, severity, offline) in open {
            let datastream = model::DatastreamKey(i32::try_from(datastream).unwrap_or(-1));
            let severity = model::Severity::from_rank(severity).unwrap_or(model::Severity::Blue);
            let (rule, opened_at): (Arc<str>, _) = (rule.into(), Micros(opened_at));
            if engine.seed_open(&rule, datastream, severity, opened_at) {
                if let Some((thing, ..)) = watch.registry.by_key(datastream) {
                    let alert = Unresolved { rule, datastream, opened_at, severity, offline: offline != 0 };
                    watch.standing.set(thing, alert);
                }
            } else {
                tracing::warn!(rule = &*rule, %datastream, "an open alert is resolved: no rule watches for it any more");
                orphans.push(Effect::Resolve { rule, datastream, opened_at, at: now(), value: None });
            }
        }
        let (recorded_at, put_down_at) = (Instant::now(), Instant::now());
        let this = Self { engine, judged, recorded: judged, recorded_at, put_down, put_down_at };
        Ok((this, orphans))
    }

    /// Judges what was committed and not judged before the restart, and `effects` besides.
    pub(crate) async fn catch_up(
        &mut self,
        watch: &Watch,
        mut effects: Vec<Effect>,
    ) -> Result<(), WatchError> {
        let mut caught = 0u64;
        loop {
            let page = watch.lake.segments_after(self.judged, PAGE).await?;
            if page.is_empty() && effects.is_empty() {
                break;
            }
            for segment in page {
                match segment {
                    Ok(segment) => {
                        self.engine.judge_into(segment.rows.iter(), segment.received_at, &mut effects);
                        self.judged = segment.seq;
                        caught += 1;
                    }
                    Err(damaged) => {
                        tracing::error!(
                            seq = damaged.seq,
                            reason = damaged.reason,
                            "a damaged segment is not judged"
                        );
                        self.judged = damaged.seq;
                    }
                }
            }
            for verdict in self.verdicts(watch, &effects) {
                command(watch, &verdict).await?;
            }
            self.settle(watch, &effects);
            effects.clear();
        }
        if caught > 0 {
            tracing::info!(segments = caught, "judged what was committed before the restart");
        }
        Ok(())
    }

    /// Runs until the queue closes and everything in it is judged.
    pub(crate) async fn run(mut self, watch: Arc<Watch>, mut queue: mpsc::Receiver<Taken>) {
        let mut effects = Vec::new();
        let mut lags = Vec::new();
        let mut ticker = tokio::time::interval(TICK);
        ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut ticked = Instant::now();
        let mut closed = false;
        while !closed {
            let mut taken = tokio::select! {
                taken = queue.recv() => {
                    closed = taken.is_none();
                    taken
                }
                _ = ticker.tick() => None,
            };
            let mut count = 0;
            while let Some(Taken { segment, began }) = taken {
                self.engine.judge_into(segment.rows.iter(), segment.received_at, &mut effects);
                self.judged = segment.seq;
                lags.push(began);
                count += 1;
                taken = if count < TOGETHER { queue.try_recv().ok() } else { None };
            }
            // What waits may be the word of a device that seems silent.
            if !closed && queue.is_empty() && ticked.elapsed() >= TICK {
                ticked = Instant::now();
                effects.extend(self.engine.tick(now()));
            }
            let due = self.judged > self.recorded && (closed || self.recorded_at.elapsed() >= WATERMARK);
            if !effects.is_empty() || due {
                let moved = !effects.is_empty();
                if !self.write(&watch, &effects).await {
                    return;
                }
                self.settle(&watch, &effects);
                effects.clear();
                if moved {
                    for began in &lags {
                        metrics::histogram!("zhongshu_judge_lag_seconds")
                            .record(began.elapsed().as_secs_f64());
                    }
                }
            }
            lags.clear();
            let due = closed || self.put_down_at.elapsed() >= PUT_DOWN;
            if due && self.recorded > self.put_down {
                self.put_down(&watch).await;
            }
        }
    }

    /// Puts the engine's state down, so that a start need not read all segments again and the log
    /// may let go of them. Not having it costs time only: a failure is logged.
    async fn put_down(&mut self, watch: &Watch) {
        self.put_down_at = Instant::now();
        let segment = self.recorded;
        let bytes = match self.engine.put_down() {
            Ok(bytes) => bytes,
            Err(e) => {
                tracing::error!(error = %e, "the rules' state cannot be put down");
                return;
            }
        };
        let context = Context::system("watch", new_id());
        let done = watch
            .store
            .command::<_, (), StoreError, _>(
                &context,
                "judge:put-down",
                (segment, bytes),
                |tx, (segment, bytes)| {
                    Box::pin(async move {
                        tx.bookkeeping();
                        let now = tx.now;
                        let segment = i64::try_from(*segment).unwrap_or(i64::MAX);
                        tx.execute(alert::PUT_DOWN, args![segment, bytes.clone(), now]).await?;
                        Ok(())
                    })
                },
            )
            .await;
        match done {
            Ok(()) => {
                self.put_down = segment;
                watch.lake.release(segment);
            }
            Err(e) => {
                tracing::warn!(error = %e, "the rules' state could not be put down; the next start reads more segments")
            }
        }
    }

    /// Writes until it is written; `false` when the store stops for good.
    async fn write(&mut self, watch: &Watch, effects: &[Effect]) -> bool {
        for verdict in self.verdicts(watch, effects) {
            if !self.write_one(watch, &verdict).await {
                return false;
            }
        }
        true
    }

    async fn write_one(&self, watch: &Watch, verdict: &Arc<Verdict>) -> bool {
        let mut pause = Duration::from_millis(50);
        loop {
            match command(watch, verdict).await {
                Ok(()) => return true,
                Err(StoreError::Stopping) => {
                    tracing::warn!(
                        judged = self.recorded,
                        "the store stopped before the judge; the next start judges again from there"
                    );
                    return false;
                }
                Err(e) => {
                    tracing::error!(error = %e, effects = verdict.moves.len(), "alerts cannot be written; judging waits and tries again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
            }
        }
    }

    /// The effects as commands of a bounded size (a district that falls silent at once is
    /// thousands of alerts, and a command has half a minute); the watermark goes with the last.
    fn verdicts(&self, watch: &Watch, effects: &[Effect]) -> Vec<Arc<Verdict>> {
        let judged = (self.judged > self.recorded).then(|| (self.judged, self.engine.version().to_owned()));
        let mut verdicts: Vec<Verdict> = effects
            .chunks(MOVES)
            .map(|effects| {
                let moves = effects.iter().map(|effect| Move {
                    opening: watch.opening(effect).map(Box::new),
                    effect: effect.clone(),
                });
                Verdict { moves: moves.collect(), judged: None }
            })
            .collect();
        match verdicts.last_mut() {
            Some(last) => last.judged = judged,
            None => verdicts.push(Verdict { moves: Vec::new(), judged }),
        }
        verdicts.into_iter().map(Arc::new).collect()
    }

    /// After the commit: memory says what the tables say.
    fn settle(&mut self, watch: &Watch, effects: &[Effect]) {
        self.recorded = self.judged;
        self.recorded_at = Instant::now();
        if !effects.is_empty() {
            watch.settle(effects);
        }
    }
}

/// Takes up the state put down last, if it is of a judged segment; which one.
async fn take_up(watch: &Watch, engine: &mut Engine, judged: u64) -> Result<Option<u64>, WatchError> {
    let row: Option<(i64, Vec<u8>)> = watch.store.read().opt(alert::STATE, args![]).await?;
    let Some((segment, bytes)) = row.filter(|(segment, _)| segment.unsigned_abs() <= judged) else {
        return Ok(None);
    };
    match engine.take_up(&bytes) {
        Ok(()) => Ok(Some(segment.unsigned_abs())),
        Err(e) => {
            tracing::warn!(error = %e, "the rules' state is not taken up; runs are counted anew from the log");
            Ok(None)
        }
    }
}

async fn command(watch: &Watch, verdict: &Arc<Verdict>) -> Result<(), StoreError> {
    let context = Context::system("watch", new_id());
    watch
        .store
        .command(&context, "alert:judge", verdict.clone(), |tx, verdict| Box::pin(alert::write(tx, verdict)))
        .await
}

impl Watch {
    /// What an alert is opened with: the thing as it is now, and the rule's title.
    fn opening(&self, effect: &Effect) -> Option<Opening> {
        let Effect::Open { rule, datastream, .. } = effect else { return None };
        let (_, thing, stream) = self.registry.by_key(*datastream)?;
        let declared = self.rule(rule)?;
        let offline = matches!(declared.kind, Kind::Silence { offline: true, .. });
        let (title, unit) = (declared.title.clone(), stream.unit.clone());
        Some(Opening { id: new_id(), title, thing: thing.clone(), unit, offline })
    }

    /// Carries committed effects into what the map shows.
    fn settle(&self, effects: &[Effect]) {
        let mut moved = Vec::new();
        for effect in effects {
            let (Effect::Open { datastream, .. }
            | Effect::Change { datastream, .. }
            | Effect::Resolve { datastream, .. }) = effect;
            let Some((thing, ..)) = self.registry.by_key(*datastream) else { continue };
            moved.push(thing);
            match effect {
                Effect::Open { rule, opened_at, severity, .. } => {
                    let offline = self
                        .rule(rule)
                        .is_some_and(|r| matches!(r.kind, Kind::Silence { offline: true, .. }));
                    let alert = Unresolved {
                        rule: rule.clone(),
                        datastream: *datastream,
                        opened_at: *opened_at,
                        severity: *severity,
                        offline,
                    };
                    self.standing.set(thing, alert);
                }
                Effect::Change { rule, severity, .. } => {
                    self.standing.change(thing, rule, *datastream, *severity)
                }
                Effect::Resolve { rule, .. } => self.standing.clear(thing, rule, *datastream),
            }
        }
        self.changed_things.push(moved.into_iter());
        self.show_open();
    }

    pub(crate) fn show_open(&self) {
        for (severity, open) in self.standing.count() {
            metrics::gauge!("zhongshu_alerts_open", "severity" => severity.as_str()).set(open as f64);
        }
    }
}
