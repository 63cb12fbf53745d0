//! Secrets and personal data at rest: AES-256-GCM under keys that lie outside the database.
//!
//! The keys are a file in the data folder, readable by its owner alone. Its first line encrypts;
//! the others still decrypt what was written under them, so that a key can be replaced. A value
//! says by which key it was made and is bound to where it stands: moved to another person or
//! column it does not decrypt. A second file holds the key of blind indices, which stays the same:
//! with another, nothing would be found again.
//!
//! A value is `key id (4 bytes) · nonce (12 bytes) · ciphertext · tag (16 bytes)`.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;
use sha2::{Digest as _, Sha256};

/// The file of keys in the folder of keys.
pub const FILE: &str = "data.key";
/// The file of the key of blind indices.
pub const INDEX_FILE: &str = "index.key";
const KEY: usize = 32;
const ID: usize = 4;
const NONCE: usize = 12;

/// Why a value does not encrypt or decrypt, or the keys do not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CipherError {
    /// The file of keys cannot be read or made.
    #[error("read the keys {}: {reason}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// No key of the file made the value.
    #[error("decrypt a value: it was made by the key {0}, which data.key does not hold; put that key back")]
    NoKey(String),
    /// The value was changed, or stands where it was not written.
    #[error("decrypt a value: it was changed, or moved from where it was written")]
    Changed,
}

struct Key {
    id: [u8; ID],
    key: LessSafeKey,
}

impl Key {
    fn of(bytes: &[u8]) -> Option<Self> {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).ok()?);
        let hash = Sha256::digest(bytes);
        let mut id = [0; ID];
        id.copy_from_slice(&hash[..ID]);
        Some(Self { id, key })
    }
}

/// The keys of this hub.
pub struct Keyring {
    keys: Vec<Key>,
    index: hmac::Key,
}

impl Keyring {
    /// Reads the keys of a folder; makes a first one where there is no file.
    ///
    /// # Errors
    /// [`CipherError::File`]: unreadable, readable by others, or not keys.
    pub fn open(folder: &Path) -> Result<Self, CipherError> {
        let keys = lines(&folder.join(FILE))?.iter().filter_map(|k| Key::of(k)).collect();
        let index = lines(&folder.join(INDEX_FILE))?.swap_remove(0);
        Ok(Self { keys, index: hmac::Key::new(hmac::HMAC_SHA256, &index) })
    }

    /// A key that is nowhere else: for tests.
    ///
    /// # Errors
    /// None in practice: any 32 bytes are a key.
    pub fn random() -> Result<Self, CipherError> {
        let key = Key::of(&rand::random::<[u8; KEY]>()).ok_or(CipherError::Changed)?;
        Ok(Self { keys: vec![key], index: hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; KEY]>()) })
    }

    /// The blind index of a value of a column: the same for the same value, and telling nothing else
    /// to whoever has not the key.
    #[must_use]
    pub fn blind(&self, column: &str, value: &str) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&self.index);
        context.update(column.as_bytes());
        context.update(&[0]);
        context.update(value.as_bytes());
        context.sign().as_ref().to_vec()
    }

    /// Encrypts; `place` names where the value will stand.
    ///
    /// # Errors
    /// [`CipherError::Changed`] for a value beyond AES-GCM's bound (64 GiB), which none reaches.
    pub fn seal(&self, place: &str, value: &[u8]) -> Result<Vec<u8>, CipherError> {
        let key = self.keys.first().ok_or(CipherError::Changed)?;
        // Random nonces of 96 bits are safe for 2^32 values under one key (NIST SP 800-38D §8.3).
        let nonce: [u8; NONCE] = rand::random();
        let mut sealed = value.to_vec();
        key.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(place.as_bytes()),
                &mut sealed,
            )
            .map_err(|_| CipherError::Changed)?;
        Ok([key.id.as_slice(), &nonce, &sealed].concat())
    }

    /// Decrypts what stands at `place`.
    ///
    /// # Errors
    /// [`CipherError`].
    pub fn open_sealed(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, CipherError> {
        let (id, rest) = sealed.split_at_checked(ID).ok_or(CipherError::Changed)?;
        let (nonce, ciphertext) = rest.split_at_checked(NONCE).ok_or(CipherError::Changed)?;
        let key = self.keys.iter().find(|k| k.id == id);
        let key = key.ok_or_else(|| CipherError::NoKey(hex::encode(id)))?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| CipherError::Changed)?;
        let mut bytes = ciphertext.to_vec();
        let length = key
            .key
            .open_in_place(nonce, Aad::from(place.as_bytes()), &mut bytes)
            .map_err(|_| CipherError::Changed)?
            .len();
        bytes.truncate(length);
        Ok(bytes)
    }

    /// Whether the first key made the value: one that it did not make is due for renewal.
    #[must_use]
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        self.keys.first().is_some_and(|k| sealed.starts_with(&k.id))
    }
}

/// The keys of a file, a line of 32 bytes in base64 each; makes the first where there is no file.
fn lines(path: &Path) -> Result<Vec<Vec<u8>>, CipherError> {
    let wrong = |reason: String| CipherError::File { path: path.to_owned(), reason };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let line = format!("{}\n", STANDARD.encode(rand::random::<[u8; KEY]>()));
            write_secret(path, line.as_bytes()).map_err(|e| wrong(e.to_string()))?;
            line
        }
        Err(e) => return Err(wrong(e.to_string())),
    };
    let mode = fs::metadata(path).map_err(|e| wrong(e.to_string()))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(wrong(format!("others may read it (mode {:o}); chmod 600", mode & 0o777)));
    }
    let mut keys = Vec::new();
    for (n, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let key = STANDARD.decode(line.trim()).ok().filter(|k| k.len() == KEY);
        keys.push(key.ok_or_else(|| wrong(format!("line {} is not 32 bytes in base64", n + 1)))?);
    }
    if keys.is_empty() { Err(wrong("it holds no key".into())) } else { Ok(keys) }
}

/// Writes a file that only its owner may read, whole or not at all.
///
/// # Errors
/// The system's.
pub fn write_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    }
    let new = path.with_extension("new");
    let mut file = fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    match path.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_where_it_stands_and_nowhere_else() {
        let ring = Keyring::random().unwrap();
        let sealed = ring.seal("totp/a", b"secret").unwrap();
        assert_eq!(ring.open_sealed("totp/a", &sealed).unwrap(), b"secret");
        assert_eq!(ring.open_sealed("totp/b", &sealed), Err(CipherError::Changed));
        assert_ne!(ring.seal("totp/a", b"secret").unwrap(), sealed, "a nonce is used once");
        for i in ID..sealed.len() {
            let mut changed = sealed.clone();
            changed[i] ^= 1;
            assert_eq!(ring.open_sealed("totp/a", &changed), Err(CipherError::Changed), "byte {i}");
        }
        for short in [&[][..], &sealed[..3], &sealed[..10], &sealed[..20]] {
            assert!(ring.open_sealed("totp/a", short).is_err());
        }
        assert!(matches!(
            Keyring::random().unwrap().open_sealed("totp/a", &sealed),
            Err(CipherError::NoKey(_))
        ));
    }

    #[test]
    fn the_file_is_made_once_kept_private_and_takes_a_new_first_line() {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        let sealed = Keyring::open(&keys).unwrap().seal("p", b"x").unwrap();
        assert_eq!(Keyring::open(&keys).unwrap().open_sealed("p", &sealed).unwrap(), b"x");
        let file = keys.join(FILE);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let old = fs::read_to_string(&file).unwrap();
        let new = STANDARD.encode([7; KEY]);
        write_secret(&file, format!("{new}\n{old}").as_bytes()).unwrap();
        let ring = Keyring::open(&keys).unwrap();
        assert_eq!(ring.open_sealed("p", &sealed).unwrap(), b"x");
        assert_eq!(ring.blind("phone", "1"), Keyring::open(&keys).unwrap().blind("phone", "1"));
        assert_ne!(ring.blind("phone", "1"), ring.blind("id-number", "1"));
        assert!(!ring.is_current(&sealed) && ring.is_current(&ring.seal("p", b"x").unwrap()));
        for wrong in ["", "AAAA", "not base64"] {
            write_secret(&file, wrong.as_bytes()).unwrap();
            assert!(matches!(Keyring::open(&keys), Err(CipherError::File { .. })), "{wrong:?}");
        }
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Keyring::open(&keys).err().unwrap().to_string().contains("chmod 600"));
    }
}
