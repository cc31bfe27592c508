//! The ids of policy domains.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};

use report::Header;
use sqlx::PgPool;

use crate::Error;

/// Names kept in memory; a provider may have a million, of which few send reports at a time.
const NAMES_MAX: usize = 100_000;

/// A cache in front of the table `domains`, which only ever grows.
#[derive(Debug, Default)]
pub(crate) struct Domains {
    ids: Mutex<HashMap<String, i64>>,
}

impl Domains {
    /// The ids of these domains; those not seen before are added.
    ///
    /// Not part of a report's transaction: a domain without reports is harmless, a lock on its name is not.
    pub(crate) async fn ids(
        &self,
        pool: &PgPool,
        names: &BTreeSet<String>,
    ) -> Result<HashMap<String, i64>, Error> {
        let mut found = HashMap::with_capacity(names.len());
        let mut missing = Vec::new();
        {
            let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
            for name in names {
                match ids.get(name) {
                    Some(id) => _ = found.insert(name.clone(), *id),
                    None => missing.push(name.clone()),
                }
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let rows = sqlx::query!(
            r#"
            with added as (
                insert into domains (name)
                select name
                from unnest($1::text[]) as name
                where not exists (select from domains where domains.name = name.name)
                on conflict do nothing
                returning domain_id, name
            )
            select domain_id as "domain_id!", name as "name!"
            from added
            union all
            select domain_id, name
            from domains
            where name = any($1)
            "#,
            &missing
        )
        .fetch_all(pool)
        .await?;
        let mut fresh: HashMap<_, _> = rows
            .into_iter()
            .map(|row| (row.name, row.domain_id))
            .collect();
        // Added by another process between the two parts of the statement above: now they can be read.
        missing.retain(|name| !fresh.contains_key(name));
        if !missing.is_empty() {
            let rows = sqlx::query!(
                "select domain_id, name from domains where name = any($1)",
                &missing
            )
            .fetch_all(pool)
            .await?;
            fresh.extend(rows.into_iter().map(|row| (row.name, row.domain_id)));
        }
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.len() + fresh.len() > NAMES_MAX {
            ids.clear();
        }
        ids.extend(fresh.iter().map(|(name, id)| (name.clone(), *id)));
        found.extend(fresh);
        Ok(found)
    }
}

/// The id of the policy domain of a report, among those asked for.
pub(crate) fn id_of(ids: &HashMap<String, i64>, header: &Header) -> Result<i64, Error> {
    let name = &header.policy_published.domain;
    ids.get(name).copied().ok_or_else(|| Error::Corrupt {
        table: "domains",
        column: "name",
        detail: format!("{name:?} has no id though it was added"),
    })
}
