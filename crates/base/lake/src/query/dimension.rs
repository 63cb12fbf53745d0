//! What a datastream is, beside its key: whose it is, where, in which unit.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use arrow_array::builder::StringViewBuilder;
use arrow_array::{Array as _, ArrayRef, Int32Array, RecordBatch, StringViewArray};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use model::{AreaPath, DatastreamKey, Text};

/// A datastream as queries know it.
#[derive(Clone, Debug, PartialEq)]
pub struct Datastream {
    /// Its key in the lake.
    pub key: DatastreamKey,
    /// The code of its thing.
    pub thing: String,
    /// Its own code: what it measures.
    pub property: String,
    /// Where its thing is.
    pub area: AreaPath,
    /// The unit, as UCUM writes it.
    pub unit: String,
    /// What people call it.
    pub name: Text,
}

/// Whose observations may be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every datastream of the dimension.
    All,
    /// Those in these areas and below.
    Areas(Vec<AreaPath>),
    /// These.
    Keys(Vec<DatastreamKey>),
}

/// The columns that come from the dimension, in the order of its batch.
pub(crate) const COLUMNS: [&str; 4] = ["thing", "property", "area", "unit"];

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let mut fields = vec![Field::new("datastream", DataType::Int32, false)];
    fields.extend(COLUMNS.map(|name| Field::new(name, DataType::Utf8View, false)));
    Arc::new(Schema::new(fields))
});

/// All datastreams, as they were when it was made. An observation of a datastream that is not in
/// here is in no answer: nobody knows where it belongs.
#[derive(Debug)]
pub struct Dimension {
    /// Sorted by key.
    all: Vec<Datastream>,
    /// By key: the place in `all`.
    place: Vec<u32>,
    /// `datastream` and [`COLUMNS`], a row a datastream.
    batch: RecordBatch,
}

/// No place.
const NOWHERE: u32 = u32::MAX;

impl Dimension {
    /// Takes the datastreams; of one key twice, the last. Keys below zero do not exist.
    ///
    /// # Errors
    /// None that Arrow is known to give for these columns.
    pub fn new(datastreams: impl IntoIterator<Item = Datastream>) -> Result<Self, ArrowError> {
        let by_key: HashMap<i32, Datastream> =
            datastreams.into_iter().filter(|d| d.key.0 >= 0).map(|d| (d.key.0, d)).collect();
        let mut all: Vec<Datastream> = by_key.into_values().collect();
        all.sort_by_key(|d| d.key.0);
        let last = all.last().map_or(0, |d| d.key.0.unsigned_abs() as usize + 1);
        let mut place = vec![NOWHERE; last];
        for (at, datastream) in (0..).zip(&all) {
            place[datastream.key.0.unsigned_abs() as usize] = at;
        }
        let text = |of: fn(&Datastream) -> &str| -> ArrayRef {
            let mut builder = StringViewBuilder::new().with_deduplicate_strings();
            all.iter().for_each(|d| builder.append_value(of(d)));
            Arc::new(builder.finish())
        };
        let columns = vec![
            Arc::new(all.iter().map(|d| d.key.0).collect::<Int32Array>()) as ArrayRef,
            text(|d| &d.thing),
            text(|d| &d.property),
            text(|d| d.area.as_str()),
            text(|d| &d.unit),
        ];
        let batch = RecordBatch::try_new(SCHEMA.clone(), columns)?;
        Ok(Self { all, place, batch })
    }

    /// Of no datastreams.
    #[must_use]
    pub fn empty() -> Self {
        Self { all: Vec::new(), place: Vec::new(), batch: RecordBatch::new_empty(SCHEMA.clone()) }
    }

    /// Every datastream, by key.
    #[must_use]
    pub fn all(&self) -> &[Datastream] {
        &self.all
    }

    /// The datastream with this key.
    #[must_use]
    pub fn get(&self, key: DatastreamKey) -> Option<&Datastream> {
        self.all.get(self.place_of(key.0)?)
    }

    /// The keys that a scope shows.
    #[must_use]
    pub fn keys(&self, scope: &Scope) -> KeySet {
        let shown: Vec<i32> = match scope {
            Scope::All => self.all.iter().map(|d| d.key.0).collect(),
            Scope::Areas(areas) => {
                let inside = |d: &&Datastream| areas.iter().any(|a| d.area.is_in(a));
                self.all.iter().filter(inside).map(|d| d.key.0).collect()
            }
            Scope::Keys(keys) => keys.iter().map(|k| k.0).filter(|k| self.place_of(*k).is_some()).collect(),
        };
        KeySet::new(shown)
    }

    /// `datastream`, `thing`, `property`, `area`, `unit`, a row a datastream.
    pub(crate) fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    fn place_of(&self, key: i32) -> Option<usize> {
        let place = *self.place.get(usize::try_from(key).ok()?)?;
        (place != NOWHERE).then_some(place as usize)
    }

    /// The column at `column` of [`COLUMNS`] for each of `keys`; null for one nobody knows.
    pub(crate) fn look_up(&self, column: usize, keys: &Int32Array) -> StringViewArray {
        let source = self.batch.column(column + 1);
        let Some(source) = source.as_any().downcast_ref::<StringViewArray>() else {
            return StringViewArray::new_null(keys.len());
        };
        // The texts are shared: a row costs its 16 bytes and no copy.
        let mut builder = StringViewBuilder::with_capacity(keys.len());
        let blocks: Vec<u32> =
            source.data_buffers().iter().map(|b| builder.append_block(b.clone())).collect();
        let mut before = None;
        for key in keys.values() {
            let place = match before {
                Some((same, place)) if same == *key => place,
                _ => self.place_of(*key),
            };
            before = Some((*key, place));
            match place {
                None => builder.append_null(),
                Some(at) => {
                    let view = arrow_view(source.views()[at]);
                    match view {
                        Some((block, offset, len)) => {
                            let block = blocks.get(block as usize).copied().unwrap_or(u32::MAX);
                            if builder.try_append_view(block, offset, len).is_err() {
                                builder.append_value(source.value(at));
                            }
                        }
                        None => builder.append_value(source.value(at)),
                    }
                }
            }
        }
        builder.finish()
    }
}

/// Block, offset and length of a text that is not in the view itself: Arrow's view layout keeps
/// up to 12 bytes inside, else length, 4 bytes of prefix, block and offset, 32 bits each.
fn arrow_view(view: u128) -> Option<(u32, u32, u32)> {
    #[expect(clippy::cast_possible_truncation, reason = "the four 32-bit fields of a view")]
    let part = |n: u32| (view >> (32 * n)) as u32;
    let len = part(0);
    (len > 12).then(|| (part(2), part(3), len))
}

/// A set of datastream keys: a bit each.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    bits: Vec<u64>,
    count: usize,
    first: i32,
    last: i32,
}

impl KeySet {
    /// Of these keys; those below zero do not exist.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = i32>) -> Self {
        let mut set = Self { bits: Vec::new(), count: 0, first: i32::MAX, last: i32::MIN };
        for key in keys {
            let Ok(at) = usize::try_from(key) else { continue };
            let (word, bit) = (at / 64, 1u64 << (at % 64));
            if set.bits.len() <= word {
                set.bits.resize(word + 1, 0);
            }
            if set.bits[word] & bit == 0 {
                set.bits[word] |= bit;
                set.count += 1;
            }
            set.first = set.first.min(key);
            set.last = set.last.max(key);
        }
        set
    }

    /// Whether it holds `key`.
    #[must_use]
    pub fn contains(&self, key: i32) -> bool {
        let Ok(at) = usize::try_from(key) else { return false };
        self.bits.get(at / 64).is_some_and(|word| word & (1 << (at % 64)) != 0)
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The smallest and the greatest; of an empty set nothing lies between them.
    #[must_use]
    pub fn bounds(&self) -> (i32, i32) {
        (self.first, self.last)
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = i32> + '_ {
        let range = if self.is_empty() { 0..0 } else { self.first..self.last + 1 };
        range.filter(|key| self.contains(*key))
    }

    /// Whether every key from `first` to `last` is in it.
    pub(crate) fn covers(&self, first: i32, last: i32) -> bool {
        // Dense keys are the rule, so that the count answers at once.
        let dense = self.count as u64 == self.last.abs_diff(self.first) as u64 + 1;
        first > last
            || (first >= self.first
                && last <= self.last
                && (dense || (first..=last).all(|key| self.contains(key))))
    }
}

/// A shared thing that is the same only when it is the very same: how functions that carry data
/// are told apart in a plan.
#[derive(Debug)]
pub(crate) struct Same<T>(pub(crate) Arc<T>);

impl<T> Clone for Same<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> PartialEq for Same<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Eq for Same<T> {}

impl<T> Hash for Same<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}
