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

/// Makes the rollup anew.
pub(crate) async fn rebuild(config: &Config) -> Result<Exit> {
    let database = Database::open_migrated(config).await?;
    let rebuilt = database.store.rebuild().await;
    database.close().await;
    rebuilt?;
    output::print("rebuilt the rollup\n")?;
    Ok(Exit::Done)
}

/// Brings the schema up to date.
pub(crate) async fn migrate(config: &Config) -> Result<Exit> {
    let database = Database::open_migrated(config).await?;
    database.close().await;
    output::print("the schema is up to date\n")?;
    Ok(Exit::Done)
}
