//! The ids of policy domains.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};

use futures_util::TryStreamExt as _;
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
        let mut fresh = read(pool, &missing).await?;
        missing.retain(|name| !fresh.contains_key(name));
        if !missing.is_empty() {
            fresh.extend(add(pool, &missing).await?);
            // Added by another process in between: now they can be read.
            missing.retain(|name| !fresh.contains_key(name));
        }
        if !missing.is_empty() {
            fresh.extend(read(pool, &missing).await?);
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

async fn read(pool: &PgPool, names: &[String]) -> Result<HashMap<String, i64>, Error> {
    sqlx::query!(
        "select domain_id, name from domains where name = any($1)",
        names
    )
    .map(|row| (row.name, row.domain_id))
    .fetch(pool)
    .try_collect()
    .await
    .map_err(Error::from)
}

/// Adds what is not there and returns only that. Called for new domains only: on a cluster it is written on every node.
async fn add(pool: &PgPool, names: &[String]) -> Result<HashMap<String, i64>, Error> {
    sqlx::query!(
        r#"
        insert into domains (name)
        select name
        from unnest($1::text[]) as name
        order by name
        on conflict do nothing
        returning domain_id, name
        "#,
        names
    )
    .map(|row| (row.name, row.domain_id))
    .fetch(pool)
    .try_collect()
    .await
    .map_err(Error::from)
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
