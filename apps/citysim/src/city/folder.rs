//! The import folder: UTF-8 CSV with a header (RFC 4180), and one GeoJSON file.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use rand::RngCore as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{areas, features, hydrants, organisations, posts};

/// One row of `things.csv`.
#[derive(Clone, Debug, PartialEq)]
pub struct Thing {
    /// Its code; the user name of its MQTT connection.
    pub code: String,
    /// The thing type that a pack declares.
    pub kind: String,
    /// The code of the area it hangs on.
    pub area: String,
    /// Chinese name.
    pub name_zh: String,
    /// English name.
    pub name_en: String,
    /// Where it is, as people say it: "3 栋 1 单元 12 层".
    pub place_zh: String,
    /// The same in English.
    pub place_en: String,
    /// Longitude, WGS-84 degrees.
    pub lon: f64,
    /// Latitude, WGS-84 degrees.
    pub lat: f64,
    /// Whether its alarms concern everybody in the area.
    pub public: bool,
    /// What rules and bindings of a pack refer to: siting, main, floor.
    pub properties: serde_json::Value,
}

/// A row as the file has it: the properties are JSON in one field.
#[derive(Serialize, Deserialize)]
struct Row {
    code: String,
    r#type: String,
    area: String,
    name_zh: String,
    name_en: String,
    place_zh: String,
    place_en: String,
    lon: f64,
    lat: f64,
    public: bool,
    properties: String,
}

/// Thing code → secret: 64 hexadecimal characters of 256 random bits, sent as the MQTT password.
pub type Secrets = BTreeMap<String, String>;

/// Writes the import folder to `out`.
///
/// With `secrets` every thing gets a credential: `credentials.csv` holds the SHA-256 (hex) of the
/// 64 characters the device sends, and the file `secrets` (mode 0600, outside the import folder)
/// the characters themselves. A secrets file that exists is kept, so that writing the city anew
/// locks no device out. Without `secrets`, `credentials.csv` has no rows.
///
/// # Errors
/// When a file cannot be read or written, with its name.
pub fn write(out: &Path, divisions: Option<&Path>, secrets: Option<&Path>) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    if let Some(file) = secrets
        && let (Ok(folder), Some(Ok(parent))) = (out.canonicalize(), file.parent().map(Path::canonicalize))
        && parent.starts_with(&folder)
    {
        bail!("{} lies in the import folder: the secrets must stay outside it", file.display());
    }
    let all = areas(divisions)?;
    table(
        out,
        "areas.csv",
        &["code", "level", "parent", "name_zh", "name_en"],
        all.iter().map(|a| {
            [&a.code, a.level.as_str(), a.parent.as_deref().unwrap_or_default(), &a.name_zh, &a.name_en]
        }),
    )?;
    table(
        out,
        "organisations.csv",
        &["code", "kind", "area", "name_zh", "name_en"],
        organisations().iter().map(|o| [o.code, o.kind, o.area, o.name.0, o.name.1]),
    )?;
    table(
        out,
        "posts.csv",
        &["code", "name_zh", "name_en", "level"],
        posts().iter().map(|p| [p.code, p.name.0, p.name.1, p.level.as_str()]),
    )?;
    let things = hydrants();
    write_things(out, &things)?;
    let geojson = serde_json::to_string(&features())?;
    std::fs::write(out.join("features.geojson"), geojson)
        .with_context(|| format!("cannot write features.geojson in {}", out.display()))?;
    let secrets = match secrets {
        Some(file) => keep_secrets(file, &things)?,
        None => Secrets::new(),
    };
    let hashed: Vec<[String; 2]> = secrets
        .iter()
        .filter(|(thing, _)| things.iter().any(|t| t.code == **thing))
        .map(|(thing, secret)| [thing.clone(), hex::encode(Sha256::digest(secret.as_bytes()))])
        .collect();
    table(out, "credentials.csv", &["thing", "secret_sha256"], hashed)
}

fn table<R>(out: &Path, name: &str, header: &[&str], rows: impl IntoIterator<Item = R>) -> Result<()>
where
    R: IntoIterator,
    R::Item: AsRef<[u8]>,
{
    let file = out.join(name);
    let write = || -> csv::Result<()> {
        let mut csv = csv::Writer::from_path(&file)?;
        csv.write_record(header)?;
        for row in rows {
            csv.write_record(row)?;
        }
        csv.flush()?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}

fn write_things(out: &Path, things: &[Thing]) -> Result<()> {
    let file = out.join("things.csv");
    let mut csv =
        csv::Writer::from_path(&file).with_context(|| format!("cannot write {}", file.display()))?;
    for thing in things {
        let t = thing.clone();
        csv.serialize(Row {
            code: t.code,
            r#type: t.kind,
            area: t.area,
            name_zh: t.name_zh,
            name_en: t.name_en,
            place_zh: t.place_zh,
            place_en: t.place_en,
            lon: t.lon,
            lat: t.lat,
            public: t.public,
            properties: t.properties.to_string(),
        })?;
    }
    csv.flush().with_context(|| format!("cannot write {}", file.display()))
}

/// Reads `things.csv` of an import folder.
///
/// # Errors
/// When the file is missing or a row is not as [`write()`] makes it, with file and line.
pub fn read_things(folder: &Path) -> Result<Vec<Thing>> {
    let file = folder.join("things.csv");
    let mut reader =
        csv::Reader::from_path(&file).with_context(|| format!("cannot open {}", file.display()))?;
    let mut things = Vec::new();
    for row in reader.deserialize::<Row>() {
        let row = row.with_context(|| format!("cannot read {}", file.display()))?;
        let properties = serde_json::from_str(&row.properties)
            .with_context(|| format!("{}: the properties of {} are not JSON", file.display(), row.code))?;
        things.push(Thing {
            code: row.code,
            kind: row.r#type,
            area: row.area,
            name_zh: row.name_zh,
            name_en: row.name_en,
            place_zh: row.place_zh,
            place_en: row.place_en,
            lon: row.lon,
            lat: row.lat,
            public: row.public,
            properties,
        });
    }
    Ok(things)
}

/// Reads a secrets file as [`write()`] makes it.
///
/// # Errors
/// When the file is missing or a row is not `thing,secret`.
pub fn read_secrets(file: &Path) -> Result<Secrets> {
    let mut reader =
        csv::Reader::from_path(file).with_context(|| format!("cannot open {}", file.display()))?;
    reader
        .deserialize::<(String, String)>()
        .collect::<csv::Result<_>>()
        .with_context(|| format!("cannot read {}", file.display()))
}

/// The secrets in `file`, with new ones for things that have none yet.
fn keep_secrets(file: &Path, things: &[Thing]) -> Result<Secrets> {
    let mut secrets = if file.exists() { read_secrets(file)? } else { Secrets::new() };
    for thing in things {
        secrets.entry(thing.code.clone()).or_insert_with(|| {
            let mut bits = [0_u8; 32];
            rand::rng().fill_bytes(&mut bits);
            hex::encode(bits)
        });
    }
    let mut text = String::from("thing,secret\n");
    for (thing, secret) in &secrets {
        text.push_str(&format!("{thing},{secret}\n"));
    }
    // Written beside and renamed: a stop in the middle must not leave half of the secrets.
    let beside = file.with_extension("new");
    let _ = std::fs::remove_file(&beside);
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut f| f.write_all(text.as_bytes()).and_then(|()| f.sync_all()))
        .and_then(|()| std::fs::rename(&beside, file))
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(secrets)
}
