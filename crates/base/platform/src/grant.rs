//! Giving and ending grants (授权) and duties (值班): the security administrator's work.
//!
//! A grant or duty that ended stays as a row, so that it can be said who held what when.

use model::{AreaPath, Context, Id, Micros};
use serde::{Deserialize, Serialize};
use store::{StoreError, Tx, args, new_id};

use crate::account::AccountError;
use crate::{Platform, person, role};

store::statements! {
    PERSON = "SELECT id FROM people WHERE id = $1";
    GIVE = "INSERT INTO grants (id, person, role, area, from_at, to_at) VALUES ($1, $2, $3, $4, $5, $6)";
    PUT_ON = "INSERT INTO duties (id, person, post, area, from_at, to_at) VALUES ($1, $2, $3, $4, $5, $6)";
    END_GRANT = "UPDATE grants SET to_at = $2 WHERE id = $1 AND (to_at IS NULL OR to_at > $2)";
    END_DUTY = "UPDATE duties SET to_at = $2 WHERE id = $1 AND (to_at IS NULL OR to_at > $2)";
    GRANT = "SELECT person, role, area FROM grants WHERE id = $1";
    DUTY = "SELECT person, post, area FROM duties WHERE id = $1";
}

/// A grant or a duty: both are a person who holds something somewhere for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A role.
    Grant,
    /// A post.
    Duty,
}

/// What is to be given.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Holding {
    /// To whom.
    pub person: Id,
    /// Which role, or which post.
    pub what: String,
    /// Where, and below.
    pub area: AreaPath,
    /// From when; from now when absent.
    pub from: Option<Micros>,
    /// Until when; until it is ended when absent.
    pub to: Option<Micros>,
}

async fn check(tx: &mut Tx<'_>, kind: Kind, new: &Holding) -> Result<(), AccountError> {
    if tx.opt::<(Id,)>(PERSON, args![new.person]).await?.is_none() {
        return Err(AccountError::Unknown);
    }
    match kind {
        Kind::Grant => {
            if tx.opt::<(String,)>(person::ROLE, args![&new.what]).await?.is_none() {
                return Err(AccountError::NoRole(new.what.clone()));
            }
            role::keep_apart(tx, new.person, &new.what).await
        }
        Kind::Duty => {
            if tx.opt::<(String,)>(person::POST, args![&new.what]).await?.is_none() {
                return Err(AccountError::NoPost(new.what.clone()));
            }
            Ok(())
        }
    }
}

impl Platform {
    /// Gives a role or puts on duty; the grant's or duty's id.
    ///
    /// # Errors
    /// [`AccountError::Own`]: nobody gives himself anything; [`AccountError::Separated`];
    /// [`AccountError::NoRole`], [`AccountError::NoPost`], [`AccountError::BadPeriod`].
    pub async fn give(&self, context: &Context, kind: Kind, new: Holding) -> Result<Id, AccountError> {
        if context.actor.person() == Some(new.person) {
            return Err(AccountError::Own);
        }
        let person = new.person;
        let action = match kind {
            Kind::Grant => "grant:give",
            Kind::Duty => "duty:give",
        };
        let given = self
            .store
            .command::<_, Id, AccountError, _>(context, action, (kind, new, new_id()), |tx, (kind, new, id)| {
                Box::pin(async move {
                    let from = new.from.unwrap_or(tx.now);
                    if new.to.is_some_and(|to| to <= from || to <= tx.now) {
                        return Err(AccountError::BadPeriod);
                    }
                    check(tx, *kind, new).await?;
                    let statement = match kind {
                        Kind::Grant => GIVE,
                        Kind::Duty => PUT_ON,
                    };
                    tx.execute(statement, args![id, new.person, &new.what, &new.area, from, new.to]).await?;
                    tx.subject("person", new.person, Some(&new.area));
                    tx.detail(serde_json::json!({ "what": new.what, "area": new.area, "from": from, "to": new.to }));
                    Ok(*id)
                })
            })
            .await?;
        self.sessions.changed(person);
        Ok(given)
    }

    /// Ends a grant or duty now.
    ///
    /// # Errors
    /// [`AccountError::Own`]; [`AccountError::Unknown`] when it is not there or has ended.
    pub async fn end_holding(&self, context: &Context, kind: Kind, id: Id) -> Result<(), AccountError> {
        let action = match kind {
            Kind::Grant => "grant:end",
            Kind::Duty => "duty:end",
        };
        let person = self
            .store
            .command::<_, Id, AccountError, _>(context, action, (kind, id), |tx, (kind, id)| {
                Box::pin(async move {
                    let (find, end) = match kind {
                        Kind::Grant => (GRANT, END_GRANT),
                        Kind::Duty => (DUTY, END_DUTY),
                    };
                    let row: Option<(Id, String, String)> = tx.opt(find, args![id]).await?;
                    let (person, what, area) = row.ok_or(AccountError::Unknown)?;
                    if tx.context.actor.person() == Some(person) {
                        return Err(AccountError::Own);
                    }
                    let now = tx.now;
                    if tx.execute(end, args![id, now]).await? == 0 {
                        return Err(AccountError::Unknown);
                    }
                    tx.subject("person", person, AreaPath::parse(&area).ok().as_ref());
                    tx.detail(serde_json::json!({ "what": what, "area": area }));
                    Ok(person)
                })
            })
            .await?;
        self.sessions.changed(person);
        Ok(())
    }

    /// Where a grant or duty holds; `None` when there is none of this id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn holding_area(&self, kind: Kind, id: Id) -> Result<Option<AreaPath>, StoreError> {
        let find = match kind {
            Kind::Grant => GRANT,
            Kind::Duty => DUTY,
        };
        let row: Option<(Id, String, String)> = self.store.read().opt(find, args![id]).await?;
        Ok(row.and_then(|(_, _, area)| AreaPath::parse(&area).ok()))
    }
}
