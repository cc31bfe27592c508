//! Whether the database can do its work.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection};
use tokio::time::timeout;

use crate::{MIGRATOR, Store};

/// How long the answer may take, and then a connection that is made for the purpose.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(1_500);
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// SQLSTATE `undefined_table`: nobody has made the schema yet.
const NO_SUCH_TABLE: &str = "42P01";

/// SQLSTATE `too_many_connections`.
const TOO_MANY_CONNECTIONS: &str = "53300";

/// Whether the database can do its work, or why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It can.
    Ready,
    /// It answers, and has no schema.
    NoSchema,
    /// It answers, and its schema lacks what this program needs.
    OlderSchema,
    /// It can be reached, and has no time.
    Busy,
    /// It cannot be reached.
    Unreachable,
}

impl Store {
    /// Whether the database can do its work; known within two seconds.
    pub async fn readiness(&self) -> Readiness {
        let newest = MIGRATOR.iter().map(|migration| migration.version).max();
        match timeout(ANSWER_TIMEOUT, self.applied()).await {
            Ok(Ok(applied)) if applied >= newest => Readiness::Ready,
            Ok(Ok(Some(_))) => Readiness::OlderSchema,
            Ok(Ok(None)) => Readiness::NoSchema,
            Ok(Err(error)) if is_of(&error, NO_SUCH_TABLE) => Readiness::NoSchema,
            Ok(Err(error)) => {
                tracing::debug!(%error, "the database is not ready");
                self.reachable().await
            }
            Err(_) => self.reachable().await,
        }
    }

    /// The newest migration that was applied.
    async fn applied(&self) -> Result<Option<i64>, sqlx::Error> {
        // Not a checked query: the table is made by the migrator, not by a migration.
        sqlx::query_scalar("select max(version) from _sqlx_migrations where success")
            .fetch_one(&self.pool)
            .await
    }

    /// Whether a database that did not answer is there at all: all connections may be in use.
    async fn reachable(&self) -> Readiness {
        let options = self.pool.connect_options();
        match timeout(CONNECT_TIMEOUT, PgConnection::connect_with(&options)).await {
            Ok(Ok(connection)) => {
                // How it ends does not matter.
                _ = connection.close().await;
                Readiness::Busy
            }
            Ok(Err(error)) if is_of(&error, TOO_MANY_CONNECTIONS) => Readiness::Busy,
            Ok(Err(_)) | Err(_) => Readiness::Unreachable,
        }
    }
}

fn is_of(error: &sqlx::Error, code: &str) -> bool {
    let found = error.as_database_error().and_then(|error| error.code());
    found.as_deref() == Some(code)
}
