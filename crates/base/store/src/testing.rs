//! Temporary databases for tests: every behaviour on both, or a loud word that one was left out.

use std::future::Future;

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqlSafeStr};

use crate::{Backend, Store, StoreConfig, StoreError, new_id};

/// The variable that holds the URL of a PostgreSQL server where tests may make databases.
pub const POSTGRES: &str = "ZHONGSHU_TEST_POSTGRES";

/// A database that is gone when the test ends.
pub struct TestDatabase {
    /// How to open it.
    pub backend: Backend,
    _folder: Option<tempfile::TempDir>,
    server: Option<(String, String)>,
}

impl TestDatabase {
    /// A new SQLite file in a temporary folder.
    ///
    /// # Panics
    /// When no temporary folder can be made.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test without a folder cannot go on")]
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let backend = Backend::Sqlite { path: folder.path().join("state.db") };
        Self { backend, _folder: Some(folder), server: None }
    }

    /// A new database on the server that `ZHONGSHU_TEST_POSTGRES` names; `None`, said on
    /// standard error, without it.
    ///
    /// # Panics
    /// When the variable is set and the server does not make a database.
    pub async fn postgres() -> Option<Self> {
        let Ok(server) = std::env::var(POSTGRES) else {
            eprintln!("SKIPPED on PostgreSQL: {POSTGRES} is not set (make test sets it)");
            return None;
        };
        Some(Self::on(&server).await)
    }

    /// A new database on this server of PostgreSQL.
    ///
    /// # Panics
    /// When the server does not make one.
    #[expect(clippy::expect_used, reason = "a test without its server cannot go on")]
    pub async fn on(server: &str) -> Self {
        let name = format!("t{}", new_id().simple());
        let mut connection = PgConnection::connect(server).await.expect("the test server answers");
        let create = AssertSqlSafe(format!("CREATE DATABASE {name}")).into_sql_str();
        connection.execute(sqlx::raw_sql(create)).await.expect("the test server makes a database");
        let (base, query) = server.split_once('?').map_or((server, ""), |(b, q)| (b, q));
        let (root, _) = base.rsplit_once('/').expect("the URL names a database");
        let url = if query.is_empty() { format!("{root}/{name}") } else { format!("{root}/{name}?{query}") };
        Self { backend: Backend::Postgres { url }, _folder: None, server: Some((server.to_owned(), name)) }
    }

    /// The databases of this run: SQLite always, PostgreSQL where there is one.
    pub async fn each() -> Vec<Self> {
        let mut all = vec![Self::sqlite()];
        all.extend(Self::postgres().await);
        all
    }

    /// Opens the store.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open(&self) -> Result<Store, StoreError> {
        Store::open(StoreConfig {
            backend: self.backend.clone(),
            time_zone: jiff::tz::TimeZone::get("Asia/Shanghai").unwrap_or(jiff::tz::TimeZone::UTC),
            exclusive: true,
        })
        .await
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let Some((server, name)) = self.server.take() else { return };
        // Its own thread: the test's runtime may be going down.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut connection = PgConnection::connect(&server).await.map_err(std::io::Error::other)?;
                let drop =
                    AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).into_sql_str();
                connection.execute(sqlx::raw_sql(drop)).await.map_err(std::io::Error::other)?;
                Ok::<_, std::io::Error>(())
            })
        });
        if !matches!(dropped.join(), Ok(Ok(()))) {
            eprintln!("a test database stays behind");
        }
    }
}

/// Runs a test on every database of this run, one after the other.
///
/// # Panics
/// When a store does not open.
#[expect(clippy::expect_used, reason = "a test without a store cannot go on")]
pub async fn on_each<F, Fut>(test: F)
where
    F: Fn(Store) -> Fut,
    Fut: Future<Output = ()>,
{
    for database in TestDatabase::each().await {
        eprintln!("on {}", database.backend.name());
        let store = database.open().await.expect("the store opens");
        test(store.clone()).await;
        store.stop().await;
    }
}

/// Has the database of `store` describe every statement; the names of those it refuses.
///
/// # Errors
/// [`StoreError`] when the database is out of reach.
pub async fn refused_statements(
    store: &Store,
    statements: &[(&'static str, &'static str)],
) -> Result<Vec<String>, StoreError> {
    let mut refused = Vec::new();
    for (name, sql) in statements {
        let described = match store.backend() {
            Backend::Sqlite { path } => {
                let mut c =
                    sqlx::SqliteConnection::connect_with(&crate::database::sqlite_options(path)).await?;
                c.describe((*sql).into_sql_str()).await.map(drop)
            }
            Backend::Postgres { url } => {
                let mut c = PgConnection::connect_with(&crate::database::postgres_options(url)?).await?;
                c.describe((*sql).into_sql_str()).await.map(drop)
            }
        };
        if let Err(e) = described {
            refused.push(format!("{name}: {e}"));
        }
    }
    Ok(refused)
}
