//! Rearranging: the many small files of a day into few large ones; removing what nothing names.
//!
//! Files grow like those of a merge tree: a file is merged when the smaller ones of its day have
//! come to half its size, so that a row is rewritten a few times and not at every turn. A day
//! that is over becomes files of [`super::ColdConfig::file_rows`] rows that share no datastream.

use std::collections::BTreeMap;
use std::sync::Arc;

use deltalake_core::checkpoints;
use deltalake_core::kernel::Action;
use deltalake_core::operations::vacuum::VacuumMode;
use deltalake_core::protocol::DeltaOperation;
use model::Micros;
use model::observation::Columns;
use object_store::ObjectStore;

use super::append::{blocking, pieces, write};
use super::file::{File, day_of};
use super::parquet::{self, Want};
use super::{Cold, unavailable, view_of};
use crate::LakeError;
use crate::rows::Rows;

/// Fewer small files of the running day are left alone.
const FEW: usize = 4;
/// A checkpoint is taken after so many commits.
const CHECKPOINT_EVERY: u64 = 16;
/// A day that is over is rewritten when its small files have this part of its rows…
const WORTHWHILE: u64 = 64;
/// … or when there are so many of them.
const MANY: usize = 8;

/// What was rearranged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rearranged {
    /// Files before.
    pub before: usize,
    /// Files after.
    pub after: usize,
    /// Rows in them.
    pub rows: u64,
}

impl Cold {
    /// Merges the small files of each day, as a rearrangement that changes no data. Readers keep
    /// their snapshot; appending waits for the day that is being merged.
    ///
    /// # Errors
    /// [`LakeError::Table`]; the table is as it was, but for the days done.
    pub async fn optimise(&self, now: Micros) -> Result<Rearranged, LakeError> {
        let mut all = Rearranged::default();
        let days: std::collections::BTreeSet<i64> = self.view().files.iter().map(|f| f.day).collect();
        for day in days {
            let done = self.optimise_day(day, day < day_of(now.0)).await?;
            all.before += done.before;
            all.after += done.after;
            all.rows += done.rows;
        }
        Ok(all)
    }

    async fn optimise_day(&self, day: i64, over: bool) -> Result<Rearranged, LakeError> {
        let mut writer = self.writer.lock().await;
        let view = self.refresh(&mut writer).await?;
        let files: Vec<Arc<File>> = view.files.iter().filter(|f| f.day == day).cloned().collect();
        let group = chosen(files, over, self.config.file_rows as u64);
        if group.len() < 2 {
            return Ok(Rearranged::default());
        }
        let store = Self::store(&view);
        let mut actions: Vec<Action> = group.iter().map(|f| Action::Remove(f.remove(false))).collect();
        let mut done = Rearranged { before: group.len(), ..Rearranged::default() };
        for keys in ranges(&store, &group, self.config.file_rows).await? {
            let rows = merged(&store, &group, keys).await?;
            done.rows += rows.len() as u64;
            for piece in pieces(&rows, self.config.file_rows) {
                actions.push(Action::Add(write(&store, day, piece, false, parquet::FOR_LONG).await?));
                done.after += 1;
            }
        }
        let size = i64::try_from(self.config.file_rows).unwrap_or(i64::MAX);
        let operation = DeltaOperation::Optimize { predicate: None, target_size: size };
        self.commit(&view, actions, operation, None).await?;
        metrics::counter!("zhongshu_lake_optimised_files_total").increment(done.before as u64);
        Ok(done)
    }

    /// Deletes the files that the table has not named for [`super::ColdConfig::keep_removed`],
    /// and those that no commit ever named (a crash before it); how many.
    ///
    /// # Errors
    /// [`LakeError::Table`].
    pub async fn vacuum(&self) -> Result<usize, LakeError> {
        let mut writer = self.writer.lock().await;
        let view = self.refresh(&mut writer).await?;
        let keep = chrono::Duration::from_std(self.config.keep_removed).unwrap_or(chrono::Duration::MAX);
        let (_, done) = view
            .table
            .clone()
            .vacuum()
            .with_retention_period(keep)
            .with_enforce_retention_duration(false)
            .with_mode(VacuumMode::Full)
            .await
            .map_err(unavailable)?;
        self.refresh(&mut writer).await?;
        metrics::counter!("zhongshu_lake_vacuumed_files_total").increment(done.files_deleted.len() as u64);
        Ok(done.files_deleted.len())
    }

    /// Writes the table's state in one file when enough commits have come since the last time,
    /// and deletes the log that it makes needless (a day old); whether it was time.
    ///
    /// # Errors
    /// [`LakeError::Table`]; nothing is lost by it but time at the next opening.
    pub async fn checkpoint(&self) -> Result<bool, LakeError> {
        let mut writer = self.writer.lock().await;
        let view = self.refresh(&mut writer).await?;
        let version = view.table.version().unwrap_or_default();
        if version < writer.checkpoint_at + CHECKPOINT_EVERY {
            return Ok(false);
        }
        checkpoints::create_checkpoint(&view.table, None).await.map_err(unavailable)?;
        writer.checkpoint_at = version;
        if checkpoints::cleanup_metadata(&view.table, None).await.map_err(unavailable)? > 0 {
            let mut table = view.table.clone();
            table.load().await.map_err(unavailable)?;
            self.publish(view_of(table, view.compacted_to));
        }
        Ok(true)
    }
}

/// Which files of a day are merged.
fn chosen(mut files: Vec<Arc<File>>, over: bool, file_rows: u64) -> Vec<Arc<File>> {
    let rows: u64 = files.iter().map(|f| f.rows).sum();
    let small = files.iter().filter(|f| f.rows < file_rows / 2).count();
    if over {
        let small_rows: u64 = files.iter().filter(|f| f.rows < file_rows / 2).map(|f| f.rows).sum();
        let fit = usize::try_from(rows.div_ceil(file_rows.max(1))).unwrap_or(usize::MAX);
        let worthwhile = small_rows >= rows / WORTHWHILE || small >= MANY;
        return if files.len() > fit.max(1) && small > 0 && worthwhile { files } else { Vec::new() };
    }
    files.sort_by_key(|f| f.rows);
    let (mut sum, mut count) = (0, 0);
    for file in files.iter().filter(|f| f.rows < file_rows / 2) {
        if count > 0 && file.rows > 2 * sum {
            break;
        }
        sum += file.rows;
        count += 1;
    }
    files.truncate(if count < FEW { 0 } else { count });
    files
}

/// Ranges of datastreams with about `most` rows each in these files.
pub(super) async fn ranges(
    store: &Arc<dyn ObjectStore>,
    files: &[Arc<File>],
    most: usize,
) -> Result<Vec<(i32, i32)>, LakeError> {
    if files.iter().map(|f| f.rows).sum::<u64>() <= most as u64 {
        return Ok(vec![(i32::MIN, i32::MAX)]);
    }
    let mut counts: BTreeMap<i32, usize> = BTreeMap::new();
    for file in files {
        let mut rows = Columns::default();
        parquet::read(store, file, Want::ALL, &mut rows).await?;
        for run in rows.datastream.chunk_by(|a, b| a == b) {
            *counts.entry(run[0]).or_default() += run.len();
        }
    }
    let mut ranges = Vec::new();
    let (mut first, mut sum) = (i32::MIN, 0);
    for (key, count) in counts {
        if sum > 0 && sum + count > most {
            ranges.push((first, key - 1));
            (first, sum) = (key, 0);
        }
        sum += count;
    }
    ranges.push((first, i32::MAX));
    Ok(ranges)
}

/// The rows of some datastreams in these files, one an instant.
async fn merged(
    store: &Arc<dyn ObjectStore>,
    files: &[Arc<File>],
    keys: (i32, i32),
) -> Result<Rows, LakeError> {
    let want = Want { keys, times: Want::ALL.times };
    let mut runs = Vec::with_capacity(files.len());
    for file in files {
        let mut rows = Columns::default();
        parquet::read(store, file, want, &mut rows).await?;
        runs.push(Rows::new(rows));
    }
    blocking(move || Rows::merge(&runs)).await
}
