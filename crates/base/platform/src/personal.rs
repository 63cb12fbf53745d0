//! Personal data (个人信息) of people: phone and ID numbers.
//!
//! Encrypted at rest ([`crate::cipher`]), found again by a blind index (an HMAC of the whole value,
//! so that equal values are found and nothing else is learnt), shown with their middle hidden, and
//! revealed one at a time with a reason, which the audit keeps.

use model::{Context, Id};
use serde::{Deserialize, Serialize};
use store::{StoreError, args};
use utoipa::ToSchema;

use crate::Platform;
use crate::account::AccountError;
use crate::cipher::{CipherError, Keyring};

/// The longest reason.
const LONGEST_REASON: usize = 200;
/// The most people that a look-up finds.
const FOUND: i64 = 100;

store::statements! {
    OF_PERSON = "SELECT phone, id_number FROM people WHERE id = $1";
    SET_PHONE = "UPDATE people SET phone = $2, phone_index = $3 WHERE id = $1";
    SET_ID_NUMBER = "UPDATE people SET id_number = $2, id_number_index = $3 WHERE id = $1";
    BY_PHONE = "SELECT id FROM people WHERE phone_index = $1 ORDER BY login LIMIT $2";
    BY_ID_NUMBER = "SELECT id FROM people WHERE id_number_index = $1 ORDER BY login LIMIT $2";
    KEPT = "SELECT id, phone, id_number FROM people WHERE phone IS NOT NULL OR id_number IS NOT NULL";
    RENEW = "UPDATE people SET phone = $2, id_number = $3 WHERE id = $1";
}

/// Which of a person's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PersonalField {
    /// The phone number.
    Phone,
    /// The number of the resident identity card (居民身份证, GB 11643).
    IdNumber,
}

impl PersonalField {
    fn name(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::IdNumber => "id-number",
        }
    }

    fn place(self, person: Id) -> String {
        format!("people.{}/{person}", self.name())
    }

    /// A value as it is kept: so that the same number written otherwise is the same number.
    ///
    /// # Errors
    /// [`AccountError::BadPersonal`].
    pub fn normal(self, text: &str) -> Result<String, AccountError> {
        let bad = || AccountError::BadPersonal(self);
        let plain: String =
            text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '-' | '(' | ')')).collect();
        match self {
            Self::Phone => {
                let digits = plain.strip_prefix("+86").or(plain.strip_prefix("0086")).unwrap_or(&plain);
                let number = digits.strip_prefix('+').unwrap_or(digits);
                let good = (5..=20).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
                if good { Ok(digits.to_owned()) } else { Err(bad()) }
            }
            Self::IdNumber => {
                let number = plain.to_ascii_uppercase();
                if is_id_number(&number) { Ok(number) } else { Err(bad()) }
            }
        }
    }

    /// The value with its middle hidden: `138****1234`.
    #[must_use]
    pub fn masked(self, value: &str) -> String {
        let (first, last) = match self {
            Self::Phone if value.len() >= 11 => (3, 4),
            Self::Phone => (0, 2),
            Self::IdNumber => (3, 2),
        };
        let hidden = value.len().saturating_sub(first + last);
        let stars = "*".repeat(hidden);
        match (value.get(..first), value.get(first + hidden..)) {
            (Some(first), Some(last)) => format!("{first}{stars}{last}"),
            _ => "*".repeat(value.len()),
        }
    }
}

/// 17 digits and a check character by ISO 7064 MOD 11-2 (GB 11643-1999 §4.2).
fn is_id_number(text: &str) -> bool {
    let Some((digits, check)) = text.split_at_checked(17) else { return false };
    if check.len() != 1 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return false;
    }
    let sum = digits.bytes().fold(0u32, |sum, b| (sum + u32::from(b - b'0')) * 2 % 11);
    let expected = match (12 - sum) % 11 {
        10 => 'X',
        n => char::from(b'0' + n as u8),
    };
    check.starts_with(expected)
}

/// A person's data as they are set: what is absent is taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Personal {
    /// The phone number.
    pub phone: Option<String>,
    /// The number of the identity card.
    pub id_number: Option<String>,
}

type Sealed = (Option<Vec<u8>>, Option<Vec<u8>>);

fn seal(keys: &Keyring, person: Id, field: PersonalField, value: Option<&str>) -> Result<Sealed, StoreError> {
    let Some(value) = value else { return Ok((None, None)) };
    let sealed = keys.seal(&field.place(person), value.as_bytes());
    let sealed = sealed.map_err(|e| StoreError::Statement(e.to_string()))?;
    Ok((Some(sealed), Some(keys.blind(field.name(), value))))
}

fn open(
    keys: &Keyring,
    person: Id,
    field: PersonalField,
    sealed: Option<&[u8]>,
) -> Result<Option<String>, StoreError> {
    let wrong = |e: CipherError| StoreError::Document(e.to_string());
    let Some(sealed) = sealed else { return Ok(None) };
    let bytes = keys.open_sealed(&field.place(person), sealed).map_err(wrong)?;
    String::from_utf8(bytes).map(Some).map_err(|e| StoreError::Document(e.to_string()))
}

impl Platform {
    async fn personal(&self, person: Id) -> Result<Option<Personal>, StoreError> {
        let row: Option<Sealed> = self.store.read().opt(OF_PERSON, args![person]).await?;
        let Some((phone, id_number)) = row else { return Ok(None) };
        Ok(Some(Personal {
            phone: open(&self.keys, person, PersonalField::Phone, phone.as_deref())?,
            id_number: open(&self.keys, person, PersonalField::IdNumber, id_number.as_deref())?,
        }))
    }

    /// A person's data with their middles hidden.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn masked_personal(&self, person: Id) -> Result<Personal, StoreError> {
        let personal = self.personal(person).await?.unwrap_or_default();
        Ok(Personal {
            phone: personal.phone.map(|v| PersonalField::Phone.masked(&v)),
            id_number: personal.id_number.map(|v| PersonalField::IdNumber.masked(&v)),
        })
    }

    /// Sets or takes away one of a person's data.
    ///
    /// # Errors
    /// [`AccountError::BadPersonal`], [`AccountError::Unknown`].
    pub async fn set_personal(
        &self,
        context: &Context,
        person: Id,
        field: PersonalField,
        value: Option<&str>,
    ) -> Result<(), AccountError> {
        let value = value.map(|v| field.normal(v)).transpose()?;
        let (sealed, index) = seal(&self.keys, person, field, value.as_deref())?;
        self.store
            .command::<_, (), AccountError, _>(
                context,
                "personal:set",
                (person, field, sealed, index),
                |tx, (person, field, sealed, index)| {
                    Box::pin(async move {
                        let statement = match field {
                            PersonalField::Phone => SET_PHONE,
                            PersonalField::IdNumber => SET_ID_NUMBER,
                        };
                        if tx.execute(statement, args![person, sealed.clone(), index.clone()]).await? == 0 {
                            return Err(AccountError::Unknown);
                        }
                        tx.subject("person", person, None);
                        tx.detail(serde_json::json!({ "field": field }));
                        Ok(())
                    })
                },
            )
            .await
    }

    /// One of a person's data whole; the audit keeps who asked and why.
    ///
    /// # Errors
    /// [`AccountError::NoReason`], [`AccountError::Unknown`] when there is none.
    pub async fn reveal_personal(
        &self,
        context: &Context,
        person: Id,
        field: PersonalField,
        reason: &str,
    ) -> Result<String, AccountError> {
        let reason = reason.trim();
        if reason.is_empty() || reason.chars().count() > LONGEST_REASON {
            return Err(AccountError::NoReason);
        }
        let personal = self.personal(person).await?.ok_or(AccountError::Unknown)?;
        let value = match field {
            PersonalField::Phone => personal.phone,
            PersonalField::IdNumber => personal.id_number,
        };
        let value = value.ok_or(AccountError::Unknown)?;
        // Audited before it is shown.
        let values = (person, field, reason.to_owned());
        self.store
            .command::<_, (), StoreError, _>(
                context,
                "personal:reveal",
                values,
                |tx, (person, field, reason)| {
                    Box::pin(async move {
                        tx.subject("person", person, None);
                        tx.detail(serde_json::json!({ "field": field, "reason": reason }));
                        Ok(())
                    })
                },
            )
            .await?;
        Ok(value)
    }

    /// Whose number this is, wherever they belong.
    ///
    /// # Errors
    /// [`AccountError::BadPersonal`].
    pub async fn find_by_personal(&self, field: PersonalField, value: &str) -> Result<Vec<Id>, AccountError> {
        let value = field.normal(value)?;
        let statement = match field {
            PersonalField::Phone => BY_PHONE,
            PersonalField::IdNumber => BY_ID_NUMBER,
        };
        let blind = self.keys.blind(field.name(), &value);
        let rows: Vec<(Id,)> = self.store.read().all(statement, args![blind, FOUND]).await?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    /// Whether everything opens with the keys at hand; what stands under an older key is encrypted
    /// anew under the first.
    pub(crate) async fn check_personal_keys(&self) -> Result<(), StoreError> {
        let cannot = |e: CipherError| StoreError::Setup(format!("cannot {e}"));
        let rows: Vec<(Id, Option<Vec<u8>>, Option<Vec<u8>>)> = self.store.read().all(KEPT, args![]).await?;
        let mut renewed = Vec::new();
        for (person, phone, id_number) in rows {
            let mut fresh = Vec::new();
            let mut is_current = true;
            for (field, sealed) in [(PersonalField::Phone, &phone), (PersonalField::IdNumber, &id_number)] {
                let Some(sealed) = sealed else {
                    fresh.push(None);
                    continue;
                };
                let value = self.keys.open_sealed(&field.place(person), sealed).map_err(cannot)?;
                is_current &= self.keys.is_current(sealed);
                fresh.push(Some(self.keys.seal(&field.place(person), &value).map_err(cannot)?));
            }
            if !is_current {
                renewed.push((person, fresh));
            }
        }
        // A city's people in steps: a command has a bound.
        for some in renewed.chunks(1000) {
            let context = Context::system("platform", store::new_id());
            self.store
                .command::<_, (), StoreError, _>(&context, "key:renew", some.to_vec(), |tx, some| {
                    Box::pin(async move {
                        for (person, fresh) in some {
                            let mut row = args![person];
                            row.extend(fresh.iter().map(|f| store::Value::from(f.clone())));
                            tx.execute(RENEW, row).await?;
                        }
                        tx.detail(serde_json::json!({ "people": some.len() }));
                        Ok(())
                    })
                })
                .await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_checked_and_masked() {
        use PersonalField::{IdNumber, Phone};
        for (field, text, normal, masked) in [
            (Phone, "138 0000 1234", "13800001234", "138****1234"),
            (Phone, "+86-13800001234", "13800001234", "138****1234"),
            (Phone, "023-6781234", "0236781234", "********34"),
            (Phone, "+85291234567", "+85291234567", "+85*****4567"),
            // The example of GB 11643-1999.
            (IdNumber, "11010519491231002X", "11010519491231002X", "110*************2X"),
            (IdNumber, "11010519491231002x", "11010519491231002X", "110*************2X"),
        ] {
            let read = field.normal(text).unwrap();
            assert_eq!((read.as_str(), field.masked(&read).as_str()), (normal, masked), "{text}");
        }
        for (field, wrong) in [
            (Phone, ""),
            (Phone, "1380000123a"),
            (Phone, "123"),
            (IdNumber, "110105194912310021"),
            (IdNumber, "11010519491231002"),
            (IdNumber, "1101051949123100 2XX"),
            (IdNumber, "１1010519491231002X"),
        ] {
            assert!(field.normal(wrong).is_err(), "{wrong}");
        }
    }
}
