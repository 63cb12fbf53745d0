//! What becomes of old days: deleted, or kept by step in the table `observations_by_step`.
//!
//! | column | type | |
//! | --- | --- | --- |
//! | `datastream` | INT | the dense key |
//! | `step_seconds` | INT | how long a step is |
//! | `phenomenon_time` | TIMESTAMP | its beginning |
//! | `mean`, `min`, `max`, `first`, `last` | DOUBLE | of the sound samples in it |
//! | `count` | BIGINT | how many those are |
//! | `day` | DATE, partition | as in `observations` |
//!
//! A day of some datastreams goes in two commits: their steps into the one table, then their rows
//! out of the other. Both carry the same round number ([`APP_KEEP`]); the first says what the
//! second has to remove. Whoever finds the numbers apart (a crash between them) does the second
//! before anything else enters the table, so that nothing is counted twice and nothing is lost.
//! Samples that come later than that are added to the steps that are there. Samples flagged as
//! out of range or from the future are in no step.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, LazyLock};

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use deltalake_core::DeltaTable;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake_core::kernel::{Action, PrimitiveType, StructField, Transaction};
use deltalake_core::protocol::DeltaOperation;
use futures::TryStreamExt as _;
use model::observation::{Columns, Sample, quality};
use model::{DatastreamKey, Micros};
use object_store::ObjectStore;
use serde_json::{Value, json};

use super::append::{blocking, put, write};
use super::file::{File, day_of, millis};
use super::optimise::ranges;
use super::parquet::{self, Want};
use super::{Cold, ColdView, Writer, field, unavailable};
use crate::LakeError;
use crate::keep::{Due, Keeps, due};
use crate::rows::Rows;

/// The application transaction whose version is the round, in both tables.
pub const APP_KEEP: &str = "zhongshu-keep";
/// Where a commit of steps says what it is the steps of.
const ROUND: &str = "zhongshu.round";
/// Beginnings of steps in a commit's history that are looked through for the last round.
const HISTORY: usize = 64;

/// What was done about old days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Rows that became steps.
    pub stepped: u64,
    /// Rows deleted for their age.
    pub deleted: u64,
}

pub(super) fn columns() -> Vec<StructField> {
    let mut columns = vec![
        field("datastream", PrimitiveType::Integer),
        field("step_seconds", PrimitiveType::Integer),
        field("phenomenon_time", PrimitiveType::Timestamp),
    ];
    columns.extend(["mean", "min", "max", "first", "last"].map(|c| field(c, PrimitiveType::Double)));
    columns.push(field("count", PrimitiveType::Long));
    columns.push(field("day", PrimitiveType::Date));
    columns
}

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let mut fields = vec![
        Field::new("datastream", DataType::Int32, false),
        Field::new("step_seconds", DataType::Int32, false),
        Field::new("phenomenon_time", time, false),
    ];
    fields.extend(["mean", "min", "max", "first", "last"].map(|c| Field::new(c, DataType::Float64, false)));
    fields.push(Field::new("count", DataType::Int64, false));
    Arc::new(Schema::new(fields))
});

/// The columns of its files.
pub(crate) fn schema() -> SchemaRef {
    SCHEMA.clone()
}

/// Datastream, step in seconds, beginning of the step in microseconds.
type Place = (i32, i32, i64);

/// What is kept of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Step {
    count: i64,
    sum: f64,
    min: f64,
    max: f64,
    /// When and what.
    first: (i64, f64),
    last: (i64, f64),
}

impl Step {
    fn of(sample: &Sample) -> Self {
        let Sample { time, value, .. } = *sample;
        let at = (time.0, value);
        Self { count: 1, sum: value, min: value, max: value, first: at, last: at }
    }

    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        if other.first.0 < self.first.0 {
            self.first = other.first;
        }
        if other.last.0 >= self.last.0 {
            self.last = other.last;
        }
    }
}

fn add(steps: &mut BTreeMap<Place, Step>, place: Place, step: &Step) {
    steps.entry(place).and_modify(|there| there.add(step)).or_insert(*step);
}

/// The beginning of the step that holds an instant.
fn beginning(time: i64, seconds: i32) -> i64 {
    let step = i64::from(seconds.max(1)) * Micros::SECOND;
    time.div_euclid(step).saturating_mul(step)
}

impl Cold {
    /// Does what is due of the days that have ended by `now`.
    ///
    /// # Errors
    /// [`LakeError::Table`]; what was begun is finished the next time.
    pub(crate) async fn keep(&self, keeps: &Keeps, now: Micros) -> Result<Kept, LakeError> {
        let mut all = Kept::default();
        let (view, steps) = (self.view(), self.steps());
        let mut days: std::collections::BTreeSet<i64> = view.files.iter().map(|f| f.day).collect();
        days.extend(files_of(&steps).iter().map(|f| f.day));
        for day in days.range(..day_of(now.0)) {
            let due = due(keeps, *day, now);
            if due.is_empty() {
                continue;
            }
            let done = self.keep_day(*day, &due).await?;
            all.stepped += done.stepped;
            all.deleted += done.deleted;
        }
        metrics::counter!("zhongshu_lake_stepped_rows_total").increment(all.stepped);
        metrics::counter!("zhongshu_lake_deleted_rows_total").increment(all.deleted);
        Ok(all)
    }

    async fn keep_day(&self, day: i64, due: &BTreeMap<i32, Due>) -> Result<Kept, LakeError> {
        let mut writer = self.writer.lock().await;
        let mut view = self.refresh(&mut writer).await?;
        let store = Self::store(&view);
        let mut signature = DefaultHasher::new();
        due.hash(&mut signature);
        let signature = signature.finish();
        // A file that has nothing due is not looked into again until more is.
        let concerns = |f: &File| {
            due.range(f.keys.0..=f.keys.1).next().is_some() && writer.done.get(&f.path) != Some(&signature)
        };
        let files: Vec<Arc<File>> =
            view.files.iter().filter(|f| f.day == day && concerns(f)).cloned().collect();
        let old_steps: Vec<File> =
            files_of(&self.steps()).into_iter().filter(|f| f.day == day && concerns(f)).collect();
        let mut all = Kept::default();
        if files.is_empty() && old_steps.is_empty() {
            return Ok(all);
        }
        let chunks = ranges(&store, &files, self.config.file_rows).await?;
        for keys in chunks {
            let mut raw = Columns::default();
            for file in &files {
                parquet::read(&store, file, Want { keys, times: Want::ALL.times }, &mut raw).await?;
            }
            let mut gone: Vec<i32> =
                raw.datastream.iter().copied().filter(|key| due.contains_key(key)).collect();
            gone.dedup();
            gone.sort_unstable();
            gone.dedup();
            let (steps, stepped) = rolled(&raw, due);
            all.stepped += stepped;
            all.deleted +=
                raw.datastream.iter().filter(|key| due.get(key) == Some(&Due::Delete)).count() as u64;
            let round = writer.round + 1;
            // From here to the end of the second commit a failure leaves the round unfinished.
            writer.unfinished = true;
            let changed = self.commit_steps(day, keys, steps, due, round, &gone).await?;
            // Also without a row to remove: the numbers of both tables stay the same.
            if changed || !gone.is_empty() {
                view = self.remove(&view, day, &gone, changed.then_some(round)).await?;
            }
            if changed {
                writer.round = round;
            }
            writer.unfinished = false;
        }
        // What is left has nothing due any more.
        let now_there = view.files.iter().filter(|f| f.day == day).map(|f| f.path.clone());
        let now_there: Vec<String> = now_there
            .chain(files_of(&self.steps()).into_iter().filter(|f| f.day == day).map(|f| f.path))
            .collect();
        for path in files.iter().map(|f| &f.path).chain(old_steps.iter().map(|f| &f.path)) {
            writer.done.remove(path);
        }
        if writer.done.len() > 2 * view.files.len() + 4096 {
            writer.done.clear();
        }
        writer.done.extend(now_there.into_iter().map(|path| (path, signature)));
        Ok(all)
    }

    /// Finishes a round that was begun: its rows are in the steps and in the table.
    pub(super) async fn finish_round(
        &self,
        writer: &mut Writer,
        view: ColdView,
    ) -> Result<ColdView, LakeError> {
        let mut steps = self.steps();
        steps.update_state().await.map_err(unavailable)?;
        self.publish_steps(steps.clone());
        let begun = round_of(&steps).await?;
        let finished = round_of(&view.table).await?;
        writer.round = begun.max(finished);
        if begun <= finished {
            return Ok(view);
        }
        let history: Vec<_> = steps.history(Some(HISTORY)).try_collect().await.map_err(unavailable)?;
        let round = history.iter().find_map(|commit| {
            let said = commit.info.get(ROUND)?;
            let keys: Vec<i32> = serde_json::from_value(said["keys"].clone()).ok()?;
            (said["round"].as_i64() == Some(begun)).then_some((said["day"].as_i64()?, keys))
        });
        let Some((day, keys)) = round else {
            return Err(LakeError::Table(format!(
                "round {begun} of the steps is not in the history of observations_by_step, so that it cannot be finished"
            )));
        };
        tracing::info!(day, datastreams = keys.len(), "finishing what was being kept by step");
        self.remove(&view, day, &keys, Some(begun)).await
    }

    /// Takes the rows of datastreams out of a day.
    async fn remove(
        &self,
        view: &ColdView,
        day: i64,
        keys: &[i32],
        round: Option<i64>,
    ) -> Result<ColdView, LakeError> {
        let store = Self::store(view);
        let mut actions = Vec::new();
        for file in view.files.iter().filter(|f| f.day == day) {
            let from = keys.partition_point(|k| *k < file.keys.0);
            if keys.get(from).is_none_or(|k| *k > file.keys.1) {
                continue;
            }
            let mut all = Columns::default();
            parquet::read(&store, file, Want::ALL, &mut all).await?;
            let before = all.len();
            let kept: Columns = all.iter().filter(|s| keys.binary_search(&s.datastream.0).is_err()).collect();
            if kept.len() == before {
                continue;
            }
            actions.push(Action::Remove(file.remove(true)));
            if !kept.is_empty() {
                let add = write(&store, day, Rows::new(kept), true, parquet::FOR_LONG).await?;
                actions.push(Action::Add(add));
            }
        }
        if actions.is_empty() && round.is_none() {
            return Ok(view.clone());
        }
        let transaction = round.map(|round| (APP_KEEP, round));
        self.commit(view, actions, DeltaOperation::Delete { predicate: None }, transaction).await
    }

    /// Makes the steps of a day and of some datastreams what they are to be; whether anything of
    /// it is new.
    async fn commit_steps(
        &self,
        day: i64,
        keys: (i32, i32),
        mut new: BTreeMap<Place, Step>,
        due: &BTreeMap<i32, Due>,
        round: i64,
        gone: &[i32],
    ) -> Result<bool, LakeError> {
        let table = self.steps();
        let store = table.log_store().object_store(None);
        let mut actions = Vec::new();
        let mut moved = !new.is_empty();
        for file in files_of(&table).into_iter().filter(|f| f.day == day && f.may_hold(keys, Want::ALL.times))
        {
            for (place, step) in read(&store, &file).await? {
                match due.get(&place.0) {
                    Some(Due::Delete) => moved = true,
                    Some(Due::Step(seconds)) if *seconds > place.1 => {
                        moved = true;
                        add(&mut new, (place.0, *seconds, beginning(place.2, *seconds)), &step);
                    }
                    _ => add(&mut new, place, &step),
                }
            }
            actions.push(Action::Remove(file.remove(true)));
        }
        if !moved {
            return Ok(false);
        }
        if !new.is_empty() {
            let stats = statistics(&new);
            let level = parquet::FOR_LONG;
            let bytes = blocking(move || {
                let batch = batch_of(&new)?;
                parquet::write(&batch, parquet::properties(true, level))
            })
            .await??;
            actions.push(Action::Add(put(&store, day, bytes, &stats, true).await?));
        }
        let said = json!({"round": round, "day": day, "keys": gone});
        let properties = CommitProperties::default()
            .with_create_checkpoint(true)
            .with_cleanup_expired_logs(Some(false))
            .with_application_transaction(Transaction::new(APP_KEEP, round))
            .with_metadata([(ROUND.to_owned(), said)]);
        let snapshot = table.snapshot().map_err(unavailable)?;
        let operation = DeltaOperation::Update { predicate: None };
        let done = CommitBuilder::from(properties)
            .with_actions(actions)
            .build(Some(snapshot), table.log_store(), operation)
            .await;
        let mut table = table.clone();
        match done {
            Ok(done) => table.state = Some(done.snapshot()),
            Err(e) => {
                // The answer may have been lost, and not the commit.
                table.update_state().await.map_err(unavailable)?;
                let there = round_of(&table).await? >= round;
                self.publish_steps(table);
                return if there { Ok(true) } else { Err(unavailable(e)) };
            }
        }
        self.publish_steps(table);
        Ok(true)
    }
}

/// What is kept of a step of a datastream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepOf {
    /// Its beginning.
    pub time: Micros,
    /// How long it is.
    pub seconds: i32,
    /// How many samples it stands for; the others are of their values.
    pub count: i64,
    /// Mean.
    pub mean: f64,
    /// Lowest.
    pub min: f64,
    /// Highest.
    pub max: f64,
    /// Of the first sample.
    pub first: f64,
    /// Of the last sample.
    pub last: f64,
}

impl Cold {
    /// The steps of a datastream that begin from `from` to `to`, both included, in order of time.
    ///
    /// # Errors
    /// [`LakeError::Table`] when the store does not answer or a file is damaged.
    pub async fn read_steps(
        &self,
        key: DatastreamKey,
        from: Micros,
        to: Micros,
    ) -> Result<Vec<StepOf>, LakeError> {
        let table = self.steps();
        let store = table.log_store().object_store(None);
        let mut found = Vec::new();
        for file in files_of(&table).into_iter().filter(|f| f.may_hold((key.0, key.0), (from.0, to.0))) {
            for ((datastream, seconds, time), step) in read(&store, &file).await? {
                if datastream == key.0 && (from.0..=to.0).contains(&time) {
                    found.push(StepOf {
                        time: Micros(time),
                        seconds,
                        count: step.count,
                        mean: step.sum / step.count as f64,
                        min: step.min,
                        max: step.max,
                        first: step.first.1,
                        last: step.last.1,
                    });
                }
            }
        }
        found.sort_by_key(|s| (s.time, s.seconds));
        Ok(found)
    }
}

async fn round_of(table: &DeltaTable) -> Result<i64, LakeError> {
    let snapshot = table.snapshot().map_err(unavailable)?;
    let log = table.log_store();
    Ok(snapshot.transaction_version(log.as_ref(), APP_KEEP).await.map_err(unavailable)?.unwrap_or_default())
}

fn files_of(table: &DeltaTable) -> Vec<File> {
    table.snapshot().map(|s| s.log_data().iter().map(|f| File::new(&f)).collect()).unwrap_or_default()
}

/// The steps of rows that are due, and how many rows went into them.
fn rolled(raw: &Columns, due: &BTreeMap<i32, Due>) -> (BTreeMap<Place, Step>, u64) {
    let unsound = quality::OUT_OF_RANGE | quality::FROM_THE_FUTURE;
    let (mut steps, mut rows) = (BTreeMap::new(), 0);
    for sample in raw.iter().filter(|s| s.quality & unsound == 0) {
        if let Some(Due::Step(seconds)) = due.get(&sample.datastream.0) {
            let place = (sample.datastream.0, *seconds, beginning(sample.time.0, *seconds));
            add(&mut steps, place, &Step::of(&sample));
            rows += 1;
        }
    }
    (steps, rows)
}

fn batch_of(steps: &BTreeMap<Place, Step>) -> Result<RecordBatch, LakeError> {
    let doubles =
        |of: fn(&Step) -> f64| Arc::new(steps.values().map(of).collect::<Float64Array>()) as ArrayRef;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(steps.keys().map(|p| p.0).collect::<Int32Array>()),
        Arc::new(steps.keys().map(|p| p.1).collect::<Int32Array>()),
        Arc::new(TimestampMicrosecondArray::from_iter_values(steps.keys().map(|p| p.2)).with_timezone("UTC")),
        doubles(|s| s.sum / s.count as f64),
        doubles(|s| s.min),
        doubles(|s| s.max),
        doubles(|s| s.first.1),
        doubles(|s| s.last.1),
        Arc::new(steps.values().map(|s| s.count).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(SCHEMA.clone(), columns).map_err(|e| LakeError::Encode(e.to_string()))
}

fn statistics(steps: &BTreeMap<Place, Step>) -> Value {
    let mut stats = json!({"numRecords": steps.len()});
    let times = steps.keys().map(|p| p.2);
    if let (Some((first, _)), Some((last, _))) = (steps.first_key_value(), steps.last_key_value()) {
        stats["minValues"] = json!({"datastream": first.0});
        stats["maxValues"] = json!({"datastream": last.0});
    }
    if let (Some(earliest), Some(latest)) = (times.clone().min(), times.max())
        && let (Some(earliest), Some(latest)) =
            (millis(earliest.div_euclid(1000)), millis(latest.saturating_add(999).div_euclid(1000)))
    {
        stats["minValues"]["phenomenon_time"] = earliest.into();
        stats["maxValues"]["phenomenon_time"] = latest.into();
    }
    stats
}

async fn read(store: &Arc<dyn ObjectStore>, file: &File) -> Result<Vec<(Place, Step)>, LakeError> {
    let mut steps = Vec::new();
    for batch in parquet::pages(store, file, None).await? {
        let batch = parquet::as_ours(&batch, &SCHEMA)?;
        let int = |at: usize| batch.column(at).as_primitive::<Int32Type>().values();
        let double = |at: usize| batch.column(at).as_primitive::<Float64Type>().values();
        let times = batch.column(2).as_primitive::<TimestampMicrosecondType>().values();
        let counts = batch.column(8).as_primitive::<Int64Type>().values();
        for at in 0..batch.num_rows() {
            let step = Step {
                count: counts[at],
                sum: double(3)[at] * counts[at] as f64,
                min: double(4)[at],
                max: double(5)[at],
                first: (times[at], double(6)[at]),
                last: (times[at], double(7)[at]),
            };
            steps.push(((int(0)[at], int(1)[at], times[at]), step));
        }
    }
    Ok(steps)
}

/// Which files have nothing due, by what was due when they were looked into.
pub(super) type Done = HashMap<String, u64>;
