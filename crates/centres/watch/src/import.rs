//! Things and their secrets from files (`zhongshu import FOLDER`).
//!
//! Rows are added or renewed by the thing's code, so that importing a file again changes nothing.
//! A file is checked whole before any of it is written. A running hub sees new things after its
//! next start.

use std::collections::{BTreeSet, HashSet};

use model::{AreaPath, Context};
use platform::import::{ImportError, RowError, rows};
use platform::{Areas, PackFiles};
use serde::Deserialize;
use serde_json::{Map, Value as Json};
use store::{Store, StoreError, Value, args, new_id};

use crate::declare::{self, Declarations};

/// How many rows one command writes.
const RUN: usize = 500;

store::statements! {
    LAST_KEY = "SELECT COALESCE(MAX(key), 0) FROM datastreams";
    KNOWN_DATASTREAMS = "SELECT thing, code FROM datastreams";
    KNOWN_THINGS = "SELECT code FROM things";
}

const ADD_THINGS: &str = "INSERT INTO things (code, id, type, area, name_zh, name_en, place_zh, place_en, lon, lat, public, properties)";
const RENEW_THINGS: &str = "ON CONFLICT (code) DO UPDATE SET type = excluded.type, area = excluded.area,
    name_zh = excluded.name_zh, name_en = excluded.name_en, place_zh = excluded.place_zh,
    place_en = excluded.place_en, lon = excluded.lon, lat = excluded.lat, public = excluded.public,
    properties = excluded.properties";
const ADD_DATASTREAMS: &str = "INSERT INTO datastreams (key, thing, code)";
const ADD_CREDENTIALS: &str = "INSERT INTO credentials (thing, secret_sha256)";
const RENEW_CREDENTIALS: &str = "ON CONFLICT (thing) DO UPDATE SET secret_sha256 = excluded.secret_sha256";

#[derive(Deserialize)]
struct ThingRow {
    code: String,
    r#type: String,
    area: String,
    name_zh: String,
    name_en: String,
    place_zh: String,
    place_en: String,
    lon: Option<f64>,
    lat: Option<f64>,
    public: bool,
    properties: String,
}

/// A thing ready to be written: its row, its code, the codes of its datastreams.
type Ready = (Vec<Value>, String, Vec<String>);

/// `things.csv`: code, type, area (its code), name_zh, name_en, place_zh, place_en, lon, lat
/// (WGS-84, both or neither), public, properties (a JSON object). Datastreams come from the
/// type's declaration, each with the next dense key. How many things.
///
/// # Errors
/// [`ImportError`]: every wrong row with its line, or the store's.
pub async fn things(
    store: &Store,
    context: &Context,
    packs: &[PackFiles],
    text: &str,
) -> Result<usize, ImportError> {
    let file = "things.csv";
    let declared = declare::read(packs).map_err(|errors| {
        let rows = errors.into_iter().map(|e| RowError {
            file: e.file,
            line: e.line.unwrap_or(1).into(),
            reason: e.reason,
        });
        ImportError::Rows(rows.collect())
    })?;
    let rows: Vec<(u64, ThingRow)> = rows(file, text).map_err(ImportError::Rows)?;
    let areas = platform::area::load(store).await?;
    let (mut ready, mut wrong, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    for (line, row) in rows {
        if !seen.insert(row.code.clone()) {
            let reason = format!("the code {:?} stands twice", row.code);
            wrong.push(RowError { file: file.into(), line, reason });
            continue;
        }
        match check(row, &areas, &declared) {
            Ok(thing) => ready.push(thing),
            Err(reason) => wrong.push(RowError { file: file.into(), line, reason }),
        }
    }
    if !wrong.is_empty() {
        return Err(ImportError::Rows(wrong));
    }
    for run in ready.chunks(RUN) {
        store
            .command::<_, (), StoreError, _>(context, "thing:import", run.to_vec(), |tx, run| {
                Box::pin(async move {
                    tx.detail(serde_json::json!({ "rows": run.len() }));
                    let rows = run.iter().map(|(row, ..)| row.clone()).collect();
                    tx.insert_many(ADD_THINGS, RENEW_THINGS, 12, rows).await?;
                    let known: Vec<(String, String)> = tx.all(KNOWN_DATASTREAMS, args![]).await?;
                    let known: HashSet<(String, String)> = known.into_iter().collect();
                    let last: Option<(i64,)> = tx.opt(LAST_KEY, args![]).await?;
                    let mut key = last.map_or(0, |(key,)| key);
                    let mut rows = Vec::new();
                    for (_, thing, streams) in run {
                        for stream in streams {
                            if !known.contains(&(thing.clone(), stream.clone())) {
                                key += 1;
                                rows.push(args![key, thing, stream]);
                            }
                        }
                    }
                    tx.insert_many(ADD_DATASTREAMS, "", 3, rows).await
                })
            })
            .await?;
    }
    Ok(ready.len())
}

fn check(row: ThingRow, areas: &Areas, declared: &Declarations) -> Result<Ready, String> {
    if !AreaPath::is_code(&row.code) {
        return Err(format!("the code {:?} must be letters, digits, '-', '_', '.'", row.code));
    }
    let Some(kind) = declared.types.get(&row.r#type) else {
        let known: BTreeSet<_> = declared.types.keys().map(String::as_str).collect();
        let known: Vec<_> = known.into_iter().collect();
        return Err(format!(
            "no type {:?} is declared by an installed pack; known are {}",
            row.r#type,
            known.join(", ")
        ));
    };
    let Some(area) = areas.by_code(&row.area) else { return Err(format!("no area {:?}", row.area)) };
    let location = match (row.lon, row.lat) {
        (None, None) => None,
        (Some(lon), Some(lat)) if lon.abs() <= 180.0 && lat.abs() <= 90.0 => Some((lon, lat)),
        (Some(lon), Some(lat)) => {
            return Err(format!("lon {lon}, lat {lat} is no place on earth (WGS-84 degrees)"));
        }
        _ => return Err("lon and lat must be given together".into()),
    };
    if row.name_zh.is_empty() {
        return Err("name_zh is empty".into());
    }
    let properties = if row.properties.is_empty() { "{}".to_owned() } else { row.properties };
    let properties: Map<String, Json> =
        serde_json::from_str(&properties).map_err(|e| format!("properties is not a JSON object: {e}"))?;
    let english = |zh: &str, en: String| if en.is_empty() { zh.to_owned() } else { en };
    let name_en = english(&row.name_zh, row.name_en);
    let place_en = english(&row.place_zh, row.place_en);
    let values = args![
        &row.code,
        new_id(),
        &row.r#type,
        area.path,
        row.name_zh,
        name_en,
        row.place_zh,
        place_en,
        location.map(|l| l.0),
        location.map(|l| l.1),
        row.public,
        Json::Object(properties).to_string()
    ];
    Ok((values, row.code, kind.datastreams.iter().map(|s| s.code.clone()).collect()))
}

#[derive(Deserialize)]
struct CredentialRow {
    thing: String,
    secret_sha256: String,
}

/// `credentials.csv`: thing, secret_sha256 (64 hexadecimal digits: of the bytes that the device
/// sends as its password). How many.
///
/// # Errors
/// [`ImportError`].
pub async fn credentials(store: &Store, context: &Context, text: &str) -> Result<usize, ImportError> {
    let file = "credentials.csv";
    let rows: Vec<(u64, CredentialRow)> = rows(file, text).map_err(ImportError::Rows)?;
    let known: Vec<(String,)> = store.read().all(KNOWN_THINGS, args![]).await?;
    let known: HashSet<String> = known.into_iter().map(|(code,)| code).collect();
    let (mut ready, mut wrong, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    for (line, row) in rows {
        let secret = hex::decode(&row.secret_sha256).unwrap_or_default();
        let reason = if secret.len() != 32 {
            "secret_sha256 is not 64 hexadecimal digits".to_owned()
        } else if !known.contains(&row.thing) {
            format!("no thing {:?}; import things.csv first", row.thing)
        } else if !seen.insert(row.thing.clone()) {
            format!("the thing {:?} stands twice", row.thing)
        } else {
            ready.push(args![row.thing, secret]);
            continue;
        };
        wrong.push(RowError { file: file.into(), line, reason });
    }
    if !wrong.is_empty() {
        return Err(ImportError::Rows(wrong));
    }
    for run in ready.chunks(RUN) {
        store
            .command::<_, (), StoreError, _>(context, "credential:import", run.to_vec(), |tx, run| {
                Box::pin(async move {
                    tx.detail(serde_json::json!({ "rows": run.len() }));
                    tx.insert_many(ADD_CREDENTIALS, RENEW_CREDENTIALS, 2, run.clone()).await
                })
            })
            .await?;
    }
    Ok(ready.len())
}
