//! The table alone: exactly once whatever fails, one row an instant, readers undisturbed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures::stream::BoxStream;
use lake::cold::{Cold, ColdConfig};
use lake::{LakeError, LakeLocation, Rows};
use model::observation::{Columns, quality};
use model::{DatastreamKey, Micros};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use proptest::prelude::*;

use crate::sample;

/// A store whose n-th write from now on fails; the write is done before it says so, or not.
#[derive(Debug)]
pub struct Failing {
    inner: InMemory,
    /// Writes until one fails; below zero none does.
    left: AtomicI64,
    written: std::sync::atomic::AtomicBool,
}

impl Failing {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { inner: InMemory::new(), left: AtomicI64::new(-1), written: false.into() })
    }

    /// Fails from the n-th write on (0 is the next), each time until [`Self::heal`].
    pub fn fail_at(&self, n: i64, written: bool) {
        self.written.store(written, Ordering::SeqCst);
        self.left.store(n, Ordering::SeqCst);
    }

    pub fn heal(&self) {
        self.left.store(-1, Ordering::SeqCst);
    }

    fn fails(&self) -> bool {
        match self.left.load(Ordering::SeqCst) {
            i64::MIN..0 => false,
            0 => true,
            _ => {
                self.left.fetch_sub(1, Ordering::SeqCst);
                false
            }
        }
    }
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failing({})", self.inner)
    }
}

#[async_trait::async_trait]
impl ObjectStore for Failing {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if !self.fails() {
            return self.inner.put_opts(location, payload, opts).await;
        }
        if self.written.load(Ordering::SeqCst) {
            self.inner.put_opts(location, payload, opts).await?;
        }
        Err(object_store::Error::Generic { store: "Failing", source: "the cable is out".into() })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

async fn open(store: &Arc<Failing>, file_rows: usize) -> Cold {
    let location = LakeLocation::Store(store.clone());
    Cold::open(ColdConfig { keep_removed: Duration::ZERO, file_rows, ..ColdConfig::new(location) })
        .await
        .unwrap()
}

fn rows(samples: &[(i32, i64, f64)]) -> Rows {
    let samples = samples.iter().map(|(key, second, value)| sample(*key, noon(*second), *value));
    Rows::merge(&[Rows::new(samples.collect::<Columns>())])
}

fn noon(second: i64) -> Micros {
    Micros(1_790_000_000 * Micros::SECOND).plus(second * Micros::SECOND)
}

/// All of a datastream, as (seconds after noon, value).
async fn of(cold: &Cold, key: i32) -> Vec<(i64, f64)> {
    let all = cold.read(DatastreamKey(key), Micros(i64::MIN), Micros(i64::MAX), usize::MAX).await.unwrap();
    all.iter().map(|s| (s.time.0.wrapping_sub(noon(0).0) / Micros::SECOND, s.value)).collect()
}

#[tokio::test]
async fn a_segment_comes_in_once_wherever_it_fails() {
    // Writes of an append: a file of each of the two days, the commit.
    for written in [false, true] {
        for n in 0..4 {
            let store = Failing::new();
            let cold = open(&store, 1000).await;
            assert!(cold.append(rows(&[(1, 0, 1.0), (2, 0, 2.0)]), 1).await.unwrap());
            let next = rows(&[(1, 30, 3.0), (1, 86_400, 4.0), (2, 0, 5.0)]);
            store.fail_at(n, written);
            let first = cold.append(next.clone(), 2).await;
            store.heal();
            // Killed, or tried again by the same process.
            for cold in [cold, open(&store, 1000).await] {
                let case = format!("write {n} failed, written {written}: {first:?}");
                if first.is_err() {
                    cold.append(next.clone(), 2).await.expect(&case);
                }
                assert!(!cold.append(next.clone(), 2).await.unwrap(), "{case}");
                assert_eq!(cold.view().compacted_to, 2, "{case}");
                assert_eq!(of(&cold, 1).await, [(0, 1.0), (30, 3.0), (86_400, 4.0)], "{case}");
                assert_eq!(of(&cold, 2).await, [(0, 5.0)], "{case}");
                assert_eq!(cold.view().rows(), 4, "{case}: and no row twice");
            }
        }
    }
}

#[tokio::test]
async fn late_repeated_and_corrected_samples_leave_one_row_an_instant() {
    let store = Failing::new();
    let mut cold = open(&store, 1000).await;
    cold.append(rows(&[(1, 0, 1.0), (1, 60, 2.0), (3, 60, 9.0)]), 1).await.unwrap();
    let files = cold.view().files();
    for (n, (what, more, expected, new_files)) in [
        ("newer", &[(1, 90, 3.0)][..], &[(0, 1.0), (60, 2.0), (90, 3.0)][..], 1),
        ("late", &[(1, 30, 1.5)], &[(0, 1.0), (30, 1.5), (60, 2.0), (90, 3.0)], 1),
        ("repeated", &[(1, 30, 1.5)], &[(0, 1.0), (30, 1.5), (60, 2.0), (90, 3.0)], 0),
        ("corrected", &[(1, 60, 7.0)], &[(0, 1.0), (30, 1.5), (60, 7.0), (90, 3.0)], 1),
        ("a file's only row corrected", &[(1, 90, 8.0)], &[(0, 1.0), (30, 1.5), (60, 7.0), (90, 8.0)], 0),
    ]
    .into_iter()
    .enumerate()
    {
        let before = cold.view().files();
        cold.append(rows(more), 2 + n as u64).await.unwrap();
        assert_eq!(of(&cold, 1).await, expected, "{what}");
        assert_eq!(cold.view().rows(), expected.len() as u64 + 1, "{what}: no row twice");
        assert_eq!(cold.view().files() - before, new_files, "{what}");
        cold = open(&store, 1000).await;
        assert_eq!(of(&cold, 1).await, expected, "{what}, opened again");
    }
    assert_eq!(files, 1);
    assert_eq!(of(&cold, 3).await, [(60, 9.0)], "the others are as they were");
}

#[tokio::test]
async fn nothing_is_taken_in_and_yet_the_number_goes_on() {
    let store = Failing::new();
    let cold = open(&store, 1000).await;
    assert!(cold.append(rows(&[]), 7).await.unwrap());
    assert_eq!(open(&store, 1000).await.view().compacted_to, 7);
    assert_eq!((cold.view().files(), cold.view().covers_to), (0, i64::MIN));
}

#[tokio::test]
async fn instants_at_the_ends_of_time_are_kept() {
    let cold = open(&Failing::new(), 1000).await;
    let ends = [i64::MIN, -1, 0, i64::MAX];
    let samples = ends.map(|t| sample(1, Micros(t), t as f64));
    cold.append(Rows::new(samples.into_iter().collect::<Columns>()), 1).await.unwrap();
    let all = cold.read(DatastreamKey(1), Micros(i64::MIN), Micros(i64::MAX), usize::MAX).await.unwrap();
    assert_eq!(all.times(), ends);
    let one = cold.read(DatastreamKey(1), Micros(-1), Micros(-1), 1).await.unwrap();
    assert_eq!(one.times(), [-1]);
}

#[tokio::test]
async fn the_future_does_not_move_what_the_table_covers() {
    let cold = open(&Failing::new(), 1000).await;
    let now = store::now();
    let future = model::observation::Sample {
        quality: quality::FROM_THE_FUTURE,
        ..sample(1, now.plus(400 * Micros::DAY), 1.0)
    };
    cold.append(Rows::new([sample(2, now, 2.0), future].into_iter().collect::<Columns>()), 1).await.unwrap();
    let covers_to = cold.view().covers_to;
    assert!(covers_to >= now.0 && covers_to < now.0 + 10 * Micros::MINUTE, "{covers_to}");
}

#[tokio::test]
async fn a_day_becomes_one_file_while_a_reader_holds_the_old_ones() {
    let store = Failing::new();
    let cold = open(&store, 1000).await;
    for n in 0..10 {
        cold.append(rows(&[(1, n, n as f64), (2, n, -n as f64)]), 1 + n as u64).await.unwrap();
    }
    let before = cold.view();
    let expected = of(&cold, 1).await;
    let done = cold.optimise(noon(86_400)).await.unwrap();
    assert_eq!((done.before, done.after, done.rows), (10, 1, 20));
    assert_eq!(cold.view().files(), 1);
    assert_eq!(of(&cold, 1).await, expected);
    let held = |limit| before.read(DatastreamKey(1), Micros(0), Micros(i64::MAX), limit);
    assert_eq!(held(99).await.unwrap().len(), 10, "the snapshot's files are there");
    assert_eq!(cold.view().compacted_to, 10, "and what was taken in is known still");
    assert_eq!(cold.optimise(noon(86_400)).await.unwrap().before, 0, "once");
    // Nobody may read an older snapshot any more: only then they go, and what a crash left too.
    let orphan = Path::from("observations/day=2026-09-21/orphan.parquet");
    store
        .put_opts(&orphan, PutPayload::from_static(b"no commit names it"), PutOptions::default())
        .await
        .unwrap();
    assert_eq!(cold.vacuum().await.unwrap(), 11);
    assert!(matches!(held(99).await, Err(LakeError::Table(_))));
    assert_eq!(of(&cold, 1).await, expected);
    let cold = open(&store, 1000).await;
    assert_eq!(of(&cold, 1).await, expected);
    assert_eq!(cold.view().compacted_to, 10);
}

#[tokio::test]
async fn a_day_that_one_file_does_not_hold_is_split_by_datastream() {
    let store = Failing::new();
    let cold = open(&store, 40).await;
    for n in 0..10 {
        let samples: Vec<_> = (0..12).map(|key| (key, n, f64::from(key))).collect();
        cold.append(rows(&samples), 1 + n as u64).await.unwrap();
    }
    let done = cold.optimise(noon(86_400)).await.unwrap();
    assert_eq!((done.before, done.after, done.rows), (10, 3, 120));
    for key in 0..12 {
        assert_eq!(of(&cold, key).await.len(), 10);
    }
    // The running day is merged like a tree and not as a whole every time.
    let cold = open(&Failing::new(), 1000).await;
    let mut rewritten = 0;
    for n in 0..64 {
        cold.append(rows(&[(1, n, 0.0)]), 1 + n as u64).await.unwrap();
        rewritten += cold.optimise(noon(0)).await.unwrap().rows;
    }
    assert!(cold.view().files() < 12, "{}", cold.view().files());
    assert!(rewritten < 64 * 6, "{rewritten} rows for 64");
    assert_eq!(of(&cold, 1).await.len(), 64);
}

#[tokio::test]
async fn a_rearrangement_that_fails_changes_nothing() {
    for n in 0..2 {
        let store = Failing::new();
        let cold = open(&store, 1000).await;
        for at in 0..4 {
            cold.append(rows(&[(1, at, at as f64)]), 1 + at as u64).await.unwrap();
        }
        store.fail_at(n, false);
        assert!(cold.optimise(noon(86_400)).await.is_err());
        assert!(cold.append(rows(&[(1, 9, 9.0)]), 5).await.is_err(), "and neither is this taken in");
        store.heal();
        assert_eq!(of(&cold, 1).await.len(), 4);
        cold.append(rows(&[(1, 9, 9.0)]), 5).await.unwrap();
        assert_eq!(cold.optimise(noon(86_400)).await.unwrap().rows, 5);
        assert_eq!(of(&cold, 1).await.len(), 5);
    }
}

#[tokio::test]
async fn many_commits_are_one_checkpoint() {
    let store = Failing::new();
    let cold = open(&store, 1000).await;
    let mut taken = 0;
    for n in 0..40 {
        cold.append(rows(&[(1, n, 1.0)]), 1 + n as u64).await.unwrap();
        taken += u32::from(cold.checkpoint().await.unwrap());
    }
    assert_eq!(taken, 2);
    let cold = open(&store, 1000).await;
    assert_eq!((cold.view().compacted_to, cold.view().rows()), (40, 40));
    assert!(!cold.append(rows(&[(1, 0, 2.0)]), 40).await.unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn the_table_is_a_sorted_map(
        steps in prop::collection::vec(
            (0u8..5, prop::collection::vec((0i32..4, 0i64..40, 0u8..3), 0..12)), 1..12),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let store = Failing::new();
            let mut cold = open(&store, 16).await;
            let mut expected: BTreeMap<(i32, i64), f64> = BTreeMap::new();
            for (n, (then, samples)) in steps.into_iter().enumerate() {
                // Every fourth hour: several days.
                let samples: Vec<_> =
                    samples.into_iter().map(|(k, t, v)| (k, t * 4 * 3600, f64::from(v))).collect();
                expected.extend(samples.iter().map(|(k, t, v)| ((*k, *t), *v)));
                cold.append(rows(&samples), 1 + n as u64).await.unwrap();
                match then {
                    0 => cold = open(&store, 16).await,
                    1 => drop(cold.optimise(noon(100 * 86_400)).await.unwrap()),
                    2 => drop(cold.optimise(noon(0)).await.unwrap()),
                    3 => drop(cold.vacuum().await.unwrap()),
                    _ => {}
                }
                prop_assert_eq!(cold.view().rows(), expected.len() as u64);
                for key in 0..4 {
                    let map: Vec<_> = expected.range((key, 0)..(key + 1, 0)).map(|((_, t), v)| (*t, *v)).collect();
                    prop_assert_eq!(of(&cold, key).await, map);
                }
            }
            Ok(())
        })?;
    }
}
