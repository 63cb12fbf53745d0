//! Links (链接) that set a password once: of an invitation, or after a reset.
//!
//! A link's code is 256 random bits, shown once; the table holds its SHA-256. A person has one link
//! at most: making another, using it, or changing the password deletes it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{Actor, Context, Id, Micros};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use store::{StoreError, Tx, args, new_id, now};
use utoipa::ToSchema;

use super::AccountError;
use super::password::weakness;
use crate::{Platform, person, session};

store::statements! {
    KEEP = "INSERT INTO account_links (person, sha256, kind, created_at, created_by, expires_at) VALUES ($1, $2, $3, $4, $5, $6)";
    FIND = "SELECT l.person, l.kind, l.expires_at, p.login, p.name FROM account_links l JOIN people p ON p.id = l.person
        WHERE l.sha256 = $1 AND l.expires_at > $2 AND p.disabled_at IS NULL";
    USE = "DELETE FROM account_links WHERE person = $1 AND sha256 = $2 AND expires_at > $3";
    SET = "UPDATE people SET password = $2, password_at = $3, must_change = 0 WHERE id = $1 AND disabled_at IS NULL";
    CLEAR = "UPDATE people SET password = NULL, password_at = NULL WHERE id = $1 AND disabled_at IS NULL";
    HAD = "SELECT password_at FROM people WHERE id = $1 AND disabled_at IS NULL";
    KIND_OF = "SELECT kind FROM account_links WHERE person = $1";
}

/// What a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LinkKind {
    /// The first password of a new account.
    Invitation,
    /// A new password in place of one that was forgotten or given away.
    Reset,
}

impl LinkKind {
    fn name(self) -> &'static str {
        match self {
            Self::Invitation => "invitation",
            Self::Reset => "reset",
        }
    }

    fn from_name(name: &str) -> Self {
        if name == "invitation" { Self::Invitation } else { Self::Reset }
    }

    /// How long it is good for.
    fn lasts(self) -> i64 {
        match self {
            Self::Invitation => 3 * Micros::DAY,
            Self::Reset => Micros::DAY,
        }
    }
}

/// A link, shown once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What the page that sets the password is opened with.
    pub code: String,
    /// What for.
    pub kind: LinkKind,
    /// Until when.
    pub expires_at: Micros,
}

impl Link {
    pub(super) fn until(mut self, expires_at: Micros) -> Self {
        self.expires_at = expires_at;
        self
    }
}

/// A link that may be used, as whoever holds it sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenLink {
    /// What the person logs in with.
    pub login: String,
    /// Their name.
    pub name: String,
    /// What for.
    pub kind: LinkKind,
    /// Until when.
    pub expires_at: Micros,
}

/// What of a link goes into the table.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    kind: LinkKind,
    sha256: Vec<u8>,
}

pub(super) fn new(kind: LinkKind) -> (Link, Kept) {
    let code = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    let kept = Kept { kind, sha256: hash(&code) };
    (Link { code, kind, expires_at: Micros(0) }, kept)
}

fn hash(code: &str) -> Vec<u8> {
    Sha256::digest(code.as_bytes()).to_vec()
}

/// Puts a link in place of any other of the person; until when it is good.
pub(super) async fn keep(tx: &mut Tx<'_>, person: Id, kept: &Kept) -> Result<Micros, StoreError> {
    let now = tx.now;
    let expires_at = now.plus(kept.kind.lasts());
    let by = tx.context.actor.name().to_owned();
    tx.execute(person::DROP_LINK, args![person]).await?;
    tx.execute(KEEP, args![person, kept.sha256.clone(), kept.kind.name(), now, by, expires_at]).await?;
    Ok(expires_at)
}

#[derive(sqlx::FromRow)]
struct FoundRow {
    person: Id,
    kind: String,
    expires_at: i64,
    login: String,
    name: String,
}

impl Platform {
    /// Resets a person's password: the present one is good no more, sessions end, and a link sets
    /// a new one. One who never had a password gets a new invitation.
    ///
    /// # Errors
    /// [`AccountError::Own`] for one's own; [`AccountError::Unknown`] for a disabled account.
    pub async fn reset_password(&self, context: &Context, person: Id) -> Result<Link, AccountError> {
        if context.actor.person() == Some(person) {
            return Err(AccountError::Own);
        }
        let (link, reset) = new(LinkKind::Reset);
        let invitation = Kept { kind: LinkKind::Invitation, sha256: reset.sha256.clone() };
        let made = new_id();
        let values = (person, reset, invitation, made);
        let (kept, kind, expires_at): (Id, LinkKind, Micros) = self
            .store
            .command::<_, _, AccountError, _>(
                context,
                "account:reset",
                values,
                |tx, (person, reset, invitation, made)| {
                    Box::pin(async move {
                        let row: Option<(Option<i64>,)> = tx.opt(HAD, args![person]).await?;
                        let (had,) = row.ok_or(AccountError::Unknown)?;
                        // A reset clears the password: resetting again is still a reset.
                        let open: Option<(String,)> = tx.opt(KIND_OF, args![person]).await?;
                        let first =
                            had.is_none() && open.is_none_or(|(kind,)| kind == LinkKind::Invitation.name());
                        let link = if first { invitation } else { reset };
                        tx.execute(CLEAR, args![person]).await?;
                        tx.execute(session::CLOSE_ALL, args![person]).await?;
                        let expires_at = keep(tx, *person, link).await?;
                        tx.subject("person", person, None);
                        Ok((*made, link.kind, expires_at))
                    })
                },
            )
            .await?;
        self.sessions.changed(person);
        if kept != made {
            return Err(AccountError::Repeated);
        }
        Ok(Link { kind, ..link }.until(expires_at))
    }

    /// Whose link it is, if it may be used.
    ///
    /// # Errors
    /// [`AccountError::LinkVoid`].
    pub async fn open_link(&self, code: &str) -> Result<OpenLink, AccountError> {
        let found = self.find_link(code).await?;
        Ok(OpenLink {
            login: found.login,
            name: found.name,
            kind: LinkKind::from_name(&found.kind),
            expires_at: Micros(found.expires_at),
        })
    }

    async fn find_link(&self, code: &str) -> Result<FoundRow, AccountError> {
        // A code has 43 characters; anything else is not ours and costs no query.
        if code.len() != 43 {
            return Err(AccountError::LinkVoid);
        }
        let row: Option<FoundRow> = self.store.read().opt(FIND, args![hash(code), now()]).await?;
        row.ok_or(AccountError::LinkVoid)
    }

    /// Sets the password by a link, which is then gone; what to log in with.
    ///
    /// # Errors
    /// [`AccountError::LinkVoid`], [`AccountError::Weak`].
    pub async fn use_link(&self, code: &str, password: String) -> Result<String, AccountError> {
        let found = self.find_link(code).await?;
        if let Some(weakness) = weakness(&password, &found.login) {
            return Err(AccountError::Weak(weakness));
        }
        let hashed = self.sessions.hash(password).await?;
        let context = Context {
            actor: Actor::Person { id: found.person, name: found.name },
            grants: Vec::new(),
            request_id: new_id(),
            idempotency_key: None,
        };
        let values = (found.person, hash(code), hashed, found.kind);
        self.store
            .command::<_, (), AccountError, _>(
                &context,
                "password:set",
                values,
                |tx, (person, sha256, hashed, kind)| {
                    Box::pin(async move {
                        let now = tx.now;
                        if tx.execute(USE, args![person, sha256.clone(), now]).await? == 0 {
                            return Err(AccountError::LinkVoid);
                        }
                        if tx.execute(SET, args![person, hashed, now]).await? == 0 {
                            return Err(AccountError::LinkVoid);
                        }
                        tx.execute(session::CLOSE_ALL, args![person]).await?;
                        tx.subject("person", person, None);
                        tx.detail(serde_json::json!({ "link": kind }));
                        Ok(())
                    })
                },
            )
            .await?;
        self.sessions.changed(found.person);
        Ok(found.login)
    }
}
