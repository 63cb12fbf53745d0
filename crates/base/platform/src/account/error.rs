//! Why something was not done to an account.

use std::time::Duration;

use store::StoreError;

use super::password::Weakness;
use crate::personal::PersonalField;

/// Why something was not done to an account. Messages fit after "failed to".
#[derive(Debug, Clone, thiserror::Error)]
pub enum AccountError {
    /// The login is not one.
    #[error("make the account: the login {0:?} must be 2 to 64 letters, digits, '-', '_', '.' or '@'")]
    BadLogin(String),
    /// The name is not one.
    #[error("make the account: the name {0:?} must be 1 to 64 characters")]
    BadName(String),
    /// Somebody has the login.
    #[error("make the account: the login {0:?} is taken")]
    Taken(String),
    /// The organisation is not known.
    #[error("make the account: no organisation {0:?}")]
    NoOrganisation(String),
    /// The role is neither the platform's nor declared by an installed pack.
    #[error("give the role: no role {0:?}; roles come with packs (zhongshu pack install)")]
    NoRole(String),
    /// The post is not known.
    #[error("put on duty: no post {0:?}; posts come with zhongshu import")]
    NoPost(String),
    /// The two roles are kept apart.
    #[error(
        "give the role {role:?}: the person holds {other:?}, and nobody holds two of the three administrators' roles"
    )]
    Separated {
        /// What was to be given.
        role: String,
        /// What they hold.
        other: String,
    },
    /// The number is none.
    #[error("keep the number: it is no {0:?}")]
    BadPersonal(PersonalField),
    /// Personal data are revealed for a reason.
    #[error("reveal the number: say why, in 1 to 200 characters")]
    NoReason,
    /// An end before the beginning, or in the past.
    #[error("give it: it would end before it begins, or has ended already")]
    BadPeriod,
    /// Nobody does this to himself.
    #[error("change the account: it is your own; ask another administrator")]
    Own,
    /// There is no such account, grant, duty or session in this state.
    #[error("find it: there is none in this state")]
    Unknown,
    /// The password is too easily guessed.
    #[error("take the password: {0}")]
    Weak(Weakness),
    /// The present password was given wrong.
    #[error("check the present password: it is wrong")]
    WrongPassword,
    /// Too many wrong attempts.
    #[error("check it: too many attempts; wait {} s", .0.as_secs())]
    Throttled(Duration),
    /// The link is unknown, used, replaced or too old: not told apart.
    #[error("use the link: it is unknown, was used, or is too old; ask for another")]
    LinkVoid,
    /// The code of the second factor is wrong, old, or was used before.
    #[error("check the code: it is wrong or was used before")]
    WrongCode,
    /// The account has a second factor already.
    #[error("set up the second factor: the account has one; remove it first")]
    HasSecondFactor,
    /// The account has none, or its setting up was not begun.
    #[error("use the second factor: there is none, or setting it up was not begun")]
    NotBegun,
    /// A role of the account asks for it.
    #[error("remove the second factor: a role of the account asks for one")]
    SecondFactorRequired,
    /// The same request was done before, and what it showed is shown only once.
    #[error("do it again: the same request was done before, and what it showed is shown only once")]
    Repeated,
    /// The password could not be hashed.
    #[error("make the account: {0}")]
    Hash(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}
