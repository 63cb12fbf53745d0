//! Values, rows and statements that are the same text on both databases.
//!
//! Parameters are written `$1`, `$2` …, which both understand. Columns are of five kinds only:
//! 64-bit integers, doubles, text, bytes and UUIDs; anything else is one of these (times are
//! integers, documents are JSON text, truth is 0 or 1).

use model::{AreaPath, DatastreamKey, Id, Micros, Severity};
use sqlx::postgres::{PgConnection, PgPool, PgRow};
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, FromRow, SqlSafeStr, SqlStr};

use crate::StoreError;

/// A parameter of a statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// An integer or NULL.
    I64(Option<i64>),
    /// A double or NULL.
    F64(Option<f64>),
    /// A text or NULL.
    Text(Option<String>),
    /// Bytes or NULL.
    Bytes(Option<Vec<u8>>),
    /// A UUID or NULL.
    Uuid(Option<Id>),
}

macro_rules! values {
    ($($from:ty => $variant:ident($v:ident => $to:expr);)*) => {$(
        impl From<$from> for Value {
            fn from($v: $from) -> Self { Value::$variant(Some($to)) }
        }
        impl From<Option<$from>> for Value {
            fn from(v: Option<$from>) -> Self { Value::$variant(v.map(|$v| $to)) }
        }
    )*};
}
values! {
    i64 => I64(v => v);
    i32 => I64(v => i64::from(v));
    u32 => I64(v => i64::from(v));
    bool => I64(v => i64::from(v));
    Micros => I64(v => v.0);
    Severity => I64(v => v.rank());
    DatastreamKey => I64(v => i64::from(v.0));
    f64 => F64(v => v);
    String => Text(v => v);
    &str => Text(v => v.to_owned());
    &String => Text(v => v.clone());
    AreaPath => Text(v => v.into());
    &AreaPath => Text(v => v.as_str().to_owned());
    &serde_json::Value => Text(v => v.to_string());
    Vec<u8> => Bytes(v => v);
    &[u8] => Bytes(v => v.to_vec());
    Id => Uuid(v => v);
    &Id => Uuid(v => *v);
}

/// The parameters of a statement, each by `Value::from`.
#[macro_export]
macro_rules! args {
    ($($v:expr),* $(,)?) => { vec![$($crate::Value::from($v)),*] };
}

/// Declares the statements of a module: `const` texts, and a list of them that a test describes
/// on both databases.
///
/// ```
/// store::statements! {
///     /// The head of the outbox.
///     HEAD = "SELECT position FROM outbox_head";
/// }
/// assert_eq!(STATEMENTS, [("HEAD", HEAD)]);
/// ```
#[macro_export]
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:expr;)*) => {
        $($(#[$doc])* pub(crate) const $name: &str = $sql;)*
        /// Name and text of every statement of this module.
        pub const STATEMENTS: &[(&str, &str)] = &[$((stringify!($name), $name)),*];
    };
}

/// A row type that reads from both databases; `#[derive(sqlx::FromRow)]` and tuples give it.
pub trait FromAnyRow: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}
impl<T> FromAnyRow for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

/// One connection of either kind, owned.
pub(crate) enum Connection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// The pools of readers.
#[derive(Clone)]
pub(crate) enum Readers {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

// One body, written once, for either database. `query` and `query_as` differ only in type.
macro_rules! bound {
    ($query:expr, $args:expr) => {{
        let mut query = $query;
        for value in $args {
            query = match value {
                Value::I64(v) => query.bind(v),
                Value::F64(v) => query.bind(v),
                Value::Text(v) => query.bind(v),
                Value::Bytes(v) => query.bind(v),
                Value::Uuid(v) => query.bind(v),
            };
        }
        query
    }};
}

impl Connection {
    pub(crate) async fn execute(&mut self, sql: SqlStr, args: Vec<Value>) -> Result<u64, StoreError> {
        Ok(match self {
            Self::Sqlite(c) => bound!(sqlx::query(sql), args).execute(c).await?.rows_affected(),
            Self::Postgres(c) => bound!(sqlx::query(sql), args).execute(c).await?.rows_affected(),
        })
    }

    pub(crate) async fn all<T: FromAnyRow>(
        &mut self,
        sql: SqlStr,
        args: Vec<Value>,
    ) -> Result<Vec<T>, StoreError> {
        Ok(match self {
            Self::Sqlite(c) => bound!(sqlx::query_as(sql), args).fetch_all(c).await?,
            Self::Postgres(c) => bound!(sqlx::query_as(sql), args).fetch_all(c).await?,
        })
    }

    pub(crate) async fn raw(&mut self, sql: &'static str) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(c) => sqlx::raw_sql(sql).execute(c).await.map(|_| ())?,
            Self::Postgres(c) => sqlx::raw_sql(sql).execute(c).await.map(|_| ())?,
        }
        Ok(())
    }
}

/// Reads outside a command: a pool of connections that cannot write.
#[derive(Clone)]
pub struct Read(pub(crate) Readers);

impl Read {
    /// All rows.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn all<T: FromAnyRow>(
        &self,
        sql: &'static str,
        args: Vec<Value>,
    ) -> Result<Vec<T>, StoreError> {
        self.fetch(sql.into_sql_str(), args).await
    }

    /// The first row, if any.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn opt<T: FromAnyRow>(
        &self,
        sql: &'static str,
        args: Vec<Value>,
    ) -> Result<Option<T>, StoreError> {
        Ok(self.all(sql, args).await?.into_iter().next())
    }

    /// Rows of a text that [`crate::filter`] built.
    pub(crate) async fn built<T: FromAnyRow>(
        &self,
        sql: String,
        args: Vec<Value>,
    ) -> Result<Vec<T>, StoreError> {
        self.fetch(AssertSqlSafe(sql).into_sql_str(), args).await
    }

    async fn fetch<T: FromAnyRow>(&self, sql: SqlStr, args: Vec<Value>) -> Result<Vec<T>, StoreError> {
        Ok(match &self.0 {
            Readers::Sqlite(pool) => bound!(sqlx::query_as(sql), args).fetch_all(pool).await?,
            Readers::Postgres(pool) => bound!(sqlx::query_as(sql), args).fetch_all(pool).await?,
        })
    }
}

/// A multi-row `INSERT`: `head` up to `VALUES`, then rows of `columns` parameters, then `tail`.
///
/// Rows go in runs whose lengths are powers of two, so that few distinct texts are prepared.
pub(crate) fn insert_runs(
    head: &str,
    tail: &str,
    columns: usize,
    rows: Vec<Vec<Value>>,
) -> Vec<(String, Vec<Value>)> {
    // 32,766 parameters is SQLite's limit, 65,535 PostgreSQL's.
    let longest = [64usize, 32, 16, 8, 4, 2, 1].into_iter().find(|n| n * columns <= 30_000).unwrap_or(1);
    let mut statements = Vec::new();
    let mut rows = rows.into_iter().peekable();
    let mut left = rows.len();
    while left > 0 {
        let mut run = longest;
        while run > left {
            run /= 2;
        }
        let mut text = String::with_capacity(head.len() + run * columns * 6 + tail.len());
        text.push_str(head);
        text.push_str(" VALUES ");
        for row in 0..run {
            text.push_str(if row == 0 { "(" } else { ",(" });
            for column in 0..columns {
                if column > 0 {
                    text.push(',');
                }
                text.push('$');
                text.push_str(&(row * columns + column + 1).to_string());
            }
            text.push(')');
        }
        text.push(' ');
        text.push_str(tail);
        statements.push((text, rows.by_ref().take(run).flatten().collect()));
        left -= run;
    }
    statements
}
