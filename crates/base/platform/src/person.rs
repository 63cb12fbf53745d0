//! People (人员), their accounts, and their grants: role × area, from and to.

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use model::{AreaPath, Context, Grant, Id, Micros, Text};
use serde::{Deserialize, Serialize};
use store::{Store, StoreError, args, new_id};

use crate::account::AccountError;
use crate::role;

store::statements! {
    BY_LOGIN = "SELECT id, name, password, disabled_at, must_change, totp, totp_at, totp_step FROM people WHERE login = $1";
    CREATE = "INSERT INTO people (id, login, name, organisation, password, demo, created_at, area, must_change, password_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        ON CONFLICT (login) DO UPDATE SET name = excluded.name, organisation = excluded.organisation,
        password = COALESCE(excluded.password, people.password), demo = excluded.demo,
        area = CASE WHEN excluded.area = '' THEN people.area ELSE excluded.area END,
        must_change = CASE WHEN excluded.password IS NULL THEN people.must_change ELSE excluded.must_change END,
        password_at = COALESCE(excluded.password_at, people.password_at) RETURNING id";
    GRANT = "INSERT INTO grants (id, person, role, area, from_at, to_at) VALUES ($1, $2, $3, $4, 0, NULL)
        ON CONFLICT (person, role, area, from_at) DO UPDATE SET to_at = NULL";
    PUT_ON_DUTY = "INSERT INTO duties (id, person, post, area, from_at, to_at) VALUES ($1, $2, $3, $4, 0, NULL)
        ON CONFLICT (person, post, area, from_at) DO UPDATE SET to_at = NULL";
    END_SESSIONS = "DELETE FROM sessions WHERE person = $1";
    DROP_LINK = "DELETE FROM account_links WHERE person = $1";
    GRANTS = "SELECT g.role, r.title_zh, r.title_en, r.permissions, g.area, r.pack FROM grants g JOIN roles r ON r.name = g.role
        WHERE g.person = $1 AND g.from_at <= $2 AND (g.to_at IS NULL OR g.to_at > $2) ORDER BY g.area, g.role";
    ROLE = "SELECT name FROM roles WHERE name = $1";
    POST = "SELECT code FROM posts WHERE code = $1";
    DEMO_ACCOUNTS = "SELECT login FROM people WHERE demo = 1 AND password IS NOT NULL ORDER BY login";
}

/// A grant with the title of its role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TitledGrant {
    /// What the request's context carries.
    pub grant: Grant,
    /// What people call the role.
    pub title: Text,
}

/// An account to make.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NewAccount {
    /// What they log in with.
    pub login: String,
    /// Their name as shown.
    pub name: String,
    /// The code of their organisation.
    pub organisation: Option<String>,
    /// Role and area code of each grant.
    pub grants: Vec<(String, AreaPath)>,
    /// Post and area of each duty.
    pub duties: Vec<(String, AreaPath)>,
    /// A demo account: the server refuses to start with one on an address other than loopback.
    pub demo: bool,
    /// Where they belong, which is who administers the account; the area of the first grant or
    /// duty when absent.
    #[serde(default)]
    pub area: Option<AreaPath>,
    /// Whether the password is to be changed at the first log-in.
    #[serde(default)]
    pub must_change: bool,
}

/// An account as logging in needs it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct LoginRow {
    pub(crate) id: Id,
    pub(crate) name: String,
    /// Its hash; none before the first was set.
    pub(crate) password: Option<String>,
    pub(crate) disabled_at: Option<i64>,
    pub(crate) must_change: i64,
    /// The encrypted secret of the second factor.
    pub(crate) totp: Option<Vec<u8>>,
    /// Since when it is asked for.
    pub(crate) totp_at: Option<i64>,
    pub(crate) totp_step: i64,
}

/// The cost of a password hash: the first recommendation of RFC 9106 §4 scaled to 19 MiB, which
/// is OWASP's for argon2id.
fn argon2() -> Argon2<'static> {
    Argon2::default()
}

/// Hashes a password (argon2id); takes tens of milliseconds of one core.
///
/// # Errors
/// A message for a password longer than 1 KiB.
pub fn hash_password(password: &str) -> Result<String, String> {
    if password.len() > 1024 {
        return Err("the password is longer than 1,024 bytes".into());
    }
    let salt: [u8; 16] = rand::random();
    let salt = SaltString::encode_b64(&salt).map_err(|e| e.to_string())?;
    Ok(argon2().hash_password(password.as_bytes(), &salt).map_err(|e| e.to_string())?.to_string())
}

/// Whether the password is the one that was hashed.
#[must_use]
pub fn verify_password(password: &str, hash: &str) -> bool {
    password.len() <= 1024
        && PasswordHash::new(hash).is_ok_and(|h| argon2().verify_password(password.as_bytes(), &h).is_ok())
}

/// A password nobody guesses and a person can type: four groups of five letters and digits
/// without look-alikes (98 bits).
#[must_use]
pub fn one_time_password() -> String {
    const LETTERS: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";
    let mut password = String::with_capacity(23);
    for i in 0..20 {
        if i > 0 && i % 5 == 0 {
            password.push('-');
        }
        password.push(char::from(LETTERS[rand::random_range(0..LETTERS.len())]));
    }
    password
}

/// Makes an account, or gives an existing one a new password; ends its sessions.
///
/// # Errors
/// [`AccountError`].
pub async fn create_account(
    store: &Store,
    context: &Context,
    account: NewAccount,
    password: Option<&str>,
) -> Result<Id, AccountError> {
    check_login(&account.login)?;
    let hash = password.map(hash_password).transpose().map_err(AccountError::Hash)?;
    store
        .command(context, "account:create", (account, hash), |tx, (account, hash)| {
            Box::pin(async move {
                for (role, _) in &account.grants {
                    if tx.opt::<(String,)>(ROLE, args![role]).await?.is_none() {
                        return Err(AccountError::NoRole(role.clone()));
                    }
                }
                for (post, _) in &account.duties {
                    if tx.opt::<(String,)>(POST, args![post]).await?.is_none() {
                        return Err(AccountError::NoPost(post.clone()));
                    }
                }
                let now = tx.now;
                let first = account.grants.iter().chain(&account.duties).map(|(_, area)| area);
                let area = account.area.as_ref().or(first.min_by_key(|a| a.as_str().len()));
                let values = args![
                    new_id(),
                    &account.login,
                    &account.name,
                    account.organisation.clone(),
                    hash.clone(),
                    account.demo,
                    now,
                    area.map_or("", AreaPath::as_str),
                    account.must_change,
                    hash.as_ref().map(|_| now)
                ];
                let row: Option<(Id,)> = tx.opt(CREATE, values).await?;
                let (id,) = row.ok_or_else(|| StoreError::Statement("an account vanished".into()))?;
                for (role, area) in &account.grants {
                    role::keep_apart(tx, id, role).await?;
                    tx.execute(GRANT, args![new_id(), id, role, area]).await?;
                }
                for (post, area) in &account.duties {
                    tx.execute(PUT_ON_DUTY, args![new_id(), id, post, area]).await?;
                }
                if hash.is_some() {
                    tx.execute(END_SESSIONS, args![id]).await?;
                    tx.execute(DROP_LINK, args![id]).await?;
                }
                tx.subject("person", id, account.grants.first().map(|(_, a)| a));
                tx.detail(serde_json::json!({ "login": account.login, "grants": account.grants, "duties": account.duties }));
                Ok(id)
            })
        })
        .await
}

/// A login is 2 to 64 letters, digits, `-`, `_`, `.` or `@`.
pub(crate) fn check_login(login: &str) -> Result<(), AccountError> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    if (2..=64).contains(&login.len()) && login.chars().all(good) {
        Ok(())
    } else {
        Err(AccountError::BadLogin(login.to_owned()))
    }
}

/// The person of a login.
///
/// # Errors
/// [`StoreError`].
pub async fn of_login(store: &Store, login: &str) -> Result<Option<Id>, StoreError> {
    Ok(by_login(store, login).await?.map(|row| row.id))
}

/// The account of a login.
pub(crate) async fn by_login(store: &Store, login: &str) -> Result<Option<LoginRow>, StoreError> {
    store.read().opt(BY_LOGIN, args![login]).await
}

/// What a person may do at `at`.
///
/// # Errors
/// [`StoreError`].
pub async fn grants(store: &Store, person: Id, at: Micros) -> Result<Vec<TitledGrant>, StoreError> {
    let rows: Vec<(String, String, String, String, String, String)> =
        store.read().all(GRANTS, args![person, at]).await?;
    rows.into_iter()
        .map(|(role, zh, en, permissions, area, pack)| {
            Ok(TitledGrant {
                grant: Grant {
                    role,
                    permissions: role::permissions(&pack, &permissions)?,
                    area: AreaPath::parse(&area).map_err(|e| StoreError::Document(e.to_string()))?,
                },
                title: Text::new(zh, en),
            })
        })
        .collect()
}

/// Logins of the demo accounts that can log in.
///
/// # Errors
/// [`StoreError`].
pub async fn demo_accounts(store: &Store) -> Result<Vec<String>, StoreError> {
    let rows: Vec<(String,)> = store.read().all(DEMO_ACCOUNTS, args![]).await?;
    Ok(rows.into_iter().map(|(l,)| l).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_hash_and_verify() {
        let password = one_time_password();
        let hash = hash_password(&password).unwrap();
        assert!(hash.starts_with("$argon2id$"));
        for (attempt, hash, expected) in
            [(password.as_str(), hash.as_str(), true), ("wrong", &hash, false), (&password, "rubbish", false)]
        {
            assert_eq!(verify_password(attempt, hash), expected);
        }
        assert!(hash_password(&"x".repeat(1025)).is_err());
    }
}
