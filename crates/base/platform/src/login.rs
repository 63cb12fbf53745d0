//! Logging in: login and password, then a code where the account has a second factor.

use std::time::Duration;

use model::{Actor, Context, Id, Micros};
use store::{StoreError, args, new_id, now};

use crate::second_factor::Proof;
use crate::session::{LASTS, LOCKED, Session, hash_token, new_tokens};
use crate::{Platform, person, second_factor, session};

/// The longest login; accounts have at most 64 characters.
const LONGEST_LOGIN: usize = 64;
/// The longest name of a browser that is kept.
const LONGEST_AGENT: usize = 256;

store::statements! {
    // Between the check and the opening the password may have been changed, or the account disabled.
    STILL = "SELECT id FROM people WHERE id = $1 AND password = $2 AND disabled_at IS NULL";
}

/// What somebody logs in with.
#[derive(Clone, Debug, Default)]
pub struct LogIn {
    /// The login.
    pub login: String,
    /// The password.
    pub password: String,
    /// A code of the second factor, or a recovery code.
    pub code: Option<String>,
    /// From where.
    pub address: String,
    /// The browser's own name for itself.
    pub agent: String,
    /// The token of the session that this browser has: the new one replaces it.
    pub replaces: Option<String>,
}

/// Why nobody was logged in.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LoginError {
    /// Unknown login, wrong password or disabled account: not told apart.
    #[error("log in: login or password is wrong")]
    Wrong,
    /// Login and password are right; the account has a second factor, and no code came.
    #[error("log in: a code of the second factor is needed")]
    CodeNeeded,
    /// Login and password are right; the code is wrong, old, or was used before.
    #[error("log in: the code is wrong or was used before")]
    WrongCode,
    /// Too many wrong attempts; try again after so long.
    #[error("log in: too many attempts; wait {} s", .0.as_secs())]
    Throttled(Duration),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn count(outcome: &'static str) {
    metrics::counter!("zhongshu_logins_total", "outcome" => outcome).increment(1);
}

impl Platform {
    /// Checks login, password and code, and opens a session; its token goes into the cookie.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn log_in(&self, asked: LogIn) -> Result<(String, Session), LoginError> {
        let LogIn { login, password, code, address, agent, replaces } = asked;
        if login.len() > LONGEST_LOGIN {
            return Err(LoginError::Wrong);
        }
        let throttled = |wait| {
            count("throttled");
            LoginError::Throttled(wait)
        };
        let sessions = &self.sessions;
        let _place = sessions.waiting.try_acquire().map_err(|_| throttled(Duration::from_secs(2)))?;
        let attempt = sessions.attempts.count(&login, &address).map_err(throttled)?;
        let found = person::by_login(&self.store, &login).await?;
        let hash = found.as_ref().and_then(|p| p.password.clone());
        let known = hash.is_some() && found.as_ref().is_some_and(|p| p.disabled_at.is_none());
        let hash = hash.unwrap_or_else(|| sessions.nobody.clone());
        let verified = sessions.verify(password, hash.clone()).await?;
        let Some(account) = found.filter(|_| verified && known) else {
            count("wrong");
            self.note_lock_out(attempt, &login, &address).await;
            return Err(LoginError::Wrong);
        };
        let proof = match (&account.totp, account.totp_at, code.as_deref().map(str::trim)) {
            (Some(sealed), Some(_), Some(code)) if !code.is_empty() => {
                let secret = self.totp_secret(account.id, sealed)?;
                match second_factor::proof(&secret, code, now(), account.totp_step) {
                    Some(proof) => proof,
                    None => return Err(self.wrong_code(attempt, &login, &address).await),
                }
            }
            (Some(_), Some(_), _) => {
                // The password was right: asking for the code is no failure.
                sessions.attempts.forgive_one(&login, &address);
                count("code");
                return Err(LoginError::CodeNeeded);
            }
            _ => Proof::None,
        };
        let replaced = replaces.is_some();
        let opened =
            self.open_session(account.id, &account.name, hash, proof, &address, &agent, replaces).await;
        let (id, token, csrf, opened_at) = match opened {
            Ok(opened) => opened,
            Err(LoginError::WrongCode) => return Err(self.wrong_code(attempt, &login, &address).await),
            Err(e) => return Err(e),
        };
        sessions.attempts.forget(&login, &address);
        if replaced {
            sessions.changed(account.id);
        }
        count("good");
        let grants = person::grants(&self.store, account.id, now()).await?;
        let need = sessions.need(account.must_change != 0, account.totp_at.is_some(), &grants);
        let expires_at = opened_at.plus(LASTS);
        let session =
            Session { id, person: account.id, login, name: account.name, csrf, expires_at, grants, need };
        Ok((token, session))
    }

    async fn wrong_code(&self, attempt: u32, login: &str, address: &str) -> LoginError {
        count("wrong-code");
        self.note_lock_out(attempt, login, address).await;
        LoginError::WrongCode
    }

    async fn open_session(
        &self,
        person: Id,
        name: &str,
        password: String,
        proof: Proof,
        address: &str,
        agent: &str,
        replaces: Option<String>,
    ) -> Result<(Id, String, String, Micros), LoginError> {
        let (token, csrf) = new_tokens();
        let id = new_id();
        let context = Context {
            actor: Actor::Person { id: person, name: name.to_owned() },
            grants: Vec::new(),
            request_id: new_id(),
            idempotency_key: None,
        };
        let agent: String = agent.chars().filter(|c| !c.is_control()).take(LONGEST_AGENT).collect();
        let replaces = replaces.as_deref().map(hash_token);
        let values = (
            hash_token(&token),
            id,
            person,
            csrf.clone(),
            address.to_owned(),
            agent,
            password,
            proof,
            replaces,
        );
        let at = self
            .store
            .command::<_, Micros, LoginError, _>(
                &context,
                "session:open",
                values,
                |tx, (token, id, person, csrf, address, agent, password, proof, replaces)| {
                    Box::pin(async move {
                        let now = tx.now;
                        if tx.opt::<(Id,)>(STILL, args![person, password]).await?.is_none() {
                            return Err(LoginError::Wrong);
                        }
                        if !second_factor::spend(tx, *person, proof).await? {
                            return Err(LoginError::WrongCode);
                        }
                        tx.subject("person", person, None);
                        tx.detail(serde_json::json!({ "address": address, "second_factor": proof.name() }));
                        tx.execute(session::SWEEP, args![now]).await?;
                        if let Some(replaced) = replaces {
                            tx.execute(session::CLOSE, args![replaced.clone()]).await?;
                        }
                        let expires = now.plus(LASTS);
                        let row = args![token.clone(), id, person, csrf, now, expires, address, agent];
                        tx.execute(session::OPEN, row).await?;
                        Ok(now)
                    })
                },
            )
            .await?;
        Ok((id, token, csrf, at))
    }

    /// A lock-out is audited once, when it begins.
    async fn note_lock_out(&self, attempt: u32, login: &str, address: &str) {
        if attempt != LOCKED {
            return;
        }
        let context = Context::system("login", new_id());
        let values = (login.to_owned(), address.to_owned());
        let noted = self
            .store
            .command::<_, (), StoreError, _>(&context, "account:lock", values, |tx, (login, address)| {
                Box::pin(async move {
                    tx.subject("login", login, None);
                    tx.detail(serde_json::json!({ "address": address }));
                    Ok(())
                })
            })
            .await;
        if let Err(e) = noted {
            tracing::warn!(error = %e, login, "a lock-out was not audited");
        }
    }
}
