//! Anchors (锚点): the head of the audit's chain, signed, in a file outside the database.
//!
//! Whoever can write the database can make the whole chain anew; he cannot make anew what was
//! written elsewhere and signed by a key that is not in the database. The file grows by a line of
//! JSON an anchor; copy it to where the hub's machine cannot change it.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::Micros;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use store::audit::{Hash, Head};
use store::{Store, StoreError, now};
use tokio_util::sync::CancellationToken;

use crate::cipher::write_secret;

/// The file of the signing key, in the folder of keys (PKCS #8).
pub const KEY_FILE: &str = "audit-anchor.pk8";
/// The file of anchors, in the folder of anchors.
pub const FILE: &str = "audit.jsonl";
/// The file of the public key (hexadecimal), beside the anchors.
pub const PUBLIC_FILE: &str = "audit-anchor.pub";
/// An anchor is written when there are new entries and the last is so old,
const EVERY: i64 = 10 * Micros::MINUTE;
/// or there are so many of them.
const ENTRIES: i64 = 1000;
/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(30);

/// Why anchors cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// A file cannot be used.
    #[error("use {}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A line is not an anchor signed by the key.
    #[error("read {}:{line}: {reason}", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn file(path: &Path) -> impl Fn(io::Error) -> AnchorError + '_ {
    move |e| AnchorError::File { path: path.to_owned(), reason: e.to_string() }
}

/// One anchor, as a line holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// When it was written.
    pub at: Micros,
    /// The position of the last entry then.
    pub position: i64,
    /// Its hash, hexadecimal.
    pub hash: String,
    /// Ed25519 over what [`Anchor::signed`] gives, hexadecimal.
    pub signature: String,
}

impl Anchor {
    /// What is signed: a name of the purpose, then time, position and hash, a line each.
    #[must_use]
    pub fn signed(at: Micros, position: i64, hash: &str) -> String {
        format!("zhongshu audit anchor 1\n{at}\n{position}\n{hash}\n")
    }
}

/// Writes anchors.
pub struct Anchors {
    folder: PathBuf,
    key: Ed25519KeyPair,
}

impl Anchors {
    /// Opens the folder of anchors; makes the signing key in the folder of keys where there is none.
    ///
    /// # Errors
    /// [`AnchorError::File`].
    pub fn open(folder: &Path, keys: &Path) -> Result<Self, AnchorError> {
        let path = keys.join(KEY_FILE);
        let wrong = |reason: &str| AnchorError::File { path: path.clone(), reason: reason.into() };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
                    .map_err(|_| wrong("the system gives no random bits"))?;
                write_secret(&path, made.as_ref()).map_err(file(&path))?;
                made.as_ref().to_vec()
            }
            Err(e) => return Err(file(&path)(e)),
        };
        let key = Ed25519KeyPair::from_pkcs8(&bytes).map_err(|_| wrong("it is no Ed25519 key (PKCS #8)"))?;
        fs::create_dir_all(folder).map_err(file(folder))?;
        let anchors = folder.join(FILE);
        cut_torn(&anchors).map_err(file(&anchors))?;
        let public = folder.join(PUBLIC_FILE);
        let hex = format!("{}\n", hex::encode(key.public_key().as_ref()));
        if fs::read_to_string(&public).ok().as_deref() != Some(&hex) {
            fs::write(&public, hex).map_err(file(&public))?;
        }
        Ok(Self { folder: folder.to_owned(), key })
    }

    /// The public key, hexadecimal: whoever has it checks anchors without the hub.
    #[must_use]
    pub fn public_key(&self) -> String {
        hex::encode(self.key.public_key().as_ref())
    }

    /// The last anchor written.
    ///
    /// # Errors
    /// [`AnchorError`] when the file does not read, or a line of it is not ours.
    pub fn last(&self) -> Result<Option<Anchor>, AnchorError> {
        Ok(read(&self.folder.join(FILE), self.key.public_key().as_ref())?.pop())
    }

    /// Signs where the chain stands and adds the line; on disk when this returns.
    ///
    /// # Errors
    /// [`AnchorError::File`].
    pub fn write(&self, head: &Head, at: Micros) -> Result<Anchor, AnchorError> {
        let hash = hex::encode(head.hash);
        let signature = self.key.sign(Anchor::signed(at, head.position, &hash).as_bytes());
        let anchor = Anchor { at, position: head.position, hash, signature: hex::encode(signature.as_ref()) };
        let path = self.folder.join(FILE);
        let line = serde_json::to_string(&anchor).map_err(StoreError::from)?;
        let mut out = OpenOptions::new().create(true).append(true).open(&path).map_err(file(&path))?;
        out.write_all(format!("{line}\n").as_bytes()).map_err(file(&path))?;
        out.sync_data().map_err(file(&path))?;
        Ok(anchor)
    }

    /// Writes an anchor whenever enough is new, and a last one when the hub stops.
    pub async fn follow(self, store: Store, stop: CancellationToken) {
        let mut last = match self.last() {
            Ok(last) => last.map(|a| (a.position, a.at)),
            Err(e) => {
                tracing::error!(error = %e, "no anchors of the audit are written");
                return;
            }
        };
        loop {
            let stopping = stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_none();
            match store.audit_head().await {
                Ok(head) => {
                    let (position, at) = last.unwrap_or_default();
                    let new = head.position - position;
                    if new != 0 && (stopping || !(0..ENTRIES).contains(&new) || now().since(at) >= EVERY) {
                        match self.write(&head, now()) {
                            Ok(anchor) => last = Some((anchor.position, anchor.at)),
                            Err(e) => tracing::error!(error = %e, "the audit was not anchored"),
                        }
                    }
                }
                Err(e) => tracing::warn!(error = %e, "the audit's head could not be read"),
            }
            if stopping {
                return;
            }
        }
    }
}

/// Cuts off the beginning of a line whose end a loss of power took.
fn cut_torn(path: &Path) -> io::Result<()> {
    let Ok(bytes) = fs::read(path) else { return Ok(()) };
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    if whole < bytes.len() {
        tracing::warn!(file = %path.display(), "the last anchor was not written whole and is cut off");
        OpenOptions::new().write(true).open(path)?.set_len(whole as u64)?;
    }
    Ok(())
}

/// Reads a file of anchors and checks every signature; none where there is no file.
///
/// # Errors
/// [`AnchorError::Line`] names the first line that the key did not sign.
pub fn read(path: &Path, public_key: &[u8]) -> Result<Vec<Anchor>, AnchorError> {
    let opened = match fs::File::open(path) {
        Ok(opened) => opened,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(file(path)(e)),
    };
    let key = UnparsedPublicKey::new(&ED25519, public_key);
    let mut anchors = Vec::new();
    for (n, line) in BufReader::new(opened).lines().enumerate() {
        let line = line.map_err(file(path))?;
        let wrong =
            |reason: &str| AnchorError::Line { path: path.to_owned(), line: n + 1, reason: reason.into() };
        let anchor: Anchor = serde_json::from_str(&line).map_err(|e| wrong(&e.to_string()))?;
        let signature =
            hex::decode(&anchor.signature).map_err(|_| wrong("the signature is not hexadecimal"))?;
        let signed = Anchor::signed(anchor.at, anchor.position, &anchor.hash);
        key.verify(signed.as_bytes(), &signature).map_err(|_| wrong("the key did not sign it"))?;
        anchors.push(anchor);
    }
    Ok(anchors)
}

/// The anchors as the chain is held against them: positions with their hashes. Of two at one
/// position the first counts.
///
/// # Errors
/// [`AnchorError::File`] for a hash that is none.
pub fn hashes(anchors: &[Anchor]) -> Result<BTreeMap<i64, Hash>, AnchorError> {
    let mut found = BTreeMap::new();
    for anchor in anchors {
        let hash = hex::decode(&anchor.hash).ok().and_then(|h| Hash::try_from(h).ok());
        let hash = hash.ok_or_else(|| AnchorError::File {
            path: FILE.into(),
            reason: format!("the hash of the anchor at {} is none", anchor.position),
        })?;
        found.entry(anchor.position).or_insert(hash);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_are_signed_kept_and_checked() {
        let folder = tempfile::tempdir().unwrap();
        let (place, keys) = (folder.path().join("anchors"), folder.path().join("keys"));
        let anchors = Anchors::open(&place, &keys).unwrap();
        let head = |position| Head { position, hash: [position as u8; 32] };
        assert_eq!(anchors.last().unwrap(), None);
        for position in [3, 9] {
            anchors.write(&head(position), Micros(position * Micros::SECOND)).unwrap();
        }
        let again = Anchors::open(&place, &keys).unwrap();
        assert_eq!(again.public_key(), anchors.public_key(), "the key is kept");
        let public = hex::decode(fs::read_to_string(place.join(PUBLIC_FILE)).unwrap().trim()).unwrap();
        let path = place.join(FILE);
        let all = read(&path, &public).unwrap();
        assert_eq!(hashes(&all).unwrap(), BTreeMap::from([(3, [3; 32]), (9, [9; 32])]));
        assert_eq!(again.last().unwrap().unwrap().position, 9);
        // Another's key, a changed line, half a line.
        let other = Anchors::open(&place, &folder.path().join("others")).unwrap();
        assert!(other.last().is_err());
        let text = fs::read_to_string(&path).unwrap();
        for (changed, line) in [
            (text.replacen("\"position\":3", "\"position\":4", 1), 1),
            (text.replacen("00:00:09Z", "00:00:08Z", 1), 2),
            (text[..text.len() - 9].to_owned(), 2),
        ] {
            fs::write(&path, changed).unwrap();
            let error = read(&path, &public).unwrap_err();
            assert!(matches!(error, AnchorError::Line { line: l, .. } if l == line), "{error}");
        }
        // Half a line is cut off when the hub opens it, and anchoring goes on.
        let mended = Anchors::open(&place, &keys).unwrap();
        assert_eq!(mended.last().unwrap().unwrap().position, 3);
    }
}
