//! `ruad verify`, `ruad rebuild`, `ruad migrate`.

use std::io::Write as _;

use anyhow::Result;
use store::{Actor, Store};

use crate::{Config, cli::MigrateArgs, database::Database, exit::Exit, output};

/// Mismatches printed of each kind.
const SHOWN_MAX: i64 = 100;

/// Checks that all totals reconcile, prints what does not, and fails if anything does not.
pub(crate) async fn verify(config: &Config) -> Result<Exit> {
    let database = Database::open_migrated(config).await?;
    let checked = database.store.verify(SHOWN_MAX).await;
    database.close().await;
    let mismatches = checked?;
    let mut out = output::buffered();
    for mismatch in &mismatches {
        writeln!(
            out,
            "{}: {} {}: {}",
            mismatch.check,
            output::plain(&mismatch.domain),
            mismatch.place,
            output::plain(&mismatch.detail)
        )?;
    }
    if mismatches.is_empty() {
        writeln!(out, "all totals reconcile")?;
    }
    out.flush()?;
    Ok(if mismatches.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// Makes the rollup anew.
pub(crate) async fn rebuild(config: &Config) -> Result<Exit> {
    let database = Database::open_migrated(config).await?;
    let rebuilt = database.store.rebuild(&Actor::cli()).await;
    database.close().await;
    rebuilt?;
    output::print("rebuilt the rollup\n")?;
    Ok(Exit::Done)
}

/// Brings the schema up to date and, where that is asked for, spreads it over a cluster.
pub(crate) async fn migrate(config: &Config, args: &MigrateArgs) -> Result<Exit> {
    let database = Database::open(config).await?;
    let migrated = match args.distribute {
        true => distribute(&database.store).await,
        false => {
            let migrated = database.store.migrate_for(&Actor::cli()).await;
            migrated.map(|()| Vec::new())
        }
    };
    database.close().await;
    let distributed = migrated?;
    output::print("the schema is up to date\n")?;
    if args.distribute {
        output::print(&match distributed.as_slice() {
            [] => "every table was spread over the cluster before\n".into(),
            tables => format!("spread over the cluster: {}\n", tables.join(", ")),
        })?;
    }
    Ok(Exit::Done)
}

/// Changes nothing unless there is a cluster.
async fn distribute(store: &Store) -> Result<Vec<&'static str>, store::Error> {
    if !store.is_cluster().await? {
        return Err(store::Error::NoCluster);
    }
    store.migrate_for(&Actor::cli()).await?;
    store.distribute(&Actor::cli()).await
}
