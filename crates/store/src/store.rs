//! The handle to the database.

use std::{sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions as _, PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{
    Error, Figures, Load, Submission,
    delivery::OutcomeRow,
    domains::Domains,
    partitions::Partitions,
    query::Answers,
    writer::{Room, Writer},
};

/// The schema, from the `migrations` folder.
pub static MIGRATOR: Migrator = sqlx::migrate!("../../migrations");

/// How the database is used.
#[derive(Clone, Debug)]
pub struct Options {
    /// Connections that write groups of small reports.
    pub writers: usize,
    /// Connections at most, writers included.
    pub connections_max: u32,
    /// How long a call waits for a connection, the first one included.
    pub acquire_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            writers: 3,
            connections_max: 16,
            acquire_timeout: Duration::from_secs(5),
        }
    }
}

/// Everything ruad keeps. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) pool: PgPool,
    pub(crate) domains: Arc<Domains>,
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) answers: Arc<Answers>,
    writer: Arc<Writer>,
}

impl Store {
    /// Connects as needed: a database that is away now is no error until something is asked of it.
    pub fn connect(connect: PgConnectOptions, options: &Options) -> Self {
        // Slow statements show in the answers' times; their texts do not belong into the log.
        let connect = connect.disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(options.connections_max)
            .acquire_timeout(options.acquire_timeout)
            .connect_lazy_with(connect);
        let domains = Arc::new(Domains::default());
        let partitions = Arc::new(Partitions::default());
        let writer = Arc::new(Writer::start(&pool, &domains, &partitions, options.writers));
        Self {
            pool,
            domains,
            partitions,
            answers: Arc::default(),
            writer,
        }
    }

    /// Brings the schema up to date. Several processes may do so at once.
    pub async fn migrate(&self) -> Result<(), Error> {
        Ok(MIGRATOR.run(&self.pool).await?)
    }

    /// Whether the database answers and has the schema this program needs.
    pub async fn ready(&self) -> Result<bool, Error> {
        let newest = MIGRATOR.iter().map(|migration| migration.version).max();
        // Not a checked query: the table is made by the migrator, not by a migration.
        let applied: Option<i64> =
            sqlx::query_scalar("select max(version) from _sqlx_migrations where success")
                .fetch_one(&self.pool)
                .await?;
        Ok(applied >= newest)
    }

    /// Waits until a delivery with so many records in hand may be submitted: what waits is bounded.
    pub async fn reserve(&self, record_count: usize) -> Result<Room, Error> {
        self.writer.reserve(record_count).await
    }

    /// Stores a delivery with whatever else waits, in one commit, and answers after it.
    ///
    /// Of reports with the same identity the first one is kept; the order is that in which the futures are first polled.
    pub async fn submit(
        &self,
        submission: Submission,
        room: Room,
    ) -> Result<Vec<OutcomeRow>, Error> {
        self.writer.submit(submission, room).await
    }

    /// What was counted since the start.
    pub fn figures(&self) -> &Figures {
        self.writer.figures()
    }

    pub(crate) fn shared_figures(&self) -> Arc<Figures> {
        Arc::clone(self.writer.figures())
    }

    /// How things stand right now.
    pub fn load(&self) -> Load {
        let idle = self.pool.num_idle() as u64;
        Load {
            connections_busy: u64::from(self.pool.size()).saturating_sub(idle),
            connections_idle: idle,
            connections_max: self.pool.options().get_max_connections().into(),
            waiting_deliveries: self.writer.waiting() as u64,
        }
    }

    /// Writes what waits, then closes all connections.
    pub async fn close(&self) {
        self.writer.close().await;
        self.pool.close().await;
    }
}
