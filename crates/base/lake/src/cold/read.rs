//! Reading one datastream, and the last values.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::observation::Columns;
use model::{DatastreamKey, Micros};

use super::file::{File, day_of};
use super::parquet::{self, Want};
use super::{Cold, ColdView};
use crate::LakeError;
use crate::rows::Rows;

impl ColdView {
    /// The newest `limit` rows of a datastream from `from` to `to`, both included; rather more
    /// than `limit` where a day has them. Only the days, files and pages that may hold them are
    /// read.
    ///
    /// # Errors
    /// [`LakeError::Table`] when the store does not answer or a file is damaged.
    pub async fn read(
        &self,
        key: DatastreamKey,
        from: Micros,
        to: Micros,
        limit: usize,
    ) -> Result<Rows, LakeError> {
        let want = Want { keys: (key.0, key.0), times: (from.0, to.0) };
        if from > to {
            return Ok(Rows::new(Columns::default()));
        }
        let days = day_of(from.0)..=day_of(to.0);
        let mut by_day: BTreeMap<i64, Vec<&Arc<File>>> = BTreeMap::new();
        for file in self.files.iter() {
            if days.contains(&file.day) && file.may_hold(want.keys, want.times) {
                by_day.entry(file.day).or_default().push(file);
            }
        }
        let store = Cold::store(self);
        let mut found = Columns::default();
        for files in by_day.into_values().rev() {
            for file in files {
                parquet::read(&store, file, want, &mut found).await?;
            }
            if found.len() >= limit {
                break;
            }
        }
        Ok(Rows::merge(&[Rows::new(found)]))
    }
}

impl Cold {
    /// [`ColdView::read`] of the table as it is now, and once more when files went meanwhile.
    ///
    /// # Errors
    /// As [`ColdView::read`].
    pub async fn read(
        &self,
        key: DatastreamKey,
        from: Micros,
        to: Micros,
        limit: usize,
    ) -> Result<Rows, LakeError> {
        let view = self.view();
        match view.read(key, from, to, limit).await {
            Err(_) if self.view().table.version() != view.table.version() => {
                self.view().read(key, from, to, limit).await
            }
            done => done,
        }
    }

    /// Shows `take` the rows of the newest `days` days file by file, newest day first: to find
    /// the last values again when what was put down of them is damaged.
    ///
    /// # Errors
    /// As [`ColdView::read`].
    pub async fn last_values(&self, days: usize, mut take: impl FnMut(&Rows)) -> Result<(), LakeError> {
        let view = self.view();
        let store = Self::store(&view);
        let mut by_day: BTreeMap<i64, Vec<&Arc<File>>> = BTreeMap::new();
        for file in view.files.iter() {
            by_day.entry(file.day).or_default().push(file);
        }
        for files in by_day.into_values().rev().take(days) {
            for file in files {
                let mut rows = Columns::default();
                parquet::read(&store, file, Want::ALL, &mut rows).await?;
                take(&Rows::new(rows));
            }
        }
        Ok(())
    }
}
