//! What can go wrong with the database. A report that cannot be stored is not among it: that is an outcome.

use std::sync::Arc;

use sqlx::error::DatabaseError;

/// The code of a report whose data the database refuses.
pub const NOT_STORABLE: &str = "not_storable";

/// A failure of ours: nothing is lost, and the same call may be made again.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The database refused a statement, or is out of reach.
    #[error("database: {0}")]
    Database(Arc<sqlx::Error>),
    /// The schema could not be brought up to date.
    #[error("migrating the database: {0}")]
    Migrate(Arc<sqlx::migrate::MigrateError>),
    /// The database was to be a cluster.
    #[error(
        "this database is no cluster: it has no extension citus (a superuser adds it with `create extension citus` where its \
         nodes are known)"
    )]
    NoCluster,
    /// A row says what it cannot say.
    #[error("table {table}, column {column}: {detail}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// A report that was stored is not there any more, because retention has just deleted it.
    #[error("a report was deleted while it was looked for")]
    Deleted,
    /// A text has the character U+0000, which no column of PostgreSQL can hold.
    #[error("a text has the character U+0000, which PostgreSQL cannot hold")]
    Nul,
    /// A temporary file could not be written or read: what is too large for memory is sorted there.
    #[error("temporary file: {0}")]
    TemporaryFile(Arc<std::io::Error>),
    /// The system gives no random bytes, which secrets are made of.
    #[error("random bytes: {0}")]
    Random(getrandom::Error),
    /// The writer has been shut down.
    #[error("the store is closed")]
    Closed,
}

impl Error {
    /// Whether the same call may succeed later without anybody doing anything but bringing the database back.
    pub fn is_passing(&self) -> bool {
        let error: &sqlx::Error = match self {
            Self::Database(error) => error,
            Self::Migrate(error) => match error.as_ref() {
                sqlx::migrate::MigrateError::Execute(error)
                | sqlx::migrate::MigrateError::ExecuteMigration(error, _) => error,
                _ => return false,
            },
            Self::TemporaryFile(_) | Self::Deleted => return true,
            Self::Nul | Self::NoCluster | Self::Corrupt { .. } | Self::Random(_) | Self::Closed => {
                return false;
            }
        };
        match error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::WorkerCrashed => true,
            sqlx::Error::Database(error) if is_misplaced(error.as_ref()) => true,
            // Connection, transaction rolled back, resources, not in the right state, operator intervention, system,
            // internal; and no such table, which the program that serves brings along in a moment.
            sqlx::Error::Database(error) => error.code().is_some_and(|code| {
                ["08", "25", "40", "53", "55", "57", "58", "XX", "42P01"]
                    .iter()
                    .any(|class| code.starts_with(class))
            }),
            _ => false,
        }
    }

    /// Whether the database refused the data itself, so that trying again cannot help (SQLSTATE classes 22, 23, 54).
    pub fn is_data(&self) -> bool {
        let error = match self {
            Self::Database(error) => error,
            other => return matches!(other, Self::Nul),
        };
        error
            .as_database_error()
            .filter(|error| !is_misplaced(*error))
            .and_then(|error| error.code())
            .is_some_and(|code| {
                ["22", "23", "54"]
                    .iter()
                    .any(|class| code.starts_with(class))
            })
    }

    /// Whether a statement was ended because it took longer than it may.
    pub fn is_too_slow(&self) -> bool {
        self.has_code("57014")
    }

    /// Whether others did not let go of a table or row in time.
    pub(crate) fn is_lock_timeout(&self) -> bool {
        self.has_code("55P03")
    }

    /// Whether a table that a statement names is not there.
    pub(crate) fn is_table_missing(&self) -> bool {
        self.has_code("42P01")
    }

    fn has_code(&self, sqlstate: &str) -> bool {
        let Self::Database(error) = self else {
            return false;
        };
        let code = error.as_database_error().and_then(|error| error.code());
        code.as_deref() == Some(sqlstate)
    }
}

/// Whether a row was on its way to the default partition when its month got one: the constraint of a partition has no name.
/// Errors that a cluster passes on name the table, with the number of a shard, in their message alone.
fn is_misplaced(error: &dyn DatabaseError) -> bool {
    error.code().as_deref() == Some("23514")
        && error.constraint().is_none()
        && error
            .table()
            .unwrap_or(error.message())
            .contains("_default")
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}

impl From<sqlx::migrate::MigrateError> for Error {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        Self::Migrate(Arc::new(error))
    }
}
