//! Taking segments in: one commit with their rows and up to which segment they reach.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use deltalake_core::kernel::{Action, Add};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use model::observation::Columns;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};

use super::file::{self, File};
use super::parquet::{self, Want};
use super::{APP, Cold, ColdView, MOST_KEYS, Writer};
use crate::LakeError;
use crate::rows::Rows;

impl Cold {
    /// Takes in the rows of the segments up to `to`, one row an instant; whether they were not in
    /// already. Of an instant that the table has, the new value stands afterwards, in the same
    /// commit; the same value again stays what it was, flags included.
    ///
    /// **Returns `Ok` only after the commit is in the store** (a folder: on the disk). After an
    /// error it may be in or not: the next call finds out.
    ///
    /// # Errors
    /// [`LakeError::Table`] when the store does not take it.
    pub async fn append(&self, rows: Rows, to: u64) -> Result<bool, LakeError> {
        let mut writer = self.writer.lock().await;
        let view = self.refresh(&mut writer).await?;
        if to <= view.compacted_to {
            return Ok(false);
        }
        let store = Self::store(&view);
        let days = blocking(move || by_day(rows)).await?;
        let mut actions = Vec::new();
        let mut taken = Vec::with_capacity(days.len());
        for (day, rows) in days {
            let rows = self.replace(&writer, &view, &store, day, rows, &mut actions).await?;
            for piece in pieces(&rows, self.config.file_rows) {
                actions.push(Action::Add(write(&store, day, piece, true, parquet::SOON).await?));
            }
            taken.push(rows);
        }
        let replaces = actions.iter().any(|a| matches!(a, Action::Remove(_)));
        let operation = if replaces {
            DeltaOperation::Update { predicate: None }
        } else {
            DeltaOperation::Write {
                mode: SaveMode::Append,
                partition_by: Some(vec!["day".into()]),
                predicate: None,
            }
        };
        if let Err(e) = self.commit(&view, actions, operation, Some((APP, to as i64))).await {
            // The answer may have been lost, and not the commit.
            let now = self.refresh(&mut writer).await?;
            if now.compacted_to < to {
                return Err(e);
            }
        }
        taken.iter().for_each(|rows| writer.remember(rows));
        Ok(true)
    }

    /// Takes the instants of `rows` that the table has out of it; what remains of `rows` is to be
    /// added.
    async fn replace(
        &self,
        writer: &Writer,
        view: &ColdView,
        store: &Arc<dyn ObjectStore>,
        day: i64,
        rows: Rows,
        actions: &mut Vec<Action>,
    ) -> Result<Rows, LakeError> {
        let Some(want) = writer.may_be_there(&rows) else { return Ok(rows) };
        let mut repeated: HashSet<(i32, i64)> = HashSet::new();
        for file in view.files.iter().filter(|f| f.day == day && f.may_hold(want.keys, want.times)) {
            let mut there = Columns::default();
            parquet::read(store, file, want, &mut there).await?;
            let mut replaced: HashSet<(i32, i64)> = HashSet::new();
            for old in there.iter() {
                let found = rows.find(old.datastream, old.time, old.time);
                let Some(new) = rows.range(found).next() else { continue };
                let instant = (old.datastream.0, old.time.0);
                if new.value.to_bits() == old.value.to_bits() {
                    repeated.insert(instant);
                } else {
                    replaced.insert(instant);
                }
            }
            if replaced.is_empty() {
                continue;
            }
            metrics::counter!("zhongshu_lake_files_rewritten_total").increment(1);
            actions.push(Action::Remove(file.remove(true)));
            let kept = without(store, file, &replaced).await?;
            if !kept.is_empty() {
                actions.push(Action::Add(write(store, day, kept, true, parquet::FOR_LONG).await?));
            }
        }
        if repeated.is_empty() {
            return Ok(rows);
        }
        let new = rows.iter().filter(|s| !repeated.contains(&(s.datastream.0, s.time.0)));
        Ok(Rows::new(new.collect::<Columns>()))
    }
}

impl Writer {
    /// The span of the rows that the table may have already; none when all are newer.
    fn may_be_there(&self, rows: &Rows) -> Option<Want> {
        let mut want: Option<Want> = None;
        for (key, time) in rows.keys().iter().zip(rows.times()) {
            let newest = match usize::try_from(*key) {
                Ok(at) if at <= MOST_KEYS => self.newest.get(at).copied().unwrap_or(i64::MIN),
                _ => i64::MAX,
            };
            if *time > newest || newest == i64::MIN {
                continue;
            }
            let Want { keys, times } = want.unwrap_or(Want { keys: (*key, *key), times: (*time, *time) });
            want = Some(Want {
                keys: (keys.0.min(*key), keys.1.max(*key)),
                times: (times.0.min(*time), times.1.max(*time)),
            });
        }
        want
    }

    fn remember(&mut self, rows: &Rows) {
        for (key, time) in rows.keys().iter().zip(rows.times()) {
            let Ok(at) = usize::try_from(*key) else { continue };
            if at > MOST_KEYS {
                continue;
            }
            if at >= self.newest.len() {
                self.newest.resize(at + 1, i64::MIN);
            }
            self.newest[at] = self.newest[at].max(*time);
        }
    }
}

/// The rows of a file but those of some instants.
async fn without(
    store: &Arc<dyn ObjectStore>,
    file: &File,
    instants: &HashSet<(i32, i64)>,
) -> Result<Rows, LakeError> {
    let mut all = Columns::default();
    parquet::read(store, file, Want::ALL, &mut all).await?;
    let kept = all.iter().filter(|s| !instants.contains(&(s.datastream.0, s.time.0)));
    Ok(Rows::new(kept.collect::<Columns>()))
}

/// Rows of each day, in order of days.
fn by_day(rows: Rows) -> BTreeMap<i64, Rows> {
    let first = rows.times().first().copied().map(file::day_of);
    match first {
        None => return BTreeMap::new(),
        // Nearly always.
        Some(day) if rows.times().iter().all(|t| file::day_of(*t) == day) => {
            return BTreeMap::from([(day, rows)]);
        }
        Some(_) => {}
    }
    let mut days: BTreeMap<i64, Columns> = BTreeMap::new();
    for sample in rows.iter() {
        days.entry(file::day_of(sample.time.0)).or_default().push(sample);
    }
    days.into_iter().map(|(day, columns)| (day, Rows::new(columns))).collect()
}

/// Rows in pieces of at most `most`, in order.
pub(super) fn pieces(rows: &Rows, most: usize) -> impl Iterator<Item = Rows> + '_ {
    let most = most.max(1);
    (0..rows.len().div_ceil(most)).map(move |n| {
        if rows.len() <= most {
            return rows.clone();
        }
        let start = n * most;
        Rows::new(rows.range(start..rows.len().min(start + most)).collect::<Columns>())
    })
}

/// Writes a file of a day; its entry.
pub(super) async fn write(
    store: &Arc<dyn ObjectStore>,
    day: i64,
    rows: Rows,
    data_change: bool,
    level: parquet::Level,
) -> Result<Add, LakeError> {
    let (bytes, stats) = blocking(move || {
        let stats = file::statistics(&rows);
        parquet::encode(&rows, level).map(|bytes| (bytes, stats))
    })
    .await??;
    put(store, day, bytes, &stats, data_change).await
}

/// Puts a file into the partition of a day.
pub(super) async fn put(
    store: &Arc<dyn ObjectStore>,
    day: i64,
    bytes: Vec<u8>,
    stats: &serde_json::Value,
    data_change: bool,
) -> Result<Add, LakeError> {
    let path = format!("day={}/{}.parquet", file::day_name(day), store::new_id());
    let size = bytes.len();
    let location = Path::parse(&path).map_err(|e| LakeError::Table(e.to_string()))?;
    store
        .put(&location, PutPayload::from(bytes))
        .await
        .map_err(|e| LakeError::Table(format!("write {path}: {e}")))?;
    metrics::counter!("zhongshu_lake_bytes_written_total").increment(size as u64);
    Ok(file::add(path, size, day, stats, data_change))
}

/// Work for the processor, off the threads that serve sockets.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, LakeError> {
    let stopped = |e| LakeError::Table(format!("the work stopped: {e}"));
    tokio::task::spawn_blocking(work).await.map_err(stopped)
}
