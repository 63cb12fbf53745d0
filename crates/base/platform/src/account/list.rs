//! People as administrators see them: a list within their areas, each with grants and duties.

use model::{AreaPath, Id};
use serde::{Deserialize, Serialize};
use store::filter::{KeyValue, Keyed};
use store::{Filter, Order, Page, PageRequest, Select, StoreError, Value, now};
use utoipa::ToSchema;

use crate::Platform;
use crate::session::LockOut;

const PEOPLE: &str = "SELECT p.id, p.login, p.name, p.organisation, p.area, p.created_at, p.password_at, p.must_change, p.disabled_at, p.totp_at, p.demo FROM people p";
const GRANTS: &str = "SELECT g.id, g.person, g.role, r.title_zh, r.title_en, g.area, g.from_at, g.to_at FROM grants g LEFT JOIN roles r ON r.name = g.role";
const DUTIES: &str = "SELECT d.id, d.person, d.post, d.area, d.from_at, d.to_at FROM duties d";
/// How many grants and duties of a page of people are read.
const MOST: i64 = 5_000;

/// How an account stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AccountState {
    /// Its person logs in with it.
    Active,
    /// No password has been set yet, or it was reset.
    Invited,
    /// Nobody logs in with it.
    Disabled,
}

/// An account's row, without what would open it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct AccountRow {
    /// Names the person.
    pub id: Id,
    /// What they log in with.
    pub login: String,
    /// Their name.
    pub name: String,
    /// The code of their organisation.
    pub organisation: Option<String>,
    /// Where they belong.
    pub area: String,
    /// When the account was made, µs.
    pub created_at: i64,
    /// When the password was set, µs; none before the first, or after a reset.
    pub password_at: Option<i64>,
    /// 1 when it is to be changed at the next log-in.
    pub must_change: i64,
    /// Since when the account is disabled, µs.
    pub disabled_at: Option<i64>,
    /// Since when a second factor is asked for, µs.
    pub totp_at: Option<i64>,
    /// 1 for an account of the demo.
    pub demo: i64,
}

impl AccountRow {
    /// How it stands.
    #[must_use]
    pub fn state(&self) -> AccountState {
        match (self.disabled_at, self.password_at) {
            (Some(_), _) => AccountState::Disabled,
            (None, None) => AccountState::Invited,
            (None, Some(_)) => AccountState::Active,
        }
    }
}

impl Keyed for AccountRow {
    fn key(&self) -> Vec<KeyValue> {
        vec![KeyValue::Text(self.login.clone())]
    }
}

/// A grant's row.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct GrantRow {
    /// Names the grant.
    pub id: Id,
    /// Whose.
    pub person: Id,
    /// The role.
    pub role: String,
    /// What the role is called, unless its pack is gone.
    pub title_zh: Option<String>,
    /// The same in English.
    pub title_en: Option<String>,
    /// Where it holds.
    pub area: String,
    /// From when, µs; 0 for always.
    pub from_at: i64,
    /// Until when, µs.
    pub to_at: Option<i64>,
}

/// A duty's row.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct DutyRow {
    /// Names the duty.
    pub id: Id,
    /// Whose.
    pub person: Id,
    /// The post.
    pub post: String,
    /// Where.
    pub area: String,
    /// From when, µs; 0 for always.
    pub from_at: i64,
    /// Until when, µs.
    pub to_at: Option<i64>,
}

/// A person with what they hold, now or later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The account.
    pub account: AccountRow,
    /// What they may do.
    pub grants: Vec<GrantRow>,
    /// The posts they hold.
    pub duties: Vec<DutyRow>,
    /// Where they must wait before they may try to log in again.
    pub lock_outs: Vec<LockOut>,
}

fn of_state(state: AccountState) -> Filter {
    let enabled = Filter::Null("p.disabled_at");
    match state {
        AccountState::Disabled => Filter::Not(Box::new(enabled)),
        AccountState::Invited => enabled.and(Filter::Null("p.password_at")),
        AccountState::Active => enabled.and(Filter::Not(Box::new(Filter::Null("p.password_at")))),
    }
}

impl Platform {
    /// One page of the people who belong to these areas, by login.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn people(
        &self,
        scope: Vec<AreaPath>,
        under: Option<AreaPath>,
        state: Option<AccountState>,
        text: Option<String>,
        page: &PageRequest,
    ) -> Result<Page<Listed>, StoreError> {
        let mut filter = Filter::Within("p.area", scope);
        if let Some(area) = under {
            filter = filter.and(Filter::Within("p.area", vec![area]));
        }
        if let Some(state) = state {
            filter = filter.and(of_state(state));
        }
        if let Some(text) = text.filter(|t| !t.trim().is_empty()) {
            filter = filter.and(Filter::Contains(vec!["p.login", "p.name"], text.trim().to_owned()));
        }
        let select = Select { head: PEOPLE, filter, order: vec![Order::Up("p.login")] };
        let page: Page<AccountRow> = self.store.list(select, page).await?;
        let items = self.with_holdings(page.items).await?;
        Ok(Page { items, next: page.next })
    }

    /// One person, wherever they belong.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn person(&self, id: Id) -> Result<Option<Listed>, StoreError> {
        let filter = Filter::Is("p.id", Value::from(id));
        let select = Select { head: PEOPLE, filter, order: vec![Order::Up("p.login")] };
        let rows: Vec<AccountRow> = self.store.select(&select, 1).await?;
        Ok(self.with_holdings(rows).await?.pop())
    }

    async fn with_holdings(&self, accounts: Vec<AccountRow>) -> Result<Vec<Listed>, StoreError> {
        let ids: Vec<Value> = accounts.iter().map(|a| Value::from(a.id)).collect();
        let lasting = |column| {
            Filter::Or(vec![Filter::Null(column), Filter::AtLeast(column, Value::from(now().plus(1)))])
        };
        let grants = Select {
            head: GRANTS,
            filter: Filter::In("g.person", ids.clone()).and(lasting("g.to_at")),
            order: vec![Order::Up("g.area"), Order::Up("g.role"), Order::Up("g.from_at")],
        };
        let duties = Select {
            head: DUTIES,
            filter: Filter::In("d.person", ids).and(lasting("d.to_at")),
            order: vec![Order::Up("d.area"), Order::Up("d.post"), Order::Up("d.from_at")],
        };
        let grants: Vec<GrantRow> = self.store.select(&grants, MOST).await?;
        let duties: Vec<DutyRow> = self.store.select(&duties, MOST).await?;
        Ok(accounts
            .into_iter()
            .map(|account| Listed {
                grants: grants.iter().filter(|g| g.person == account.id).cloned().collect(),
                duties: duties.iter().filter(|d| d.person == account.id).cloned().collect(),
                lock_outs: self.sessions.attempts.lock_outs(&account.login),
                account,
            })
            .collect())
    }
}
