//! The schema's history: one ordered list of files a database, rolled forward on opening.

use crate::StoreError;
use crate::sql::Connection;

static SQLITE: sqlx::migrate::Migrator = sqlx::migrate!("./migrations/sqlite");
static POSTGRES: sqlx::migrate::Migrator = sqlx::migrate!("./migrations/postgres");

pub(crate) async fn run(connection: &mut Connection) -> Result<(), StoreError> {
    let done = match connection {
        Connection::Sqlite(c) => SQLITE.run_direct(None, c, false).await,
        Connection::Postgres(c) => POSTGRES.run_direct(None, c, false).await,
    };
    done.map_err(|e| StoreError::Setup(format!("the schema does not roll forward: {e}")))
}

/// Rolls an empty PostgreSQL database forward to `version` and no further: what a backup of that
/// version is restored into.
pub(crate) async fn postgres_to(version: i64, connection: &mut sqlx::PgConnection) -> Result<(), StoreError> {
    if !POSTGRES.version_exists(version) {
        return Err(StoreError::Setup(format!(
            "the backup has the schema {version}, which this hub does not know; restore it with the hub that made it or a newer one"
        )));
    }
    let done = POSTGRES.run_direct(Some(version), connection, false).await;
    done.map_err(|e| StoreError::Setup(format!("the schema cannot be made: {e}")))
}
