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
