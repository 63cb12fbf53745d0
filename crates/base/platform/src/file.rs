//! Files (附件): photos from the field.
//!
//! A file is checked (size, that its bytes are what its type says), stripped of its metadata
//! except how it must be turned and its colours, written, synced and renamed into place, and
//! only then named in the database: a row never refers to bytes that a power cut can take.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use img_parts::{DynImage, ImageEXIF as _};
use model::{AreaPath, Context, Id};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use store::{Filter, Order, Select, Store, StoreError, Tx, Value, args, new_id};
use utoipa::ToSchema;

/// The largest file.
pub const LARGEST: usize = 10 << 20;

store::statements! {
    INSERT = "INSERT INTO files (id, sha256, name, media_type, size, person, area, owner, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, NULL, NULL, $7)";
    ONE = "SELECT id, sha256, name, media_type, size, person, area FROM files WHERE id = $1";
    CLAIM = "UPDATE files SET area = $2, owner = $3 WHERE id = $1 AND (owner IS NULL AND person = $4 OR owner = $3)
        RETURNING id, name, media_type, size";
}

/// A file as other resources name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::FromRow)]
pub struct FileRef {
    /// Its id.
    #[schema(value_type = uuid::Uuid)]
    pub id: Id,
    /// What it was called where it came from.
    pub name: String,
    /// `image/jpeg`, `image/png` or `image/webp`.
    pub media_type: String,
    /// Its bytes.
    pub size: i64,
}

/// A file's row.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct FileRow {
    /// Its id.
    pub id: Id,
    /// The hash of its bytes, which names it on disk.
    pub sha256: Vec<u8>,
    /// What it was called.
    pub name: String,
    /// What it is.
    pub media_type: String,
    /// Its bytes.
    pub size: i64,
    /// Who sent it.
    pub person: Id,
    /// Where what it belongs to happened; none before it is claimed.
    pub area: Option<String>,
}

/// Why a file is not taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FileError {
    /// Not a kind of file the hub takes.
    #[error("take the file: {0:?} is not a kind it takes; send JPEG, PNG or WebP")]
    Kind(String),
    /// The bytes are not what the type says.
    #[error("take the file: its bytes are not {0}")]
    NotThat(String),
    /// Too large, or empty.
    #[error("take the file: it has {0} bytes; 1 to {LARGEST} are taken")]
    Size(usize),
    /// The disk.
    #[error("write the file: {0}")]
    Disk(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The folder of files, each named by the hash of its bytes.
#[derive(Clone, Debug)]
pub struct Files {
    folder: PathBuf,
}

impl Files {
    pub(crate) fn open(folder: &Path) -> std::io::Result<Self> {
        let incoming = folder.join("incoming");
        std::fs::create_dir_all(&incoming)?;
        // What a crash left half written was never named in the database.
        for left in std::fs::read_dir(&incoming)?.flatten() {
            std::fs::remove_file(left.path())?;
        }
        if let Some(parent) = folder.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::File::open(parent)?.sync_all()?;
        }
        Ok(Self { folder: folder.to_owned() })
    }

    fn path(&self, sha256: &[u8]) -> PathBuf {
        let name = hex::encode(sha256);
        self.folder.join(&name[..2.min(name.len())]).join(name)
    }

    /// Takes a photo. **Returns after its bytes and its row are on disk.** It is seen by who
    /// sent it alone until something [`claim`]s it.
    ///
    /// # Errors
    /// [`FileError`].
    pub async fn take(
        &self,
        store: &Store,
        context: &Context,
        name: &str,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<FileRef, FileError> {
        if bytes.is_empty() || bytes.len() > LARGEST {
            return Err(FileError::Size(bytes.len()));
        }
        let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let folder = self.clone();
        let kind = media_type.clone();
        let (sha256, size) = tokio::task::spawn_blocking(move || {
            let clean = strip(&kind, bytes)?;
            let sha256 = Sha256::digest(&clean).to_vec();
            folder.write(&sha256, &clean).map_err(|e| FileError::Disk(e.to_string()))?;
            Ok::<_, FileError>((sha256, clean.len()))
        })
        .await
        .map_err(|e| FileError::Disk(e.to_string()))??;
        let name: String =
            name.chars().filter(|c| !c.is_control() && !matches!(c, '/' | '\\' | '"')).take(120).collect();
        let args = (sha256, name, media_type, size as i64);
        store
            .command(context, "file:write", args, |tx, (sha256, name, media_type, size)| {
                Box::pin(async move {
                    let person = tx.context.actor.person().unwrap_or_default();
                    let (id, now) = (new_id(), tx.now);
                    tx.subject("file", id, None);
                    tx.execute(INSERT, args![id, sha256.clone(), name, media_type, *size, person, now])
                        .await?;
                    Ok(FileRef { id, name: name.clone(), media_type: media_type.clone(), size: *size })
                })
            })
            .await
    }

    fn write(&self, sha256: &[u8], bytes: &[u8]) -> std::io::Result<()> {
        let path = self.path(sha256);
        let folder = path.parent().unwrap_or(&self.folder);
        if path.exists() {
            // The same bytes a moment ago: their name may not be on disk yet.
            return self.sync_names(folder);
        }
        let incoming = self.folder.join("incoming").join(new_id().to_string());
        let mut file = std::fs::File::create(&incoming)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::create_dir_all(folder)?;
        std::fs::rename(&incoming, &path)?;
        self.sync_names(folder)
    }

    /// The names too: of the file in its folder, and of a new folder in its own.
    fn sync_names(&self, folder: &Path) -> std::io::Result<()> {
        std::fs::File::open(folder)?.sync_all()?;
        std::fs::File::open(&self.folder)?.sync_all()
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// [`FileError::Disk`].
    pub async fn read(&self, row: &FileRow) -> Result<Vec<u8>, FileError> {
        tokio::fs::read(self.path(&row.sha256)).await.map_err(|e| FileError::Disk(e.to_string()))
    }
}

/// A file's row.
///
/// # Errors
/// [`StoreError`].
pub async fn find(store: &Store, id: Id) -> Result<Option<FileRow>, StoreError> {
    store.read().opt(ONE, args![id]).await
}

/// What the files of these ids are; unknown ones are left out.
///
/// # Errors
/// [`StoreError`].
pub async fn describe(store: &Store, ids: &[Id]) -> Result<Vec<FileRef>, StoreError> {
    let select = Select {
        head: "SELECT id, name, media_type, size FROM files",
        filter: Filter::In("id", ids.iter().map(Value::from).collect()),
        order: vec![Order::Up("created_at"), Order::Up("name")],
    };
    store.select(&select, 500).await
}

/// Makes files part of `owner` (a case's number), so that who sees `area` sees them. A file may
/// be claimed once, by who sent it, or again by the same owner; those that may not are left out
/// of the answer.
///
/// # Errors
/// [`StoreError`].
pub async fn claim(
    tx: &mut Tx<'_>,
    ids: &[Id],
    area: &AreaPath,
    owner: &str,
) -> Result<Vec<FileRef>, StoreError> {
    let person = tx.context.actor.person().unwrap_or_default();
    let mut claimed = Vec::with_capacity(ids.len());
    for id in ids {
        claimed.extend(tx.opt::<FileRef>(CLAIM, args![id, area, owner, person]).await?);
    }
    Ok(claimed)
}

/// The image without its metadata: where and when it was taken, by whose phone. How it must be
/// turned (EXIF orientation) and its colour profile stay.
fn strip(media_type: &str, bytes: Bytes) -> Result<Vec<u8>, FileError> {
    let not_that = || FileError::NotThat(media_type.to_owned());
    let is = match media_type {
        "image/jpeg" => bytes.starts_with(&[0xff, 0xd8, 0xff]),
        "image/png" => bytes.starts_with(b"\x89PNG\r\n\x1a\n"),
        "image/webp" => bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP"),
        other => return Err(FileError::Kind(other.to_owned())),
    };
    if !is {
        return Err(not_that());
    }
    // What follows the first image (a second one, say, as phones append) may hold what was stripped.
    let end = match media_type {
        "image/jpeg" => jpeg_end(&bytes),
        "image/png" => png_end(&bytes),
        _ => bytes.get(4..8).and_then(|s| s.try_into().ok()).map(|s| u32::from_le_bytes(s) as usize + 8),
    };
    let bytes = bytes.slice(..end.filter(|end| *end <= bytes.len()).ok_or_else(not_that)?);
    let mut image = DynImage::from_bytes(bytes).ok().flatten().ok_or_else(not_that)?;
    let turned = image.exif().and_then(|e| orientation(&e)).filter(|o| *o != 1);
    match &mut image {
        // Of the application segments only JFIF (APP0), the colour profile (APP2) and Adobe's colour
        // transform (APP14) are needed to draw; EXIF, XMP, IPTC, previews and comments go.
        DynImage::Jpeg(jpeg) => jpeg.segments_mut().retain(|s| match s.marker() {
            0xe0 | 0xee => true,
            0xe2 => s.contents().starts_with(b"ICC_PROFILE\0"),
            0xe1..=0xef | 0xfe => false,
            _ => true,
        }),
        DynImage::Png(png) => {
            png.chunks_mut()
                .retain(|c| !matches!(&c.kind(), b"eXIf" | b"tEXt" | b"zTXt" | b"iTXt" | b"tIME"));
        }
        DynImage::WebP(webp) => webp.chunks_mut().retain(|c| !matches!(&c.id(), b"EXIF" | b"XMP ")),
    }
    image.set_exif(turned.map(|o| Bytes::from(exif_of(o))));
    let mut clean = Vec::new();
    image.encoder().write_to(&mut clean).map_err(|_| not_that())?;
    Ok(clean)
}

/// Where the first image of a JPEG ends: after its EOI (ITU-T T.81, B.1.1).
fn jpeg_end(jpeg: &[u8]) -> Option<usize> {
    let mut at = 2;
    loop {
        if *jpeg.get(at)? != 0xff {
            return None;
        }
        match *jpeg.get(at + 1)? {
            0xff => at += 1,
            0xd9 => return Some(at + 2),
            // Markers without a length: restarts and TEM.
            0x01 | 0xd0..=0xd7 => at += 2,
            marker => {
                let length = usize::from(u16::from_be_bytes(jpeg.get(at + 2..at + 4)?.try_into().ok()?));
                at += 2 + length;
                if marker == 0xda {
                    // Entropy-coded data: a 0xff in it is followed by 0x00 or a restart.
                    while *jpeg.get(at)? != 0xff || matches!(*jpeg.get(at + 1)?, 0x00 | 0xd0..=0xd7) {
                        at += 1;
                    }
                }
            }
        }
    }
}

/// Where a PNG ends: after its IEND chunk (PNG 1.2 §3.2).
fn png_end(png: &[u8]) -> Option<usize> {
    let mut at = 8;
    loop {
        let length = u32::from_be_bytes(png.get(at..at + 4)?.try_into().ok()?) as usize;
        let kind = png.get(at + 4..at + 8)?;
        at = at.checked_add(12)?.checked_add(length)?;
        if kind == b"IEND" {
            return Some(at);
        }
    }
}

/// Tag 0x0112 of the first image file directory (TIFF 6.0), 1 to 8.
fn orientation(exif: &[u8]) -> Option<u16> {
    let tiff = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    let little = match tiff.get(..2)? {
        b"II" => true,
        b"MM" => false,
        _ => return None,
    };
    let u16_at = |at: usize| -> Option<u16> {
        let b = tiff.get(at..at + 2)?.try_into().ok()?;
        Some(if little { u16::from_le_bytes(b) } else { u16::from_be_bytes(b) })
    };
    let at = tiff.get(4..8)?.try_into().ok()?;
    let directory = (if little { u32::from_le_bytes(at) } else { u32::from_be_bytes(at) }) as usize;
    let entries = u16_at(directory)?;
    (0..usize::from(entries.min(256)))
        .map(|i| directory + 2 + i * 12)
        .find(|at| u16_at(*at) == Some(0x0112))
        .and_then(|at| u16_at(at + 8))
        .filter(|o| (1..=8).contains(o))
}

/// A TIFF header and one directory with one entry: the orientation.
fn exif_of(orientation: u16) -> Vec<u8> {
    let mut exif = b"II*\0\x08\0\0\0\x01\0".to_vec();
    exif.extend([0x12, 0x01, 3, 0, 1, 0, 0, 0]);
    exif.extend(orientation.to_le_bytes());
    exif.extend([0, 0, 0, 0, 0, 0]);
    exif
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A JPEG of no pixels worth showing: SOI, APP1 with the given EXIF, a comment, SOS, EOI.
    fn jpeg(exif: &[u8]) -> Bytes {
        let mut j = vec![0xff, 0xd8, 0xff, 0xe1];
        j.extend(((exif.len() + 8) as u16).to_be_bytes());
        j.extend(b"Exif\0\0");
        j.extend(exif);
        j.extend([0xff, 0xfe, 0, 7]);
        j.extend(b"hello");
        j.extend([0xff, 0xda, 0, 3, 0, 1, 2, 3, 0xff, 0xd9]);
        j.into()
    }

    #[test]
    fn a_photo_loses_its_place_and_keeps_its_turn() {
        let mut exif = exif_of(6);
        exif.extend(b"GPS 29.59 106.51");
        // A second image behind the first, as phones append previews, with a position of its own.
        let mut photo = jpeg(&exif).to_vec();
        photo.extend(jpeg(b"GPS 29.59 106.51"));
        let clean = strip("image/jpeg", photo.into()).unwrap();
        assert!(!clean.windows(3).any(|w| w == b"GPS"), "the position is gone");
        assert!(!clean.windows(5).any(|w| w == b"hello"), "the comment is gone");
        let image = DynImage::from_bytes(clean.into()).unwrap().unwrap();
        assert_eq!(image.exif().and_then(|e| orientation(&e)), Some(6));
    }

    #[test]
    fn what_is_not_a_photo_is_refused() {
        for (kind, bytes) in [
            ("image/jpeg", &b"\x89PNG\r\n\x1a\n"[..]),
            ("image/png", b"<svg onload=alert(1)>"),
            ("image/svg+xml", b"<svg/>"),
            ("text/html", b"<html>"),
            ("image/webp", b"RIFF0000WAVE"),
            ("image/jpeg", b"\xff\xd8\xff"),
        ] {
            assert!(strip(kind, Bytes::copy_from_slice(bytes)).is_err(), "{kind}");
        }
    }
}
