//! The monthly partitions of reports, records and rollup.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use sqlx::PgPool;
use time::{Date, Duration, OffsetDateTime, macros::date};

use crate::Error;

/// DMARC was published in January 2012: no report is older.
const FIRST_PLAUSIBLE: Date = date!(2012 - 01 - 01);

/// How far the end of a period may be ahead of us: clocks differ, and so do time zones.
const AHEAD: Duration = Duration::days(31);

/// The months this process knows to have a partition.
#[derive(Debug, Default)]
pub(crate) struct Partitions {
    months: Mutex<BTreeSet<Date>>,
}

impl Partitions {
    /// Makes sure that each plausible one of these days has its partition; the others go to the default partition, so
    /// that a report cannot make partitions without bound.
    pub(crate) async fn ensure(
        &self,
        pool: &PgPool,
        days: impl Iterator<Item = Date>,
        now: OffsetDateTime,
    ) -> Result<(), Error> {
        let wanted: BTreeSet<Date> = days
            .filter(|day| *day >= FIRST_PLAUSIBLE && *day <= (now + AHEAD).date())
            .filter_map(|day| Date::from_calendar_date(day.year(), day.month(), 1).ok())
            .collect();
        let missing: Vec<Date> = {
            let months = self.months.lock().unwrap_or_else(PoisonError::into_inner);
            wanted.difference(&months).copied().collect()
        };
        for month in missing {
            sqlx::query!("select add_month($1)", month)
                .execute(pool)
                .await?;
            tracing::debug!(
                year = month.year(),
                month = u8::from(month.month()),
                "there are partitions for the month"
            );
            self.months
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(month);
        }
        Ok(())
    }
}
