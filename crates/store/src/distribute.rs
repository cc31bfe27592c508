//! The same schema on a cluster: Citus spreads the tables over its nodes, and nothing else is different.
//!
//! Reports, their records and the rollup of a domain are together on one node; what is kept by source is spread by source.
//! Domains are on every node. The ledger, the quarantine and the mailboxes stay where they are, on the coordinator.
//!
//! Not a migration, because those run once, and a database may outgrow one server later.

use sqlx::{PgPool, Postgres, Transaction};

use crate::{Action, Actor, Change, Error, Store, audit::record_change};

/// How a table is spread.
#[derive(Clone, Copy, Debug)]
enum Spread {
    /// A copy on every node.
    Copied,
    /// By a column, in parts of its own.
    By(&'static str),
    /// By a column, each part on the node that has the same part of another table.
    With(&'static str, &'static str),
}

/// Tables that are spread, in the order in which that happens.
const TABLES: [(&str, Spread); 7] = [
    ("domains", Spread::Copied),
    ("reports", Spread::By("domain_id")),
    ("record_blocks", Spread::With("domain_id", "reports")),
    ("source_day_arrivals", Spread::With("domain_id", "reports")),
    ("source_day_blocks", Spread::With("domain_id", "reports")),
    ("peer_reports", Spread::With("domain_id", "reports")),
    ("source_blocks", Spread::By("bucket")),
];

/// Functions that answers are made with on the nodes.
const FUNCTIONS: [&str; 3] = [
    "to_count(numeric)",
    "record_results(json)",
    "sum_keys(json)",
];

/// A view in the words of a cluster.
const DOMAINS_VIEW: &str = include_str!("distribute/dmarc_domains.sql");

// No statement here is a checked query: what it calls exists on a cluster only.
impl Store {
    /// Whether the database is the coordinator of a cluster.
    pub async fn is_cluster(&self) -> Result<bool, Error> {
        Ok(
            sqlx::query_scalar("select exists (select from pg_extension where extname = 'citus')")
                .fetch_one(&self.pool)
                .await?,
        )
    }

    /// Spreads those tables over the cluster that are not yet, with what is in them, and returns their names. May be
    /// broken off and called again, by several processes at once, and while reports arrive.
    ///
    /// The audit has a row of each call that came to its end.
    pub async fn distribute(&self, actor: &Actor) -> Result<Vec<&'static str>, Error> {
        if !self.is_cluster().await? {
            return Err(Error::NoCluster);
        }
        // Kept by a transaction of its own: each table is committed by itself, so that what is done stays done.
        let mut turn = take_turn(&self.pool).await?;
        for function in FUNCTIONS {
            sqlx::query("select create_distributed_function($1::regprocedure)")
                .bind(function)
                .execute(&self.pool)
                .await?;
        }
        let mut distributed = Vec::new();
        for (table, spread) in TABLES {
            if !is_distributed(&self.pool, table).await? {
                distribute_table(&self.pool, table, spread).await?;
                tracing::info!(table, "a table is spread over the cluster");
                distributed.push(table);
            }
            drop_local_rows(&self.pool, table).await?;
        }
        sqlx::query(DOMAINS_VIEW).execute(&self.pool).await?;
        let detail = serde_json::json!({ "tables": distributed });
        let change = Change::new(Action::Distributed).with(detail);
        record_change(&mut turn, actor, &change).await?;
        turn.commit().await?;
        Ok(distributed)
    }
}

async fn take_turn(pool: &PgPool) -> Result<Transaction<'static, Postgres>, Error> {
    let mut turn = pool.begin().await?;
    sqlx::query("select pg_advisory_xact_lock(hashtext('ruad.distribute.' || current_schema))")
        .execute(&mut *turn)
        .await?;
    Ok(turn)
}

async fn is_distributed(pool: &PgPool, table: &str) -> Result<bool, Error> {
    Ok(sqlx::query_scalar(
        "select exists (select from pg_dist_partition where logicalrelid = $1::regclass)",
    )
    .bind(table)
    .fetch_one(pool)
    .await?)
}

/// With its rows and its partitions.
async fn distribute_table(pool: &PgPool, table: &str, spread: Spread) -> Result<(), Error> {
    let (column, together_with) = match spread {
        Spread::Copied => {
            sqlx::query("select create_reference_table($1::regclass)")
                .bind(table)
                .execute(pool)
                .await?;
            return Ok(());
        }
        Spread::By(column) => (column, "none"),
        Spread::With(column, table) => (column, table),
    };
    sqlx::query("select create_distributed_table($1::regclass, $2, colocate_with => $3)")
        .bind(table)
        .bind(column)
        .bind(together_with)
        .execute(pool)
        .await?;
    Ok(())
}

/// Frees the space of rows that are on the nodes now. Nobody sees them any more.
async fn drop_local_rows(pool: &PgPool, table: &str) -> Result<(), Error> {
    let local_bytes: i64 = sqlx::query_scalar(
        r#"
        select coalesce(sum(pg_relation_size(relid))::bigint, 0) + coalesce(pg_relation_size($1::regclass), 0)
        from pg_partition_tree($1::regclass)
        "#,
    )
    .bind(table)
    .fetch_one(pool)
    .await?;
    if local_bytes > 0 {
        sqlx::query("select truncate_local_data_after_distributing_table($1::regclass)")
            .bind(table)
            .execute(pool)
            .await?;
    }
    Ok(())
}
