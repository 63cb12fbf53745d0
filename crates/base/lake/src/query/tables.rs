//! The tables that SQL sees, and what they are.

use std::sync::{Arc, LazyLock};

use arrow_array::builder::StringViewBuilder;
use arrow_array::{ArrayRef, Float64Array, Int32Array, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use model::{AreaPath, Text};

use super::dimension::{Dimension, KeySet, Scope};

/// A column as people read of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnInfo {
    /// Its name in SQL.
    pub name: &'static str,
    /// Its type as Arrow has it.
    pub data_type: DataType,
    /// What it holds.
    pub about: Text,
}

/// A table as people read of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableInfo {
    /// Its name in SQL.
    pub name: &'static str,
    /// What it holds.
    pub about: Text,
    /// Its columns.
    pub columns: Vec<ColumnInfo>,
}

/// Every table.
#[must_use]
pub fn tables() -> Vec<TableInfo> {
    let observations = super::observations::schema();
    vec![
        table(
            "observations",
            ("观测值：每个数据流每个时刻一行", "observations: a row an instant of a datastream"),
            &observations,
            OBSERVATIONS,
        ),
        table(
            "latest",
            ("每个数据流的最新值", "the newest value of every datastream"),
            &observations,
            OBSERVATIONS,
        ),
        table(
            "observations_by_step",
            ("旧日期按时间步长汇总的观测值", "old days, kept by step"),
            &super::by_step::schema(),
            STEPS,
        ),
        table(
            "datastreams",
            ("数据流", "datastreams"),
            &DATASTREAMS,
            &[
                ("数据流编号", "the datastream's key"),
                ("对象编码", "the code of its thing"),
                ("测量项", "what it measures"),
                ("单位（UCUM）", "the unit, as UCUM writes it"),
                ("中文名称", "its name in Chinese"),
                ("英文名称", "its name in English"),
            ],
        ),
        table(
            "things",
            ("对象（设备、设施）", "things: devices and facilities"),
            &THINGS,
            &[
                ("对象编码", "its code"),
                ("类型", "its type"),
                (
                    "区域路径，可用 in_area(area, '路径') 筛选",
                    "the path of its area; in_area(area, 'path') filters",
                ),
                ("中文名称", "its name in Chinese"),
                ("英文名称", "its name in English"),
                ("经度（WGS-84）", "longitude, WGS-84"),
                ("纬度（WGS-84）", "latitude, WGS-84"),
            ],
        ),
        table(
            "areas",
            ("区域树", "the area tree"),
            &AREAS,
            &[
                ("区域路径", "the area's path"),
                ("区域编码", "its code"),
                ("层级", "its level: city to floor"),
                ("中文名称", "its name in Chinese"),
                ("英文名称", "its name in English"),
            ],
        ),
    ]
}

const OBSERVATIONS: &[(&str, &str)] = &[
    ("数据流编号", "the datastream's key"),
    ("对象编码", "the code of its thing"),
    ("测量项", "what it measures"),
    ("区域路径，可用 in_area(area, '路径') 筛选", "the path of its area; in_area(area, 'path') filters"),
    ("现象时间（UTC）", "when it held, UTC"),
    ("数值", "the value, in the unit"),
    (
        "质量位：0 正常，1 按接收时间，2 未来时间，4 迟到，8 超出量程",
        "quality bits: 0 good, 1 time of receipt, 2 from the future, 4 late, 8 out of range",
    ),
    ("单位（UCUM）", "the unit, as UCUM writes it"),
];

const STEPS: &[(&str, &str)] = &[
    ("数据流编号", "the datastream's key"),
    ("对象编码", "the code of its thing"),
    ("测量项", "what it measures"),
    ("区域路径，可用 in_area(area, '路径') 筛选", "the path of its area; in_area(area, 'path') filters"),
    ("步长起点（UTC）", "when the step begins, UTC"),
    ("步长（秒）", "how long it is, in seconds"),
    ("平均值", "the mean of its samples"),
    ("最小值", "the least"),
    ("最大值", "the greatest"),
    ("首个值", "the first"),
    ("末个值", "the last"),
    ("样本数", "how many samples"),
    ("单位（UCUM）", "the unit, as UCUM writes it"),
];

fn table(
    name: &'static str,
    about: (&str, &str),
    schema: &SchemaRef,
    columns: &'static [(&'static str, &'static str)],
) -> TableInfo {
    let columns = schema.fields().iter().zip(columns).map(|(field, (zh, en))| ColumnInfo {
        name: name_of(field.name()),
        data_type: field.data_type().clone(),
        about: Text::new(*zh, *en),
    });
    TableInfo { name, about: Text::new(about.0, about.1), columns: columns.collect() }
}

/// The names are constants of this file; the schema only holds copies.
fn name_of(name: &str) -> &'static str {
    NAMES.iter().find(|n| **n == name).copied().unwrap_or_default()
}

const NAMES: [&str; 24] = [
    "datastream",
    "thing",
    "property",
    "area",
    "phenomenon_time",
    "value",
    "quality",
    "unit",
    "key",
    "code",
    "type",
    "name_zh",
    "name_en",
    "lon",
    "lat",
    "path",
    "level",
    "step_seconds",
    "mean",
    "min",
    "max",
    "first",
    "last",
    "count",
];

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8View, false)
}

static DATASTREAMS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let mut fields = vec![Field::new("key", DataType::Int32, false)];
    fields.extend(["thing", "property", "unit", "name_zh", "name_en"].map(text));
    Arc::new(Schema::new(fields))
});

static THINGS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let mut fields: Vec<Field> = ["code", "type", "area", "name_zh", "name_en"].map(text).into();
    fields.extend(["lon", "lat"].map(|name| Field::new(name, DataType::Float64, true)));
    Arc::new(Schema::new(fields))
});

static AREAS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(["path", "code", "level", "name_zh", "name_en"].map(text).to_vec()))
});

/// A thing as queries know it.
#[derive(Clone, Debug, PartialEq)]
pub struct ThingRow {
    /// Its code.
    pub code: String,
    /// Its type.
    pub kind: String,
    /// Where it is.
    pub area: AreaPath,
    /// What it is called.
    pub name: Text,
    /// Longitude and latitude, WGS-84.
    pub location: Option<[f64; 2]>,
}

/// An area as queries know it.
#[derive(Clone, Debug, PartialEq)]
pub struct AreaRow {
    /// Its path.
    pub path: AreaPath,
    /// Its level: `city` … `floor`.
    pub level: String,
    /// What it is called.
    pub name: Text,
}

/// Everything beside the observations that SQL sees, as it was when this was made.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// The datastreams.
    pub dimension: Arc<Dimension>,
    /// The things.
    pub things: Arc<[ThingRow]>,
    /// The area tree.
    pub areas: Arc<[AreaRow]>,
}

impl Catalog {
    /// `datastreams`, `things` and `areas`, what the scope shows of them.
    pub(crate) fn batches(
        &self,
        scope: &Scope,
        shown: &KeySet,
    ) -> Result<[(&'static str, RecordBatch); 3], ArrowError> {
        let datastreams: Vec<_> = self.dimension.all().iter().filter(|d| shown.contains(d.key.0)).collect();
        let with_streams: std::collections::HashSet<&str> =
            datastreams.iter().map(|d| d.thing.as_str()).collect();
        let sees = |area: &AreaPath| match scope {
            Scope::All => true,
            Scope::Areas(areas) => areas.iter().any(|a| area.is_in(a)),
            Scope::Keys(_) => false,
        };
        let things: Vec<_> = self
            .things
            .iter()
            .filter(|t| sees(&t.area) || matches!(scope, Scope::Keys(_)) && with_streams.contains(&*t.code))
            .collect();
        let areas: Vec<_> = self.areas.iter().filter(|a| sees(&a.path)).collect();
        let keys: Int32Array = datastreams.iter().map(|d| d.key.0).collect();
        let datastreams = RecordBatch::try_new(
            DATASTREAMS.clone(),
            vec![
                Arc::new(keys),
                texts(datastreams.iter().map(|d| d.thing.as_str())),
                texts(datastreams.iter().map(|d| d.property.as_str())),
                texts(datastreams.iter().map(|d| d.unit.as_str())),
                texts(datastreams.iter().map(|d| d.name.zh.as_str())),
                texts(datastreams.iter().map(|d| d.name.en.as_str())),
            ],
        )?;
        let coordinate = |at: usize| -> ArrayRef {
            Arc::new(things.iter().map(|t| t.location.map(|l| l[at])).collect::<Float64Array>())
        };
        let (lon, lat) = (coordinate(0), coordinate(1));
        let things = RecordBatch::try_new(
            THINGS.clone(),
            vec![
                texts(things.iter().map(|t| t.code.as_str())),
                texts(things.iter().map(|t| t.kind.as_str())),
                texts(things.iter().map(|t| t.area.as_str())),
                texts(things.iter().map(|t| t.name.zh.as_str())),
                texts(things.iter().map(|t| t.name.en.as_str())),
                lon,
                lat,
            ],
        )?;
        let areas = RecordBatch::try_new(
            AREAS.clone(),
            vec![
                texts(areas.iter().map(|a| a.path.as_str())),
                texts(areas.iter().map(|a| a.path.code())),
                texts(areas.iter().map(|a| a.level.as_str())),
                texts(areas.iter().map(|a| a.name.zh.as_str())),
                texts(areas.iter().map(|a| a.name.en.as_str())),
            ],
        )?;
        Ok([("datastreams", datastreams), ("things", things), ("areas", areas)])
    }
}

fn texts<'t>(values: impl Iterator<Item = &'t str>) -> ArrayRef {
    let mut builder = StringViewBuilder::new();
    values.for_each(|value| builder.append_value(value));
    Arc::new(builder.finish())
}
