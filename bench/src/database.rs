//! Where the hub under the bench keeps its state: an SQLite file, or a database of its own on the
//! PostgreSQL server that `ZHONGSHU_TEST_POSTGRES` names.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// The variable that `xtask with-postgres` sets.
const SERVER: &str = "ZHONGSHU_TEST_POSTGRES";

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// The embedded one.
    Sqlite,
    /// A server.
    Postgres,
}

impl Kind {
    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }
}

/// A new database; dropped with it, when it is on a server.
#[derive(Debug)]
pub struct Database {
    /// Which.
    pub kind: Kind,
    /// As `zhongshu --database` takes it.
    pub url: String,
    /// Where its files are, as far as we know.
    pub folder: PathBuf,
    server: Option<(String, String)>,
}

impl Database {
    /// A new SQLite file in `folder`.
    pub fn sqlite(folder: &Path) -> Self {
        let url = folder.join("state.db").to_string_lossy().into_owned();
        Self { kind: Kind::Sqlite, url, folder: folder.to_owned(), server: None }
    }

    /// A new database on the server of [`SERVER`]; nothing without one.
    pub fn postgres() -> Result<Option<Self>> {
        let Ok(server) = std::env::var(SERVER) else { return Ok(None) };
        let name = format!("bench{}", std::process::id());
        client("createdb", &["--maintenance-db", &server, &name])?;
        let url = with_name(&server, &name)?;
        // with-postgres makes its folder here; the server's own folder is nobody's to look into.
        Ok(Some(Self {
            kind: Kind::Postgres,
            url,
            folder: std::env::temp_dir(),
            server: Some((server, name)),
        }))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some((server, name)) = &self.server
            && let Err(e) = client("dropdb", &["--force", "--if-exists", "--maintenance-db", server, name])
        {
            eprintln!("the database {name} stays behind: {e:#}");
        }
    }
}

/// The same server, another database.
fn with_name(server: &str, name: &str) -> Result<String> {
    let (base, query) = server.split_once('?').map_or((server, None), |(b, q)| (b, Some(q)));
    let (root, _) = base.rsplit_once('/').with_context(|| format!("{SERVER}={server} names no database"))?;
    Ok(query.map_or_else(|| format!("{root}/{name}"), |q| format!("{root}/{name}?{q}")))
}

/// Runs one of PostgreSQL's own programs, the newest that Debian has.
fn client(program: &str, args: &[&str]) -> Result<()> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut programs: Vec<PathBuf> =
        versions.map(|v| v.path().join("bin").join(program)).filter(|p| p.exists()).collect();
    programs.sort();
    let program = programs.pop().unwrap_or_else(|| PathBuf::from(program));
    let output = Command::new(&program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("failed to run {}; run make deps", program.display()))?;
    if !output.status.success() {
        bail!("{} said: {}", program.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_of_the_database_changes() {
        for (server, expected) in [
            ("postgres://postgres@127.0.0.1:5432/postgres", "postgres://postgres@127.0.0.1:5432/b1"),
            ("postgres://a:b@h/x?sslmode=disable", "postgres://a:b@h/b1?sslmode=disable"),
        ] {
            assert_eq!(with_name(server, "b1").unwrap(), expected);
        }
    }
}
