//! Means, extremes and counts step by step, for curves that would have too many points.

use std::collections::BTreeMap;

use datafusion::error::DataFusionError;
use datafusion::physical_plan::ExecutionPlanProperties as _;
use futures::StreamExt as _;
use model::observation::quality;
use model::{DatastreamKey, Micros};
use tokio::time::timeout_at;

use super::engine::Engine;
use super::run::{Limits, failure};
use super::{QueryError, select};
use crate::rows::Rows;

/// The most steps of one answer, over all datastreams.
pub const MAX_STEPS: i64 = 200_000;

/// What to do with steps that have no sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fill {
    /// Leave them out.
    #[default]
    None,
    /// Show them, with nothing in them.
    Null,
    /// The mean of the step before that has one.
    Previous,
    /// On the line between the means on either side; nothing before the first and after the last.
    Linear,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// When it begins; it lasts to the next, which is not in it.
    pub time: Micros,
    /// The mean, or what fills the gap.
    pub mean: Option<f64>,
    /// The smallest value, if there is a sample.
    pub min: Option<f64>,
    /// The greatest.
    pub max: Option<f64>,
    /// How many samples.
    pub count: u64,
}

/// What to compute.
#[derive(Clone, Debug, PartialEq)]
pub struct Steps {
    /// Of these datastreams.
    pub keys: Vec<DatastreamKey>,
    /// From this time on…
    pub from: Micros,
    /// … and before this one.
    pub to: Micros,
    /// How long a step is. Steps begin at multiples of it, counted from `origin`.
    pub step: i64,
    /// An instant at which a step begins: midnight of the area's time zone for days.
    pub origin: Micros,
    /// What to do with gaps.
    pub fill: Fill,
}

#[derive(Clone, Copy)]
struct Sum {
    count: u64,
    total: f64,
    min: f64,
    max: f64,
}

impl Engine {
    /// The steps of each datastream, in the order asked; samples from the future and those that
    /// their sensor cannot mean are not in them.
    ///
    /// # Errors
    /// [`QueryError::Refused`] for more than [`MAX_STEPS`] steps or a step of no length;
    /// [`QueryError::Unavailable`] when the table cannot be read.
    pub async fn steps(&self, steps: &Steps) -> Result<Vec<Vec<Step>>, QueryError> {
        let Steps { keys, from, to, step, .. } = steps;
        if *step <= 0 {
            return Err(QueryError::Refused("a step must last a microsecond or more".into()));
        }
        let span = to.0.saturating_sub(from.0).max(0) / step;
        if span.saturating_mul(keys.len().max(1) as i64) > MAX_STEPS {
            return Err(QueryError::Refused(format!(
                "that are more than {MAX_STEPS} steps; take wider ones"
            )));
        }
        let mut sums: BTreeMap<(i32, i64), Sum> = BTreeMap::new();
        if from < to && !keys.is_empty() {
            let set: Vec<i32> = keys.iter().map(|k| k.0).collect();
            let (origin, step) = (steps.origin.0, *step);
            let begin = move |time: i64| time - (time - origin).rem_euclid(step);
            sums = self.fold(set, from.0, to.0 - 1, sums, move |sums, rows| add(sums, rows, begin)).await?;
        }
        let first = from.0 - (from.0 - steps.origin.0).rem_euclid(*step);
        Ok(keys.iter().map(|key| filled(&sums, *key, first, steps)).collect())
    }

    /// The rows of these datastreams from `from` to `to`, both included, one an instant, sorted
    /// by (datastream, time); the newest `limit` when there are more.
    ///
    /// # Errors
    /// [`QueryError::Unavailable`].
    pub async fn range(
        &self,
        keys: &[DatastreamKey],
        from: Micros,
        to: Micros,
        limit: usize,
    ) -> Result<Rows, QueryError> {
        let set: Vec<i32> = keys.iter().map(|k| k.0).collect();
        let kept = self
            .fold(set, from.0, to.0, Vec::<Rows>::new(), move |kept, rows| {
                kept.push(rows);
                // What is too old already goes: never more than twice the limit is held.
                if kept.iter().map(Rows::len).sum::<usize>() > limit.saturating_mul(2).max(65_536) {
                    *kept = vec![newest(&Rows::merge(kept), limit)];
                }
            })
            .await?;
        Ok(newest(&Rows::merge(&kept), limit))
    }

    /// Goes through the rows of these datastreams in a time range, in no order.
    async fn fold<T, F>(
        &self,
        keys: Vec<i32>,
        from: i64,
        to: i64,
        start: T,
        mut step: F,
    ) -> Result<T, QueryError>
    where
        T: Send + 'static,
        F: FnMut(&mut T, Rows) + Send + 'static,
    {
        let limit = Limits::default().time;
        let deadline = tokio::time::Instant::now() + limit;
        let too_late = |_| QueryError::Timeout(limit.as_secs());
        let snapshot = timeout_at(deadline, self.source.snapshot()).await.map_err(too_late)??;
        let memory = self.config.memory >> 20;
        let (plan, context) = self.plain_scan(snapshot, keys, from, to).map_err(|e| failure(&e, memory))?;
        let task = self.spawn(async move {
            let mut all = start;
            for partition in 0..plan.output_partitioning().partition_count() {
                let mut stream = plan.execute(partition, context.clone())?;
                while let Some(batch) = stream.next().await {
                    let rows = Rows::from_batch(batch?).map_err(DataFusionError::Execution)?;
                    step(&mut all, rows);
                }
            }
            Ok::<_, DataFusionError>(all)
        })?;
        let _ends = super::run::AbortOnDrop::new(task.abort_handle());
        let done = timeout_at(deadline, task).await.map_err(too_late)?;
        done.map_err(|e| QueryError::Failed(e.to_string()))?.map_err(|e| failure(&e, memory))
    }
}

/// Adds sorted rows: a step's sum is looked up once a run of its rows.
fn add(sums: &mut BTreeMap<(i32, i64), Sum>, rows: Rows, begin: impl Fn(i64) -> i64) {
    let bad = i16::from(quality::FROM_THE_FUTURE | quality::OUT_OF_RANGE);
    let mut open: Option<((i32, i64), Sum)> = None;
    let mut close = |open: Option<((i32, i64), Sum)>| {
        let Some((at, sum)) = open else { return };
        let there = sums.entry(at).or_insert(Sum {
            count: 0,
            total: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
        });
        there.count += sum.count;
        there.total += sum.total;
        there.min = there.min.min(sum.min);
        there.max = there.max.max(sum.max);
    };
    for (key, range) in select::by_key(&rows) {
        for at in range {
            if rows.qualities()[at] & bad != 0 {
                continue;
            }
            let place = (key, begin(rows.times()[at]));
            let value = rows.values()[at];
            match &mut open {
                Some((same, sum)) if *same == place => {
                    sum.count += 1;
                    sum.total += value;
                    sum.min = sum.min.min(value);
                    sum.max = sum.max.max(value);
                }
                _ => close(open.replace((place, Sum { count: 1, total: value, min: value, max: value }))),
            }
        }
    }
    close(open);
}

fn filled(sums: &BTreeMap<(i32, i64), Sum>, key: DatastreamKey, first: i64, steps: &Steps) -> Vec<Step> {
    let known = |(at, sum): (&(i32, i64), &Sum)| Step {
        time: Micros(at.1),
        #[expect(clippy::cast_precision_loss, reason = "a mean of more than 2⁵² samples is no care of ours")]
        mean: Some(sum.total / sum.count as f64),
        min: Some(sum.min),
        max: Some(sum.max),
        count: sum.count,
    };
    let there: Vec<Step> = sums.range((key.0, i64::MIN)..=(key.0, i64::MAX)).map(known).collect();
    if steps.fill == Fill::None {
        return there;
    }
    let mut all = Vec::new();
    let mut next = there.iter().peekable();
    let mut before: Option<Step> = None;
    let mut time = first;
    while time < steps.to.0 {
        match next.next_if(|s| s.time.0 == time) {
            Some(step) => {
                before = Some(*step);
                all.push(*step);
            }
            None => {
                let mean = match steps.fill {
                    Fill::Previous => before.and_then(|b| b.mean),
                    Fill::Linear => before.zip(next.peek().copied()).and_then(|(b, n)| between(b, *n, time)),
                    Fill::None | Fill::Null => None,
                };
                all.push(Step { time: Micros(time), mean, min: None, max: None, count: 0 });
            }
        }
        let Some(later) = time.checked_add(steps.step) else { break };
        time = later;
    }
    all
}

fn between(before: Step, after: Step, time: i64) -> Option<f64> {
    let (low, high) = before.mean.zip(after.mean)?;
    #[expect(clippy::cast_precision_loss, reason = "a span in microseconds below 285 years")]
    let part = (time - before.time.0) as f64 / (after.time.0 - before.time.0) as f64;
    Some(low + (high - low) * part)
}

/// The newest `limit` by time, sorted as before.
fn newest(rows: &Rows, limit: usize) -> Rows {
    let surplus = rows.len().saturating_sub(limit);
    if surplus == 0 {
        return rows.clone();
    }
    let mut times: Vec<(i64, usize)> = rows.times().iter().copied().zip(0..).collect();
    times.select_nth_unstable(surplus);
    let mut places: Vec<usize> = times[surplus..].iter().map(|t| t.1).collect();
    places.sort_unstable();
    let all: Vec<_> = places.iter().flat_map(|at| rows.range(*at..*at + 1)).collect();
    Rows::new(all.into_iter().collect())
}
