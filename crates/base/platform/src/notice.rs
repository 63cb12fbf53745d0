//! Notices (通知): what residents are told. Plain words; never names, tasks or photos of others.

use model::{AreaPath, Id, Severity, Text};
use serde::{Deserialize, Serialize};
use store::filter::{KeyValue, Keyed};
use store::{Filter, Order, Page, PageRequest, Select, Store, StoreError, Tx, Value, args, new_id};

const SELECT: &str = "SELECT id, key, area, severity, title_zh, title_en, body_zh, body_en, published_at, ended_at, ended FROM notices";

store::statements! {
    PUBLISH = "INSERT INTO notices (id, key, area, public, severity, title_zh, title_en, body_zh, body_en,
        published_at, ended_at, ended) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, NULL, 0)
        ON CONFLICT (key) DO NOTHING";
    BY_KEY = "SELECT id FROM notices WHERE key = $1";
    RAISE = "UPDATE notices SET severity = $2 WHERE substr(key, 1, length($1)) = $1 AND ended = 0 AND severity > $2
        RETURNING id, area, public, title_zh, title_en";
    END = "UPDATE notices SET ended = 1, ended_at = $2
        WHERE substr(key, 1, length($1)) = $1 AND ended = 0 RETURNING id, area";
}

/// A notice to publish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewNotice {
    /// Names it: a second one with the same key is the same notice.
    pub key: String,
    /// Where it holds.
    pub area: AreaPath,
    /// Whether those in areas below see it too.
    pub public: bool,
    /// How grave.
    pub severity: Option<Severity>,
    /// What happened.
    pub title: Text,
    /// What still works and what to do.
    pub body: Text,
}

/// A published notice.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct NoticeRow {
    /// Its id.
    pub id: Id,
    /// What it was published under; residents do not see it.
    pub key: String,
    /// Where it holds.
    pub area: String,
    /// Rank of its severity.
    pub severity: Option<i64>,
    /// Title in Chinese.
    pub title_zh: String,
    /// Title in English.
    pub title_en: String,
    /// Text in Chinese.
    pub body_zh: String,
    /// Text in English.
    pub body_en: String,
    /// When it was published, µs.
    pub published_at: i64,
    /// When it ended, µs.
    pub ended_at: Option<i64>,
    /// 1 when it ended.
    pub ended: i64,
}

impl Keyed for NoticeRow {
    fn key(&self) -> Vec<KeyValue> {
        vec![KeyValue::I64(self.ended), KeyValue::I64(self.published_at), KeyValue::Text(self.key.clone())]
    }
}

/// Publishes a notice; the same key again changes nothing and gives the id of the first.
///
/// # Errors
/// [`StoreError`].
pub async fn publish(tx: &mut Tx<'_>, notice: &NewNotice) -> Result<Id, StoreError> {
    let id = new_id();
    let now = tx.now;
    let values = args![
        id,
        &notice.key,
        &notice.area,
        notice.public,
        notice.severity,
        &notice.title.zh,
        &notice.title.en,
        &notice.body.zh,
        &notice.body.en,
        now
    ];
    if tx.execute(PUBLISH, values).await? == 0 {
        let row: Option<(Id,)> = tx.opt(BY_KEY, args![&notice.key]).await?;
        return row.map(|(id,)| id).ok_or_else(|| StoreError::Statement("a notice vanished".into()));
    }
    let facts = serde_json::json!({
        "id": id, "severity": notice.severity, "title": notice.title, "public": notice.public,
    });
    tx.event("notice.published", &notice.area, &facts);
    Ok(id)
}

/// Makes the current notices whose key begins with `key_prefix` as grave as `severity`, where they
/// were less grave; how many. They are told of again.
///
/// # Errors
/// [`StoreError`].
pub async fn raise(tx: &mut Tx<'_>, key_prefix: &str, severity: Severity) -> Result<u64, StoreError> {
    let raised: Vec<(Id, String, i64, String, String)> = tx.all(RAISE, args![key_prefix, severity]).await?;
    for (id, area, public, zh, en) in &raised {
        let area = AreaPath::parse(area).map_err(|e| StoreError::Document(e.to_string()))?;
        let facts = serde_json::json!({
            "id": id, "severity": severity, "title": Text::new(zh, en), "public": *public != 0,
        });
        tx.event("notice.published", &area, &facts);
    }
    Ok(raised.len() as u64)
}

/// Ends the notices whose key begins with `key_prefix`; how many.
///
/// # Errors
/// [`StoreError`].
pub async fn end(tx: &mut Tx<'_>, key_prefix: &str) -> Result<u64, StoreError> {
    let now = tx.now;
    let ended: Vec<(Id, String)> = tx.all(END, args![key_prefix, now]).await?;
    for (id, area) in &ended {
        let area = AreaPath::parse(area).map_err(|e| StoreError::Document(e.to_string()))?;
        tx.event("notice.ended", &area, &serde_json::json!({ "id": id }));
    }
    Ok(ended.len() as u64)
}

/// One page of the notices that a person with these areas sees: those of the areas and below,
/// and public ones of the areas above. Current ones first, then the newest.
///
/// # Errors
/// [`StoreError`].
pub async fn list(
    store: &Store,
    scope: &[AreaPath],
    page: &PageRequest,
) -> Result<Page<NoticeRow>, StoreError> {
    let above: Vec<Value> =
        scope.iter().flat_map(|a| a.ancestors().map(Value::from).collect::<Vec<_>>()).collect();
    let filter = Filter::Or(vec![
        Filter::Within("area", scope.to_vec()),
        Filter::Is("public", Value::from(true)).and(Filter::In("area", above)),
    ]);
    let select = Select {
        head: SELECT,
        filter,
        order: vec![Order::Up("ended"), Order::Down("published_at"), Order::Up("key")],
    };
    store.list(select, page).await
}
