//! The folder of backups: what every backup of a hub shares, and which backups there are.
//!
//! ```text
//! FOLDER/objects/ab/<sha256>.gz   contents, named by the hash of their bytes, written once
//! FOLDER/backups/<time>.json      a backup: which contents make up which file or table
//! FOLDER/lock                     held while somebody writes
//! ```
//!
//! A backup is there when its manifest is: the manifest is written last, synced and renamed. What
//! a backup that was cut off left behind are objects that no manifest names; the next pruning
//! takes them. Objects are shared by all backups, so that a second one stores what is new.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use model::Micros;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The layout that this hub writes and reads.
pub const FORMAT: u32 = 1;

/// Why a backup folder is not as it must be. Messages are fragments that fit after "failed to".
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The disk does not give or take it.
    #[error("use {}: {error}", path.display())]
    Disk {
        /// Which file or folder.
        path: PathBuf,
        /// What the disk said.
        error: io::Error,
    },
    /// An object is not what its name says.
    #[error("read the object {sha256}: {reason}")]
    Damaged {
        /// Its name.
        sha256: String,
        /// What is wrong.
        reason: String,
    },
    /// A manifest does not read.
    #[error("read the manifest {}: {reason}", path.display())]
    Manifest {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Another backup writes here now.
    #[error("use {}: another backup is writing there", .0.display())]
    Busy(PathBuf),
    /// There is no backup, or none of that time.
    #[error("find a backup in {}: {reason}", folder.display())]
    None {
        /// The folder.
        folder: PathBuf,
        /// What is missing.
        reason: String,
    },
}

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The version of the hub that made it.
    pub hub: String,
    /// `sqlite` or `postgres`.
    pub database: String,
    /// When it began: everything acknowledged before is in it.
    pub began: Micros,
    /// When it ended.
    pub ended: Micros,
    /// The databases: SQLite files, or tables of PostgreSQL.
    pub streams: Vec<Stream>,
    /// The tables of PostgreSQL.
    pub schema: Option<store::backup::Schema>,
    /// The files of the data folder.
    pub files: Vec<FileEntry>,
}

/// A database file or a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// `state.db`, or the table's name.
    pub name: String,
    /// How long it is in all.
    pub bytes: u64,
    /// Its objects in order.
    pub pieces: Vec<String>,
}

/// A file of the data folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its path in the data folder.
    pub path: String,
    /// How long it is.
    pub bytes: u64,
    /// Its object.
    pub sha256: String,
}

/// The manifest as a file: with the hash of its own bytes.
#[derive(Serialize, Deserialize)]
struct Sealed {
    sha256: String,
    manifest: Manifest,
}

impl Manifest {
    /// Every object that it names, with what it is part of.
    pub fn objects(&self) -> impl Iterator<Item = (&str, &str)> {
        let streams =
            self.streams.iter().flat_map(|s| s.pieces.iter().map(|p| (p.as_str(), s.name.as_str())));
        streams.chain(self.files.iter().map(|f| (f.sha256.as_str(), f.path.as_str())))
    }

    /// How many bytes it restores.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let streams: u64 = self.streams.iter().map(|s| s.bytes).sum();
        streams + self.files.iter().map(|f| f.bytes).sum::<u64>()
    }

    fn hash(&self) -> Result<String, serde_json::Error> {
        Ok(hex(&Sha256::digest(serde_json::to_vec(self)?)))
    }
}

/// What was written and what was there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Objects that are new.
    pub objects: u64,
    /// Their bytes as stored.
    pub bytes: u64,
}

/// A folder of backups.
#[derive(Debug)]
pub struct Vault {
    folder: PathBuf,
    written: Written,
    /// Folders whose names are not synced yet.
    unsynced: HashSet<PathBuf>,
    _lock: Option<File>,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> VaultError + '_ {
    move |error| VaultError::Disk { path: path.to_owned(), error }
}

impl Vault {
    /// Opens a folder for reading.
    ///
    /// # Errors
    /// [`VaultError::None`] when it is no folder of backups.
    pub fn open(folder: &Path) -> Result<Self, VaultError> {
        if !folder.join("backups").is_dir() {
            let reason = "it holds no folder backups/".into();
            return Err(VaultError::None { folder: folder.to_owned(), reason });
        }
        let (written, unsynced) = Default::default();
        Ok(Self { folder: folder.to_owned(), written, unsynced, _lock: None })
    }

    /// Opens a folder for writing; makes it if absent.
    ///
    /// # Errors
    /// [`VaultError::Busy`] while another backup writes there.
    pub fn open_to_write(folder: &Path) -> Result<Self, VaultError> {
        for sub in ["objects", "backups"] {
            let sub = folder.join(sub);
            fs::create_dir_all(&sub).map_err(at(&sub))?;
        }
        let path = folder.join("lock");
        let lock = File::create(&path).map_err(at(&path))?;
        lock.try_lock().map_err(|_| VaultError::Busy(folder.to_owned()))?;
        Ok(Self { _lock: Some(lock), ..Self::open(folder)? })
    }

    /// A path in the folder for a file that is in the way of nobody.
    #[must_use]
    pub fn scratch(&self) -> PathBuf {
        self.folder.join("scratch")
    }

    /// What this opening wrote.
    #[must_use]
    pub fn written(&self) -> Written {
        self.written
    }

    fn object(&self, sha256: &str) -> PathBuf {
        self.folder.join("objects").join(&sha256[..2.min(sha256.len())]).join(format!("{sha256}.gz"))
    }

    /// Whether there is an object of this name.
    #[must_use]
    pub fn has(&self, sha256: &str) -> bool {
        self.object(sha256).exists()
    }

    /// Stores bytes; their name.
    ///
    /// # Errors
    /// [`VaultError::Disk`].
    pub fn put(&mut self, bytes: &[u8]) -> Result<String, VaultError> {
        let sha256 = hex(&Sha256::digest(bytes));
        if !self.has(&sha256) {
            self.store(&mut &*bytes)?;
        }
        Ok(sha256)
    }

    /// Stores a file; its name and length. A file that grows while it is read is taken as far as
    /// it was read.
    ///
    /// # Errors
    /// [`VaultError::Disk`].
    pub fn put_file(&mut self, path: &Path) -> Result<(String, u64), VaultError> {
        let mut file = File::open(path).map_err(at(path))?;
        self.store(&mut file)
    }

    fn store(&mut self, from: &mut dyn Read) -> Result<(String, u64), VaultError> {
        let incoming = self.folder.join("incoming");
        let file = File::create(&incoming).map_err(at(&incoming))?;
        let mut packed = GzEncoder::new(io::BufWriter::new(file), Compression::fast());
        let (mut hash, mut length) = (Sha256::new(), 0);
        let mut block = vec![0; 1 << 16];
        loop {
            let n = from.read(&mut block).map_err(at(&incoming))?;
            if n == 0 {
                break;
            }
            hash.update(&block[..n]);
            packed.write_all(&block[..n]).map_err(at(&incoming))?;
            length += n as u64;
        }
        let file = packed.finish().and_then(|b| b.into_inner().map_err(io::IntoInnerError::into_error));
        let file = file.map_err(at(&incoming))?;
        let sha256 = hex(&hash.finalize());
        let path = self.object(&sha256);
        if path.exists() {
            fs::remove_file(&incoming).map_err(at(&incoming))?;
            return Ok((sha256, length));
        }
        file.sync_all().map_err(at(&incoming))?;
        self.written.objects += 1;
        self.written.bytes += file.metadata().map_err(at(&incoming))?.len();
        let folder = path.parent().unwrap_or(&self.folder).to_owned();
        fs::create_dir_all(&folder).map_err(at(&folder))?;
        fs::rename(&incoming, &path).map_err(at(&path))?;
        self.unsynced.insert(folder);
        Ok((sha256, length))
    }

    /// Gives an object's bytes to `to`; their number. What does not match its name is an error,
    /// told after the bytes were given.
    ///
    /// # Errors
    /// [`VaultError::Damaged`], [`VaultError::Disk`] of `to`.
    pub fn give(&self, sha256: &str, to: &mut dyn Write) -> Result<u64, VaultError> {
        let damaged = |reason: String| VaultError::Damaged { sha256: sha256.to_owned(), reason };
        let file = File::open(self.object(sha256)).map_err(|e| damaged(e.to_string()))?;
        let mut unpacked = GzDecoder::new(io::BufReader::new(file));
        let (mut hash, mut length) = (Sha256::new(), 0);
        let mut block = vec![0; 1 << 16];
        loop {
            let n = unpacked.read(&mut block).map_err(|e| damaged(e.to_string()))?;
            if n == 0 {
                break;
            }
            hash.update(&block[..n]);
            to.write_all(&block[..n]).map_err(at(&self.folder))?;
            length += n as u64;
        }
        let found = hex(&hash.finalize());
        if found == sha256 {
            return Ok(length);
        }
        Err(damaged(format!("its bytes have the hash {found}")))
    }

    /// The bytes of an object.
    ///
    /// # Errors
    /// [`VaultError::Damaged`].
    pub fn get(&self, sha256: &str) -> Result<Vec<u8>, VaultError> {
        let mut bytes = Vec::new();
        self.give(sha256, &mut bytes)?;
        Ok(bytes)
    }

    /// The backups, oldest first: the names of their manifests.
    ///
    /// # Errors
    /// [`VaultError::Disk`].
    pub fn list(&self) -> Result<Vec<String>, VaultError> {
        let folder = self.folder.join("backups");
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder).map_err(at(&folder))? {
            let name = entry.map_err(at(&folder))?.file_name().to_string_lossy().into_owned();
            names.extend(name.strip_suffix(".json").map(ToOwned::to_owned));
        }
        names.sort();
        Ok(names)
    }

    /// Reads a backup's manifest.
    ///
    /// # Errors
    /// [`VaultError::Manifest`].
    pub fn read(&self, name: &str) -> Result<Manifest, VaultError> {
        let path = self.folder.join("backups").join(format!("{name}.json"));
        let wrong = |reason: String| VaultError::Manifest { path: path.clone(), reason };
        let bytes = fs::read(&path).map_err(|e| wrong(e.to_string()))?;
        let Sealed { sha256, manifest } = serde_json::from_slice(&bytes).map_err(|e| wrong(e.to_string()))?;
        if manifest.format != FORMAT {
            return Err(wrong(format!("it has the format {}, this hub reads {FORMAT}", manifest.format)));
        }
        if manifest.hash().map_err(|e| wrong(e.to_string()))? != sha256 {
            return Err(wrong("it does not match its own checksum".into()));
        }
        // A path is joined to the data folder: it must stay inside.
        let outside = |f: &&FileEntry| {
            Path::new(&f.path).components().any(|c| !matches!(c, std::path::Component::Normal(_)))
        };
        match manifest.files.iter().find(outside) {
            Some(file) => Err(wrong(format!("the path {:?} leads out of the data folder", file.path))),
            None => Ok(manifest),
        }
    }

    /// Makes a backup exist: syncs what it needs, then writes its manifest. Its name.
    ///
    /// # Errors
    /// [`VaultError::Disk`].
    pub fn seal(&mut self, manifest: Manifest) -> Result<String, VaultError> {
        let objects = self.folder.join("objects");
        self.unsynced.insert(objects);
        for folder in self.unsynced.drain() {
            sync(&folder)?;
        }
        let backups = self.folder.join("backups");
        let name = manifest.began.to_string().replace(':', "-");
        let path = backups.join(format!("{name}.json"));
        let wrong = |e: serde_json::Error| VaultError::Manifest { path: path.clone(), reason: e.to_string() };
        let sealed = Sealed { sha256: manifest.hash().map_err(wrong)?, manifest };
        let bytes = serde_json::to_vec_pretty(&sealed).map_err(wrong)?;
        let incoming = self.folder.join("incoming");
        let mut file = File::create(&incoming).map_err(at(&incoming))?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(at(&incoming))?;
        fs::rename(&incoming, &path).map_err(at(&path))?;
        sync(&backups)?;
        sync(&self.folder)?;
        Ok(name)
    }

    /// Keeps the last `keep` backups and what they need; how many backups and objects went.
    ///
    /// # Errors
    /// [`VaultError::Disk`]; [`VaultError::Manifest`] when one that stays does not read: then no
    /// object goes, since nobody knows what it needs.
    pub fn prune(&self, keep: usize) -> Result<(usize, usize), VaultError> {
        let names = self.list()?;
        let (old, stay) = names.split_at(names.len().saturating_sub(keep.max(1)));
        let mut needed = HashSet::new();
        for name in stay {
            needed.extend(self.read(name)?.objects().map(|(object, _)| object.to_owned()));
        }
        let backups = self.folder.join("backups");
        for name in old {
            let path = backups.join(format!("{name}.json"));
            fs::remove_file(&path).map_err(at(&path))?;
        }
        sync(&backups)?;
        let mut gone = 0;
        let objects = self.folder.join("objects");
        for folder in fs::read_dir(&objects).map_err(at(&objects))? {
            let folder = folder.map_err(at(&objects))?.path();
            for object in fs::read_dir(&folder).map_err(at(&folder))? {
                let path = object.map_err(at(&folder))?.path();
                let name = path.file_stem().unwrap_or_default().to_string_lossy();
                if !needed.contains(&*name) {
                    fs::remove_file(&path).map_err(at(&path))?;
                    gone += 1;
                }
            }
        }
        Ok((old.len(), gone))
    }

    /// Reads every object of a backup; what is wrong, a line each, with the file or table that it
    /// is part of. `tell` is told of each object's length.
    pub fn verify(
        &self,
        manifest: &Manifest,
        seen: &mut HashSet<String>,
        tell: &mut dyn FnMut(u64),
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        for (object, of) in manifest.objects() {
            if seen.contains(object) {
                continue;
            }
            match self.give(object, &mut io::sink()) {
                Ok(length) => {
                    tell(length);
                    seen.insert(object.to_owned());
                }
                Err(e) => wrong.push(format!("{of}: failed to {e}")),
            }
        }
        wrong
    }
}

/// Syncs the names in a folder.
pub(super) fn sync(folder: &Path) -> Result<(), VaultError> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(at(folder))
}
