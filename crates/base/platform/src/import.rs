//! The city from files: areas, features, organisations and posts (`zhongshu import FOLDER`).
//!
//! Rows are added or renewed by their code, so that importing a folder again changes nothing.
//! A file is checked whole before any of it is written.

use std::collections::{HashMap, HashSet};

use model::{AreaLevel, AreaPath, Context};
use serde::Deserialize;
use store::{Store, StoreError, Value, args};

use crate::area::Areas;

store::statements! {
    DROP_FEATURES = "DELETE FROM area_features";
}

const ADD_AREAS: &str = "INSERT INTO areas (path, code, level, name_zh, name_en, sort)";
const RENEW_AREAS: &str = "ON CONFLICT (path) DO UPDATE SET code = excluded.code, level = excluded.level,
    name_zh = excluded.name_zh, name_en = excluded.name_en, sort = excluded.sort";
const ADD_FEATURES: &str = "INSERT INTO area_features (area, sort, feature)";
const ADD_ORGANISATIONS: &str = "INSERT INTO organisations (code, kind, area, name_zh, name_en)";
const RENEW_ORGANISATIONS: &str =
    "ON CONFLICT (code) DO UPDATE SET kind = excluded.kind, area = excluded.area,
    name_zh = excluded.name_zh, name_en = excluded.name_en";
const ADD_POSTS: &str = "INSERT INTO posts (code, name_zh, name_en, level)";
const RENEW_POSTS: &str = "ON CONFLICT (code) DO UPDATE SET name_zh = excluded.name_zh,
    name_en = excluded.name_en, level = excluded.level";

/// What is wrong with one row of a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {reason}")]
pub struct RowError {
    /// The file.
    pub file: String,
    /// Its line, from 1.
    pub line: u64,
    /// What is wrong and what to do.
    pub reason: String,
}

/// Why a file was not imported; nothing of it was written.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Rows are wrong.
    #[error("import: {} rows are wrong, the first: {}", .0.len(), .0.first().map(ToString::to_string).unwrap_or_default())]
    Rows(Vec<RowError>),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads all rows of a CSV text (UTF-8, header, RFC 4180) with their lines.
///
/// # Errors
/// Every row that does not read.
pub fn rows<T: for<'de> Deserialize<'de>>(file: &str, text: &str) -> Result<Vec<(u64, T)>, Vec<RowError>> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let mut good = Vec::new();
    let mut wrong = Vec::new();
    let headers = match reader.headers() {
        Ok(headers) => headers.clone(),
        Err(e) => return Err(vec![RowError { file: file.into(), line: 1, reason: e.to_string() }]),
    };
    for record in reader.records() {
        let read = record.and_then(|r| {
            let line = r.position().map_or(0, csv::Position::line);
            r.deserialize(Some(&headers)).map(|row| (line, row))
        });
        match read {
            Ok(row) => good.push(row),
            Err(e) => {
                let line = e.position().map_or(0, csv::Position::line);
                let reason = match e.kind() {
                    csv::ErrorKind::Deserialize { err, .. } => err.to_string(),
                    csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                        format!("has {len} cells, and the header names {expected_len}")
                    }
                    _ => e.to_string(),
                };
                wrong.push(RowError { file: file.into(), line, reason });
            }
        }
    }
    if wrong.is_empty() { Ok(good) } else { Err(wrong) }
}

#[derive(Deserialize)]
struct AreaRow {
    code: String,
    level: String,
    parent: String,
    name_zh: String,
    name_en: String,
}

/// `areas.csv`: code, level, parent, name_zh, name_en; parents before children. How many rows.
///
/// # Errors
/// [`ImportError`].
pub async fn areas(store: &Store, context: &Context, text: &str) -> Result<usize, ImportError> {
    let file = "areas.csv";
    let rows: Vec<(u64, AreaRow)> = rows(file, text).map_err(ImportError::Rows)?;
    let known = Areas::load(store).await?;
    let mut paths: HashMap<String, (AreaPath, AreaLevel)> =
        known.all().iter().map(|a| (a.code.clone(), (a.path.clone(), a.level))).collect();
    let mut seen = HashSet::new();
    let mut values = Vec::with_capacity(rows.len());
    let mut wrong = Vec::new();
    for (sort, (line, row)) in rows.into_iter().enumerate() {
        let mut bad = |reason: String| wrong.push(RowError { file: file.into(), line, reason });
        let Some(level) = AreaLevel::from_name(&row.level) else {
            bad(format!("no level {:?}; known are city to floor", row.level));
            continue;
        };
        let path = if row.parent.is_empty() {
            AreaPath::parse(&format!("{}/", row.code)).map_err(|e| e.to_string())
        } else {
            match paths.get(&row.parent) {
                None => {
                    Err(format!("no parent {:?} above this row; parents come before children", row.parent))
                }
                Some((_, above)) if *above >= level => {
                    Err(format!("a {} cannot hang on a {}", level.as_str(), above.as_str()))
                }
                Some((parent, _)) => parent.child(&row.code).map_err(|e| e.to_string()),
            }
        };
        match path {
            Err(reason) => bad(reason),
            Ok(_) if !seen.insert(row.code.clone()) => bad(format!("the code {:?} stands twice", row.code)),
            Ok(_) if row.name_zh.is_empty() => bad("name_zh is empty".into()),
            Ok(path) => {
                let name_en = if row.name_en.is_empty() { row.name_zh.clone() } else { row.name_en };
                values.push(args![&path, &row.code, level.as_str(), row.name_zh, name_en, sort as i64]);
                paths.insert(row.code, (path, level));
            }
        }
    }
    write(store, context, "area:import", values, wrong, (ADD_AREAS, RENEW_AREAS, 6)).await
}

#[derive(Deserialize)]
struct OrganisationRow {
    code: String,
    kind: String,
    area: String,
    name_zh: String,
    name_en: String,
}

/// `organisations.csv`: code, kind, area, name_zh, name_en. How many rows.
///
/// # Errors
/// [`ImportError`].
pub async fn organisations(store: &Store, context: &Context, text: &str) -> Result<usize, ImportError> {
    let file = "organisations.csv";
    let rows: Vec<(u64, OrganisationRow)> = rows(file, text).map_err(ImportError::Rows)?;
    let areas = Areas::load(store).await?;
    let (mut values, mut wrong) = (Vec::new(), Vec::new());
    for (line, row) in rows {
        match areas.by_code(&row.area) {
            Some(area) => values.push(args![row.code, row.kind, area.path, row.name_zh, row.name_en]),
            None => {
                wrong.push(RowError { file: file.into(), line, reason: format!("no area {:?}", row.area) })
            }
        }
    }
    write(store, context, "organisation:import", values, wrong, (ADD_ORGANISATIONS, RENEW_ORGANISATIONS, 5))
        .await
}

#[derive(Deserialize)]
struct PostRow {
    code: String,
    name_zh: String,
    name_en: String,
    level: String,
}

/// `posts.csv`: code, name_zh, name_en, level. How many rows.
///
/// # Errors
/// [`ImportError`].
pub async fn posts(store: &Store, context: &Context, text: &str) -> Result<usize, ImportError> {
    let file = "posts.csv";
    let rows: Vec<(u64, PostRow)> = rows(file, text).map_err(ImportError::Rows)?;
    let (mut values, mut wrong) = (Vec::new(), Vec::new());
    for (line, row) in rows {
        if AreaLevel::from_name(&row.level).is_some() {
            values.push(args![row.code, row.name_zh, row.name_en, row.level]);
        } else {
            let reason = format!("no level {:?}; known are city to floor", row.level);
            wrong.push(RowError { file: file.into(), line, reason });
        }
    }
    write(store, context, "post:import", values, wrong, (ADD_POSTS, RENEW_POSTS, 4)).await
}

/// `features.geojson`: a FeatureCollection in WGS-84. A feature belongs to the area whose code
/// its property `area` holds (the last code of a path serves too); one without belongs to the
/// area named by the collection's own property `area`. Replaces all features. How many.
///
/// # Errors
/// [`ImportError`].
pub async fn features(store: &Store, context: &Context, text: &str) -> Result<usize, ImportError> {
    let file = "features.geojson";
    let bad = |reason: String| RowError { file: file.into(), line: 1, reason };
    let collection: serde_json::Value =
        serde_json::from_str(text).map_err(|e| ImportError::Rows(vec![bad(format!("is not JSON: {e}"))]))?;
    let areas = Areas::load(store).await?;
    let whole = collection.get("area").and_then(|a| a.as_str()).unwrap_or_default();
    let features = collection.get("features").and_then(|f| f.as_array()).cloned().unwrap_or_default();
    let (mut values, mut wrong) = (Vec::new(), Vec::new());
    for (i, mut feature) in features.into_iter().enumerate() {
        let own = feature.pointer("/properties/area").and_then(|a| a.as_str()).map(ToOwned::to_owned);
        let named = own.as_deref().unwrap_or(whole);
        let code = named.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        match areas.by_code(code) {
            None => wrong.push(bad(format!("feature {i}: no area {named:?}"))),
            Some(_) if feature.get("geometry").is_none() => {
                wrong.push(bad(format!("feature {i} has no geometry")))
            }
            Some(area) => {
                // A feature that is an area (a building) says so by path and code, as the map asks.
                if let (Some(_), Some(properties)) =
                    (&own, feature.get_mut("properties").and_then(|p| p.as_object_mut()))
                {
                    properties.insert("area".into(), area.path.as_str().into());
                    properties.entry("code").or_insert_with(|| area.code.clone().into());
                }
                values.push(args![&area.path, i as i64, feature.to_string()]);
            }
        }
    }
    if !wrong.is_empty() {
        return Err(ImportError::Rows(wrong));
    }
    let count = values.len();
    store
        .command::<_, (), StoreError, _>(context, "feature:import", values, |tx, values| {
            Box::pin(async move {
                tx.subject("area", "features", None);
                tx.execute(DROP_FEATURES, args![]).await?;
                tx.insert_many(ADD_FEATURES, "", 3, values.clone()).await
            })
        })
        .await?;
    Ok(count)
}

async fn write(
    store: &Store,
    context: &Context,
    action: &str,
    values: Vec<Vec<Value>>,
    wrong: Vec<RowError>,
    (add, renew, columns): (&'static str, &'static str, usize),
) -> Result<usize, ImportError> {
    if !wrong.is_empty() {
        return Err(ImportError::Rows(wrong));
    }
    let count = values.len();
    store
        .command::<_, (), StoreError, _>(context, action, values, move |tx, values| {
            Box::pin(async move {
                tx.detail(serde_json::json!({ "rows": values.len() }));
                tx.insert_many(add, renew, columns, values.clone()).await
            })
        })
        .await?;
    Ok(count)
}
