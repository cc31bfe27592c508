//! The handle to the database.

use std::{sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions as _, PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{
    Connections, Error, Figures, Load, Pending, Submission,
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
    /// Connections at most, writers included: at least two more than writers.
    pub connections_max: u32,
    /// How long a call waits for a connection, the first one included.
    pub acquire_timeout: Duration,
    /// How long a statement that answers a question may take; zero: as long as it likes.
    pub statement_timeout: Duration,
}

impl Options {
    /// Half of the connections that writers leave answer questions. The others are for what comes in and for work in the
    /// background: slow questions, however many, take none of them.
    fn reading_max(&self) -> u32 {
        let writers = u32::try_from(self.writers).unwrap_or(u32::MAX);
        (self.connections_max.saturating_sub(writers) / 2).max(1)
    }

    fn pool(&self, connections_max: u32) -> PgPoolOptions {
        PgPoolOptions::new()
            .max_connections(connections_max.max(1))
            .acquire_timeout(self.acquire_timeout)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            writers: 3,
            connections_max: 16,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
        }
    }
}

/// Everything ruad keeps. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    /// For all that writes, and for what must not wait for answers: who asks, and what is settled.
    pub(crate) pool: PgPool,
    /// For answers, each statement of which has limited time.
    pub(crate) reading: PgPool,
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
        let reading_max = options.reading_max();
        let pool = options
            .pool(options.connections_max.saturating_sub(reading_max))
            .connect_lazy_with(connect.clone());
        let reading = limited(options.pool(reading_max), options.statement_timeout)
            .connect_lazy_with(connect);
        let domains = Arc::new(Domains::default());
        let partitions = Arc::new(Partitions::default());
        let writer = Arc::new(Writer::start(&pool, &domains, &partitions, options.writers));
        Self {
            pool,
            reading,
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

    /// Waits until a delivery with these documents may be submitted: what waits is bounded.
    pub async fn reserve(&self, documents: &[Pending]) -> Result<Room, Error> {
        self.writer.reserve(documents).await
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
        Load {
            reading: connections(&self.reading),
            writing: connections(&self.pool),
            waiting_deliveries: self.writer.waiting() as u64,
        }
    }

    /// Writes what waits, then closes all connections.
    pub async fn close(&self) {
        self.writer.close().await;
        self.reading.close().await;
        self.pool.close().await;
    }
}

/// Sets the time that a statement may take. By a statement, because proxies such as PgBouncer refuse connections that
/// begin with settings.
///
/// It also ends what nobody waits for any more: the statement of a request that is dropped goes on in the database, and its
/// connection is free only afterwards.
fn limited(pool: PgPoolOptions, statement_timeout: Duration) -> PgPoolOptions {
    pool.after_connect(move |connection, _| {
        Box::pin(async move {
            sqlx::query("select set_config('statement_timeout', $1, false)")
                .bind(statement_timeout.as_millis().to_string())
                .execute(connection)
                .await?;
            Ok(())
        })
    })
}

fn connections(pool: &PgPool) -> Connections {
    let idle = pool.num_idle() as u64;
    Connections {
        busy: u64::from(pool.size()).saturating_sub(idle),
        idle,
        max: pool.options().get_max_connections().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_leave_connections_to_what_comes_in() {
        let reading_max = |writers, connections_max| {
            let options = Options {
                writers,
                connections_max,
                ..Options::default()
            };
            options.reading_max()
        };
        assert_eq!(reading_max(3, 16), 6);
        assert_eq!(reading_max(1, 3), 1);
        assert_eq!(reading_max(3, 5), 1);
    }
}
