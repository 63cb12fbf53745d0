//! What a statement's filters say about keys and times.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int32Type;
use arrow_array::{Array as _, BooleanArray};
use datafusion::catalog::Session;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::{Between, BinaryExpr, Cast, Expr, Operator, TableProviderFilterPushDown};
use datafusion::physical_expr::PhysicalExpr;

use super::dimension::{COLUMNS, Dimension, KeySet};
use super::files::File;
use crate::rows;

/// What one filter is good for.
enum Kind {
    /// It asks about datastreams alone: tried on each of them, it is a set of keys.
    Datastreams,
    /// Times from and to, both included. Whether that is all it says.
    Times(i64, i64, bool),
    /// It asks about the lake's own columns: statistics of files may answer it.
    Lake,
    /// Anything else.
    Other,
}

/// How much of a filter the scan takes over.
pub(crate) fn support(filter: &Expr) -> TableProviderFilterPushDown {
    match kind(filter) {
        Kind::Datastreams | Kind::Times(_, _, true) => TableProviderFilterPushDown::Exact,
        Kind::Times(_, _, false) | Kind::Lake => TableProviderFilterPushDown::Inexact,
        Kind::Other => TableProviderFilterPushDown::Unsupported,
    }
}

fn kind(filter: &Expr) -> Kind {
    let mut plain = true;
    let walked = filter.apply(|expr| {
        plain = !matches!(
            expr,
            Expr::ScalarSubquery(_)
                | Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(..)
                | Expr::Placeholder(_)
        );
        Ok(if plain { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    let columns = filter.column_refs();
    if walked.is_err() || !plain || filter.is_volatile() || columns.is_empty() {
        return Kind::Other;
    }
    if columns.iter().all(|c| c.name == "datastream" || COLUMNS.contains(&c.name.as_str())) {
        return Kind::Datastreams;
    }
    if let Some((from, to, exact)) = times(filter) {
        return Kind::Times(from, to, exact);
    }
    let lake = rows::schema();
    if columns.iter().all(|c| lake.index_of(&c.name).is_ok()) { Kind::Lake } else { Kind::Other }
}

/// The bounds a comparison with a constant sets.
fn times(filter: &Expr) -> Option<(i64, i64, bool)> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (column, op, value) = match (is_time(left), is_time(right)) {
                (Some(exact), None) => (exact, *op, instant(right)?),
                (None, Some(exact)) => (exact, op.swap()?, instant(left)?),
                _ => return None,
            };
            let (low, high) = value;
            let exact = column && low == high;
            match op {
                Operator::Gt if exact => Some((low.checked_add(1)?, i64::MAX, true)),
                Operator::Gt | Operator::GtEq => Some((low, i64::MAX, exact)),
                Operator::Lt if exact => Some((i64::MIN, high.checked_sub(1)?, true)),
                Operator::Lt | Operator::LtEq => Some((i64::MIN, high, exact)),
                Operator::Eq => Some((low, high, exact)),
                _ => None,
            }
        }
        Expr::Between(Between { expr, negated: false, low, high }) => {
            let exact = is_time(expr)?;
            let (low, high) = (instant(low)?, instant(high)?);
            Some((low.0, high.1, exact && low.0 == low.1 && high.0 == high.1))
        }
        _ => None,
    }
}

/// Whether it is the time column: as it is, or cast to another precision.
fn is_time(expr: &Expr) -> Option<bool> {
    match expr {
        Expr::Column(column) => (column.name == "phenomenon_time").then_some(true),
        Expr::Cast(Cast { expr, .. }) => is_time(expr).map(|_| false),
        _ => None,
    }
}

/// A constant instant in microseconds, rounded down and up.
fn instant(expr: &Expr) -> Option<(i64, i64)> {
    let Expr::Literal(value, _) = expr else { return None };
    match value {
        ScalarValue::TimestampMicrosecond(Some(t), Some(_)) => Some((*t, *t)),
        ScalarValue::TimestampNanosecond(Some(t), Some(_)) => {
            Some((t.div_euclid(1000), t.div_euclid(1000) + i64::from(t.rem_euclid(1000) > 0)))
        }
        ScalarValue::TimestampMillisecond(Some(t), Some(_)) => t.checked_mul(1000).map(|t| (t, t)),
        ScalarValue::TimestampSecond(Some(t), Some(_)) => t.checked_mul(1_000_000).map(|t| (t, t)),
        _ => None,
    }
}

/// What a scan reads: never more than the scope shows.
pub(crate) struct Wanted {
    /// Of these datastreams.
    pub(crate) keys: Arc<KeySet>,
    /// From and to, both included, microseconds.
    pub(crate) times: (i64, i64),
    /// Further conditions on the lake's columns, for choosing pages; they are tested again above.
    pub(crate) others: Vec<Arc<dyn PhysicalExpr>>,
}

impl Wanted {
    pub(crate) fn read(
        filters: &[Expr],
        dimension: &Dimension,
        shown: &Arc<KeySet>,
        state: &dyn Session,
    ) -> Result<Self> {
        let mut wanted = Self { keys: shown.clone(), times: (i64::MIN, i64::MAX), others: Vec::new() };
        for filter in filters {
            match kind(filter) {
                Kind::Datastreams => wanted.narrow(filter, dimension, state)?,
                Kind::Times(from, to, _) => {
                    wanted.times = (wanted.times.0.max(from), wanted.times.1.min(to));
                }
                Kind::Lake => {
                    let schema = DFSchema::try_from(rows::schema())?;
                    // It is tested above in any case: one that cannot be planned here prunes nothing.
                    wanted.others.extend(state.create_physical_expr(filter.clone(), &schema).ok());
                }
                Kind::Other => {}
            }
        }
        Ok(wanted)
    }

    /// Leaves the keys for which the filter is true. It is tried on no datastream that the caller
    /// may not see, so that not even its failure tells of one.
    fn narrow(&mut self, filter: &Expr, dimension: &Dimension, state: &dyn Session) -> Result<()> {
        let all = dimension.batch();
        let keys = all.column(0).as_primitive::<Int32Type>();
        let shown: BooleanArray = keys.values().iter().map(|key| Some(self.keys.contains(*key))).collect();
        let batch = datafusion::arrow::compute::filter_record_batch(all, &shown)?;
        let schema = DFSchema::try_from(batch.schema())?;
        let test = state.create_physical_expr(filter.clone(), &schema)?;
        let passed = test.evaluate(&batch)?.into_array(batch.num_rows())?;
        let passed = passed.as_boolean();
        let keys = batch.column(0).as_primitive::<Int32Type>();
        let left = (0..batch.num_rows()).filter(|at| passed.is_valid(*at) && passed.value(*at));
        self.keys = Arc::new(KeySet::new(left.map(|at| keys.value(at))));
        Ok(())
    }

    pub(crate) fn is_nothing(&self) -> bool {
        self.keys.is_empty() || self.times.0 > self.times.1
    }

    /// Whether every row of the file is wanted.
    pub(crate) fn is_all_of(&self, file: &File) -> bool {
        self.times.0 <= file.times.0
            && file.times.1 <= self.times.1
            && self.keys.covers(file.keys.0, file.keys.1)
    }
}
