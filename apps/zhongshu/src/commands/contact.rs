//! `zhongshu admin contact`: where a person is reached, and when not.

use anyhow::Context as _;
use clap::Args;
use platform::notification::contact;
use platform::person;
use store::Store;

use super::operator;

/// A contact to set.
#[derive(Args, Debug)]
pub struct SetContact {
    /// Whose: what they log in with.
    #[arg(long)]
    pub login: String,
    /// Their e-mail address; empty for none.
    #[arg(long)]
    pub email: Option<String>,
    /// Their telephone number, for SMS and calls; empty for none.
    #[arg(long)]
    pub phone: Option<String>,
    /// Their user id in WeCom (企业微信); empty for none.
    #[arg(long)]
    pub wecom: Option<String>,
    /// When they are left in peace: 22:00-07:00, or none; empty for the city's.
    #[arg(long, value_name = "HOURS")]
    pub quiet: Option<String>,
}

/// Sets the contact.
///
/// # Errors
/// An unknown login, or what is wrong with a field.
pub async fn set(store: &Store, new: SetContact) -> anyhow::Result<()> {
    let person = person::of_login(store, &new.login)
        .await?
        .with_context(|| format!("no account {:?}; make it with zhongshu admin create", new.login))?;
    let mut contact = contact::of(store, person).await?;
    for (field, value) in [
        (&mut contact.email, new.email),
        (&mut contact.phone, new.phone),
        (&mut contact.wecom, new.wecom),
        (&mut contact.quiet, new.quiet),
    ] {
        // What is empty is dropped by the check.
        *field = value.or(field.take());
    }
    contact::set(store, &operator("admin"), person, contact).await?;
    Ok(())
}
