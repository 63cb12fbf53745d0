//! A pack (场景包) as files: read from a folder, kept in the database, handed to the rooms.

use std::collections::BTreeMap;
use std::path::Path;

use model::{Context, Text};
use serde::{Deserialize, Serialize};
use store::{Store, StoreError, args};

/// The version of the pack format that this hub reads.
pub const FORMAT: u32 = 1;

/// A pack's files are at most this many bytes together.
const LARGEST: u64 = 16 << 20;

store::statements! {
    ALL = "SELECT name, version, files FROM packs ORDER BY name";
    INSTALL = "INSERT INTO packs (name, version, files, installed_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (name) DO UPDATE SET version = excluded.version, files = excluded.files,
        installed_at = excluded.installed_at";
    DROP_ROLES = "DELETE FROM roles WHERE pack = $1";
    ADD_ROLE = "INSERT INTO roles (name, pack, title_zh, title_en, permissions) VALUES ($1, $2, $3, $4, $5)";
}

/// Why a pack is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {reason}", line.map(|l| format!(":{l}")).unwrap_or_default())]
pub struct PackError {
    /// The file inside the pack.
    pub file: String,
    /// Its line, from 1, where there is one.
    pub line: Option<u32>,
    /// What is wrong and what to do.
    pub reason: String,
}

impl PackError {
    /// An error of a TOML file.
    #[must_use]
    pub fn toml(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let line = error.span().map(|s| 1 + text[..s.start.min(text.len())].matches('\n').count() as u32);
        Self { file: file.to_owned(), line, reason: error.message().to_owned() }
    }
}

/// `pack.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The pack's name: a folder name.
    pub name: String,
    /// The version of the pack format.
    pub format: u32,
    /// The pack's own version.
    pub version: String,
    /// What people call it.
    pub title: Text,
    /// Packs that must be installed before it.
    #[serde(default)]
    pub needs: Vec<String>,
}

/// One role of `roles.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleDeclaration {
    /// Its name in grants: `street-officer`.
    pub code: String,
    /// What people call it.
    pub title: Text,
    /// `resource:verb` each.
    pub permissions: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RolesFile {
    role: Vec<RoleDeclaration>,
}

/// A pack's files, all of them text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackFiles {
    /// The pack's name.
    pub name: String,
    /// The pack's version.
    pub version: String,
    /// Relative path, with `/`, to text.
    pub files: BTreeMap<String, String>,
}

impl PackFiles {
    /// Reads a folder. Only what a pack may hold is read; anything else in it is an error, so
    /// that a misspelt file is not silently left out.
    ///
    /// # Errors
    /// Each problem with its file.
    pub fn read(folder: &Path) -> Result<Self, Vec<PackError>> {
        let mut files = BTreeMap::new();
        let mut errors = Vec::new();
        read_folder(folder, "", &mut files, &mut errors);
        let total: u64 = files.values().map(|t: &String| t.len() as u64).sum();
        if total > LARGEST {
            errors.push(PackError {
                file: ".".into(),
                line: None,
                reason: format!("holds {total} bytes, more than {LARGEST}"),
            });
        }
        let pack = Self { name: String::new(), version: String::new(), files };
        match pack.manifest() {
            Ok(m) if errors.is_empty() => Ok(Self { name: m.name, version: m.version, files: pack.files }),
            Ok(_) => Err(errors),
            Err(e) => {
                errors.push(e);
                Err(errors)
            }
        }
    }

    /// `pack.toml`, read and checked.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn manifest(&self) -> Result<Manifest, PackError> {
        let file = "pack.toml";
        let wrong = |reason: String| PackError { file: file.into(), line: None, reason };
        let text = self.files.get(file).ok_or_else(|| wrong("is missing; every pack has one".into()))?;
        let manifest: Manifest = toml::from_str(text).map_err(|e| PackError::toml(file, text, &e))?;
        if manifest.format != FORMAT {
            return Err(wrong(format!("format is {}, and this hub reads format {FORMAT}", manifest.format)));
        }
        if !model::AreaPath::is_code(&manifest.name) {
            return Err(wrong(format!(
                "name {:?} has characters other than letters, digits, '-', '_', '.'",
                manifest.name
            )));
        }
        Ok(manifest)
    }

    /// The files below `folder` (with its `/`) that end in `ending`.
    pub fn under<'a>(&'a self, folder: &'a str, ending: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files
            .iter()
            .filter(move |(path, _)| path.starts_with(folder) && path.ends_with(ending))
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The roles it declares.
    ///
    /// # Errors
    /// What is wrong with `roles.toml`.
    pub fn roles(&self) -> Result<Vec<RoleDeclaration>, PackError> {
        let file = "roles.toml";
        let Some(text) = self.files.get(file) else { return Ok(Vec::new()) };
        let roles: RolesFile = toml::from_str(text).map_err(|e| PackError::toml(file, text, &e))?;
        let line_of = |what: &str| text.lines().position(|l| l.contains(what)).map(|l| l as u32 + 1);
        for role in &roles.role {
            if crate::role::is_built_in(&role.code) {
                let reason =
                    format!("{:?} is a role of the platform itself; give this one another code", role.code);
                return Err(PackError { file: file.into(), line: line_of(&role.code), reason });
            }
            for permission in &role.permissions {
                let good = permission
                    .split_once(':')
                    .is_some_and(|(r, v)| model::AreaPath::is_code(r) && model::AreaPath::is_code(v));
                let reason = if !good {
                    format!("{permission:?} of role {:?} is not resource:verb", role.code)
                } else if crate::role::is_reserved(permission) {
                    format!(
                        "{permission:?} of role {:?} is given by the platform's administrators' roles alone",
                        role.code
                    )
                } else {
                    continue;
                };
                return Err(PackError { file: file.into(), line: line_of(permission), reason });
            }
        }
        Ok(roles.role)
    }

    /// What the platform itself finds wrong: manifest, roles, messages.
    #[must_use]
    pub fn validate(&self) -> Vec<PackError> {
        let mut errors = Vec::new();
        errors.extend(self.manifest().err());
        errors.extend(self.roles().err());
        errors.extend(crate::Messages::of(std::slice::from_ref(self)).err().unwrap_or_default());
        errors
    }
}

fn read_folder(
    folder: &Path,
    prefix: &str,
    files: &mut BTreeMap<String, String>,
    errors: &mut Vec<PackError>,
) {
    const MAY_HOLD: [&str; 5] = [".toml", ".bpmn", ".json", ".sql", ".md"];
    let wrong = |file: String, reason: String| PackError { file, line: None, reason };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) => {
            let file = if prefix.is_empty() { "." } else { prefix };
            return errors.push(wrong(file.into(), format!("does not read: {e}")));
        }
    };
    for entry in entries.flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && prefix.matches('/').count() < 3 {
            read_folder(&entry.path(), &format!("{name}/"), files, errors);
        } else if !kind.is_file() {
            errors.push(wrong(name, "is not a file; a pack holds files and folders only".into()));
        } else if !MAY_HOLD.iter().any(|e| name.ends_with(e)) {
            let reason = format!("has an ending no pack file has; known are {}", MAY_HOLD.join(", "));
            errors.push(wrong(name, reason));
        } else if entry.metadata().is_ok_and(|m| m.len() > LARGEST) {
            errors.push(wrong(name, format!("is larger than {LARGEST} bytes")));
        } else {
            match std::fs::read_to_string(entry.path()) {
                Ok(text) => drop(files.insert(name, text)),
                Err(e) => errors.push(wrong(name, format!("does not read as UTF-8 text: {e}"))),
            }
        }
    }
}

/// The packs that are installed.
///
/// # Errors
/// [`StoreError`].
pub async fn installed(store: &Store) -> Result<Vec<PackFiles>, StoreError> {
    let rows: Vec<(String, String, String)> = store.read().all(ALL, args![]).await?;
    rows.into_iter()
        .map(|(name, version, files)| Ok(PackFiles { name, version, files: serde_json::from_str(&files)? }))
        .collect()
}

/// Installs a pack that every room has validated, in place of an earlier version of it.
///
/// # Errors
/// [`StoreError`]; a role that another pack declares is a [`StoreError::Conflict`].
pub async fn install(store: &Store, context: &Context, pack: PackFiles) -> Result<(), StoreError> {
    let roles = pack.roles().map_err(|e| StoreError::Document(e.to_string()))?;
    store
        .command(context, "pack:install", (pack, roles), |tx, (pack, roles)| {
            Box::pin(async move {
                tx.subject("pack", &pack.name, None);
                tx.detail(serde_json::json!({ "version": pack.version, "files": pack.files.len() }));
                let now = tx.now;
                let files = serde_json::to_string(&pack.files)?;
                tx.execute(INSTALL, args![&pack.name, &pack.version, files, now]).await?;
                tx.execute(DROP_ROLES, args![&pack.name]).await?;
                for role in roles {
                    let permissions = serde_json::to_string(&role.permissions)?;
                    tx.execute(
                        ADD_ROLE,
                        args![&role.code, &pack.name, &role.title.zh, &role.title.en, permissions],
                    )
                    .await?;
                }
                Ok(())
            })
        })
        .await
}
