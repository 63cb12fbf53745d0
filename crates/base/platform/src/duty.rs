//! Posts (岗位) and duty rosters: a process names a post, the roster says who holds it now.

use model::{AreaLevel, AreaPath, Id, Text};
use serde::{Deserialize, Serialize};
use store::{Store, StoreError, Tx, args};

store::statements! {
    POSTS = "SELECT code, name_zh, name_en, level FROM posts ORDER BY code";
    // substr() is a prefix test without LIKE's wildcards: the duty's area covers $2.
    HOLDERS = "SELECT d.person, p.name, d.post, d.area FROM duties d JOIN people p ON p.id = d.person
        WHERE d.post = $1 AND substr($2, 1, length(d.area)) = d.area AND d.from_at <= $3
        AND (d.to_at IS NULL OR d.to_at > $3) AND p.disabled_at IS NULL ORDER BY length(d.area) DESC, p.name, d.person";
    OF_PERSON = "SELECT post, area FROM duties WHERE person = $1 AND from_at <= $2
        AND (to_at IS NULL OR to_at > $2) ORDER BY post, area";
}

/// A post.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Post {
    /// What processes call it: `property-duty`.
    pub code: String,
    /// What people call it.
    pub name: Text,
    /// At which level of the area tree it stands.
    pub level: AreaLevel,
}

/// A person who holds a post now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Who.
    pub person: Id,
    /// Their name.
    pub name: String,
    /// Which post.
    pub post: String,
    /// Where.
    pub area: AreaPath,
}

/// All posts.
///
/// # Errors
/// [`StoreError`].
pub async fn posts(store: &Store) -> Result<Vec<Post>, StoreError> {
    let rows: Vec<(String, String, String, String)> = store.read().all(POSTS, args![]).await?;
    rows.into_iter()
        .map(|(code, zh, en, level)| {
            let level = AreaLevel::from_name(&level)
                .ok_or_else(|| StoreError::Document(format!("post {code}: no level {level:?}")))?;
            Ok(Post { code, name: Text::new(zh, en), level })
        })
        .collect()
}

fn holder((person, name, post, area): (Id, String, String, String)) -> Result<Holder, StoreError> {
    let area = AreaPath::parse(&area).map_err(|e| StoreError::Document(e.to_string()))?;
    Ok(Holder { person, name, post, area })
}

/// Who holds `post` for `area` at the time of the command: those whose duty covers it, the
/// nearest area first.
///
/// # Errors
/// [`StoreError`].
pub async fn holders(tx: &mut Tx<'_>, post: &str, area: &AreaPath) -> Result<Vec<Holder>, StoreError> {
    let now = tx.now;
    let rows = tx.all(HOLDERS, args![post, area, now]).await?;
    rows.into_iter().map(holder).collect()
}

/// The same outside a command, at this moment.
///
/// # Errors
/// [`StoreError`].
pub async fn holders_now(store: &Store, post: &str, area: &AreaPath) -> Result<Vec<Holder>, StoreError> {
    let rows = store.read().all(HOLDERS, args![post, area, store::now()]).await?;
    rows.into_iter().map(holder).collect()
}

/// The posts that `person` holds now, and where.
///
/// # Errors
/// [`StoreError`].
pub async fn duties_of(store: &Store, person: Id) -> Result<Vec<(String, AreaPath)>, StoreError> {
    let rows: Vec<(String, String)> = store.read().all(OF_PERSON, args![person, store::now()]).await?;
    rows.into_iter()
        .map(|(post, area)| {
            Ok((post, AreaPath::parse(&area).map_err(|e| StoreError::Document(e.to_string()))?))
        })
        .collect()
}
