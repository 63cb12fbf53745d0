//! The second factor (双因素): set up, confirmed, asked for at log-in, taken away.
//!
//! The secret is encrypted at rest ([`crate::cipher`]); recovery codes are kept as SHA-256, since
//! they are random and nothing is to be guessed. A code, of either kind, is good once.

use model::{Context, Id, Micros};
use qrcode::QrCode;
use qrcode::render::svg;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use store::{StoreError, Tx, args, new_id, now};

use crate::account::AccountError;
use crate::cipher::CipherError;
use crate::session::Session;
use crate::{Platform, role, session, totp};

/// How many recovery codes a person has.
const RECOVERY_CODES: usize = 10;
/// Letters and digits that nobody mistakes for another.
const LETTERS: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";
/// How an app names the account's keeper.
const ISSUER: &str = "Zhongshu";

store::statements! {
    STATE = "SELECT totp, totp_at, totp_step FROM people WHERE id = $1";
    BEGIN = "UPDATE people SET totp = $2 WHERE id = $1 AND totp_at IS NULL";
    CONFIRM = "UPDATE people SET totp_at = $2, totp_step = $3 WHERE id = $1 AND totp_at IS NULL AND totp = $4";
    TAKE_STEP = "UPDATE people SET totp_step = $2 WHERE id = $1 AND totp_step < $2 AND totp_at IS NOT NULL";
    TAKE_CODE = "DELETE FROM recovery_codes WHERE person = $1 AND sha256 = $2";
    CLEAR = "UPDATE people SET totp = NULL, totp_at = NULL WHERE id = $1 AND totp IS NOT NULL";
    DROP_CODES = "DELETE FROM recovery_codes WHERE person = $1";
    SEALED = "SELECT id, totp FROM people WHERE totp IS NOT NULL";
    RENEW = "UPDATE people SET totp = $3 WHERE id = $1 AND totp = $2";
    CODES_LEFT = "SELECT COUNT(*) FROM recovery_codes WHERE person = $1";
}
const ADD_CODES: &str = "INSERT INTO recovery_codes (person, sha256)";

/// Who must have a second factor; everybody may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecondFactor {
    /// Nobody must.
    Optional,
    /// Who holds one of the three administrators' roles.
    #[default]
    Administrators,
    /// Every account.
    Everybody,
}

impl SecondFactor {
    /// Whether one of these roles asks for a second factor.
    pub(crate) fn is_required<'r>(self, roles: impl IntoIterator<Item = &'r str>) -> bool {
        match self {
            Self::Optional => false,
            Self::Administrators => roles.into_iter().any(role::is_built_in),
            Self::Everybody => true,
        }
    }
}

/// What proves the second factor, still to be spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// The account has none.
    None,
    /// A code of this step.
    Step(i64),
    /// What may be a recovery code: its hash.
    Recovery(Vec<u8>),
}

impl Proof {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Step(_) => "code",
            Self::Recovery(_) => "recovery-code",
        }
    }
}

/// What a given code may prove; `None` for one that proves nothing.
pub(crate) fn proof(secret: &[u8], given: &str, at: Micros, last: i64) -> Option<Proof> {
    let given: String = given.chars().filter(|c| !c.is_whitespace()).collect();
    if given.len() == 6 && given.bytes().all(|b| b.is_ascii_digit()) {
        return totp::accepted(secret, &given, at, last).map(Proof::Step);
    }
    let looks_right = given.len() <= 32 && given.is_ascii();
    looks_right.then(|| Proof::Recovery(recovery_hash(&given)))
}

/// Takes what was proved, so that it proves nothing again; `false` when it is gone already.
pub(crate) async fn spend(tx: &mut Tx<'_>, person: Id, proof: &Proof) -> Result<bool, StoreError> {
    Ok(match proof {
        Proof::None => true,
        Proof::Step(step) => tx.execute(TAKE_STEP, args![person, *step]).await? == 1,
        Proof::Recovery(hash) => tx.execute(TAKE_CODE, args![person, hash.clone()]).await? == 1,
    })
}

fn recovery_hash(code: &str) -> Vec<u8> {
    let plain: String = code.chars().filter(|c| *c != '-').flat_map(char::to_lowercase).collect();
    Sha256::digest(plain.as_bytes()).to_vec()
}

/// A recovery code: three groups of five letters and digits (74 bits).
fn recovery_code() -> String {
    let mut code = String::with_capacity(17);
    for i in 0..15 {
        if i > 0 && i % 5 == 0 {
            code.push('-');
        }
        code.push(char::from(LETTERS[rand::random_range(0..LETTERS.len())]));
    }
    code
}

/// What an app is fed with, shown once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// The secret in base32, for typing.
    pub secret: String,
    /// The same as a key URI.
    pub uri: String,
    /// The URI as a QR code: an SVG document.
    pub qr_svg: String,
}

/// How a person's second factor stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecondFactorState {
    /// Since when it is asked for.
    pub since: Option<Micros>,
    /// How many recovery codes are left.
    pub recovery_codes: i64,
    /// Whether a role of theirs asks for one.
    pub required: bool,
}

/// Where the secret of a person stands: what binds the ciphertext to it.
fn place(person: Id) -> String {
    format!("people.totp/{person}")
}

impl Platform {
    pub(crate) fn totp_secret(&self, person: Id, sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.keys.open_sealed(&place(person), sealed).map_err(|e| StoreError::Document(e.to_string()))
    }

    /// Whether every secret in the database opens with the keys at hand; those under an older key
    /// are encrypted anew under the first.
    pub(crate) async fn check_keys(&self) -> Result<(), StoreError> {
        let rows: Vec<(Id, Vec<u8>)> = self.store.read().all(SEALED, args![]).await?;
        let mut renewed = Vec::new();
        for (person, sealed) in rows {
            let cannot = |e: CipherError| StoreError::Setup(format!("cannot {e}"));
            let secret = self.keys.open_sealed(&place(person), &sealed).map_err(cannot)?;
            if !self.keys.is_current(&sealed) {
                renewed.push((person, sealed, self.keys.seal(&place(person), &secret).map_err(cannot)?));
            }
        }
        if renewed.is_empty() {
            return Ok(());
        }
        let context = Context::system("platform", new_id());
        self.store
            .command::<_, (), StoreError, _>(&context, "key:renew", renewed, |tx, renewed| {
                Box::pin(async move {
                    for (person, old, new) in renewed {
                        tx.execute(RENEW, args![person, old.clone(), new.clone()]).await?;
                    }
                    tx.detail(serde_json::json!({ "second_factors": renewed.len() }));
                    Ok(())
                })
            })
            .await
    }

    /// How the second factor of a session's person stands.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn second_factor(&self, session: &Session) -> Result<SecondFactorState, StoreError> {
        type Row = (Option<Vec<u8>>, Option<i64>, i64);
        let row: Option<Row> = self.store.read().opt(STATE, args![session.person]).await?;
        let left: Option<(i64,)> = self.store.read().opt(CODES_LEFT, args![session.person]).await?;
        let roles = session.grants.iter().map(|g| g.grant.role.as_str());
        Ok(SecondFactorState {
            since: row.and_then(|(_, at, _)| at).map(Micros),
            recovery_codes: left.map_or(0, |(n,)| n),
            required: self.sessions.second_factor.is_required(roles),
        })
    }

    /// Begins setting it up: a new secret, which counts when a code of it was confirmed.
    ///
    /// # Errors
    /// [`AccountError::WrongPassword`], [`AccountError::Throttled`], and
    /// [`AccountError::HasSecondFactor`] when there is one: it must be removed first.
    pub async fn begin_second_factor(
        &self,
        context: &Context,
        session: &Session,
        address: &str,
        password: String,
    ) -> Result<Enrolment, AccountError> {
        self.check_own_password(session, address, password).await?;
        let secret: [u8; totp::SECRET] = rand::random();
        let sealed = self
            .keys
            .seal(&place(session.person), &secret)
            .map_err(|e| StoreError::Statement(e.to_string()))?;
        let made = new_id();
        let values = (session.person, sealed, made);
        let kept: Id = self
            .store
            .command(context, "second-factor:begin", values, |tx, (person, sealed, made)| {
                Box::pin(async move {
                    if tx.execute(BEGIN, args![person, sealed.clone()]).await? == 0 {
                        return Err(AccountError::HasSecondFactor);
                    }
                    tx.subject("person", person, None);
                    Ok(*made)
                })
            })
            .await?;
        if kept != made {
            return Err(AccountError::Repeated);
        }
        let uri = totp::uri(ISSUER, &session.login, &secret);
        let qr = QrCode::new(uri.as_bytes()).map_err(|e| StoreError::Statement(e.to_string()))?;
        let qr_svg = qr.render::<svg::Color<'_>>().min_dimensions(220, 220).build();
        Ok(Enrolment { secret: totp::base32(&secret), uri, qr_svg })
    }

    /// Confirms it by a first code; the recovery codes, shown once.
    ///
    /// # Errors
    /// [`AccountError::WrongCode`], [`AccountError::NotBegun`], [`AccountError::HasSecondFactor`].
    pub async fn confirm_second_factor(
        &self,
        context: &Context,
        session: &Session,
        address: &str,
        code: &str,
    ) -> Result<Vec<String>, AccountError> {
        let person = session.person;
        let row: Option<(Option<Vec<u8>>, Option<i64>, i64)> =
            self.store.read().opt(STATE, args![person]).await?;
        let (sealed, last) = match row {
            Some((_, Some(_), _)) => return Err(AccountError::HasSecondFactor),
            Some((Some(sealed), None, last)) => (sealed, last),
            _ => return Err(AccountError::NotBegun),
        };
        self.sessions.attempts.count(&session.login, address).map_err(AccountError::Throttled)?;
        let secret = self.totp_secret(person, &sealed)?;
        let Some(step) = totp::accepted(&secret, code.trim(), now(), last) else {
            return Err(AccountError::WrongCode);
        };
        self.sessions.attempts.forget(&session.login, address);
        let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| recovery_code()).collect();
        let hashes: Vec<Vec<u8>> = codes.iter().map(|c| recovery_hash(c)).collect();
        let made = new_id();
        let values = (person, sealed, step, hashes, made);
        let kept: Id = self
            .store
            .command(context, "second-factor:confirm", values, |tx, (person, sealed, step, hashes, made)| {
                Box::pin(async move {
                    let now = tx.now;
                    if tx.execute(CONFIRM, args![person, now, *step, sealed.clone()]).await? == 0 {
                        return Err(AccountError::NotBegun);
                    }
                    tx.execute(DROP_CODES, args![person]).await?;
                    let rows = hashes.iter().map(|h| args![person, h.clone()]).collect();
                    tx.insert_many(ADD_CODES, "", 2, rows).await?;
                    tx.subject("person", person, None);
                    Ok(*made)
                })
            })
            .await?;
        if kept != made {
            return Err(AccountError::Repeated);
        }
        self.sessions.changed(person);
        Ok(codes)
    }

    /// Removes one's own second factor.
    ///
    /// # Errors
    /// [`AccountError::SecondFactorRequired`] when a role asks for one; wrong password or code.
    pub async fn remove_second_factor(
        &self,
        context: &Context,
        session: &Session,
        address: &str,
        password: String,
        code: &str,
    ) -> Result<(), AccountError> {
        if self.second_factor(session).await?.required {
            return Err(AccountError::SecondFactorRequired);
        }
        self.check_own_password(session, address, password).await?;
        let person = session.person;
        let row: Option<(Option<Vec<u8>>, Option<i64>, i64)> =
            self.store.read().opt(STATE, args![person]).await?;
        let Some((Some(sealed), Some(_), last)) = row else { return Err(AccountError::NotBegun) };
        self.sessions.attempts.count(&session.login, address).map_err(AccountError::Throttled)?;
        let secret = self.totp_secret(person, &sealed)?;
        let proof = proof(&secret, code, now(), last).ok_or(AccountError::WrongCode)?;
        self.clear_second_factor(context, person, proof, false).await?;
        self.sessions.attempts.forget(&session.login, address);
        Ok(())
    }

    /// Takes a person's second factor away: they lost it, and set up a new one where their role
    /// asks for one. Their sessions end.
    ///
    /// # Errors
    /// [`AccountError::NotBegun`] when there is none; [`AccountError::Own`] for one's own.
    pub async fn reset_second_factor(&self, context: &Context, person: Id) -> Result<(), AccountError> {
        if context.actor.person() == Some(person) {
            return Err(AccountError::Own);
        }
        self.clear_second_factor(context, person, Proof::None, true).await
    }

    async fn clear_second_factor(
        &self,
        context: &Context,
        person: Id,
        proof: Proof,
        end_sessions: bool,
    ) -> Result<(), AccountError> {
        self.store
            .command::<_, (), AccountError, _>(
                context,
                "second-factor:remove",
                (person, proof, end_sessions),
                |tx, (person, proof, end_sessions)| {
                    Box::pin(async move {
                        if !spend(tx, *person, proof).await? {
                            return Err(AccountError::WrongCode);
                        }
                        if tx.execute(CLEAR, args![person]).await? == 0 {
                            return Err(AccountError::NotBegun);
                        }
                        tx.execute(DROP_CODES, args![person]).await?;
                        if *end_sessions {
                            tx.execute(session::CLOSE_ALL, args![person]).await?;
                        }
                        tx.subject("person", person, None);
                        Ok(())
                    })
                },
            )
            .await?;
        self.sessions.changed(person);
        Ok(())
    }
}
