//! The estate's own frame: metres east and north of its centre, turned as the streets are.

/// Metres along the estate's own axes, from its centre.
pub type Point = (f64, f64);

/// The centre of the estate, WGS-84.
const CENTRE: (f64, f64) = (106.5135, 29.5905);
/// How far the streets are turned from east, counter-clockwise: the hills of the place leave
/// nothing square to the compass.
const TURN_DEGREES: f64 = 11.0;
/// Metres a degree of latitude at 29.59° N (WGS-84 ellipsoid).
const METRES_A_DEGREE_NORTH: f64 = 110_854.0;
/// Metres a degree of longitude at 29.59° N.
const METRES_A_DEGREE_EAST: f64 = 96_887.0;

/// Turns `point` by `degrees` counter-clockwise around the origin.
pub(super) fn turned((x, y): Point, degrees: f64) -> Point {
    let (sin, cos) = degrees.to_radians().sin_cos();
    (x * cos - y * sin, x * sin + y * cos)
}

/// Where a point of the estate's frame lies: longitude and latitude to 7 decimals (1 cm).
#[must_use]
pub fn lon_lat(point: Point) -> [f64; 2] {
    let (east, north) = turned(point, TURN_DEGREES);
    let round = |degrees: f64| (degrees * 1e7).round() / 1e7;
    [round(CENTRE.0 + east / METRES_A_DEGREE_EAST), round(CENTRE.1 + north / METRES_A_DEGREE_NORTH)]
}

/// The point `at` metres along a line, moved `aside` metres to its left. Ends are clamped.
pub(super) fn along(line: &[Point], at: f64, aside: f64) -> Point {
    let mut left = at;
    let mut last = line.first().copied().unwrap_or_default();
    for pair in line.windows(2) {
        let &[a, b] = pair else { continue };
        let (dx, dy) = (b.0 - a.0, b.1 - a.1);
        let length = dx.hypot(dy);
        if length <= f64::EPSILON {
            continue;
        }
        let share = (left / length).min(1.0);
        last = (a.0 + dx * share - dy / length * aside, a.1 + dy * share + dx / length * aside);
        if left <= length {
            return last;
        }
        left -= length;
    }
    last
}

/// The length of a line in metres.
pub(super) fn length(line: &[Point]) -> f64 {
    line.windows(2).map(|p| (p[1].0 - p[0].0).hypot(p[1].1 - p[0].1)).sum()
}
