//! The import folder of a bench: the demo's areas and posts, and as many things as it needs.

use std::path::Path;

use anyhow::{Context as _, Result};
use citysim::city;
use model::AreaLevel;
use rand::RngCore as _;
use sha2::{Digest as _, Sha256};

/// The district that everything lies in.
pub const DISTRICT: &str = "500112";

/// The columns of `things.csv`, as `zhongshu import` reads them.
const THINGS: [&str; 11] = [
    "code",
    "type",
    "area",
    "name_zh",
    "name_en",
    "place_zh",
    "place_en",
    "lon",
    "lat",
    "public",
    "properties",
];

/// A thing that is registered with the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thing {
    /// Its code.
    pub code: String,
    /// Its type, as a pack declares it.
    pub kind: &'static str,
    /// The main or riser it hangs on: what falls on one main is one case.
    pub main: String,
    /// What it sends as its password: 64 hexadecimal digits.
    pub secret: String,
}

impl Thing {
    /// A hydrant with a secret of its own.
    pub fn hydrant(code: String, main: String) -> Self {
        Self::new(code, "fire-hydrant", main)
    }

    /// A thing of a type with a secret of its own.
    pub fn new(code: String, kind: &'static str, main: String) -> Self {
        let mut bits = [0_u8; 32];
        rand::rng().fill_bytes(&mut bits);
        Self { code, kind, main, secret: hex::encode(bits) }
    }

    /// As many hydrants, `bench-00000` and on: every bench names its devices so.
    pub fn hydrants(count: usize) -> Vec<Self> {
        (0..count).map(|n| Self::hydrant(format!("bench-{n:05}"), format!("main-{:05}", n / 10))).collect()
    }
}

/// Writes the import folder. The things stand on the floors of the demo's estate in turn.
pub fn write(folder: &Path, things: &[Thing]) -> Result<()> {
    city::write(folder, None, None)?;
    let floors: Vec<String> =
        city::areas(None)?.into_iter().filter(|a| a.level == AreaLevel::Floor).map(|a| a.code).collect();
    let wrong = |file: &str| format!("failed to write {file} in {}", folder.display());
    let mut table = csv::Writer::from_path(folder.join("things.csv")).with_context(|| wrong("things.csv"))?;
    table.write_record(THINGS)?;
    for (thing, floor) in things.iter().zip(floors.iter().cycle()) {
        let Thing { code, kind, main, .. } = thing;
        let properties = serde_json::json!({ "siting": "indoor", "main": main }).to_string();
        let [lon, lat] = city::lon_lat((0.0, 0.0)).map(|degrees| degrees.to_string());
        table.write_record([
            code.as_str(),
            kind,
            floor,
            &format!("设备 {code}"),
            &format!("Device {code}"),
            code,
            code,
            &lon,
            &lat,
            "false",
            &properties,
        ])?;
    }
    table.flush().with_context(|| wrong("things.csv"))?;
    let mut credentials =
        csv::Writer::from_path(folder.join("credentials.csv")).with_context(|| wrong("credentials.csv"))?;
    credentials.write_record(["thing", "secret_sha256"])?;
    for thing in things {
        credentials.write_record([&thing.code, &hex::encode(Sha256::digest(thing.secret.as_bytes()))])?;
    }
    credentials.flush().with_context(|| wrong("credentials.csv"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_has_the_simulators_form() {
        let folder = tempfile::tempdir().unwrap();
        let hydrants: Vec<_> =
            (0..900).map(|n| Thing::hydrant(format!("bench-{n:05}"), format!("main-{n}"))).collect();
        write(folder.path(), &hydrants).unwrap();
        let things = city::read_things(folder.path()).unwrap();
        assert_eq!(things.len(), 900);
        let areas = city::areas(None).unwrap();
        for (thing, hydrant) in things.iter().zip(&hydrants) {
            assert_eq!(
                (&thing.code, &thing.properties["main"]),
                (&hydrant.code, &hydrant.main.as_str().into())
            );
            assert!(areas.iter().any(|a| a.code == thing.area && a.level == AreaLevel::Floor));
        }
        let credentials = std::fs::read_to_string(folder.path().join("credentials.csv")).unwrap();
        assert_eq!(credentials.lines().count(), 901);
        let last = credentials.lines().last().unwrap().split_once(',').unwrap();
        assert_eq!(last.0, "bench-00899");
        assert_eq!(last.1, hex::encode(Sha256::digest(hydrants[899].secret.as_bytes())));
        for file in ["areas.csv", "posts.csv", "organisations.csv"] {
            assert!(folder.path().join(file).exists(), "{file}");
        }
    }
}
