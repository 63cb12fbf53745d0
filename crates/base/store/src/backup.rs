//! A consistent copy of a database that a hub is using, and the way back.
//!
//! The copy is a number of *streams* (a SQLite file; a table of PostgreSQL), each cut into
//! *pieces*. Where a piece ends depends only on what stands near its end, so that a database in
//! which little changed gives mostly the same pieces: whoever keeps them by their hash copies
//! little. Nothing here takes the hub's hold on the database, writes to it, or stops its writer.
//!
//! * **SQLite**: `VACUUM INTO` gives one file as of one instant. While it runs the write-ahead log
//!   cannot be reset and grows by what is written meanwhile.
//! * **PostgreSQL**: one `REPEATABLE READ READ ONLY` transaction, `COPY … TO STDOUT` a table: no
//!   client programs, no extensions. While it runs, dropping a table or a partition waits for it.

use std::path::Path;
use std::time::Duration;

use futures::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, SqlSafeStr as _};

use crate::database::postgres_options;
use crate::{StoreError, migrate};

/// A piece is at least so long, unless its stream ends.
const SHORTEST: usize = 64 << 10;
/// Beyond that, a piece ends after so many bytes on average: long beside the shortest, so that two
/// streams that differ in one place soon end their pieces at the same rows again.
const USUAL: usize = 256 << 10;
/// A piece is at most so long, unless one row is longer.
const LONGEST: usize = 4 << 20;
/// SQLite's smallest usual page: pieces of a file end at multiples of it.
const PAGE: usize = 4096;
/// Why a copy or its way back failed. Messages are fragments that fit after "failed to".
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The database does not give or take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The disk does not give or take it.
    #[error("copy {stream}: {error}")]
    Disk {
        /// Which stream.
        stream: String,
        /// What the disk said.
        error: std::io::Error,
    },
    /// The place to restore to is in use.
    #[error("restore: {0}")]
    NotEmpty(String),
}

impl From<sqlx::Error> for BackupError {
    fn from(e: sqlx::Error) -> Self {
        Self::Store(e.into())
    }
}

/// Where the pieces of a copy go.
pub trait Pieces: Send {
    /// The pieces from here on are of this stream.
    ///
    /// # Errors
    /// What the disk says.
    fn begin(&mut self, stream: &str) -> std::io::Result<()>;

    /// The next piece.
    ///
    /// # Errors
    /// What the disk says.
    fn piece(&mut self, bytes: &[u8]) -> std::io::Result<()>;
}

/// Where the pieces of a copy come from.
pub trait Copied: Send {
    /// The next piece of this stream; `None` after the last.
    ///
    /// # Errors
    /// What the disk says, or that a piece is damaged.
    fn next(&mut self, stream: &str) -> std::io::Result<Option<Vec<u8>>>;
}

/// The tables of a PostgreSQL copy, in an order that foreign keys allow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// The last migration that was applied.
    pub migration: i64,
    /// The tables; each is a stream of its name.
    pub tables: Vec<Table>,
    /// The sequences and the last number that each gave.
    pub sequences: Vec<(String, i64)>,
}

/// A table of a PostgreSQL copy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns in the order of the copy.
    pub columns: Vec<String>,
    /// Its partitions and their bounds as PostgreSQL writes them.
    pub partitions: Vec<(String, String)>,
}

/// Cuts a stream into pieces where its own content says so.
struct Cutter<'a> {
    stream: &'a str,
    held: Vec<u8>,
    to: &'a mut dyn Pieces,
    length: u64,
}

impl<'a> Cutter<'a> {
    fn begin(stream: &'a str, to: &'a mut dyn Pieces) -> Result<Self, BackupError> {
        to.begin(stream).map_err(|error| BackupError::Disk { stream: stream.to_owned(), error })?;
        Ok(Self { stream, held: Vec::new(), to, length: 0 })
    }

    /// Takes a unit (a page, a row), which is never cut.
    fn take(&mut self, unit: &[u8]) -> Result<(), BackupError> {
        self.held.extend_from_slice(unit);
        self.length += unit.len() as u64;
        // Where a piece ends depends on the unit alone; one unit in so many ends one.
        let rarity = u32::try_from(USUAL / unit.len().max(1)).unwrap_or(u32::MAX).max(1);
        let here = self.held.len() >= SHORTEST && crc32fast::hash(unit).is_multiple_of(rarity);
        if here || self.held.len() >= LONGEST { self.give() } else { Ok(()) }
    }

    fn give(&mut self) -> Result<(), BackupError> {
        let given = self.to.piece(&self.held);
        self.held.clear();
        given.map_err(|error| BackupError::Disk { stream: self.stream.to_owned(), error })
    }

    fn end(mut self) -> Result<u64, BackupError> {
        if !self.held.is_empty() {
            self.give()?;
        }
        Ok(self.length)
    }
}

/// Copies a SQLite database as of one instant as the stream `stream`; its length in bytes.
/// `scratch` is a path for a file of that length, which is gone afterwards.
///
/// # Errors
/// [`BackupError`].
pub async fn copy_sqlite(
    database: &Path,
    scratch: &Path,
    stream: &str,
    to: &mut dyn Pieces,
) -> Result<u64, BackupError> {
    let disk = |error| BackupError::Disk { stream: stream.to_owned(), error };
    remove(scratch).map_err(disk)?;
    let options = SqliteConnectOptions::new()
        .filename(database)
        .create_if_missing(false)
        .busy_timeout(Duration::from_secs(60))
        .disable_statement_logging();
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let into = scratch.to_string_lossy().into_owned();
    let made = sqlx::query("VACUUM INTO $1").bind(into).execute(&mut connection).await;
    drop(connection.close().await);
    let copied = match made {
        Ok(_) => cut_file(scratch, stream, to),
        Err(e) => Err(e.into()),
    };
    remove(scratch).map_err(disk)?;
    copied
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

fn cut_file(path: &Path, stream: &str, to: &mut dyn Pieces) -> Result<u64, BackupError> {
    use std::io::Read as _;
    let disk = |error| BackupError::Disk { stream: stream.to_owned(), error };
    let mut file = std::io::BufReader::with_capacity(1 << 20, std::fs::File::open(path).map_err(disk)?);
    let mut cutter = Cutter::begin(stream, to)?;
    let mut page = [0; PAGE];
    loop {
        let mut filled = 0;
        while filled < PAGE {
            match file.read(&mut page[filled..]).map_err(disk)? {
                0 => break,
                n => filled += n,
            }
        }
        if filled == 0 {
            return cutter.end();
        }
        cutter.take(&page[..filled])?;
    }
}

/// Writes a SQLite database back to `database`, which must not exist, and syncs it.
///
/// # Errors
/// [`BackupError`].
pub fn restore_sqlite(database: &Path, stream: &str, from: &mut dyn Copied) -> Result<u64, BackupError> {
    use std::io::Write as _;
    let disk = |error| BackupError::Disk { stream: stream.to_owned(), error };
    let mut file = std::fs::File::create_new(database).map_err(disk)?;
    let mut length = 0;
    while let Some(piece) = from.next(stream).map_err(disk)? {
        file.write_all(&piece).map_err(disk)?;
        length += piece.len() as u64;
    }
    file.sync_all().map_err(disk)?;
    Ok(length)
}

/// Copies every table of a PostgreSQL database as of one instant, a stream each.
///
/// # Errors
/// [`BackupError`].
pub async fn copy_postgres(url: &str, to: &mut dyn Pieces) -> Result<Schema, BackupError> {
    let mut connection = PgConnection::connect_with(&postgres_options(url)?).await?;
    raw(&mut connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let mut schema = read_schema(&mut connection).await?;
    for table in &mut schema.tables {
        // `COPY table` would leave out the partitions.
        let columns = list(&table.columns);
        let statement = format!("COPY (SELECT {columns} FROM {}) TO STDOUT", quote(&table.name));
        let mut cutter = Cutter::begin(&table.name, to)?;
        let mut rows = connection.copy_out_raw(&statement).await?;
        while let Some(row) = rows.try_next().await? {
            cutter.take(&row)?;
        }
        drop(rows);
        cutter.end()?;
    }
    raw(&mut connection, "COMMIT").await?;
    // Numbers are given outside transactions: read last, they are at least those of the rows.
    schema.sequences = sqlx::query_as(
        "SELECT sequencename::text, last_value FROM pg_sequences
         WHERE schemaname = current_schema() AND last_value IS NOT NULL ORDER BY 1",
    )
    .fetch_all(&mut connection)
    .await?;
    connection.close().await?;
    Ok(schema)
}

/// The tables of the schema in use, partitions with their parent, in an order that foreign keys
/// allow.
async fn read_schema(connection: &mut PgConnection) -> Result<Schema, BackupError> {
    let (migration,): (i64,) = sqlx::query_as("SELECT COALESCE(MAX(version), 0) FROM _sqlx_migrations")
        .fetch_one(&mut *connection)
        .await?;
    let columns: Vec<(String, String)> = sqlx::query_as(
        "SELECT c.relname::text, a.attname::text
         FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
           AND NOT c.relispartition AND c.relname <> '_sqlx_migrations'
           AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
         ORDER BY c.relname, a.attnum",
    )
    .fetch_all(&mut *connection)
    .await?;
    let partitions: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT p.relname::text, c.relname::text, pg_get_expr(c.relpartbound, c.oid)
         FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent JOIN pg_class c ON c.oid = i.inhrelid
         WHERE p.relnamespace = current_schema()::regnamespace AND c.relispartition AND p.relkind = 'p'
         ORDER BY p.relname, c.relname",
    )
    .fetch_all(&mut *connection)
    .await?;
    let keys: Vec<(String, String)> = sqlx::query_as(
        "SELECT DISTINCT c.relname::text, r.relname::text
         FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class r ON r.oid = k.confrelid
         WHERE k.contype = 'f' AND c.relnamespace = current_schema()::regnamespace AND c.oid <> r.oid",
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut tables: Vec<Table> = Vec::new();
    for (table, column) in columns {
        if tables.last().is_none_or(|t| t.name != table) {
            tables.push(Table { name: table.clone(), ..Table::default() });
        }
        if let Some(last) = tables.last_mut() {
            last.columns.push(column);
        }
    }
    for table in &mut tables {
        let own = partitions.iter().filter(|(parent, ..)| *parent == table.name);
        table.partitions = own.map(|(_, name, bound)| (name.clone(), bound.clone())).collect();
    }
    let mut ordered: Vec<Table> = Vec::new();
    while !tables.is_empty() {
        let waiting = |t: &Table| {
            keys.iter().any(|(from, to)| *from == t.name && tables.iter().any(|other| other.name == *to))
        };
        // A ring of foreign keys has no such table; none is allowed, and COPY would say so.
        let at = tables.iter().position(|t| !waiting(t)).unwrap_or(0);
        ordered.push(tables.remove(at));
    }
    Ok(Schema { migration, tables: ordered, sequences: Vec::new() })
}

/// Fills an empty PostgreSQL database from a copy: the schema as it was then (the hub rolls it
/// forward when it starts), then every row, in one transaction.
///
/// # Errors
/// [`BackupError::NotEmpty`] when the database has a table, or whatever else is in the way;
/// nothing of the rows is there then.
pub async fn restore_postgres(url: &str, schema: &Schema, from: &mut dyn Copied) -> Result<(), BackupError> {
    let options = postgres_options(url)?;
    let mut connection = PgConnection::connect_with(&options).await?;
    let (found,): (i64,) = sqlx::query_as(
        "SELECT COUNT(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')",
    )
    .fetch_one(&mut connection)
    .await?;
    if found > 0 {
        let why = format!("the PostgreSQL database holds {found} tables already; give an empty one");
        return Err(BackupError::NotEmpty(why));
    }
    migrate::postgres_to(schema.migration, &mut connection).await?;
    raw(&mut connection, "BEGIN").await?;
    // Migrations may have written rows of their own; those of the copy stand for them.
    let names: Vec<String> = schema.tables.iter().map(|t| quote(&t.name)).collect();
    if !names.is_empty() {
        raw(&mut connection, &format!("TRUNCATE {}", names.join(", "))).await?;
    }
    for table in &schema.tables {
        let name = quote(&table.name);
        remake_partitions(&mut connection, table).await?;
        let columns = list(&table.columns);
        let mut rows = connection.copy_in_raw(&format!("COPY {name} ({columns}) FROM STDIN")).await?;
        loop {
            match from.next(&table.name) {
                Ok(Some(piece)) => drop(rows.send(piece).await?),
                Ok(None) => break,
                Err(error) => {
                    rows.abort("the copy does not read").await?;
                    return Err(BackupError::Disk { stream: table.name.clone(), error });
                }
            }
        }
        rows.finish().await?;
    }
    for (sequence, last) in &schema.sequences {
        sqlx::query("SELECT setval($1::regclass, $2)")
            .bind(quote(sequence))
            .bind(last)
            .execute(&mut connection)
            .await?;
    }
    raw(&mut connection, "COMMIT").await?;
    connection.close().await?;
    Ok(())
}

/// The partitions as they were: those that migrations made have other bounds.
async fn remake_partitions(connection: &mut PgConnection, table: &Table) -> Result<(), BackupError> {
    let made: Vec<(String,)> = sqlx::query_as(
        "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = $1::regclass AND c.relispartition",
    )
    .bind(quote(&table.name))
    .fetch_all(&mut *connection)
    .await?;
    for (partition,) in made {
        raw(connection, &format!("DROP TABLE {}", quote(&partition))).await?;
    }
    for (partition, bound) in &table.partitions {
        let (partition, parent) = (quote(partition), quote(&table.name));
        raw(connection, &format!("CREATE TABLE {partition} PARTITION OF {parent} {bound}")).await?;
    }
    Ok(())
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn list(columns: &[String]) -> String {
    columns.iter().map(|c| quote(c)).collect::<Vec<_>>().join(", ")
}

async fn raw(connection: &mut PgConnection, sql: &str) -> Result<(), BackupError> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()).into_sql_str()).execute(connection).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Kept(Vec<Vec<u8>>);

    impl Pieces for Kept {
        fn begin(&mut self, _: &str) -> std::io::Result<()> {
            Ok(())
        }

        fn piece(&mut self, bytes: &[u8]) -> std::io::Result<()> {
            self.0.push(bytes.to_vec());
            Ok(())
        }
    }

    fn cut(units: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut kept = Kept::default();
        let mut cutter = Cutter::begin("t", &mut kept).unwrap();
        units.iter().for_each(|unit| cutter.take(unit).unwrap());
        assert_eq!(cutter.end().unwrap(), units.iter().map(|u| u.len() as u64).sum::<u64>());
        kept.0
    }

    fn units(seed: u32, count: u32) -> Vec<Vec<u8>> {
        (0..count).map(|i| crc32fast::hash(&(seed ^ i).to_le_bytes()).to_le_bytes().repeat(1024)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn pieces_are_the_stream(seed: u32, count in 0u32..3000) {
            let units = units(seed, count);
            let pieces = cut(&units);
            prop_assert_eq!(pieces.concat(), units.concat());
            prop_assert!(pieces.iter().all(|p| p.len() <= LONGEST));
            prop_assert!(pieces.iter().rev().skip(1).all(|p| p.len() >= SHORTEST));
        }

        #[test]
        fn a_page_more_in_the_middle_changes_few_pieces(seed: u32, at in 0usize..2000) {
            let before = units(seed, 2000);
            let mut after = before.clone();
            after.insert(at, vec![7; 4096]);
            let (before, after) = (cut(&before), cut(&after));
            let new = after.iter().filter(|p| !before.contains(p)).count();
            prop_assert!(new <= 6, "{} of {} pieces are new", new, after.len());
        }
    }
}
