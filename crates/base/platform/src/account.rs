//! Accounts (账号) over their life: invited, changed, reset, disabled, enabled, listed.
//!
//! A person belongs to an area, and whoever administers accounts there administers theirs. What is
//! done to an account is one command each, and ends the sessions that must not go on.

mod error;
mod link;
mod list;
mod password;

use model::{AreaPath, Context, Id, Micros};
use serde::{Deserialize, Serialize};
use store::{StoreError, args, new_id};

pub use error::AccountError;
pub use link::{Link, LinkKind, OpenLink, STATEMENTS as LINK_STATEMENTS};
pub use list::{AccountRow, AccountState, DutyRow, GrantRow, Listed};
pub use password::{SHORTEST, STATEMENTS as PASSWORD_STATEMENTS, Weakness, weakness};

use crate::{Platform, person, session};

/// The longest name of a person.
const LONGEST_NAME: usize = 64;

store::statements! {
    LOGIN_OF = "SELECT login, area FROM people WHERE id = $1";
    TAKEN = "SELECT id FROM people WHERE login = $1";
    ORGANISATION = "SELECT code FROM organisations WHERE code = $1";
    INVITE = "INSERT INTO people (id, login, name, organisation, password, demo, created_at, area, must_change, password_at)
        VALUES ($1, $2, $3, $4, NULL, 0, $5, $6, 0, NULL)";
    DISABLE = "UPDATE people SET disabled_at = $2 WHERE id = $1 AND disabled_at IS NULL";
    ENABLE = "UPDATE people SET disabled_at = NULL WHERE id = $1 AND disabled_at IS NOT NULL";
}

/// A person to invite.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Invitation {
    /// What they will log in with.
    pub login: String,
    /// Their name as shown.
    pub name: String,
    /// Where they belong.
    pub area: AreaPath,
    /// The code of their organisation.
    pub organisation: Option<String>,
}

impl Platform {
    /// Where a person belongs; `None` for nobody, or one who belongs nowhere.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn area_of(&self, person: Id) -> Result<Option<AreaPath>, StoreError> {
        let row: Option<(String, String)> = self.store.read().opt(LOGIN_OF, args![person]).await?;
        Ok(row.and_then(|(_, area)| AreaPath::parse(&area).ok()))
    }

    /// Makes an account without a password, and the link that sets it.
    ///
    /// # Errors
    /// [`AccountError`]: what is wrong with login, name or organisation.
    pub async fn invite(&self, context: &Context, new: Invitation) -> Result<(Id, Link), AccountError> {
        person::check_login(&new.login)?;
        let name = new.name.trim();
        if name.is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
            return Err(AccountError::BadName(new.name));
        }
        let (link, kept) = link::new(LinkKind::Invitation);
        let id = new_id();
        let values = (id, new, kept);
        let (made, expires_at): (Id, Micros) = self
            .store
            .command(context, "account:invite", values, |tx, (id, new, kept)| {
                Box::pin(async move {
                    if tx.opt::<(Id,)>(TAKEN, args![&new.login]).await?.is_some() {
                        return Err(AccountError::Taken(new.login.clone()));
                    }
                    if let Some(code) = &new.organisation
                        && tx.opt::<(String,)>(ORGANISATION, args![code]).await?.is_none()
                    {
                        return Err(AccountError::NoOrganisation(code.clone()));
                    }
                    let now = tx.now;
                    let name = new.name.trim();
                    let row = args![id, &new.login, name, new.organisation.clone(), now, &new.area];
                    tx.execute(INVITE, row).await?;
                    let expires_at = link::keep(tx, *id, kept).await?;
                    tx.subject("person", id, Some(&new.area));
                    tx.detail(serde_json::json!({ "login": new.login, "name": name }));
                    Ok((*id, expires_at))
                })
            })
            .await?;
        // An idempotent repeat answers with the first one's id; the link of that one is gone.
        if made == id { Ok((id, link.until(expires_at))) } else { Err(AccountError::Repeated) }
    }

    /// Disables an account: nobody logs in with it, its sessions and links end.
    ///
    /// # Errors
    /// [`AccountError::Own`] for one's own; [`AccountError::Unknown`] when it is disabled already.
    pub async fn disable(&self, context: &Context, person: Id) -> Result<(), AccountError> {
        self.set_disabled(context, person, true).await
    }

    /// Enables a disabled account.
    ///
    /// # Errors
    /// [`AccountError::Own`] for one's own; [`AccountError::Unknown`] when it is not disabled.
    pub async fn enable(&self, context: &Context, person: Id) -> Result<(), AccountError> {
        self.set_disabled(context, person, false).await
    }

    async fn set_disabled(&self, context: &Context, person: Id, disable: bool) -> Result<(), AccountError> {
        if context.actor.person() == Some(person) {
            return Err(AccountError::Own);
        }
        let action = if disable { "account:disable" } else { "account:enable" };
        self.store
            .command::<_, (), AccountError, _>(context, action, (person, disable), |tx, (person, disable)| {
                Box::pin(async move {
                    let now = tx.now;
                    let changed = if *disable {
                        tx.execute(DISABLE, args![person, now]).await?
                    } else {
                        tx.execute(ENABLE, args![person]).await?
                    };
                    if changed == 0 {
                        return Err(AccountError::Unknown);
                    }
                    if *disable {
                        tx.execute(session::CLOSE_ALL, args![person]).await?;
                        tx.execute(person::DROP_LINK, args![person]).await?;
                    }
                    tx.subject("person", person, None);
                    Ok(())
                })
            })
            .await?;
        self.sessions.changed(person);
        Ok(())
    }

    /// Lifts the lock-outs of a person; how many there were.
    ///
    /// # Errors
    /// [`AccountError::Unknown`], [`AccountError::Own`].
    pub async fn unlock(&self, context: &Context, person: Id) -> Result<usize, AccountError> {
        if context.actor.person() == Some(person) {
            return Err(AccountError::Own);
        }
        let row: Option<(String, String)> = self.store.read().opt(LOGIN_OF, args![person]).await?;
        let (login, _) = row.ok_or(AccountError::Unknown)?;
        let there = self.sessions.attempts.lock_outs(&login).len();
        self.store
            .command::<_, (), StoreError, _>(
                context,
                "account:unlock",
                (person, there),
                |tx, (person, there)| {
                    Box::pin(async move {
                        tx.subject("person", person, None);
                        tx.detail(serde_json::json!({ "lock_outs": there }));
                        Ok(())
                    })
                },
            )
            .await?;
        self.sessions.attempts.lift(&login);
        Ok(there)
    }
}
