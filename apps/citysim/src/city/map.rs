//! `features.geojson`: the estate and what lies around it, WGS-84, our own drawing (示意).

use serde_json::{Map, Value, json};

use super::areas::{ESTATE, estate_path};
use super::estate::{MAIN_4_SOUTH, MAINS, OUTLINE, buildings};
use super::frame::{Point, lon_lat};
use super::surroundings::surroundings;

/// The whole map as a GeoJSON FeatureCollection (RFC 7946).
///
/// Every feature has `kind` (`estate`, `building`, `context-building`, `road`, `water`, `green`,
/// `main`), `name` in both languages and `schematic: true`. Buildings have `floors` and `height`
/// in metres, roads `width` in metres and `class` (`street`, `internal`, `path`), mains their
/// `code` (and `class`: `municipal` or `estate`), the estate and its buildings `area` (a path).
#[must_use]
pub fn features() -> Value {
    let mut all = surroundings();
    all.extend(grounds());
    all.extend(roads());
    all.extend(mains());
    all.extend(buildings().iter().map(|b| {
        let n = b.number;
        polygon(
            &b.footprint(),
            "building",
            (&format!("{n} 栋"), &format!("Building {n}")),
            json!({
                "area": format!("{}{}/", estate_path(), b.code()),
                "code": b.code(),
                "floors": b.floors,
                "units": b.units,
                "height": b.height(),
            }),
        )
    }));
    json!({"type": "FeatureCollection", "area": "jz", "features": all})
}

fn grounds() -> Vec<Value> {
    let mut all = vec![polygon(
        &OUTLINE,
        "estate",
        ("加州花园", "Jiazhou Garden"),
        json!({"area": estate_path(), "code": ESTATE}),
    )];
    let lawns: [(Point, f64, f64, f64); 9] = [
        ((4.0, 6.0), 62.0, 44.0, 0.3),
        ((-118.0, -12.0), 26.0, 22.0, 1.1),
        ((112.0, -52.0), 24.0, 26.0, 2.0),
        ((118.0, 62.0), 20.0, 24.0, 0.7),
        ((26.0, 96.0), 22.0, 17.0, 1.9),
        ((-86.0, 98.0), 20.0, 14.0, 2.6),
        ((-78.0, -100.0), 15.0, 12.0, 0.2),
        ((20.0, -96.0), 13.0, 16.0, 1.5),
        ((-66.0, 18.0), 16.0, 26.0, 2.2),
    ];
    for (centre, rx, ry, phase) in lawns {
        all.push(polygon(&blob(centre, rx, ry, phase), "green", ("绿地", "Green"), json!({})));
    }
    for strip in [
        [(-204.0, -184.0), (-18.0, -186.0), (-18.0, -168.0), (-204.0, -166.0)],
        [(18.0, -186.0), (202.0, -183.0), (202.0, -166.0), (18.0, -168.0)],
        [(-200.0, 166.0), (204.0, 167.0), (204.0, 184.0), (-200.0, 184.0)],
        [(-218.0, -164.0), (-203.0, -164.0), (-203.0, 164.0), (-218.0, 164.0)],
        [(203.0, -160.0), (219.0, -160.0), (219.0, 160.0), (203.0, 160.0)],
    ] {
        all.push(polygon(&strip, "green", ("绿化带", "Green strip"), json!({})));
    }
    all.push(polygon(&blob((8.0, 8.0), 29.0, 17.0, 0.9), "water", ("景观水池", "Pond"), json!({})));
    all
}

fn roads() -> Vec<Value> {
    let street = |line: &[Point], name, width: f64| {
        linestring(line, "road", name, json!({"width": width, "class": "street"}))
    };
    let internal = |line: &[Point], width: f64, class: &str| {
        linestring(line, "road", ("小区道路", "Estate road"), json!({"width": width, "class": class}))
    };
    vec![
        street(
            &[
                (-1480.0, -250.0),
                (-960.0, -226.0),
                (-400.0, -208.0),
                (-80.0, -205.0),
                (240.0, -206.0),
                (560.0, -216.0),
                (960.0, -240.0),
                (1480.0, -262.0),
            ],
            ("南街", "South Street"),
            22.0,
        ),
        street(
            &[
                (300.0, -1120.0),
                (262.0, -700.0),
                (244.0, -345.0),
                (240.0, -206.0),
                (241.0, 0.0),
                (240.0, 205.0),
                (232.0, 345.0),
                (214.0, 700.0),
                (190.0, 1340.0),
            ],
            ("东街", "East Street"),
            18.0,
        ),
        internal(
            &[
                (-138.0, -118.0),
                (138.0, -118.0),
                (147.0, -115.0),
                (150.0, -106.0),
                (150.0, 106.0),
                (147.0, 115.0),
                (138.0, 118.0),
                (-138.0, 118.0),
                (-147.0, 115.0),
                (-150.0, 106.0),
                (-150.0, -106.0),
                (-147.0, -115.0),
                (-138.0, -118.0),
            ],
            6.0,
            "internal",
        ),
        internal(&[(0.0, -194.0), (0.0, -118.0)], 8.0, "internal"),
        internal(&[(150.0, 0.0), (232.0, 0.0)], 6.0, "internal"),
        internal(&[(-150.0, -2.0), (-228.0, -2.0)], 5.0, "internal"),
        internal(&[(0.0, -118.0), (0.0, -60.0), (4.0, -38.0)], 3.0, "path"),
        internal(&[(0.0, 118.0), (-2.0, 74.0), (2.0, 50.0)], 3.0, "path"),
        internal(&[(-150.0, 18.0), (-96.0, 10.0), (-58.0, 6.0)], 3.0, "path"),
        internal(&[(150.0, -24.0), (94.0, -20.0), (64.0, 2.0)], 3.0, "path"),
        internal(
            &[
                (-44.0, -20.0),
                (-30.0, -36.0),
                (4.0, -38.0),
                (40.0, -30.0),
                (64.0, 2.0),
                (48.0, 38.0),
                (2.0, 50.0),
                (-40.0, 40.0),
                (-58.0, 6.0),
                (-44.0, -20.0),
            ],
            3.0,
            "path",
        ),
    ]
}

fn mains() -> Vec<Value> {
    let mut all: Vec<Value> = MAINS
        .iter()
        .zip(["municipal", "municipal", "estate", "estate"])
        .map(|(m, class)| linestring(m.line, "main", m.name, json!({"code": m.code, "class": class})))
        .collect();
    let east = &MAINS[3];
    all.push(linestring(MAIN_4_SOUTH, "main", east.name, json!({"code": east.code, "class": "estate"})));
    all
}

/// A rounded, slightly uneven outline, as gardeners draw it.
pub(super) fn blob(centre: Point, rx: f64, ry: f64, phase: f64) -> Vec<Point> {
    (0..28)
        .map(|n| {
            let angle = f64::from(n) / 28.0 * std::f64::consts::TAU;
            let uneven = 1.0 + 0.10 * (2.0 * angle + phase).sin() + 0.06 * (3.0 * angle - phase).cos();
            (centre.0 + rx * uneven * angle.cos(), centre.1 + ry * uneven * angle.sin())
        })
        .collect()
}

/// A polygon feature; `ring` is counter-clockwise, its first point not repeated.
pub(super) fn polygon(ring: &[Point], kind: &str, name: (&str, &str), more: Value) -> Value {
    let mut points: Vec<[f64; 2]> = ring.iter().copied().map(lon_lat).collect();
    points.extend(points.first().copied());
    feature(json!({"type": "Polygon", "coordinates": [points]}), kind, name, more)
}

/// A line feature.
pub(super) fn linestring(line: &[Point], kind: &str, name: (&str, &str), more: Value) -> Value {
    let points: Vec<[f64; 2]> = line.iter().copied().map(lon_lat).collect();
    feature(json!({"type": "LineString", "coordinates": points}), kind, name, more)
}

fn feature(geometry: Value, kind: &str, (zh, en): (&str, &str), more: Value) -> Value {
    let mut properties = Map::new();
    properties.insert("kind".to_owned(), json!(kind));
    properties.insert("name".to_owned(), json!({"zh": zh, "en": en}));
    if let Value::Object(more) = more {
        properties.extend(more);
    }
    properties.insert("schematic".to_owned(), json!(true));
    json!({"type": "Feature", "geometry": geometry, "properties": properties})
}
