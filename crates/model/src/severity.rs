//! The four national warning colours (预警颜色), from the Emergency Response Law, art. 42.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How grave: red, orange, yellow, blue, in that order. What each means for a kind of thing is
/// declared by its pack.
///
/// `Ord` puts the graver first: `Red < Blue`, so that sorting ascending lists the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// 红色 · 特别重大 (Ⅰ)
    Red,
    /// 橙色 · 重大 (Ⅱ)
    Orange,
    /// 黄色 · 较大 (Ⅲ)
    Yellow,
    /// 蓝色 · 一般 (Ⅳ)
    Blue,
}

impl Severity {
    /// All four, gravest first.
    pub const ALL: [Self; 4] = [Self::Red, Self::Orange, Self::Yellow, Self::Blue];

    /// 1 (red) to 4 (blue): the number databases hold and CAP-CN uses.
    #[must_use]
    pub fn rank(self) -> i64 {
        match self {
            Self::Red => 1,
            Self::Orange => 2,
            Self::Yellow => 3,
            Self::Blue => 4,
        }
    }

    /// The colour of a rank, `None` outside 1 to 4.
    #[must_use]
    pub fn from_rank(rank: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.rank() == rank)
    }

    /// `red`, `orange`, `yellow`, `blue`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Orange => "orange",
            Self::Yellow => "yellow",
            Self::Blue => "blue",
        }
    }

    /// Reads what [`Severity::as_str`] writes.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == name)
    }
}
