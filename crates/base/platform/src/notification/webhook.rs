//! Webhooks: systems that are told what the posts of an area are told, by HTTPS.

use model::{AreaPath, Context, Id};
use serde::{Deserialize, Serialize};
use store::filter::{KeyValue, Keyed};
use store::{Filter, Order, Page, PageRequest, Select, Store, StoreError, Tx, args, new_id};

use super::guard::Internal;
use super::secret::Secret;

const SELECT: &str = "SELECT id, name, area, post, url, created_at, created_by FROM webhooks";

store::statements! {
    // substr() is a prefix test without LIKE's wildcards: the webhook's area covers $2.
    OF_POST = "SELECT id, name, url FROM webhooks WHERE (post IS NULL OR post = $1)
        AND substr($2, 1, length(area)) = area ORDER BY name";
    SECRET = "SELECT secret FROM webhooks WHERE id = $1";
    ADD = "INSERT INTO webhooks (id, name, area, post, url, secret, created_at, created_by)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    NAMED = "SELECT area FROM webhooks WHERE name = $1";
    COUNT = "SELECT COUNT(*) FROM webhooks";
    REMOVE = "DELETE FROM webhooks WHERE name = $1";
}

/// How many there may be: each one is told in the transaction of the step.
pub const MOST: i64 = 200;

/// A webhook to make.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewWebhook {
    /// Its name: letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// Where: what is told of this area and below goes to it.
    pub area: AreaPath,
    /// Only what this post is told; what every post is told when absent.
    pub post: Option<String>,
    /// Where messages are posted.
    pub url: String,
}

/// A webhook as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct WebhookRow {
    /// Its id.
    pub id: Id,
    /// Its name.
    pub name: String,
    /// Where.
    pub area: String,
    /// Only for this post.
    pub post: Option<String>,
    /// Where messages are posted.
    pub url: String,
    /// When it was made, µs.
    pub created_at: i64,
    /// By whom.
    pub created_by: String,
}

impl Keyed for WebhookRow {
    fn key(&self) -> Vec<KeyValue> {
        vec![KeyValue::Text(self.name.clone())]
    }
}

/// Why a webhook is not made.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WebhookError {
    /// The name is not one.
    #[error("make the webhook: the name {0:?} must be 1 to 64 letters, digits, '-', '_', '.'")]
    BadName(String),
    /// The name is taken.
    #[error("make the webhook: {0:?} is there already")]
    Taken(String),
    /// The address is not one, or may not be reached.
    #[error("make the webhook: {0}")]
    BadUrl(String),
    /// There are as many as there may be.
    #[error("make the webhook: there are {MOST} already")]
    TooMany,
    /// The same request again: the secret was in the first answer only.
    #[error(
        "show the secret of {0:?} again: it was in the first answer only; remove the webhook and make another"
    )]
    Repeated(String),
    /// There is none of this name.
    #[error("find the webhook {0:?}")]
    Unknown(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(sqlx::FromRow)]
pub(super) struct Told {
    pub(super) id: Id,
    pub(super) name: String,
    pub(super) url: String,
}

pub(super) async fn of_post(tx: &mut Tx<'_>, post: &str, area: &AreaPath) -> Result<Vec<Told>, StoreError> {
    tx.all(OF_POST, args![post, area]).await
}

/// What messages to a webhook are signed with; `None` when it was removed.
pub(super) async fn secret(store: &Store, id: Id) -> Result<Option<Secret>, StoreError> {
    let row: Option<(String,)> = store.read().opt(SECRET, args![id]).await?;
    Ok(row.map(|(secret,)| Secret::new(secret)))
}

/// Makes a webhook; its secret, shown this once.
///
/// # Errors
/// [`WebhookError`].
pub async fn create(
    store: &Store,
    context: &Context,
    internal: &Internal,
    new: NewWebhook,
) -> Result<Secret, WebhookError> {
    if !(1..=64).contains(&new.name.len()) || !AreaPath::is_code(&new.name) {
        return Err(WebhookError::BadName(new.name));
    }
    if new.url.len() > 2_000 {
        return Err(WebhookError::BadUrl("the address is longer than 2,000 characters".into()));
    }
    internal.check_url(&new.url).map_err(WebhookError::BadUrl)?;
    let random: [u8; 32] = rand::random();
    let secret = format!("zsw_{}", hex::encode(random));
    let kept = secret.clone();
    let name = new.name.clone();
    let fresh = store
        .command(context, "webhook:create", (new, secret), |tx, (new, secret)| {
            Box::pin(async move {
                tx.subject("webhook", &new.name, Some(&new.area));
                tx.detail(serde_json::json!({ "post": new.post, "host": host(&new.url) }));
                if tx.opt::<(String,)>(NAMED, args![&new.name]).await?.is_some() {
                    return Err(WebhookError::Taken(new.name.clone()));
                }
                let count: Option<(i64,)> = tx.opt(COUNT, args![]).await?;
                if count.is_some_and(|(n,)| n >= MOST) {
                    return Err(WebhookError::TooMany);
                }
                let (now, by) = (tx.now, tx.context.actor.name().to_owned());
                let id = new_id();
                let values =
                    args![id, &new.name, &new.area, new.post.clone(), &new.url, secret.as_str(), now, by];
                tx.execute(ADD, values).await?;
                Ok(id)
            })
        })
        .await?;
    // The answer of an earlier request under the same key: its secret is another one.
    match self::secret(store, fresh).await? {
        Some(stored) if stored.expose() == kept => Ok(stored),
        _ => Err(WebhookError::Repeated(name)),
    }
}

fn host(url: &str) -> Option<String> {
    url::Url::parse(url).ok()?.host_str().map(ToOwned::to_owned)
}

/// One page of webhooks in `scope`, by name.
///
/// # Errors
/// [`StoreError`].
pub async fn list(
    store: &Store,
    scope: Vec<AreaPath>,
    page: &PageRequest,
) -> Result<Page<WebhookRow>, StoreError> {
    let select =
        Select { head: SELECT, filter: Filter::Within("area", scope), order: vec![Order::Up("name")] };
    store.list(select, page).await
}

/// Where a webhook holds; `None` when there is none of this name.
///
/// # Errors
/// [`StoreError`].
pub async fn area(store: &Store, name: &str) -> Result<Option<AreaPath>, StoreError> {
    let row: Option<(String,)> = store.read().opt(NAMED, args![name]).await?;
    row.map(|(area,)| AreaPath::parse(&area).map_err(|e| StoreError::Document(e.to_string()))).transpose()
}

/// Removes a webhook: what still waits for it is given up.
///
/// # Errors
/// [`WebhookError::Unknown`], or the store's.
pub async fn remove(store: &Store, context: &Context, name: &str) -> Result<(), WebhookError> {
    store
        .command(context, "webhook:remove", name.to_owned(), |tx, name| {
            Box::pin(async move {
                tx.subject("webhook", name, None);
                if tx.execute(REMOVE, args![name]).await? == 0 {
                    return Err(WebhookError::Unknown(name.clone()));
                }
                Ok(())
            })
        })
        .await
}
