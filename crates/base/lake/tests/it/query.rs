//! Queries: what they see, what they refuse, what they cost.

mod guard;
mod mixtures;
mod pushdown;
mod scope;
mod steps;
mod whole;

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{Date32Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use async_trait::async_trait;
use datafusion::arrow::util::display::array_value_to_string;
use deltalake_core::DeltaTable;
use deltalake_core::kernel::{DataType as DeltaType, PrimitiveType};
use deltalake_core::protocol::SaveMode;
use lake::Rows;
use lake::query::{
    AreaRow, Catalog, Cold, Datastream, Dimension, Engine, Limits, QueryConfig, QueryError, Scanned, Scope,
    Snapshot, Source, ThingRow,
};
use model::observation::{Columns, Sample};
use model::{AreaPath, DatastreamKey, Micros, Text};

/// 2026-11-24T00:00:00Z
pub const DAY: i64 = 1_795_478_400_000_000;
pub const SECOND: i64 = 1_000_000;

/// A source that always gives the same.
pub struct Fixed(pub Snapshot);

#[async_trait]
impl Source for Fixed {
    async fn snapshot(&self) -> Result<Snapshot, QueryError> {
        Ok(self.0.clone())
    }

    fn last(&self) -> Rows {
        let newest: Vec<Sample> = Rows::merge(&self.0.hot).iter().collect();
        let mut last: HashMap<i32, Sample> = HashMap::new();
        last.extend(newest.into_iter().map(|s| (s.datastream.0, s)));
        Rows::new(last.into_values().collect())
    }
}

pub fn rows(samples: impl IntoIterator<Item = (i32, i64, f64)>) -> Rows {
    let samples = samples.into_iter().map(|(key, time, value)| Sample {
        datastream: DatastreamKey(key),
        time: Micros(time),
        value,
        quality: 0,
    });
    Rows::new(samples.collect::<Columns>())
}

/// Keys 1 to `count`: of thing `t-1`, `t-2` … by turns in the areas `50/1/` and `50/2/`.
pub fn catalog(count: i32) -> Catalog {
    let area = |key: i32| AreaPath::parse(&format!("50/{}/", 1 + (key + 1) % 2)).unwrap();
    let datastreams = (1..=count).map(|key| Datastream {
        key: DatastreamKey(key),
        thing: format!("t-{key}"),
        property: "pressure".into(),
        area: area(key),
        unit: "MPa".into(),
        name: Text::new("水压", "Water pressure"),
    });
    let things = (1..=count).map(|key| ThingRow {
        code: format!("t-{key}"),
        kind: "fire-hydrant".into(),
        area: area(key),
        name: Text::new(format!("消火栓{key}"), format!("Hydrant {key}")),
        location: Some([106.5, 29.5]),
    });
    let areas = ["50/", "50/1/", "50/2/"].map(|path| AreaRow {
        path: AreaPath::parse(path).unwrap(),
        level: "district".into(),
        name: Text::new(path, path),
    });
    Catalog {
        dimension: Arc::new(Dimension::new(datastreams).unwrap()),
        things: things.collect(),
        areas: areas.into(),
    }
}

/// A Delta table with a commit for each of `commits`, a file for each day in it.
pub async fn table(folder: &std::path::Path, commits: &[Rows]) -> DeltaTable {
    let url = url::Url::from_directory_path(folder).unwrap();
    let table = DeltaTable::try_from_url(url).await.unwrap();
    let primitive = DeltaType::Primitive;
    let mut table = table
        .create()
        .with_column("datastream", primitive(PrimitiveType::Integer), false, None)
        .with_column("phenomenon_time", primitive(PrimitiveType::Timestamp), false, None)
        .with_column("value", primitive(PrimitiveType::Double), false, None)
        .with_column("quality", primitive(PrimitiveType::Short), false, None)
        .with_column("day", primitive(PrimitiveType::Date), false, None)
        .with_partition_columns(["day"])
        .await
        .unwrap();
    for rows in commits {
        let days = rows.times().iter().map(|t| i32::try_from(t.div_euclid(24 * 3600 * SECOND)).unwrap());
        let mut fields: Vec<Field> =
            lake::rows::schema().fields().iter().map(|f| f.as_ref().clone()).collect();
        fields.push(Field::new("day", DataType::Date32, false));
        let mut columns = rows.batch().columns().to_vec();
        columns.push(Arc::new(Date32Array::from_iter_values(days)));
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        table = table.write([batch]).with_save_mode(SaveMode::Append).await.unwrap();
    }
    table
}

/// What a table holds, and the newest time of each datastream.
pub async fn cold(folder: &std::path::Path, commits: &[Rows], newest: bool) -> Cold {
    let mut times: Vec<i64> = Vec::new();
    for s in commits.iter().flat_map(Rows::iter) {
        let key = usize::try_from(s.datastream.0).unwrap();
        times.resize(times.len().max(key + 1), i64::MIN);
        times[key] = s.time.0.max(times[key]);
    }
    Cold { table: table(folder, commits).await, newest: newest.then(|| Arc::new(times)) }
}

pub fn engine(hot: Vec<Rows>, cold: Option<Cold>) -> Engine {
    Engine::new(Arc::new(Fixed(Snapshot { hot, cold, steps: None })), QueryConfig::default()).unwrap()
}

/// The answer's cells as texts, and what was read for it.
pub async fn ask(
    engine: &Engine,
    catalog: &Catalog,
    scope: &Scope,
    sql: &str,
) -> Result<(Vec<Vec<String>>, Scanned), QueryError> {
    let mut answer = engine.sql(sql, catalog, scope, Limits::default()).await?;
    let mut cells = Vec::new();
    while let Some(batch) = answer.next().await {
        let batch = batch?;
        for row in 0..batch.num_rows() {
            let cell = |column: &arrow_array::ArrayRef| array_value_to_string(column, row).unwrap();
            cells.push(batch.columns().iter().map(cell).collect());
        }
    }
    Ok((cells, answer.scanned()))
}

/// The first column.
pub async fn texts(engine: &Engine, catalog: &Catalog, scope: &Scope, sql: &str) -> Vec<String> {
    let (cells, _) = ask(engine, catalog, scope, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    cells.into_iter().map(|row| row.join(" ")).collect()
}
