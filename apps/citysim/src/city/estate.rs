//! The plan of the estate: 19 buildings, its loop road, its mains.

use super::frame::{Point, turned};

/// What a building looks like from above.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// Two stairwells side by side, the second set back: length and depth in metres.
    Slab(f64, f64),
    /// One stairwell with notched corners: side in metres.
    Tower(f64),
}

/// One building of the estate.
#[derive(Clone, Debug)]
pub struct Building {
    /// 1 to 19, as the residents say it: "3 栋".
    pub number: u8,
    /// Storeys above ground.
    pub floors: u8,
    /// Stairwells (单元): 2 in a slab, 1 in a tower.
    pub units: u8,
    centre: Point,
    turn: f64,
    shape: Shape,
}

/// How far a slab's second stairwell is set back, in metres.
const SET_BACK: f64 = 2.0;
/// Height of a storey in metres.
pub(super) const STOREY: f64 = 3.0;

impl Building {
    /// The area's code: `jz-03`.
    #[must_use]
    pub fn code(&self) -> String {
        format!("{}-{:02}", super::ESTATE, self.number)
    }

    /// Height above ground in metres.
    #[must_use]
    pub fn height(&self) -> f64 {
        f64::from(self.floors) * STOREY
    }

    /// The footprint in the estate's frame, counter-clockwise, first point not repeated.
    #[must_use]
    pub fn footprint(&self) -> Vec<Point> {
        let local: Vec<Point> = match self.shape {
            Shape::Slab(length, depth) => {
                let (l, d, core) = (length / 2.0, depth / 2.0, 2.6);
                let (a, b) = (-l / 2.0, l / 2.0);
                vec![
                    (-l, -d),
                    (0.0, -d),
                    (0.0, -d + SET_BACK),
                    (l, -d + SET_BACK),
                    (l, d + SET_BACK),
                    (b + core, d + SET_BACK),
                    (b + core, d + SET_BACK + 1.8),
                    (b - core, d + SET_BACK + 1.8),
                    (b - core, d + SET_BACK),
                    (0.0, d + SET_BACK),
                    (0.0, d),
                    (a + core, d),
                    (a + core, d + 1.8),
                    (a - core, d + 1.8),
                    (a - core, d),
                    (-l, d),
                ]
            }
            Shape::Tower(side) => {
                let (s, n) = (side / 2.0, side / 2.0 - 6.0);
                vec![
                    (-n, -s),
                    (n, -s),
                    (n, -n),
                    (s, -n),
                    (s, n),
                    (n, n),
                    (n, s),
                    (-n, s),
                    (-n, n),
                    (-s, n),
                    (-s, -n),
                    (-n, -n),
                ]
            }
        };
        local.into_iter().map(|p| self.place(p)).collect()
    }

    /// Where hydrant `n` of 0 to 9 of riser 1 or 2 is drawn, in the estate's frame: in a small
    /// sunflower around the stair core, wide enough that floors do not hide one another on a map.
    #[must_use]
    pub fn beside_core(&self, riser: u8, n: u8) -> Point {
        let second = riser >= 2;
        let (core, wide, deep) = match self.shape {
            Shape::Slab(length, _) if second => ((length / 4.0, SET_BACK), 3.6, 1.6),
            Shape::Slab(length, _) => ((-length / 4.0, 0.0), 3.6, 1.6),
            Shape::Tower(_) => ((if second { 6.2 } else { -6.2 }, 0.0), 1.7, 2.1),
        };
        let angle = f64::from(n) * 137.5_f64.to_radians();
        let radius = (f64::from(n) + 0.4).sqrt();
        self.place((core.0 + wide * radius * angle.cos(), core.1 + deep * radius * angle.sin()))
    }

    /// The stairwell (单元) that riser 1 or 2 runs in.
    #[must_use]
    pub fn unit_of_riser(&self, riser: u8) -> u8 {
        riser.min(self.units)
    }

    /// Whether the building stands in the western half, fed by `main-3`.
    #[must_use]
    pub fn is_west(&self) -> bool {
        self.centre.0 < 0.0
    }

    fn place(&self, local: Point) -> Point {
        let (x, y) = turned(local, self.turn);
        (self.centre.0 + x, self.centre.1 + y)
    }
}

/// The 19 buildings: slabs around, 1 to 12 counter-clockwise from the south-west corner, towers
/// 13 to 19 in the gardens.
#[must_use]
pub fn buildings() -> Vec<Building> {
    use Shape::{Slab, Tower};
    let plan: [(Point, f64, Shape, u8); 19] = [
        ((-148.0, -152.0), 2.0, Slab(62.0, 14.0), 18),
        ((-56.0, -153.0), -2.0, Slab(64.0, 14.0), 18),
        ((52.0, -152.0), 1.0, Slab(64.0, 14.0), 24),
        ((146.0, -151.0), -1.5, Slab(62.0, 14.0), 18),
        ((188.0, -62.0), 92.0, Slab(66.0, 14.0), 26),
        ((188.0, 58.0), 88.0, Slab(66.0, 14.0), 26),
        ((148.0, 150.0), 181.0, Slab(60.0, 14.0), 22),
        ((54.0, 152.0), 178.5, Slab(64.0, 14.0), 24),
        ((-48.0, 152.0), 182.0, Slab(64.0, 14.0), 24),
        ((-146.0, 150.0), 179.0, Slab(62.0, 14.0), 22),
        ((-188.0, 58.0), -88.0, Slab(66.0, 14.0), 26),
        ((-188.0, -62.0), -93.0, Slab(66.0, 14.0), 11),
        ((-108.0, -72.0), 12.0, Tower(29.0), 33),
        ((-38.0, -86.0), -8.0, Tower(27.0), 30),
        ((66.0, -82.0), 20.0, Tower(29.0), 32),
        ((114.0, 4.0), -14.0, Tower(28.0), 33),
        ((84.0, 88.0), 8.0, Tower(29.0), 31),
        ((-36.0, 90.0), 28.0, Tower(27.0), 30),
        ((-112.0, 48.0), -18.0, Tower(29.0), 32),
    ];
    plan.into_iter()
        .zip(1..)
        .map(|((centre, turn, shape, floors), number)| Building {
            number,
            floors,
            units: if matches!(shape, Slab(..)) { 2 } else { 1 },
            centre,
            turn,
            shape,
        })
        .collect()
}

/// The estate's boundary, counter-clockwise.
pub(super) const OUTLINE: [Point; 10] = [
    (-208.0, -189.0),
    (-14.0, -191.0),
    (14.0, -191.0),
    (206.0, -188.0),
    (223.0, -172.0),
    (224.0, 168.0),
    (208.0, 188.0),
    (-204.0, 189.0),
    (-222.0, 172.0),
    (-223.0, -174.0),
];

/// A main that outdoor hydrants hang on: code, names, where it lies, and what feeds it.
pub(super) struct OutdoorMain {
    pub code: &'static str,
    pub name: (&'static str, &'static str),
    pub place: (&'static str, &'static str),
    pub line: &'static [Point],
}

/// The two municipal mains and the two halves of the estate's ring.
pub(super) const MAINS: [OutdoorMain; 4] = [
    OutdoorMain {
        code: "main-1",
        name: ("南侧市政给水干管", "Municipal main, south"),
        place: ("南街", "South Street"),
        line: &[(-236.0, -197.0), (-80.0, -198.0), (80.0, -198.0), (231.0, -196.0)],
    },
    OutdoorMain {
        code: "main-2",
        name: ("东侧市政给水干管", "Municipal main, east"),
        place: ("东街", "East Street"),
        line: &[(231.0, -196.0), (232.0, -40.0), (232.0, 80.0), (231.0, 203.0)],
    },
    OutdoorMain {
        code: "main-3",
        name: ("小区环状管网西段", "Estate ring main, west"),
        place: ("小区西环路", "Estate loop, west"),
        line: &[
            (-6.0, -197.0),
            (-6.0, -123.0),
            (-143.0, -123.0),
            (-155.0, -111.0),
            (-155.0, 111.0),
            (-143.0, 123.0),
            (0.0, 123.0),
        ],
    },
    OutdoorMain {
        code: "main-4",
        name: ("小区环状管网东段", "Estate ring main, east"),
        place: ("小区东环路", "Estate loop, east"),
        line: &[(232.0, -2.0), (155.0, -2.0), (155.0, 111.0), (143.0, 123.0), (0.0, 123.0)],
    },
];

/// The rest of the eastern half ring: drawn, without hydrants of its own.
pub(super) const MAIN_4_SOUTH: &[Point] = &[(155.0, -2.0), (155.0, -111.0), (143.0, -123.0), (-6.0, -123.0)];
