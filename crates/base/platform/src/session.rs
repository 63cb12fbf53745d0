//! Sessions (会话): logging in, staying so, and what slows a guesser down.
//!
//! The cookie holds 256 random bits; the table holds their SHA-256, so that a copy of the
//! database opens no session. A session ends twelve hours after it began, or when its person
//! logs out. Every unsafe request must repeat the session's CSRF token in a header.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{Actor, Context, Id, Micros};
use sha2::{Digest as _, Sha256};
use store::{Store, StoreError, args, new_id, now};
use tokio::sync::Semaphore;

use crate::person;

/// How long a session lasts.
const LASTS: i64 = 12 * Micros::HOUR;
/// How many wrong passwords a login may give from one address before it must wait.
const FREE_ATTEMPTS: u32 = 5;
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(900);
/// How many pairs of login and address are remembered.
const REMEMBERED: usize = 10_000;
/// How many passwords may wait to be hashed.
const WAITING: usize = 32;
/// The longest login; accounts have at most 64 characters.
const LONGEST_LOGIN: usize = 64;

store::statements! {
    OPEN = "INSERT INTO sessions (token, person, csrf, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)";
    FIND = "SELECT s.person, p.login, p.name, s.csrf, s.expires_at FROM sessions s JOIN people p ON p.id = s.person
        WHERE s.token = $1 AND s.expires_at > $2";
    CLOSE = "DELETE FROM sessions WHERE token = $1";
    SWEEP = "DELETE FROM sessions WHERE expires_at <= $1";
}

/// A session that was found.
#[derive(Clone, Debug)]
pub struct Session {
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
}

/// Why nobody was logged in.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LoginError {
    /// Unknown login or wrong password: not told apart.
    #[error("log in: login or password is wrong")]
    Wrong,
    /// Too many wrong passwords; try again after so long.
    #[error("log in: too many attempts; wait {} s", .0.as_secs())]
    Throttled(Duration),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Logging in and staying so.
pub struct Sessions {
    /// Cookies only over TLS.
    pub(crate) secure: bool,
    /// By login *and* address: a guesser elsewhere does not lock a duty officer out, and one who
    /// mistypes does not lock out the office behind the same address.
    attempts: Mutex<HashMap<[u8; 32], (u32, Instant)>>,
    /// Hashing takes a core for tens of milliseconds: one at a time leaves the other to the city.
    hashing: Semaphore,
    waiting: Semaphore,
    nobody: String,
}

impl Sessions {
    pub(crate) fn new(secure: bool) -> Self {
        Self {
            secure,
            attempts: Mutex::default(),
            hashing: Semaphore::new(1),
            waiting: Semaphore::new(WAITING),
            // Verified against when the login is unknown, so that the time taken tells nothing.
            nobody: person::hash_password("nobody").unwrap_or_default(),
        }
    }

    /// Checks the password and opens a session; its token goes into the cookie.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn log_in(
        &self,
        store: &Store,
        login: &str,
        password: String,
        address: &str,
    ) -> Result<(String, Session), LoginError> {
        if login.len() > LONGEST_LOGIN {
            return Err(LoginError::Wrong);
        }
        let key = key(login, address);
        let throttled = |wait| {
            metrics::counter!("zhongshu_logins_total", "outcome" => "throttled").increment(1);
            LoginError::Throttled(wait)
        };
        let _place = self.waiting.try_acquire().map_err(|_| throttled(Duration::from_secs(2)))?;
        // Counted before it is tried, so that many at once are no way round; a success clears it.
        self.attempt(key).map_err(throttled)?;
        let found = person::by_login(store, login).await?;
        let hash = found.as_ref().and_then(|(_, _, h)| h.clone()).unwrap_or_else(|| self.nobody.clone());
        let verified = {
            let _one = self.hashing.acquire().await.map_err(|_| StoreError::Stopping)?;
            tokio::task::spawn_blocking(move || person::verify_password(&password, &hash))
                .await
                .unwrap_or(false)
        };
        let Some((id, name, Some(_))) = found.filter(|_| verified) else {
            metrics::counter!("zhongshu_logins_total", "outcome" => "wrong").increment(1);
            return Err(LoginError::Wrong);
        };
        if let Ok(mut attempts) = self.attempts.lock() {
            attempts.remove(&key);
        }
        metrics::counter!("zhongshu_logins_total", "outcome" => "good").increment(1);
        let token = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let csrf = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 24]>());
        let context = Context {
            actor: Actor::Person { id, name: name.clone() },
            grants: Vec::new(),
            request_id: new_id(),
            idempotency_key: None,
        };
        let values = (hash_token(&token), id, csrf.clone(), address.to_owned());
        store
            .command::<_, (), StoreError, _>(
                &context,
                "session:open",
                values,
                |tx, (token, id, csrf, address)| {
                    Box::pin(async move {
                        let now = tx.now;
                        tx.subject("person", id, None);
                        tx.detail(serde_json::json!({ "address": address }));
                        tx.execute(SWEEP, args![now]).await?;
                        tx.execute(OPEN, args![token.clone(), id, csrf, now, now.plus(LASTS)]).await?;
                        Ok(())
                    })
                },
            )
            .await?;
        let now = now();
        let grants = person::grants(store, id, now).await?;
        Ok((
            token,
            Session { person: id, login: login.to_owned(), name, csrf, expires_at: now.plus(LASTS), grants },
        ))
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
        let row: Option<(Id, String, String, String, i64)> =
            store.read().opt(FIND, args![hash_token(token), now]).await?;
        let Some((person, login, name, csrf, expires_at)) = row else { return Ok(None) };
        let grants = person::grants(store, person, now).await?;
        Ok(Some(Session { person, login, name, csrf, expires_at: Micros(expires_at), grants }))
    }

    /// Ends the session of a token.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn log_out(&self, store: &Store, context: &Context, token: &str) -> Result<(), StoreError> {
        store
            .command(context, "session:close", hash_token(token), |tx, token| {
                Box::pin(async move {
                    if let Some(person) = tx.context.actor.person() {
                        tx.subject("person", person, None);
                    }
                    tx.execute(CLOSE, args![token.clone()]).await.map(drop)
                })
            })
            .await
    }

    /// Counts an attempt, or says how long to wait before the next.
    fn attempt(&self, key: [u8; 32]) -> Result<(), Duration> {
        let Ok(mut attempts) = self.attempts.lock() else { return Ok(()) };
        if attempts.len() >= REMEMBERED && !attempts.contains_key(&key) {
            attempts.retain(|_, (_, last)| last.elapsed() < LONGEST_WAIT);
            if attempts.len() >= REMEMBERED
                && let Some(oldest) = attempts.iter().min_by_key(|(_, (_, last))| *last).map(|(k, _)| *k)
            {
                attempts.remove(&oldest);
            }
        }
        let (count, last) = attempts.entry(key).or_insert((0, Instant::now()));
        if last.elapsed() > LONGEST_WAIT {
            *count = 0;
        }
        if let Some(over) = count.checked_sub(FREE_ATTEMPTS) {
            let wait = Duration::from_secs(1 << over.min(10)).min(LONGEST_WAIT);
            if let Some(left) = wait.checked_sub(last.elapsed()).filter(|left| !left.is_zero()) {
                return Err(left);
            }
        }
        *count += 1;
        *last = Instant::now();
        Ok(())
    }
}

fn key(login: &str, address: &str) -> [u8; 32] {
    Sha256::new().chain_update(login).chain_update([0]).chain_update(address).finalize().into()
}

fn hash_token(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}
