//! Where a person is reached (联系方式), and when not.

use model::{Context, Id};
use serde::{Deserialize, Serialize};
use store::{Store, StoreError, Tx, args};

use super::channel::Channel;
use super::quiet::QuietHours;

store::statements! {
    ONE = "SELECT email, phone, wecom, quiet FROM contacts WHERE person = $1";
    SET = "INSERT INTO contacts (person, email, phone, wecom, quiet, updated_at) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (person) DO UPDATE SET email = excluded.email, phone = excluded.phone, wecom = excluded.wecom,
        quiet = excluded.quiet, updated_at = excluded.updated_at";
}

/// A person's addresses and quiet hours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Contact {
    /// Their e-mail address.
    pub email: Option<String>,
    /// Their telephone number, with or without the country's: `13812345678`, `+8613812345678`.
    pub phone: Option<String>,
    /// Their user id in WeCom.
    pub wecom: Option<String>,
    /// `22:00-07:00` or `none`; the city's when absent.
    pub quiet: Option<String>,
}

/// Why a contact is refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ContactError {
    /// Not an e-mail address.
    #[error("keep the contact: {0:?} is not an e-mail address")]
    Email(String),
    /// Not a telephone number.
    #[error("keep the contact: {0:?} is not a telephone number of 3 to 20 digits")]
    Phone(String),
    /// Not a user id.
    #[error("keep the contact: {0:?} is not a WeCom user id of 1 to 64 visible characters")]
    Wecom(String),
    /// Not quiet hours.
    #[error("keep the contact: {0}")]
    Quiet(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether a text is written as an address of RFC 5321 mostly is; the mail server has the last word.
fn is_email(text: &str) -> bool {
    text.len() <= 254
        && text.rsplit_once('@').is_some_and(|(local, domain)| {
            let plain = |c: char| c.is_ascii_graphic() && !"<>()[],;:\\\"@".contains(c);
            (1..=64).contains(&local.len())
                && local.chars().all(plain)
                && domain.split('.').all(|part| !part.is_empty())
                && domain.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c))
        })
}

impl Contact {
    /// The same without spaces, empty fields as absent ones.
    ///
    /// # Errors
    /// [`ContactError`] names the field that is wrong.
    pub fn checked(self) -> Result<Self, ContactError> {
        let clean = |text: Option<String>| text.map(|t| t.trim().to_owned()).filter(|t| !t.is_empty());
        let phone = clean(self.phone).map(|p| p.chars().filter(|c| !" -()".contains(*c)).collect::<String>());
        let (email, wecom, quiet) = (clean(self.email), clean(self.wecom), clean(self.quiet));
        if let Some(email) = email.as_ref().filter(|e| !is_email(e)) {
            return Err(ContactError::Email(email.clone()));
        }
        if let Some(phone) = &phone {
            let digits = phone.strip_prefix('+').unwrap_or(phone);
            if !(3..=20).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(ContactError::Phone(phone.clone()));
            }
        }
        if let Some(wecom) =
            wecom.as_ref().filter(|w| w.len() > 64 || !w.bytes().all(|b| b.is_ascii_graphic()))
        {
            return Err(ContactError::Wecom(wecom.clone()));
        }
        if let Some(quiet) = &quiet {
            QuietHours::parse(quiet).map_err(ContactError::Quiet)?;
        }
        Ok(Self { email, phone, wecom, quiet })
    }

    /// What a channel is addressed by, when the person has it.
    #[must_use]
    pub fn address(&self, channel: Channel) -> Option<&str> {
        match channel {
            Channel::Email => self.email.as_deref(),
            Channel::Sms | Channel::Voice => self.phone.as_deref(),
            Channel::Wecom => self.wecom.as_deref(),
            Channel::InPage | Channel::Webhook => None,
        }
    }

    /// Their quiet hours; `city`'s when they have not chosen.
    #[must_use]
    pub fn quiet_hours(&self, city: QuietHours) -> QuietHours {
        self.quiet.as_deref().and_then(|q| QuietHours::parse(q).ok()).unwrap_or(city)
    }
}

/// Where a person is reached.
///
/// # Errors
/// [`StoreError`].
pub async fn of(store: &Store, person: Id) -> Result<Contact, StoreError> {
    Ok(store.read().opt(ONE, args![person]).await?.unwrap_or_default())
}

/// The same inside a command.
pub(super) async fn of_in(tx: &mut Tx<'_>, person: Id) -> Result<Contact, StoreError> {
    Ok(tx.opt(ONE, args![person]).await?.unwrap_or_default())
}

/// Keeps where a person is reached. The audit says which fields are there, not what they hold.
///
/// # Errors
/// [`ContactError`].
pub async fn set(store: &Store, context: &Context, person: Id, contact: Contact) -> Result<(), ContactError> {
    let contact = contact.checked()?;
    store
        .command(context, "contact:update", (person, contact), |tx, (person, contact)| {
            Box::pin(async move {
                tx.subject("person", person, None);
                tx.detail(serde_json::json!({
                    "email": contact.email.is_some(), "phone": contact.phone.is_some(),
                    "wecom": contact.wecom.is_some(), "quiet": contact.quiet,
                }));
                let c = contact.clone();
                let now = tx.now;
                tx.execute(SET, args![*person, c.email, c.phone, c.wecom, c.quiet, now]).await?;
                Ok(())
            })
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contacts_are_checked() {
        let of = |email: &str, phone: &str, wecom: &str, quiet: &str| {
            let some = |t: &str| Some(t.to_owned());
            Contact { email: some(email), phone: some(phone), wecom: some(wecom), quiet: some(quiet) }
        };
        let good = of(" a.b@example.org ", "+86 138-1234-5678", "", "none").checked().unwrap();
        assert_eq!(good.email.as_deref(), Some("a.b@example.org"));
        assert_eq!((good.phone.as_deref(), good.wecom), (Some("+8613812345678"), None));
        for (wrong, field) in [
            (of("a@b@c", "", "", ""), "e-mail"),
            (of("a b@c.d", "", "", ""), "e-mail"),
            (of("a\r\nBcc: x@y.z", "", "", ""), "e-mail"),
            (of("a@-..d", "", "", ""), "e-mail"),
            (of("", "13812a45678", "", ""), "telephone"),
            (of("", "12", "", ""), "telephone"),
            (of("", "", "王强", ""), "WeCom"),
            (of("", "", "", "22-7"), "HH:MM"),
        ] {
            let error = wrong.checked().unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }
}
