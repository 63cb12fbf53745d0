//! Changing one's own password, and which passwords are taken.

use model::{Context, Id};
use store::args;

use super::AccountError;
use crate::session::{self, Session};
use crate::{Platform, person};

/// The shortest password, in characters.
pub const SHORTEST: usize = 10;
/// From how many bytes on a password needs no mixture of kinds; a Chinese character has three.
const LONG: usize = 16;

store::statements! {
    PASSWORD_OF = "SELECT password FROM people WHERE id = $1";
    // Against the hash that was checked: of two changes at once the second finds another.
    CHANGE = "UPDATE people SET password = $2, password_at = $3, must_change = 0 WHERE id = $1 AND password = $4";
}

/// Why a password is too easily guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Weakness {
    /// Fewer than [`SHORTEST`] characters.
    #[error("it has fewer than {SHORTEST} characters")]
    Short,
    /// More than a kilobyte.
    #[error("it has more than 1,024 bytes")]
    Long,
    /// Below 16 bytes it needs three of: small letters, capitals, digits, anything else.
    #[error("below {LONG} bytes it needs three of small letters, capitals, digits and other characters")]
    OneKind,
    /// Few different characters, or a run as on the keyboard.
    #[error("it repeats a few characters, or is a plain sequence")]
    Plain,
    /// It holds the login.
    #[error("it holds the login")]
    HoldsLogin,
    /// It is the one before.
    #[error("it is the present one")]
    Same,
}

/// What is wrong with a new password, if anything.
#[must_use]
pub fn weakness(password: &str, login: &str) -> Option<Weakness> {
    let count = password.chars().count();
    if count < SHORTEST {
        return Some(Weakness::Short);
    }
    if password.len() > 1024 {
        return Some(Weakness::Long);
    }
    let lower = password.to_lowercase();
    if login.len() >= 3 && lower.contains(&login.to_lowercase()) {
        return Some(Weakness::HoldsLogin);
    }
    let mut different: Vec<char> = lower.chars().collect();
    // A character that follows the one before, up or down, adds nothing to guess.
    let steps =
        different.windows(2).filter(|w| matches!((u32::from(w[1])).abs_diff(u32::from(w[0])), 0 | 1)).count();
    different.sort_unstable();
    different.dedup();
    if different.len() < 5 || steps * 4 > count * 3 {
        return Some(Weakness::Plain);
    }
    let kinds: [fn(char) -> bool; 4] = [
        |c| c.is_ascii_lowercase(),
        |c| c.is_ascii_uppercase(),
        |c| c.is_ascii_digit(),
        |c| !c.is_ascii_alphanumeric(),
    ];
    let kinds = kinds.iter().filter(|kind| password.chars().any(kind)).count();
    (password.len() < LONG && kinds < 3).then_some(Weakness::OneKind)
}

impl Platform {
    /// Checks the password of a session's person; wrong ones count as they do at log-in.
    pub(crate) async fn check_own_password(
        &self,
        session: &Session,
        address: &str,
        password: String,
    ) -> Result<String, AccountError> {
        let sessions = &self.sessions;
        sessions.attempts.count(&session.login, address).map_err(AccountError::Throttled)?;
        let row: Option<(Option<String>,)> =
            self.store.read().opt(PASSWORD_OF, args![session.person]).await?;
        let hash = row.and_then(|(hash,)| hash).unwrap_or_else(|| sessions.nobody.clone());
        if !sessions.verify(password, hash.clone()).await? {
            return Err(AccountError::WrongPassword);
        }
        sessions.attempts.forget(&session.login, address);
        Ok(hash)
    }

    /// Changes the password of a session's person; their other sessions end.
    ///
    /// # Errors
    /// [`AccountError::WrongPassword`], [`AccountError::Weak`], [`AccountError::Throttled`].
    pub async fn change_password(
        &self,
        context: &Context,
        session: &Session,
        address: &str,
        old: String,
        new: String,
    ) -> Result<(), AccountError> {
        if let Some(weakness) = weakness(&new, &session.login) {
            return Err(AccountError::Weak(weakness));
        }
        let old_hash = self.check_own_password(session, address, old.clone()).await?;
        if old == new {
            return Err(AccountError::Weak(Weakness::Same));
        }
        let hash = self.sessions.hash(new).await?;
        let values: (Id, Id, String, String) = (session.person, session.id, hash, old_hash);
        self.store
            .command::<_, (), AccountError, _>(
                context,
                "password:change",
                values,
                |tx, (person, session, hash, old_hash)| {
                    Box::pin(async move {
                        let now = tx.now;
                        if tx.execute(CHANGE, args![person, hash, now, old_hash]).await? == 0 {
                            return Err(AccountError::WrongPassword);
                        }
                        tx.execute(session::CLOSE_OTHERS, args![person, session]).await?;
                        tx.execute(person::DROP_LINK, args![person]).await?;
                        tx.subject("person", person, None);
                        Ok(())
                    })
                },
            )
            .await?;
        self.sessions.changed(session.person);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_easily_guessed_is_refused() {
        for (password, expected) in [
            ("Ab3!", Some(Weakness::Short)),
            ("aaaaaaaaaaaa", Some(Weakness::Plain)),
            ("abcdefghijkl", Some(Weakness::Plain)),
            ("1234567890", Some(Weakness::Plain)),
            ("Ab12Ab12Ab12", Some(Weakness::Plain)),
            ("Wangqiang2026!", Some(Weakness::HoldsLogin)),
            ("onlysmallone", Some(Weakness::OneKind)),
            ("smallandd1gits", Some(Weakness::OneKind)),
            ("Tr0ubadour-x", None),
            ("correct horse battery staple", None),
            ("嘉州花园 3 栋的消火栓", None),
        ] {
            assert_eq!(weakness(password, "wangqiang"), expected, "{password}");
        }
        assert_eq!(weakness(&"x y z w v ".repeat(200), "a"), Some(Weakness::Long));
        // What the hub makes up itself is good enough for it.
        assert_eq!(weakness(&person::one_time_password(), "wangqiang"), None);
    }
}
