//! A fresh database for each test, copied from a template with the schema; or a schema of one database.
//!
//! `RUAD_TEST_SCHEMAS=1` asks for schemas, for servers on which no databases can be made. `RUAD_REQUIRE_CITUS=1` asks for
//! them on the coordinator of a cluster, where a new database would lack the extension and the nodes.

use std::{
    str::FromStr as _,
    sync::atomic::{AtomicU32, Ordering},
};

use sqlx::{AssertSqlSafe, Connection as _, Decode, PgConnection, Postgres, Type, postgres::PgRow};
use store::{Actor, ConnectOptions, Options, Store};
use tokio::sync::OnceCell;

use super::query;

/// A database of a test's own. Dropping it drops the database.
pub(crate) struct Database {
    pub(crate) url: String,
    /// What makes it go away, if it is to be dropped.
    drop: Option<String>,
}

impl Database {
    pub(crate) async fn fresh() -> Self {
        if in_schemas() {
            return Self::in_schema().await;
        }
        static TEMPLATE: OnceCell<String> = OnceCell::const_new();
        Self::copy_of(TEMPLATE.get_or_init(make_template).await).await
    }

    /// One without the schema.
    pub(crate) async fn empty() -> Self {
        if in_schemas() {
            return Self::in_empty_schema().await;
        }
        Self::copy_of("template0").await
    }

    async fn copy_of(template: &str) -> Self {
        let name = fresh_name();
        execute(
            &server_url(),
            &format!("create database {name} template {template}"),
        )
        .await;
        Self {
            url: url_of(&name),
            drop: Some(format!("drop database {name} with (force)")),
        }
    }

    /// In a schema of the database that the tests were given, spread over the cluster if there must be one.
    pub(crate) async fn in_schema() -> Self {
        let database = Self::in_empty_schema().await;
        let store = database.store();
        store.migrate().await.unwrap();
        if requires_citus() {
            assert_eq!(store.distribute(&Actor::cli()).await.unwrap(), DISTRIBUTED);
            assert_eq!(
                database.distributed_tables().await,
                DISTRIBUTED.len() as i64
            );
        }
        store.close().await;
        database
    }

    /// Without any tables yet.
    pub(crate) async fn in_empty_schema() -> Self {
        let name = fresh_name();
        execute(&server_url(), &format!("create schema {name}")).await;
        let url = server_url();
        let joint = if url.contains('?') { '&' } else { '?' };
        // Parts of tables on a cluster: with the usual 32 of them a test takes seconds longer.
        let options = format!("-c search_path={name} -c citus.shard_count=4");
        Self {
            url: format!("{url}{joint}options={}", query(&options)),
            drop: Some(format!("drop schema {name} cascade")),
        }
    }

    /// One that somebody else cares for.
    pub(crate) fn at(url: String) -> Self {
        Self { url, drop: None }
    }

    pub(crate) fn connect_options(&self) -> ConnectOptions {
        ConnectOptions::from_str(&self.url).unwrap()
    }

    pub(crate) fn store(&self) -> Store {
        Store::connect(self.connect_options(), &Options::default())
    }

    pub(crate) async fn execute(&self, sql: &str) -> u64 {
        execute(&self.url, sql).await
    }

    /// The only value of the only row.
    pub(crate) async fn value<T>(&self, sql: &str) -> T
    where
        T: for<'r> Decode<'r, Postgres> + Type<Postgres> + Send + Unpin,
        (T,): for<'r> sqlx::FromRow<'r, PgRow>,
    {
        self.try_value(sql).await.unwrap()
    }

    /// The same, where the server may be away.
    pub(crate) async fn try_value<T>(&self, sql: &str) -> Result<T, sqlx::Error>
    where
        T: for<'r> Decode<'r, Postgres> + Type<Postgres> + Send + Unpin,
        (T,): for<'r> sqlx::FromRow<'r, PgRow>,
    {
        let mut connection = PgConnection::connect_with(&self.connect_options()).await?;
        let value = sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
            .fetch_one(&mut connection)
            .await?;
        connection.close().await?;
        Ok(value)
    }

    /// How many tables are spread over a cluster, partitions not counted.
    pub(crate) async fn distributed_tables(&self) -> i64 {
        let count = "select count(*) from pg_dist_partition \
            join pg_class on pg_class.oid = logicalrelid \
            where relnamespace = current_schema::regnamespace and not relispartition";
        self.value(count).await
    }

    pub(crate) async fn report_count(&self) -> i64 {
        self.value("select count(*) from reports").await
    }

    /// What `ruad verify` would print.
    pub(crate) async fn mismatches(&self) -> Vec<store::Mismatch> {
        let store = self.store();
        let mismatches = store.verify(100).await.unwrap();
        store.close().await;
        mismatches
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Some(drop) = self.drop.take() else {
            return;
        };
        // A runtime of its own: this one may be ending.
        let dropping = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
                .block_on(execute(&server_url(), &drop))
        });
        _ = dropping.join();
    }
}

/// Tables that are spread over a cluster.
pub(crate) const DISTRIBUTED: [&str; 7] = [
    "domains",
    "reports",
    "record_blocks",
    "source_day_arrivals",
    "source_day_blocks",
    "peer_reports",
    "source_blocks",
];

/// Whether the tests must run on a cluster.
pub(crate) fn requires_citus() -> bool {
    is_set("RUAD_REQUIRE_CITUS")
}

fn in_schemas() -> bool {
    requires_citus() || is_set("RUAD_TEST_SCHEMAS")
}

fn is_set(variable: &str) -> bool {
    std::env::var(variable).is_ok_and(|value| !value.is_empty() && value != "0")
}

fn fresh_name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("ruad_test_{}_{number}", std::process::id())
}

fn server_url() -> String {
    std::env::var("DATABASE_URL")
        .expect("DATABASE_URL names a PostgreSQL server to test on: use `make test`")
}

/// The server's URL with another database.
fn url_of(name: &str) -> String {
    let url = server_url();
    let (place, parameters) = url.split_once('?').unwrap_or((&url, ""));
    let (server, _) = place.rsplit_once('/').expect("a URL has a path");
    format!("{server}/{name}?{parameters}")
}

/// The template's name says which schema it has: it is made when a migration is new, and serves the next run as well.
async fn make_template() -> String {
    let newest = store::MIGRATOR.iter().last().unwrap();
    let checksums: Vec<u8> = store::MIGRATOR
        .iter()
        .flat_map(|migration| migration.checksum.to_vec())
        .collect();
    let digest = <sha2::Sha256 as sha2::Digest>::digest(&checksums);
    let name = format!(
        "ruad_template_{}_{:02x}{:02x}{:02x}{:02x}",
        newest.version, digest[0], digest[1], digest[2], digest[3]
    );
    let mut connection = PgConnection::connect(&server_url()).await.unwrap();
    let mut execute = async |sql: String| {
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut connection)
            .await
            .unwrap()
            .rows_affected()
    };
    execute("select pg_advisory_lock(hashtext('ruad_template'))".into()).await;
    if execute(format!("select from pg_database where datname = '{name}'")).await == 0 {
        let making = format!("{name}_making");
        execute(format!("drop database if exists {making}")).await;
        execute(format!("create database {making}")).await;
        let store = Store::connect(
            ConnectOptions::from_str(&url_of(&making)).unwrap(),
            &Options::default(),
        );
        store.migrate().await.unwrap();
        store.close().await;
        execute(format!("alter database {making} rename to {name}")).await;
    }
    name
}

async fn execute(url: &str, sql: &str) -> u64 {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&mut connection)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    _ = connection.close().await;
    done.rows_affected()
}
