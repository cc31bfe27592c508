//! `ruad verify`, `ruad rebuild`, `ruad migrate`.

use std::io::Write as _;

use anyhow::Result;

use crate::{Config, database::Database, exit::Exit, output};

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

/// Makes the rollup of every domain anew.
pub(crate) async fn rebuild(config: &Config) -> Result<Exit> {
    let database = Database::open_migrated(config).await?;
    let rebuilt = rebuild_domains(&database).await;
    database.close().await;
    output::print(&format!("rebuilt the rollup of {} domains\n", rebuilt?))?;
    Ok(Exit::Done)
}

async fn rebuild_domains(database: &Database) -> Result<usize> {
    let domains = database.store.domain_ids().await?;
    for (domain_id, _) in &domains {
        database.store.rebuild(*domain_id).await?;
    }
    Ok(domains.len())
}

/// Brings the schema up to date.
pub(crate) async fn migrate(config: &Config) -> Result<Exit> {
    let database = Database::open_migrated(config).await?;
    database.close().await;
    output::print("the schema is up to date\n")?;
    Ok(Exit::Done)
}
