//! Functions that plans of this crate use, and that people may use.

use std::hash::Hash;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, TimestampMicrosecondType};
use arrow_array::{Array as _, BooleanArray, StringArray, StringViewArray};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{DataType, Field, TimeUnit};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use super::dimension::{COLUMNS, Dimension, KeySet, Same};
use crate::rows::Rows;

/// `datastream` → whether the set holds it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct IsShown {
    keys: Same<KeySet>,
    signature: Signature,
}

impl IsShown {
    pub(crate) fn udf(keys: Arc<KeySet>) -> Arc<ScalarUDF> {
        let signature = Signature::exact(vec![DataType::Int32], Volatility::Immutable);
        Arc::new(ScalarUDF::from(Self { keys: Same(keys), signature }))
    }
}

impl ScalarUDFImpl for IsShown {
    fn name(&self) -> &str {
        "is_shown"
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let keys = args.args[0].to_array(args.number_rows)?;
        let keys = keys.as_primitive::<Int32Type>().values();
        let mask = BooleanBuffer::collect_bool(keys.len(), |at| self.keys.0.contains(keys[at]));
        Ok(ColumnarValue::Array(Arc::new(BooleanArray::new(mask, None))))
    }
}

/// (`datastream`, `phenomenon_time`) → whether no newer row stands at that instant.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct IsCurrent {
    replaced: Same<Rows>,
    signature: Signature,
}

impl IsCurrent {
    /// `replaced` are the rows that stand instead of what the table holds at their instants.
    pub(crate) fn udf(replaced: Arc<Rows>) -> Arc<ScalarUDF> {
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let signature = Signature::exact(vec![DataType::Int32, time], Volatility::Immutable);
        Arc::new(ScalarUDF::from(Self { replaced: Same(replaced), signature }))
    }
}

impl ScalarUDFImpl for IsCurrent {
    fn name(&self) -> &str {
        "is_current"
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let keys = args.args[0].to_array(args.number_rows)?;
        let times = args.args[1].to_array(args.number_rows)?;
        let keys = keys.as_primitive::<Int32Type>().values();
        let times = times.as_primitive::<TimestampMicrosecondType>().values();
        let (all, at_times) = (self.replaced.0.keys(), self.replaced.0.times());
        // Rows come sorted by key: where a key's instants stand is looked up once a run of it.
        let mut of: Option<(i32, std::ops::Range<usize>)> = None;
        let mask = BooleanBuffer::collect_bool(keys.len(), |at| {
            let key = keys[at];
            let range = match &of {
                Some((same, range)) if *same == key => range.clone(),
                _ => {
                    let start = all.partition_point(|k| *k < key);
                    let range = start..start + all[start..].partition_point(|k| *k == key);
                    of = Some((key, range.clone()));
                    range
                }
            };
            range.is_empty() || at_times[range].binary_search(&times[at]).is_err()
        });
        Ok(ColumnarValue::Array(Arc::new(BooleanArray::new(mask, None))))
    }
}

/// `datastream` → one of the dimension's columns.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct LookUp {
    dimension: Same<Dimension>,
    column: usize,
    signature: Signature,
}

impl LookUp {
    pub(crate) fn udf(dimension: Arc<Dimension>, column: usize) -> Arc<ScalarUDF> {
        let signature = Signature::exact(vec![DataType::Int32], Volatility::Immutable);
        Arc::new(ScalarUDF::from(Self { dimension: Same(dimension), column, signature }))
    }

    pub(crate) fn field(column: usize) -> Field {
        Field::new(COLUMNS[column], DataType::Utf8View, false)
    }
}

impl ScalarUDFImpl for LookUp {
    fn name(&self) -> &str {
        COLUMNS[self.column]
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let keys = args.args[0].to_array(args.number_rows)?;
        let texts = self.dimension.0.look_up(self.column, keys.as_primitive::<Int32Type>());
        Ok(ColumnarValue::Array(Arc::new(texts)))
    }
}

/// `in_area(area, 'path')`: whether an area is the other or lies below it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct InArea(Signature);

impl InArea {
    pub(crate) fn udf() -> Arc<ScalarUDF> {
        let texts = [DataType::Utf8View, DataType::Utf8];
        let both = texts.iter().flat_map(|a| texts.iter().map(|b| vec![a.clone(), b.clone()]));
        let signature = Signature::one_of(both.map(TypeSignature::Exact).collect(), Volatility::Immutable);
        Arc::new(ScalarUDF::from(Self(signature)))
    }
}

impl ScalarUDFImpl for InArea {
    fn name(&self) -> &str {
        "in_area"
    }
    fn signature(&self) -> &Signature {
        &self.0
    }
    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let inner = args.args[0].to_array(args.number_rows)?;
        let outer = args.args[1].to_array(args.number_rows)?;
        let inside = |inner: &str, outer: &str| {
            // A path ends in '/', so that 50/500112 does not hold 50/5001120.
            inner.strip_prefix(outer).is_some_and(|rest| outer.ends_with('/') || rest.starts_with('/'))
        };
        let result: BooleanArray = (0..args.number_rows)
            .map(|at| Some(inside(text(inner.as_ref(), at)?, text(outer.as_ref(), at)?)))
            .collect();
        Ok(ColumnarValue::Array(Arc::new(result)))
    }
}

fn text(array: &dyn arrow_array::Array, at: usize) -> Option<&str> {
    if array.is_null(at) {
        return None;
    }
    if let Some(texts) = array.as_any().downcast_ref::<StringViewArray>() {
        return Some(texts.value(at));
    }
    array.as_any().downcast_ref::<StringArray>().map(|texts| texts.value(at))
}

/// `date_trunc` as the library has it, without its detour through calendars for what is in UTC.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct DateTrunc(Arc<ScalarUDF>);

impl DateTrunc {
    pub(crate) fn udf(inner: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::from(Self(inner)))
    }
}

impl ScalarUDFImpl for DateTrunc {
    fn name(&self) -> &str {
        "date_trunc"
    }
    fn aliases(&self) -> &[String] {
        self.0.aliases()
    }
    fn signature(&self) -> &Signature {
        self.0.signature()
    }
    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.0.return_type(types)
    }
    fn return_field_from_args(
        &self,
        args: datafusion::logical_expr::ReturnFieldArgs,
    ) -> Result<arrow_schema::FieldRef> {
        self.0.return_field_from_args(args)
    }
    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.0.output_ordering(inputs)
    }
    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(ColumnarValue::Array(times)) = args.args.get(1) else {
            return self.0.invoke_with_args(args);
        };
        let DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) = times.data_type() else {
            return self.0.invoke_with_args(args);
        };
        if &**zone != "UTC" {
            return self.0.invoke_with_args(args);
        }
        let plain = DataType::Timestamp(TimeUnit::Microsecond, None);
        let times = times.as_primitive::<TimestampMicrosecondType>().clone().with_timezone_opt(None::<&str>);
        args.args[1] = ColumnarValue::Array(Arc::new(times));
        args.arg_fields[1] = Arc::new(args.arg_fields[1].as_ref().clone().with_data_type(plain.clone()));
        args.return_field = Arc::new(args.return_field.as_ref().clone().with_data_type(plain));
        match self.0.invoke_with_args(args)? {
            ColumnarValue::Array(times) if times.as_primitive_opt::<TimestampMicrosecondType>().is_some() => {
                let times = times.as_primitive::<TimestampMicrosecondType>().clone().with_timezone("UTC");
                Ok(ColumnarValue::Array(Arc::new(times)))
            }
            _ => exec_err!("date_trunc did not give times"),
        }
    }
}

/// Bytes that the texts of one batch may have before they are put together with others.
const MAX_TEXTS: usize = 16 << 20;

/// `bounded(text)`: the text, refused when the batch's texts are too long. Around the operands
/// of `||`, so that no chain of doublings fills the memory.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Bounded(Signature);

impl Bounded {
    pub(crate) fn udf() -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::from(Self(Signature::any(1, Volatility::Immutable))))
    }
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        "bounded"
    }
    fn signature(&self) -> &Signature {
        &self.0
    }
    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types.first().cloned().unwrap_or(DataType::Null))
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let bytes = match &args.args[0] {
            ColumnarValue::Scalar(value) => value.size().saturating_mul(args.number_rows),
            ColumnarValue::Array(array) => match array.data_type() {
                DataType::Utf8View => array.as_string_view().lengths().map(|length| length as usize).sum(),
                _ => array.get_array_memory_size(),
            },
        };
        if bytes > MAX_TEXTS {
            return exec_err!("the texts put together by || are too long");
        }
        Ok(args
            .args
            .into_iter()
            .next()
            .unwrap_or(ColumnarValue::Scalar(datafusion::common::ScalarValue::Null)))
    }
}

/// Puts [`Bounded`] around the operands of `||`.
#[derive(Debug)]
pub(crate) struct LimitTexts;

impl datafusion::logical_expr::planner::ExprPlanner for LimitTexts {
    fn plan_binary_op(
        &self,
        raw: datafusion::logical_expr::planner::RawBinaryExpr,
        _: &datafusion::common::DFSchema,
    ) -> Result<
        datafusion::logical_expr::planner::PlannerResult<datafusion::logical_expr::planner::RawBinaryExpr>,
    > {
        use datafusion::logical_expr::planner::PlannerResult;
        use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
        if raw.op != datafusion::sql::sqlparser::ast::BinaryOperator::StringConcat {
            return Ok(PlannerResult::Original(raw));
        }
        let bounded = |operand: Expr| Box::new(Bounded::udf().call(vec![operand]));
        Ok(PlannerResult::Planned(Expr::BinaryExpr(BinaryExpr::new(
            bounded(raw.left),
            Operator::StringConcat,
            bounded(raw.right),
        ))))
    }
}
