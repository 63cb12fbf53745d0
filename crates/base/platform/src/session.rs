//! Sessions (会话): staying logged in, seeing where one is, and ending it.
//!
//! The cookie holds 256 random bits; the table holds their SHA-256, so that a copy of the
//! database opens no session. A session ends twelve hours after it began, or when its person
//! logs out, or when an administrator ends it. Every unsafe request must repeat the session's CSRF
//! token in a header. Logging in is in [`crate::login`].

mod attempts;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{Context, Id, Micros};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use store::{Store, StoreError, args, new_id, now};
use tokio::sync::{Semaphore, broadcast};
use utoipa::ToSchema;

pub use attempts::LockOut;
pub(crate) use attempts::{Attempts, LOCKED};

use crate::{SecondFactor, person};

/// How long a session lasts.
pub(crate) const LASTS: i64 = 12 * Micros::HOUR;
/// How often the use of a session is noted.
const NOTED: i64 = 5 * Micros::MINUTE;
/// How many notes are remembered, so that requests at once note once.
const REMEMBERED: usize = 10_000;
/// How many passwords may wait to be hashed.
const WAITING: usize = 32;
/// How many changes may wait for a slow stream; one that missed some looks again to be sure.
const CHANGES: usize = 256;
/// How many sessions of a person are listed.
const LISTED: i64 = 200;

store::statements! {
    OPEN = "INSERT INTO sessions (token, id, person, csrf, created_at, expires_at, address, agent, used_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $5)";
    FIND = "SELECT s.id, s.person, p.login, p.name, s.csrf, s.expires_at, s.used_at, p.must_change, p.totp_at
        FROM sessions s JOIN people p ON p.id = s.person
        WHERE s.token = $1 AND s.expires_at > $2 AND p.disabled_at IS NULL";
    CLOSE = "DELETE FROM sessions WHERE token = $1";
    CLOSE_ONE = "DELETE FROM sessions WHERE person = $1 AND id = $2";
    CLOSE_OTHERS = "DELETE FROM sessions WHERE person = $1 AND id <> $2";
    CLOSE_ALL = "DELETE FROM sessions WHERE person = $1";
    SWEEP = "DELETE FROM sessions WHERE expires_at <= $1";
    USED = "UPDATE sessions SET used_at = $2 WHERE id = $1 AND used_at < $2";
    OF_PERSON = "SELECT id, created_at, expires_at, address, agent, used_at FROM sessions
        WHERE person = $1 AND expires_at > $2 ORDER BY used_at DESC, id LIMIT $3";
}

/// What a person must do before a session is good for anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// Set a password of their own.
    PasswordChange,
    /// Set up the second factor that their role asks for.
    SecondFactor,
}

/// A session that was found.
#[derive(Clone, Debug)]
pub struct Session {
    /// Names it; opens nothing.
    pub id: Id,
    /// Whose.
    pub person: Id,
    /// What they log in with.
    pub login: String,
    /// Their name.
    pub name: String,
    /// What unsafe requests must repeat.
    pub csrf: String,
    /// When it ends.
    pub expires_at: Micros,
    /// What they may do.
    pub grants: Vec<person::TitledGrant>,
    /// What they must do first.
    pub need: Option<Need>,
}

/// A session, as listed.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct SessionRow {
    /// Names it.
    pub id: Id,
    /// When it began, µs.
    pub created_at: i64,
    /// When it ends by itself, µs.
    pub expires_at: i64,
    /// From where it was opened.
    pub address: String,
    /// The browser's own name for itself.
    pub agent: String,
    /// When it was last used, to five minutes, µs.
    pub used_at: i64,
}

#[derive(sqlx::FromRow)]
struct FoundRow {
    id: Id,
    person: Id,
    login: String,
    name: String,
    csrf: String,
    expires_at: i64,
    used_at: i64,
    must_change: i64,
    totp_at: Option<i64>,
}

/// Staying logged in.
pub struct Sessions {
    /// Cookies only over TLS.
    pub(crate) secure: bool,
    /// Who must have a second factor.
    pub(crate) second_factor: SecondFactor,
    pub(crate) attempts: Attempts,
    /// Hashing takes a core for tens of milliseconds: one at a time leaves the other to the city.
    hashing: Semaphore,
    pub(crate) waiting: Semaphore,
    /// Verified against when the login is unknown, so that the time taken tells nothing.
    pub(crate) nobody: String,
    /// Whose sessions may have ended, or may do something else now.
    changes: broadcast::Sender<Id>,
    noted: Mutex<HashMap<Id, i64>>,
}

impl Sessions {
    pub(crate) fn new(secure: bool, second_factor: SecondFactor) -> Self {
        Self {
            secure,
            second_factor,
            attempts: Attempts::default(),
            hashing: Semaphore::new(1),
            waiting: Semaphore::new(WAITING),
            nobody: person::hash_password("nobody").unwrap_or_default(),
            changes: broadcast::channel(CHANGES).0,
            noted: Mutex::default(),
        }
    }

    /// Names a person when sessions of theirs were ended, or their grants changed, by this hub:
    /// whoever holds a session of theirs open looks again then. (Grants that end by their time are
    /// seen by looking now and then.)
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Id> {
        self.changes.subscribe()
    }

    /// Tells those who hold sessions of the person open to look again.
    pub(crate) fn changed(&self, person: Id) {
        // Nobody may hold any.
        drop(self.changes.send(person));
    }

    /// Whether the password is the one that was hashed; waits for its turn.
    pub(crate) async fn verify(&self, password: String, hash: String) -> Result<bool, StoreError> {
        let _one = self.hashing.acquire().await.map_err(|_| StoreError::Stopping)?;
        Ok(tokio::task::spawn_blocking(move || person::verify_password(&password, &hash))
            .await
            .unwrap_or(false))
    }

    /// Hashes a password; waits for its turn.
    pub(crate) async fn hash(&self, password: String) -> Result<String, StoreError> {
        let _one = self.hashing.acquire().await.map_err(|_| StoreError::Stopping)?;
        let hashed = tokio::task::spawn_blocking(move || person::hash_password(&password)).await;
        hashed.unwrap_or_else(|e| Err(e.to_string())).map_err(StoreError::Statement)
    }

    /// What a person must do first, given how the account stands.
    pub(crate) fn need(
        &self,
        must_change: bool,
        has_second_factor: bool,
        grants: &[person::TitledGrant],
    ) -> Option<Need> {
        if must_change {
            Some(Need::PasswordChange)
        } else if !has_second_factor
            && self.second_factor.is_required(grants.iter().map(|g| g.grant.role.as_str()))
        {
            Some(Need::SecondFactor)
        } else {
            None
        }
    }

    /// The session of a cookie's token, with the grants that hold now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find(&self, store: &Store, token: &str) -> Result<Option<Session>, StoreError> {
        // A token is 43 characters; anything else is not ours and costs no query.
        if token.len() != 43 {
            return Ok(None);
        }
        let now = now();
        let row: Option<FoundRow> = store.read().opt(FIND, args![hash_token(token), now]).await?;
        let Some(row) = row else { return Ok(None) };
        if now.0 - row.used_at > NOTED && self.is_due(row.id, now) {
            tokio::spawn(note_use(store.clone(), row.id, now));
        }
        let grants = person::grants(store, row.person, now).await?;
        let need = self.need(row.must_change != 0, row.totp_at.is_some(), &grants);
        Ok(Some(Session {
            id: row.id,
            person: row.person,
            login: row.login,
            name: row.name,
            csrf: row.csrf,
            expires_at: Micros(row.expires_at),
            grants,
            need,
        }))
    }

    /// Whether the use is to be noted by this request and not by another that came with it.
    fn is_due(&self, session: Id, at: Micros) -> bool {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() >= REMEMBERED {
            noted.clear();
        }
        let last = noted.insert(session, at.0);
        last.is_none_or(|last| at.0 - last > NOTED)
    }

    /// Ends the session of a token.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn log_out(&self, store: &Store, context: &Context, token: &str) -> Result<(), StoreError> {
        store
            .command::<_, (), StoreError, _>(context, "session:close", hash_token(token), |tx, token| {
                Box::pin(async move {
                    if let Some(person) = tx.context.actor.person() {
                        tx.subject("person", person, None);
                    }
                    tx.execute(CLOSE, args![token.clone()]).await.map(drop)
                })
            })
            .await?;
        if let Some(person) = context.actor.person() {
            self.changed(person);
        }
        Ok(())
    }

    /// The sessions of a person that hold now, the last used first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn of_person(&self, store: &Store, person: Id) -> Result<Vec<SessionRow>, StoreError> {
        store.read().all(OF_PERSON, args![person, now(), LISTED]).await
    }

    /// Ends one session of a person; whether there was one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn end(
        &self,
        store: &Store,
        context: &Context,
        person: Id,
        session: Id,
    ) -> Result<bool, StoreError> {
        self.end_by(store, context, CLOSE_ONE, person, Some(session)).await
    }

    /// Ends all sessions of a person but one; whether there were any.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn end_others(
        &self,
        store: &Store,
        context: &Context,
        person: Id,
        but: Id,
    ) -> Result<bool, StoreError> {
        self.end_by(store, context, CLOSE_OTHERS, person, Some(but)).await
    }

    /// Ends all sessions of a person; whether there were any.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn end_all(&self, store: &Store, context: &Context, person: Id) -> Result<bool, StoreError> {
        self.end_by(store, context, CLOSE_ALL, person, None).await
    }

    async fn end_by(
        &self,
        store: &Store,
        context: &Context,
        statement: &'static str,
        person: Id,
        session: Option<Id>,
    ) -> Result<bool, StoreError> {
        let values = (person, session);
        let ended: u64 = store
            .command::<_, u64, StoreError, _>(context, "session:end", values, move |tx, (person, session)| {
                Box::pin(async move {
                    let mut values = args![person];
                    values.extend(session.map(store::Value::from));
                    let ended = tx.execute(statement, values).await?;
                    tx.subject("person", person, None);
                    tx.detail(serde_json::json!({ "ended": ended }));
                    if ended == 0 {
                        tx.bookkeeping();
                    }
                    Ok(ended)
                })
            })
            .await?;
        self.changed(person);
        Ok(ended > 0)
    }
}

/// A token for a cookie, and one against forged requests.
pub(crate) fn new_tokens() -> (String, String) {
    (URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()), URL_SAFE_NO_PAD.encode(rand::random::<[u8; 24]>()))
}

pub(crate) fn hash_token(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

async fn note_use(store: Store, session: Id, at: Micros) {
    let context = Context::system("session", new_id());
    let noted = store
        .command::<_, (), StoreError, _>(&context, "session:use", (session, at), |tx, (session, at)| {
            Box::pin(async move {
                tx.bookkeeping();
                tx.execute(USED, args![session, *at]).await.map(drop)
            })
        })
        .await;
    if let Err(e) = noted {
        tracing::warn!(error = %e, "the use of a session was not noted");
    }
}
