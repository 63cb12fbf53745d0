//! The area tree (区域树) that every thing, organisation and grant hangs on.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The levels of the tree, widest first. City to community are GB/T 2260 units and the codes
/// below them; grid (网格) may stand between community and estate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AreaLevel {
    /// 市
    City,
    /// 区县
    District,
    /// 街道、镇、乡
    Street,
    /// 社区、村
    Community,
    /// 网格
    Grid,
    /// 小区
    Estate,
    /// 楼栋
    Building,
    /// 单元
    Unit,
    /// 楼层
    Floor,
}

impl AreaLevel {
    /// All levels, widest first.
    pub const ALL: [Self; 9] = [
        Self::City,
        Self::District,
        Self::Street,
        Self::Community,
        Self::Grid,
        Self::Estate,
        Self::Building,
        Self::Unit,
        Self::Floor,
    ];

    /// `city` … `floor`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::City => "city",
            Self::District => "district",
            Self::Street => "street",
            Self::Community => "community",
            Self::Grid => "grid",
            Self::Estate => "estate",
            Self::Building => "building",
            Self::Unit => "unit",
            Self::Floor => "floor",
        }
    }

    /// Reads what [`AreaLevel::as_str`] writes.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|l| l.as_str() == name)
    }
}

/// Where an area stands in the tree: the codes from the city down, each followed by `/`, as in
/// `50/500112/500112011/`. "In this area" is one prefix test.
///
/// Codes are ASCII letters, digits, `-`, `_` and `.`, so that a path needs no escaping anywhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, example = "50/500112/500112011/500112011014/jz/")]
pub struct AreaPath(String);

/// Why a text is not an area path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an area path: codes of letters, digits, '-', '_', '.', each followed by '/'")]
pub struct BadAreaPath(String);

impl AreaPath {
    /// Whether `code` may be one code of a path.
    #[must_use]
    pub fn is_code(code: &str) -> bool {
        code.len() <= 64
            && code.bytes().any(|b| b.is_ascii_alphanumeric())
            && code.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    }

    /// Reads a path.
    ///
    /// # Errors
    /// [`BadAreaPath`] with the text.
    pub fn parse(text: &str) -> Result<Self, BadAreaPath> {
        let bad = || BadAreaPath(text.to_owned());
        let codes = text.strip_suffix('/').ok_or_else(bad)?;
        if codes.split('/').all(Self::is_code) { Ok(Self(text.to_owned())) } else { Err(bad()) }
    }

    /// The path of the child area `code`.
    ///
    /// # Errors
    /// [`BadAreaPath`] when `code` is not a code.
    pub fn child(&self, code: &str) -> Result<Self, BadAreaPath> {
        Self::parse(&format!("{}{code}/", self.0))
    }

    /// Whether `self` is `other` or lies below it.
    #[must_use]
    pub fn is_in(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// The code of the area itself: the last of the path.
    #[must_use]
    pub fn code(&self) -> &str {
        self.0.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
    }

    /// The area and those above it, widest first.
    pub fn ancestors(&self) -> impl Iterator<Item = AreaPath> + '_ {
        self.0.match_indices('/').map(|(at, _)| AreaPath(self.0[..=at].to_owned()))
    }

    /// The text itself, ending in `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for AreaPath {
    type Error = BadAreaPath;
    fn try_from(text: String) -> Result<Self, BadAreaPath> {
        Self::parse(&text)
    }
}

impl From<AreaPath> for String {
    fn from(path: AreaPath) -> Self {
        path.0
    }
}

impl std::fmt::Display for AreaPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_an_area_is_a_prefix_test_that_does_not_confuse_neighbours() {
        let path = |t: &str| AreaPath::parse(t).unwrap();
        for (inner, outer, expected) in [
            ("50/500112/", "50/", true),
            ("50/500112/", "50/500112/", true),
            ("50/5001120/", "50/500112/", false),
            ("50/", "50/500112/", false),
        ] {
            assert_eq!(path(inner).is_in(&path(outer)), expected, "{inner} in {outer}");
        }
        assert_eq!(path("50/500112/jz/").code(), "jz");
        let above: Vec<_> = path("50/500112/jz/").ancestors().map(String::from).collect();
        assert_eq!(above, ["50/", "50/500112/", "50/500112/jz/"]);
    }

    #[test]
    fn what_is_not_a_path_is_refused() {
        for text in ["", "/", "50", "50//", "/50/", "50/../", "50/%/", "50/a b/"] {
            assert!(AreaPath::parse(text).is_err(), "{text:?}");
        }
    }
}
