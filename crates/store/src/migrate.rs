//! Bringing the schema up to date, and telling the audit of it.

use std::collections::BTreeSet;

use crate::{Action, Actor, Change, Error, Store, audit::record_change, store::MIGRATOR};

impl Store {
    /// Brings the schema up to date because somebody runs a newer program: the audit has a row for each step. A new database
    /// has none, since nothing is changed by making it.
    pub async fn migrate_for(&self, actor: &Actor) -> Result<(), Error> {
        let before = self.applied_versions().await?;
        MIGRATOR.run(&self.pool).await?;
        if before.is_empty() {
            return Ok(());
        }
        let after = self.applied_versions().await?;
        // Several processes may have seen the same before, and one of them applied it.
        let mut transaction = self.pool.begin().await?;
        sqlx::query!("select pg_advisory_xact_lock(hashtext('ruad.migrate.' || current_schema))")
            .execute(&mut *transaction)
            .await?;
        for version in after.difference(&before) {
            let version = version.to_string();
            let is_recorded = sqlx::query_scalar!(
                r#"select exists (select from audit where action = $1 and subject = $2) as "is_recorded!""#,
                Action::Migrated.as_str(),
                version
            )
            .fetch_one(&mut *transaction)
            .await?;
            if !is_recorded {
                let change = Change::new(Action::Migrated).of(version);
                record_change(&mut transaction, actor, &change).await?;
            }
        }
        transaction.commit().await?;
        Ok(())
    }

    async fn applied_versions(&self) -> Result<BTreeSet<i64>, Error> {
        // Not a checked query: the table is made by the migrator, not by a migration.
        let versions = sqlx::query_scalar("select version from _sqlx_migrations where success")
            .fetch_all(&self.pool)
            .await;
        match versions.map_err(Error::from) {
            Ok(versions) => Ok(versions.into_iter().collect()),
            Err(error) if error.is_table_missing() => Ok(BTreeSet::new()),
            Err(error) => Err(error),
        }
    }
}
