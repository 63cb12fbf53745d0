//! What lies around the estate, so that no edge of the map shows: streets, blocks, a stream.

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use super::frame::{Point, turned};
use super::map::{blob, linestring, polygon};

/// Where the streets run, in metres east (columns) and north (rows) of the estate's centre. The
/// estate itself fills the columns −240…240 and the rows −205…205.
const COLUMNS: [f64; 16] = [
    -1360.0, -1120.0, -900.0, -720.0, -560.0, -400.0, -240.0, -80.0, 80.0, 240.0, 400.0, 560.0, 720.0, 900.0,
    1120.0, 1360.0,
];
const ROWS: [f64; 15] = [
    -1000.0, -810.0, -640.0, -490.0, -345.0, -205.0, -65.0, 65.0, 205.0, 345.0, 490.0, 640.0, 810.0, 1000.0,
    1220.0,
];
/// Where streets end, far beyond what a page shows: west and east, south and north.
const ENDS: (f64, f64, f64, f64) = (-1480.0, 1480.0, -1120.0, 1340.0);
/// The valley that the stream runs in.
const VALLEY: (f64, f64) = (-720.0, -560.0);
/// Blocks that are parks, by their south-west corner.
const PARKS: [Point; 6] =
    [(80.0, -345.0), (560.0, 205.0), (-240.0, 345.0), (400.0, -490.0), (-1120.0, 205.0), (80.0, 810.0)];
/// Half a street and its pavement.
const KERB: f64 = 13.0;

/// The features around the estate. The same on every call.
pub(super) fn surroundings() -> Vec<Value> {
    let mut rng = SmallRng::seed_from_u64(500_112_011_014);
    let mut all = vec![valley(), stream()];
    all.extend(streets());
    for columns in COLUMNS.windows(2) {
        for rows in ROWS.windows(2) {
            let (west, east, south, north) = (columns[0], columns[1], rows[0], rows[1]);
            let is_estate = west >= -240.0 && east <= 240.0 && south >= -205.0 && north <= 205.0;
            if is_estate || west == VALLEY.0 {
                continue;
            }
            if PARKS.contains(&(west, south)) {
                park((west, east, south, north), &mut all);
            } else {
                block((west, east, south, north), &mut rng, &mut all);
            }
        }
    }
    all
}

/// Bends the grid the more the farther from the estate, whose own streets stay as planned.
fn bent((x, y): Point) -> Point {
    let away = (x.abs() - 240.0).max(y.abs() - 205.0).clamp(0.0, 260.0) / 260.0;
    let bend = away * away * (3.0 - 2.0 * away);
    (x + bend * 26.0 * (y / 190.0).sin(), y + bend * 22.0 * (x / 230.0).sin())
}

fn bent_line(from: Point, to: Point) -> Vec<Point> {
    (0..=40)
        .map(|n| {
            let share = f64::from(n) / 40.0;
            bent((from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share))
        })
        .collect()
}

fn streets() -> Vec<Value> {
    let mut all = Vec::new();
    let name = ("道路", "Street");
    let (west, east, south, north) = ENDS;
    let mut push = |from, to, width: f64| {
        all.push(linestring(&bent_line(from, to), "road", name, json!({"width": width, "class": "street"})));
    };
    for x in &COLUMNS[1..COLUMNS.len() - 1] {
        match *x {
            // The estate's own east street is drawn by the map.
            240.0 => {}
            // These end at the estate.
            -80.0 | 80.0 => {
                push((*x, south), (*x, -205.0), 8.0);
                push((*x, 205.0), (*x, north), 8.0);
            }
            -400.0 | 560.0 => push((*x, south), (*x, north), 18.0),
            _ => push((*x, south), (*x, north), 11.0),
        }
    }
    for y in &ROWS[1..ROWS.len() - 1] {
        match *y {
            -205.0 => {}
            -65.0 | 65.0 => {
                push((west, *y), (-240.0, *y), 8.0);
                push((240.0, *y), (east, *y), 8.0);
            }
            345.0 => push((west, *y), (east, *y), 18.0),
            _ => push((west, *y), (east, *y), 11.0),
        }
    }
    all
}

fn valley() -> Value {
    let (west, east) = (VALLEY.0 + KERB, VALLEY.1 - KERB);
    let mut ring = bent_line((east, ENDS.2), (east, ENDS.3));
    ring.extend(bent_line((west, ENDS.3), (west, ENDS.2)));
    polygon(&ring, "green", ("滨河绿地", "Riverside green"), json!({"context": true}))
}

fn stream() -> Value {
    let middle = (VALLEY.0 + VALLEY.1) / 2.0;
    let bank = |side: f64| {
        (-54..=65).map(move |n| {
            let y = f64::from(n) * 20.6;
            (middle + 24.0 * (y / 118.0).sin() + side * (15.0 + 5.0 * (y / 61.0).cos()), y)
        })
    };
    let mut ring: Vec<Point> = bank(1.0).map(bent).collect();
    let back: Vec<Point> = bank(-1.0).map(bent).collect();
    ring.extend(back.into_iter().rev());
    polygon(&ring, "water", ("河道", "Stream"), json!({"context": true}))
}

fn park((west, east, south, north): (f64, f64, f64, f64), all: &mut Vec<Value>) {
    let corners = [(west, south), (east, south), (east, north), (west, north)];
    let centre = ((west + east) / 2.0, (south + north) / 2.0);
    let ring: Vec<Point> = corners
        .iter()
        .map(|c| bent((c.0 + (centre.0 - c.0).signum() * KERB, c.1 + (centre.1 - c.1).signum() * KERB)))
        .collect();
    all.push(polygon(&ring, "green", ("公园", "Park"), json!({"context": true})));
    let pond: Vec<Point> =
        blob((centre.0 + 14.0, centre.1 - 8.0), 30.0, 19.0, west).into_iter().map(bent).collect();
    all.push(polygon(&pond, "water", ("湖", "Lake"), json!({"context": true})));
}

/// One block: a podium with a tower, a pair, a row of slabs or a court, never beyond its kerbs.
fn block((west, east, south, north): (f64, f64, f64, f64), rng: &mut SmallRng, all: &mut Vec<Value>) {
    let (w, h) = (east - west - 2.0 * KERB, north - south - 2.0 * KERB);
    let centre = ((west + east) / 2.0, (south + north) / 2.0);
    // Seen from the south, the blocks before the estate must not hide it.
    let is_before = (-500.0..-205.0).contains(&south) && west >= -400.0 && east <= 400.0;
    let mut build = |dx: f64, dy: f64, length: f64, depth: f64, turn: f64, floors: u32| {
        let floors = if is_before { floors.min(9) } else { floors };
        let (l, d) = (length / 2.0, depth / 2.0);
        let ring: Vec<Point> = [(-l, -d), (l, -d), (l, d), (-l, d)]
            .iter()
            .map(|p| turned(*p, turn))
            .map(|p| bent((centre.0 + dx + p.0, centre.1 + dy + p.1)))
            .collect();
        all.push(polygon(
            &ring,
            "context-building",
            ("周边建筑", "Neighbouring building"),
            json!({"floors": floors, "height": f64::from(floors) * super::estate::STOREY}),
        ));
    };
    let turn = rng.random_range(-4.0..4.0);
    match rng.random_range(0..5) {
        0 => {
            build(0.0, 0.0, w * 0.62, h * 0.56, turn, rng.random_range(2..5));
            build(-w * 0.12, h * 0.06, 32.0, 27.0, turn, rng.random_range(18..36));
        }
        1 => {
            build(-w * 0.24, h * 0.1, w * 0.3, h * 0.42, turn, rng.random_range(16..32));
            build(w * 0.22, -h * 0.12, w * 0.34, h * 0.4, turn, rng.random_range(6..18));
        }
        2 => {
            for row in [-0.26, 0.24] {
                build(rng.random_range(-6.0..6.0), h * row, w * 0.72, 15.0, turn, rng.random_range(7..12));
            }
        }
        3 => {
            build(-w * 0.28, 0.0, 26.0, h * 0.62, turn, rng.random_range(9..20));
            build(w * 0.26, h * 0.2, w * 0.3, 24.0, turn, rng.random_range(18..30));
        }
        _ => {
            build(0.0, h * 0.24, w * 0.6, 18.0, turn, rng.random_range(11..26));
        }
    }
}
