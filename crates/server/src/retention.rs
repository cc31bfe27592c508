//! How long what is stored is kept.

use std::time::Duration;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use store::{Forget, Store};
use time::OffsetDateTime;

use crate::clock;

const INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a start leaves everything as it is: time to read what the log says, and to stop.
const GRACE: Duration = Duration::from_secs(30);
/// The next try where the database, or others who use it, did not admit it.
const RETRY_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// Days that something is kept; 0 keeps it for ever.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Records of reports.
    pub records: u32,
    /// Reports and the rollup.
    pub days: u32,
    /// Bytes of deliveries of which something was not stored.
    pub quarantine: u32,
    /// Who changed what.
    pub audit: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            records: 400,
            days: 0,
            quarantine: 30,
            audit: 0,
        }
    }
}

impl Config {
    /// Refuses what contradicts itself.
    pub(crate) fn check(&self) -> Result<()> {
        if self.days > 0 && (self.records == 0 || self.records > self.days) {
            bail!(
                "config: retention.records must not be longer than retention.days: records are of no use without their report"
            );
        }
        Ok(())
    }

    /// From when on the bytes in the quarantine are kept.
    pub(crate) fn quarantine_from(&self, now: OffsetDateTime) -> OffsetDateTime {
        before(self.quarantine, now).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// From when on the audit is kept; `None` for ever.
    fn audit_from(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        before(self.audit, now)
    }

    fn forget(&self, now: OffsetDateTime) -> Forget {
        let day = |days| before(days, now).map(OffsetDateTime::date);
        Forget {
            records_before: day(self.records),
            days_before: day(self.days),
        }
    }
}

/// So many days ago; `None` if that is for ever.
fn before(days: u32, now: OffsetDateTime) -> Option<OffsetDateTime> {
    let days = (days > 0).then(|| time::Duration::days(days.into()))?;
    now.checked_sub(days)
}

/// Makes partitions ahead of need, now and once a day, and forgets what is too old, for the first time half a minute after the start.
pub(crate) async fn keep(store: &Store, config: &Config) {
    if let Err(error) = store.prepare_months(clock::now()).await {
        tracing::warn!(%error, "the partitions of the next months could not be made; it is tried again");
    }
    let forget = config.forget(clock::now());
    if let Some(day) = forget.records_before {
        tracing::info!(records_before = %day, "months of records that end before this day are dropped, for the first time in half a minute");
    }
    tokio::time::sleep(GRACE).await;
    loop {
        let pause = match keep_once(store, config, clock::now()).await {
            Ok(true) => INTERVAL,
            Ok(false) => {
                tracing::info!(
                    "what is too old is not all dropped yet, because it is in use; it is tried again in ten minutes"
                );
                RETRY_INTERVAL
            }
            Err(error) => {
                tracing::warn!(%error, "what is too old could not be dropped; it is tried again in ten minutes");
                RETRY_INTERVAL
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn keep_once(
    store: &Store,
    config: &Config,
    now: OffsetDateTime,
) -> Result<bool, store::Error> {
    let is_prepared = store.prepare_months(now).await?;
    let forgot = store.forget(config.forget(now)).await?;
    if forgot.partition_count + forgot.row_count > 0 {
        tracing::info!(
            forgot.partition_count,
            forgot.row_count,
            "what is too old was dropped"
        );
    }
    if let Some(from) = config.audit_from(now) {
        let row_count = store.forget_audit(from).await?;
        if row_count > 0 {
            tracing::info!(row_count, "old rows of the audit were deleted");
        }
    }
    Ok(is_prepared && forgot.is_complete)
}

#[cfg(test)]
mod tests {
    use time::macros::{date, datetime};

    use super::*;

    #[test]
    fn days_are_counted_back_from_now() {
        let config = Config {
            records: 400,
            days: 0,
            quarantine: u32::MAX,
            audit: 30,
        };
        let now = datetime!(2026-11-22 13:00 UTC);

        let forget = config.forget(now);

        assert_eq!(forget.records_before, Some(date!(2025 - 10 - 18)));
        assert_eq!(forget.days_before, None, "0 keeps for ever");
        let a_month_ago = datetime!(2026-10-23 13:00 UTC);
        assert_eq!(config.audit_from(now), Some(a_month_ago));
        assert_eq!(Config::default().audit_from(now), None, "the same");
        assert_eq!(
            config.quarantine_from(now),
            OffsetDateTime::UNIX_EPOCH,
            "so does longer than there is a calendar"
        );
    }
}
