//! The area tree (区域树), held in memory: twelve thousand areas of a city are two megabytes.

use std::collections::HashMap;

use model::{AreaLevel, AreaPath, Text};
use serde::{Deserialize, Serialize};
use store::{Store, StoreError, args};
use utoipa::ToSchema;

store::statements! {
    ALL = "SELECT path, level, name_zh, name_en FROM areas ORDER BY sort, path";
    FEATURES = "SELECT feature FROM area_features WHERE area >= $1 AND area < $2 ORDER BY area, sort";
}

/// An area as other resources name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AreaRef {
    /// The code: GB/T 2260 and below, or a local one.
    pub code: String,
    /// Where it stands in the tree.
    pub path: AreaPath,
    /// Its level.
    pub level: AreaLevel,
    /// What it is called.
    pub name: Text,
}

/// All areas.
pub struct Areas {
    by_path: HashMap<AreaPath, usize>,
    by_code: HashMap<String, usize>,
    children: HashMap<AreaPath, Vec<usize>>,
    all: Vec<AreaRef>,
}

impl Areas {
    pub(crate) async fn load(store: &Store) -> Result<Self, StoreError> {
        let rows: Vec<(String, String, String, String)> = store.read().all(ALL, args![]).await?;
        let bad = |e: String| StoreError::Document(format!("areas: {e}"));
        let all = rows
            .into_iter()
            .map(|(path, level, zh, en)| {
                let path = AreaPath::parse(&path).map_err(|e| bad(e.to_string()))?;
                let level = AreaLevel::from_name(&level).ok_or_else(|| bad(format!("no level {level:?}")))?;
                Ok(AreaRef { code: path.code().to_owned(), path, level, name: Text::new(zh, en) })
            })
            .collect::<Result<Vec<_>, StoreError>>()?;
        let by_path = all.iter().enumerate().map(|(i, a)| (a.path.clone(), i)).collect();
        let by_code = all.iter().enumerate().map(|(i, a)| (a.code.clone(), i)).collect();
        let mut children: HashMap<AreaPath, Vec<usize>> = HashMap::new();
        for (i, area) in all.iter().enumerate() {
            let above: Vec<_> = area.path.ancestors().collect();
            if let Some(parent) = above.len().checked_sub(2).and_then(|p| above.get(p)) {
                children.entry(parent.clone()).or_default().push(i);
            }
        }
        Ok(Self { by_path, by_code, children, all })
    }

    /// The area at `path`.
    #[must_use]
    pub fn get(&self, path: &AreaPath) -> Option<AreaRef> {
        self.by_path.get(path).map(|i| self.all[*i].clone())
    }

    /// The area with this code.
    #[must_use]
    pub fn by_code(&self, code: &str) -> Option<AreaRef> {
        self.by_code.get(code).map(|i| self.all[*i].clone())
    }

    /// The area at `path`; for one that is not in the tree (any more) a reference that shows its
    /// code, so that old records stay readable.
    #[must_use]
    pub fn reference(&self, path: &AreaPath) -> AreaRef {
        self.get(path).unwrap_or_else(|| AreaRef {
            code: path.code().to_owned(),
            path: path.clone(),
            level: AreaLevel::Floor,
            name: Text::new(path.code(), path.code()),
        })
    }

    /// The area of `level` that `path` is or lies in.
    #[must_use]
    pub fn at_level(&self, path: &AreaPath, level: AreaLevel) -> Option<AreaRef> {
        path.ancestors().filter_map(|p| self.get(&p)).find(|a| a.level == level)
    }

    /// The areas above `path`, widest first, without itself.
    #[must_use]
    pub fn above(&self, path: &AreaPath) -> Vec<AreaRef> {
        path.ancestors().filter(|p| p != path).filter_map(|p| self.get(&p)).collect()
    }

    /// The areas directly below `path`, in their order.
    pub fn below<'a>(&'a self, path: &AreaPath) -> impl Iterator<Item = &'a AreaRef> + use<'a> {
        self.children.get(path).into_iter().flatten().map(|i| &self.all[*i])
    }

    /// Every area, wider ones before those in them.
    #[must_use]
    pub fn all(&self) -> &[AreaRef] {
        &self.all
    }
}

/// The area tree as stored, for tools beside the hub.
///
/// # Errors
/// [`StoreError`].
pub async fn load(store: &Store) -> Result<Areas, StoreError> {
    Areas::load(store).await
}

/// The GeoJSON features that belong to `area` and below, as stored texts.
///
/// # Errors
/// [`StoreError`].
pub async fn features(store: &Store, area: &AreaPath) -> Result<Vec<String>, StoreError> {
    let to = format!("{}0", area.as_str().trim_end_matches('/'));
    let rows: Vec<(String,)> = store.read().all(FEATURES, args![area, to]).await?;
    Ok(rows.into_iter().map(|(f,)| f).collect())
}
