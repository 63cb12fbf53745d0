//! Parts of rows in memory.

use model::observation::Columns;
use model::{DatastreamKey, Micros};

use crate::rows::Rows;

/// `len` rows from `start` on, without copying.
pub(crate) fn slice(rows: &Rows, start: usize, len: usize) -> Rows {
    // The columns stay what they were: there is nothing that could be refused.
    Rows::from_batch(rows.batch().slice(start, len)).unwrap_or_else(|_| Rows::merge(&[]))
}

/// The rows of these keys, in order, with times from `from` to `to`, both included.
pub(crate) fn of_keys(rows: &Rows, keys: impl Iterator<Item = i32>, from: i64, to: i64) -> Rows {
    let mut found = Columns::default();
    for key in keys {
        let range = rows.find(DatastreamKey(key), Micros(from), Micros(to));
        found.datastream.extend_from_slice(&rows.keys()[range.clone()]);
        found.time.extend_from_slice(&rows.times()[range.clone()]);
        found.value.extend_from_slice(&rows.values()[range.clone()]);
        found.quality.extend_from_slice(&rows.qualities()[range]);
    }
    Rows::new(found)
}

/// Key by key: where its rows stand.
pub(crate) fn by_key(rows: &Rows) -> impl Iterator<Item = (i32, std::ops::Range<usize>)> + '_ {
    let keys = rows.keys();
    let mut at = 0;
    std::iter::from_fn(move || {
        let key = *keys.get(at)?;
        let end = at + keys[at..].partition_point(|k| *k == key);
        let range = at..end;
        at = end;
        Some((key, range))
    })
}
