//! The three separated roles (三员) that the platform itself declares: none can do another's work,
//! and nobody holds two of them.
//!
//! | role | does |
//! | --- | --- |
//! | system administrator 系统管理员 | accounts: invites, disables, resets passwords; personal data |
//! | security administrator 安全管理员 | grants and duties, lock-outs, second factors, sessions |
//! | auditor 审计员 | reads the audit |
//!
//! What they alone may do is no pack's to give.

use std::collections::BTreeSet;

use model::{Context, Id, Micros, Text};
use serde::{Deserialize, Serialize};
use store::{Store, StoreError, Tx, args};

use crate::account::AccountError;

/// In `roles.pack`: the platform's own.
pub const PLATFORM: &str = "platform";

store::statements! {
    PUT = "INSERT INTO roles (name, pack, title_zh, title_en, permissions) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (name) DO UPDATE SET pack = excluded.pack, title_zh = excluded.title_zh,
        title_en = excluded.title_en, permissions = excluded.permissions";
    ALL = "SELECT name, pack, title_zh, title_en, permissions FROM roles ORDER BY pack, name";
    // Also one that begins later: two must not meet.
    HELD = "SELECT DISTINCT role FROM grants WHERE person = $1 AND (to_at IS NULL OR to_at > $2)";
}

/// A role that the platform declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltIn {
    /// Its name in grants.
    pub code: &'static str,
    /// What people call it, Chinese and English.
    pub title: (&'static str, &'static str),
    /// `resource:verb` each.
    pub permissions: &'static [&'static str],
}

/// The three.
pub const BUILT_IN: [BuiltIn; 3] = [
    BuiltIn {
        code: "system-administrator",
        title: ("系统管理员", "System administrator"),
        permissions: &["area:read", "account:read", "account:manage", "personal:reveal"],
    },
    BuiltIn {
        code: "security-administrator",
        title: ("安全管理员", "Security administrator"),
        permissions: &[
            "area:read",
            "account:read",
            "account:unlock",
            "session:manage",
            "role:read",
            "grant:manage",
            "duty:manage",
        ],
    },
    BuiltIn { code: "auditor", title: ("审计员", "Auditor"), permissions: &["audit:read"] },
];

/// Whether the platform declares this role.
#[must_use]
pub fn is_built_in(role: &str) -> bool {
    BUILT_IN.iter().any(|b| b.code == role)
}

/// Whether a permission is given by the three roles alone. Seeing the area tree is everybody's, and
/// a pack's role may have to ring people up.
#[must_use]
pub fn is_reserved(permission: &str) -> bool {
    !["area:read", "personal:reveal"].contains(&permission)
        && BUILT_IN.iter().any(|b| b.permissions.contains(&permission))
}

/// A role, as listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Its name in grants.
    pub code: String,
    /// The pack that declares it; `platform` for the three.
    pub pack: String,
    /// What people call it.
    pub title: Text,
    /// `resource:verb` each, in order.
    pub permissions: BTreeSet<String>,
}

/// Permissions as a role's row holds them, without those that its pack may not give.
pub(crate) fn permissions(pack: &str, json: &str) -> Result<BTreeSet<String>, StoreError> {
    let mut permissions: BTreeSet<String> = serde_json::from_str(json)?;
    if pack != PLATFORM {
        // A pack that was installed before they were reserved may name them.
        permissions.retain(|p| !is_reserved(p));
    }
    Ok(permissions)
}

/// All roles.
///
/// # Errors
/// [`StoreError`].
pub async fn all(store: &Store) -> Result<Vec<Role>, StoreError> {
    let rows: Vec<(String, String, String, String, String)> = store.read().all(ALL, args![]).await?;
    rows.into_iter()
        .map(|(code, pack, zh, en, json)| {
            let permissions = permissions(&pack, &json)?;
            Ok(Role { code, pack, title: Text::new(zh, en), permissions })
        })
        .collect()
}

/// Puts the three roles into the table of roles, where they are not as they should be.
///
/// # Errors
/// [`StoreError`].
pub async fn put_built_in(store: &Store) -> Result<(), StoreError> {
    let there = all(store).await?;
    let as_it_should_be = |b: &BuiltIn| {
        there.iter().any(|r| {
            r.code == b.code
                && r.pack == PLATFORM
                && r.title == Text::new(b.title.0, b.title.1)
                && r.permissions
                    .iter()
                    .map(String::as_str)
                    .eq(BTreeSet::from_iter(b.permissions.iter().copied()))
        })
    };
    if BUILT_IN.iter().all(as_it_should_be) {
        return Ok(());
    }
    let context = Context::system("platform", store::new_id());
    store
        .command::<_, (), StoreError, _>(&context, "role:declare", (), |tx, ()| {
            Box::pin(async move {
                for b in BUILT_IN {
                    let permissions = serde_json::to_string(b.permissions)?;
                    tx.execute(PUT, args![b.code, PLATFORM, b.title.0, b.title.1, permissions]).await?;
                }
                Ok(())
            })
        })
        .await
}

/// Refuses a role that must not meet one that the person holds or is to hold.
pub(crate) async fn keep_apart(tx: &mut Tx<'_>, person: Id, role: &str) -> Result<(), AccountError> {
    if !is_built_in(role) {
        return Ok(());
    }
    let now: Micros = tx.now;
    let held: Vec<(String,)> = tx.all(HELD, args![person, now]).await?;
    match held.into_iter().find(|(other,)| other != role && is_built_in(other)) {
        None => Ok(()),
        Some((other,)) => Err(AccountError::Separated { role: role.to_owned(), other }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// None can do another's work: what one may do beyond looking, the others may not.
    #[test]
    fn the_three_share_nothing_but_sight() {
        let seen = ["area:read", "account:read"];
        for a in BUILT_IN {
            for b in BUILT_IN.iter().filter(|b| b.code != a.code) {
                for permission in a.permissions.iter().filter(|p| !seen.contains(p)) {
                    assert!(!b.permissions.contains(permission), "{} and {}: {permission}", a.code, b.code);
                }
            }
        }
        assert!(is_reserved("grant:manage") && is_reserved("audit:read") && !is_reserved("area:read"));
        let pack = permissions("fire", r#"["alert:read","audit:read","account:manage"]"#).unwrap();
        assert_eq!(pack, BTreeSet::from(["alert:read".to_owned()]));
    }
}
