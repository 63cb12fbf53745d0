//! Tokens (令牌) of integrators (集成方): other systems that write or read the observations of an
//! area.
//!
//! A secret is `zst_` and 256 random bits in hexadecimal, shown once; the table holds its SHA-256,
//! so that a copy of the database opens no door. Tokens are looked up in memory: a request costs a
//! hash and no query, and one that is revoked here is refused from the next request on.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use model::observation::Integrator;
use model::{AreaPath, Context, Id, Micros};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use store::filter::{KeyValue, Keyed};
use store::{Filter, Order, Page, PageRequest, Select, Store, StoreError, args, new_id, now};

use crate::Platform;

/// What every secret begins with, so that one that leaked is recognised.
pub const PREFIX: &str = "zst_";
/// The tag that names the thing of a line when the token says nothing else.
pub const THING_TAG: &str = "thing";
/// `zst_` and 64 hexadecimal digits.
const SECRET_LENGTH: usize = 68;

store::statements! {
    ADD = "INSERT INTO tokens (id, name, secret_sha256, area, may_read, may_write, thing_tag, created_at, created_by, expires_at, revoked_at, last_used_day)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, NULL, NULL)";
    NAMED = "SELECT area FROM tokens WHERE name = $1";
    LIVE = "SELECT id, name, secret_sha256, area, may_read, may_write, thing_tag, expires_at, last_used_day
        FROM tokens WHERE revoked_at IS NULL";
    REVOKE = "UPDATE tokens SET revoked_at = $2 WHERE name = $1 AND revoked_at IS NULL";
    USED = "UPDATE tokens SET last_used_day = $2 WHERE id = $1";
}

const LIST: &str = "SELECT name, area, may_read, may_write, thing_tag, created_at, created_by, expires_at, revoked_at, last_used_day FROM tokens";

/// A token that opens doors.
#[derive(Debug)]
pub struct Token {
    /// Names it for ever.
    pub id: Id,
    /// Its name, and where its holder may read and write.
    pub integrator: Arc<Integrator>,
    /// The tag of a line that names the thing.
    pub thing_tag: String,
    /// When it ends by itself.
    pub expires_at: Option<Micros>,
    /// The last day (since 1970 UTC) on record on which it was used.
    last_used_day: AtomicI64,
}

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenRight {
    /// Reading observations.
    Read,
    /// Writing them.
    Write,
}

impl Token {
    /// Whether it gives the right somewhere.
    #[must_use]
    pub fn gives(&self, right: TokenRight) -> bool {
        match right {
            TokenRight::Read => !self.integrator.read.is_empty(),
            TokenRight::Write => !self.integrator.write.is_empty(),
        }
    }

    fn holds(&self, at: Micros) -> bool {
        self.expires_at.is_none_or(|end| at < end)
    }
}

/// A token to make.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewToken {
    /// Its name: letters, digits, `-`, `_`, `.`; never used again, even after the token is revoked.
    pub name: String,
    /// Where it holds, and below.
    pub area: AreaPath,
    /// Whether its holder may read observations.
    pub read: bool,
    /// Whether its holder may write them.
    pub write: bool,
    /// The tag of a line that names the thing; [`THING_TAG`] when absent.
    pub thing_tag: Option<String>,
    /// When it ends by itself.
    pub expires_at: Option<Micros>,
}

/// A token's row, without what would open a door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct TokenRow {
    /// Its name.
    pub name: String,
    /// Where it holds.
    pub area: String,
    /// 1 when its holder may read.
    pub may_read: i64,
    /// 1 when its holder may write.
    pub may_write: i64,
    /// The tag of a line that names the thing.
    pub thing_tag: String,
    /// When it was made.
    pub created_at: i64,
    /// By whom, as shown.
    pub created_by: String,
    /// When it ends by itself.
    pub expires_at: Option<i64>,
    /// When it was revoked.
    pub revoked_at: Option<i64>,
    /// The last day (since 1970 UTC) on which it was used.
    pub last_used_day: Option<i64>,
}

impl Keyed for TokenRow {
    fn key(&self) -> Vec<KeyValue> {
        vec![KeyValue::Text(self.name.clone())]
    }
}

/// Why a token is not made or not revoked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TokenError {
    /// The name is not one.
    #[error("make the token: the name {0:?} must be 1 to 64 letters, digits, '-', '_' or '.'")]
    BadName(String),
    /// The tag is not one.
    #[error("make the token: the thing tag {0:?} must be 1 to 64 visible characters")]
    BadTag(String),
    /// It would open nothing.
    #[error("make the token: it may neither read nor write; allow one of them")]
    Useless,
    /// Its end has passed.
    #[error("make the token: it would end at {0}, which has passed")]
    Past(Micros),
    /// There is one, perhaps revoked, with this name.
    #[error("make the token: the name {0:?} is taken; names are not used again, even of revoked tokens")]
    Taken(String),
    /// The same request was done before; its answer cannot be given again.
    #[error(
        "make the token: the same request made it before, and its secret is shown only once; revoke {0:?} and make another"
    )]
    Repeated(String),
    /// No such token, or it is revoked.
    #[error("revoke the token: no token {0:?} that is not revoked")]
    Unknown(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The tokens that hold, by the SHA-256 of their secrets.
pub(crate) struct Tokens(RwLock<HashMap<[u8; 32], Arc<Token>>>);

#[derive(sqlx::FromRow)]
struct LiveRow {
    id: Id,
    name: String,
    secret_sha256: Vec<u8>,
    area: String,
    may_read: i64,
    may_write: i64,
    thing_tag: String,
    expires_at: Option<i64>,
    last_used_day: Option<i64>,
}

impl Tokens {
    pub(crate) async fn load(store: &Store) -> Result<Self, StoreError> {
        let rows: Vec<LiveRow> = store.read().all(LIVE, args![]).await?;
        let mut tokens = HashMap::with_capacity(rows.len());
        for row in rows {
            let hash: [u8; 32] = row.secret_sha256.try_into().map_err(|_| {
                StoreError::Document(format!("the secret of the token {:?} is no SHA-256", row.name))
            })?;
            let area = AreaPath::parse(&row.area).map_err(|e| StoreError::Document(e.to_string()))?;
            let at = |may: i64| if may == 0 { Vec::new() } else { vec![area.clone()] };
            let integrator = Integrator { name: row.name, read: at(row.may_read), write: at(row.may_write) };
            let token = Token {
                id: row.id,
                integrator: Arc::new(integrator),
                thing_tag: row.thing_tag,
                expires_at: row.expires_at.map(Micros),
                last_used_day: AtomicI64::new(row.last_used_day.unwrap_or(i64::MIN)),
            };
            tokens.insert(hash, Arc::new(token));
        }
        Ok(Self(RwLock::new(tokens)))
    }

    fn find(&self, secret: &str) -> Option<Arc<Token>> {
        // Anything else is not ours and costs no hash.
        if secret.len() != SECRET_LENGTH || !secret.starts_with(PREFIX) {
            return None;
        }
        let tokens = self.0.read().unwrap_or_else(PoisonError::into_inner);
        tokens.get(&hash(secret)).cloned()
    }

    fn add(&self, secret: &str, token: Token) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(hash(secret), Arc::new(token));
    }

    fn drop_named(&self, name: &str) {
        let mut tokens = self.0.write().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|_, token| token.integrator.name != name);
    }

    fn live(&self, at: Micros) -> BTreeSet<String> {
        let tokens = self.0.read().unwrap_or_else(PoisonError::into_inner);
        tokens.values().filter(|t| t.holds(at)).map(|t| t.integrator.name.clone()).collect()
    }

    fn is_live(&self, name: &str, at: Micros) -> bool {
        let tokens = self.0.read().unwrap_or_else(PoisonError::into_inner);
        tokens.values().any(|t| t.integrator.name == name && t.holds(at))
    }
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Makes a token; its id and its secret, which is nowhere else. A running hub knows it only when
/// it is made by [`Platform::create_token`].
///
/// # Errors
/// [`TokenError`].
pub async fn create(store: &Store, context: &Context, new: NewToken) -> Result<(Id, String), TokenError> {
    if !AreaPath::is_code(&new.name) {
        return Err(TokenError::BadName(new.name));
    }
    let tag = new.thing_tag.clone().unwrap_or_else(|| THING_TAG.to_owned());
    if tag.is_empty() || tag.len() > 64 || tag.chars().any(char::is_control) {
        return Err(TokenError::BadTag(tag));
    }
    if !new.read && !new.write {
        return Err(TokenError::Useless);
    }
    if let Some(end) = new.expires_at.filter(|end| *end <= now()) {
        return Err(TokenError::Past(end));
    }
    let secret = format!("{PREFIX}{}", hex::encode(rand::random::<[u8; 32]>()));
    let id = new_id();
    let name = new.name.clone();
    let values = (id, new, tag, hash(&secret).to_vec());
    let made: Id = store
        .command(context, "token:create", values, |tx, (id, new, tag, hash)| {
            Box::pin(async move {
                if tx.opt::<(String,)>(NAMED, args![&new.name]).await?.is_some() {
                    return Err(TokenError::Taken(new.name.clone()));
                }
                tx.subject("token", &new.name, Some(&new.area));
                tx.detail(serde_json::json!({
                    "read": new.read, "write": new.write, "thing_tag": tag, "expires_at": new.expires_at,
                }));
                let (by, now) = (tx.context.actor.name().to_owned(), tx.now);
                let values = args![
                    id,
                    &new.name,
                    hash.clone(),
                    &new.area,
                    new.read,
                    new.write,
                    tag,
                    now,
                    by,
                    new.expires_at
                ];
                tx.execute(ADD, values).await?;
                Ok(*id)
            })
        })
        .await?;
    // An idempotent repeat answers with the id of the first; the secret of that one is gone.
    if made == id { Ok((id, secret)) } else { Err(TokenError::Repeated(name)) }
}

/// Revokes a token. A running hub goes by it only when it is revoked by
/// [`Platform::revoke_token`].
///
/// # Errors
/// [`TokenError`].
pub async fn revoke(store: &Store, context: &Context, name: &str) -> Result<(), TokenError> {
    store
        .command(context, "token:revoke", name.to_owned(), |tx, name| {
            Box::pin(async move {
                let unknown = || TokenError::Unknown(name.clone());
                let (area,) = tx.opt::<(String,)>(NAMED, args![name]).await?.ok_or_else(unknown)?;
                let now = tx.now;
                if tx.execute(REVOKE, args![name, now]).await? == 0 {
                    return Err(unknown());
                }
                tx.subject("token", name, AreaPath::parse(&area).ok().as_ref());
                Ok(())
            })
        })
        .await
}

/// One page of the tokens of these areas, by name, revoked ones included.
///
/// # Errors
/// [`StoreError`].
pub async fn list(
    store: &Store,
    scope: Vec<AreaPath>,
    page: &PageRequest,
) -> Result<Page<TokenRow>, StoreError> {
    let filter = Filter::Within("area", scope);
    store.list(Select { head: LIST, filter, order: vec![Order::Up("name")] }, page).await
}

/// The area of a token, revoked or not.
///
/// # Errors
/// [`StoreError`].
pub async fn area(store: &Store, name: &str) -> Result<Option<AreaPath>, StoreError> {
    let row: Option<(String,)> = store.read().opt(NAMED, args![name]).await?;
    Ok(row.and_then(|(area,)| AreaPath::parse(&area).ok()))
}

impl Platform {
    /// The token with this secret, if it holds now. Notes once a day that it is used.
    #[must_use]
    pub fn token(&self, secret: &str) -> Option<Arc<Token>> {
        let at = now();
        let token = self.tokens.find(secret).filter(|token| token.holds(at))?;
        let day = at.0.div_euclid(Micros::DAY);
        if token.last_used_day.swap(day, Ordering::Relaxed) != day
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(note_use(self.store.clone(), token.id, day));
        }
        Some(token)
    }

    /// Who holds the token with this secret.
    #[must_use]
    pub fn integrator(&self, secret: &str) -> Option<Arc<Integrator>> {
        self.token(secret).map(|token| token.integrator.clone())
    }

    /// Whether the token of this name holds now.
    #[must_use]
    pub fn token_is_live(&self, name: &str) -> bool {
        self.tokens.is_live(name, now())
    }

    /// The names of the tokens that hold now.
    #[must_use]
    pub fn live_tokens(&self) -> BTreeSet<String> {
        self.tokens.live(now())
    }

    /// Makes a token, good at once; its secret.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn create_token(&self, context: &Context, new: NewToken) -> Result<String, TokenError> {
        let (id, secret) = create(&self.store, context, new.clone()).await?;
        let at = |may: bool| if may { vec![new.area.clone()] } else { Vec::new() };
        let integrator = Integrator { name: new.name, read: at(new.read), write: at(new.write) };
        let token = Token {
            id,
            integrator: Arc::new(integrator),
            thing_tag: new.thing_tag.unwrap_or_else(|| THING_TAG.to_owned()),
            expires_at: new.expires_at,
            last_used_day: AtomicI64::new(i64::MIN),
        };
        self.tokens.add(&secret, token);
        Ok(secret)
    }

    /// Revokes a token; it is refused from the next request on.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn revoke_token(&self, context: &Context, name: &str) -> Result<(), TokenError> {
        revoke(&self.store, context, name).await?;
        self.tokens.drop_named(name);
        Ok(())
    }
}

async fn note_use(store: Store, token: Id, day: i64) {
    let context = Context::system("token", new_id());
    let noted = store
        .command::<_, (), StoreError, _>(&context, "token:use", (token, day), |tx, (token, day)| {
            Box::pin(async move {
                tx.bookkeeping();
                tx.execute(USED, args![token, *day]).await.map(drop)
            })
        })
        .await;
    if let Err(e) = noted {
        tracing::warn!(error = %e, "the day of a token's use was not noted");
    }
}
