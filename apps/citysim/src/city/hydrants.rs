//! The 420 hydrants: 40 outdoor on four mains, 380 indoor on two risers a building.

use serde_json::json;

use super::areas::ESTATE;
use super::estate::{Building, MAINS, buildings};
use super::folder::Thing;
use super::frame::{along, length, lon_lat};

/// The type of every thing of the demo.
const TYPE: &str = "fire-hydrant";
/// Hydrants on each outdoor main and on each riser.
const ON_A_MAIN: u8 = 10;
/// Risers (消防立管) in each building.
const RISERS: u8 = 2;

/// All hydrants, `jz-h-0001` to `jz-h-0420`: outdoor first, then building by building.
#[must_use]
pub fn hydrants() -> Vec<Thing> {
    let mut all = Vec::with_capacity(420);
    outdoor(&mut all);
    for building in buildings() {
        for riser in 1..=RISERS {
            indoor(&building, riser, &mut all);
        }
    }
    all
}

fn code(all: &[Thing]) -> String {
    format!("{ESTATE}-h-{:04}", all.len() + 1)
}

fn outdoor(all: &mut Vec<Thing>) {
    for main in &MAINS {
        let (from, to) = (18.0, length(main.line) - 12.0);
        for n in 0..ON_A_MAIN {
            let at = from + (to - from) * f64::from(n) / f64::from(ON_A_MAIN - 1);
            let (x, y) = along(main.line, at, 1.5);
            // The site rises by some 3 m from the south street to the north lane.
            let elevation = ((y + 200.0) / 400.0 * 30.0).round().clamp(0.0, 30.0) / 10.0;
            let number = all.len() + 1;
            let [lon, lat] = lon_lat((x, y));
            all.push(Thing {
                code: code(all),
                kind: TYPE.to_owned(),
                area: ESTATE.to_owned(),
                name_zh: format!("室外消火栓 {number:02}"),
                name_en: format!("Outdoor hydrant {number:02}"),
                place_zh: format!("{} {number:02} 号", main.place.0),
                place_en: format!("{}, no. {number:02}", main.place.1),
                lon,
                lat,
                public: true,
                properties: json!({"siting": "outdoor", "main": main.code, "elevation": elevation}),
            });
        }
    }
}

fn indoor(building: &Building, riser: u8, all: &mut Vec<Thing>) {
    let (number, unit) = (building.number, building.unit_of_riser(riser));
    // The second riser of a tower serves the floors between those of the first.
    let shift = if building.units == 1 { f64::from(riser - 1) * 0.5 } else { 0.0 };
    for n in 0..ON_A_MAIN {
        let step = f64::from(building.floors - 1) / f64::from(ON_A_MAIN - 1);
        let floor = (1.0 + (f64::from(n) + shift) * step).floor().min(f64::from(building.floors)) as u8;
        let [lon, lat] = lon_lat(building.beside_core(riser, n));
        let (stair_zh, stair_en) = if building.units > 1 {
            (format!(" {unit} 单元"), format!(", unit {unit}"))
        } else {
            (String::new(), String::new())
        };
        // A tower has two hydrants on some floors: their riser tells them apart.
        let (riser_zh, riser_en) = if building.units == 1 {
            (format!(" {riser} 号消火栓"), format!(", hydrant {riser}"))
        } else {
            ("消火栓".to_owned(), String::from(" hydrant"))
        };
        let place_zh = format!("{number} 栋{stair_zh} {floor} 层");
        let place_en = format!("Building {number}{stair_en}, floor {floor}");
        all.push(Thing {
            code: code(all),
            kind: TYPE.to_owned(),
            area: format!("{}-u{unit}-f{floor}", building.code()),
            name_zh: format!("{place_zh}{riser_zh}"),
            name_en: format!("{place_en}{riser_en}"),
            place_zh,
            place_en,
            lon,
            lat,
            public: false,
            properties: json!({
                "siting": "indoor",
                "main": format!("riser-{number:02}-{riser}"),
                "floor": floor,
                "feed": if building.is_west() { "main-3" } else { "main-4" },
            }),
        });
    }
}
