//! The monthly partitions of reports, records and rollup.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use sqlx::PgPool;
use time::{Date, Duration, OffsetDateTime, macros::date};

use crate::{Error, Store};

/// DMARC was published in January 2012: no report is older.
const FIRST_PLAUSIBLE: Date = date!(2012 - 01 - 01);

/// How far the end of a period may be ahead of us: clocks differ, and so do time zones.
const AHEAD: Duration = Duration::days(31);

/// Months that have their partitions before they begin.
const MONTHS_AHEAD: usize = 2;

/// After others did not let go of a table, the next try.
const PAUSE: std::time::Duration = std::time::Duration::from_secs(60);

/// The tables that have a partition for each month.
const PARENTS: [&str; 4] = [
    "reports",
    "record_blocks",
    "source_day_blocks",
    "source_blocks",
];

/// What this process knows of months.
#[derive(Debug, Default)]
pub(crate) struct Partitions {
    months: Mutex<Months>,
}

#[derive(Debug, Default)]
struct Months {
    /// They have partitions.
    made: BTreeSet<Date>,
    /// When one could not be made. What was in its way is in the way of all.
    postponed: Option<Instant>,
}

impl Partitions {
    /// Makes sure that each plausible one of these days has its partition; the others go to the default partition, so
    /// that a report cannot make partitions without bound. So does a day whose partition cannot be made at the moment,
    /// because a dump, say, reads the default partition: nothing waits for that.
    pub(crate) async fn ensure(
        &self,
        pool: &PgPool,
        days: impl Iterator<Item = Date>,
        now: OffsetDateTime,
    ) -> Result<(), Error> {
        let wanted: BTreeSet<Date> = days
            .filter(|day| is_plausible(*day, now))
            .map(first_of_month)
            .collect();
        for month in self.missing(&wanted) {
            if !self.add(pool, month).await? {
                break;
            }
        }
        Ok(())
    }

    fn missing(&self, wanted: &BTreeSet<Date>) -> Vec<Date> {
        let months = self.lock();
        let is_due = months.postponed.is_none_or(|at| at.elapsed() >= PAUSE);
        let missing = wanted.difference(&months.made);
        missing.filter(|_| is_due).copied().collect()
    }

    /// Adds the partitions of a month; `false` if that must be tried again later.
    async fn add(&self, pool: &PgPool, month: Date) -> Result<bool, Error> {
        for parent in PARENTS {
            match add_month(pool, parent, month).await {
                Ok(()) => {}
                Err(error) if error.is_lock_timeout() => {
                    tracing::debug!(%month, parent, "the partition has to wait");
                    self.lock().postponed = Some(Instant::now());
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        tracing::debug!(%month, "there are partitions for the month");
        let mut months = self.lock();
        months.made.insert(month);
        Ok(true)
    }

    /// Knows nothing any more: months may have been dropped, by this process or another one.
    pub(crate) fn forget(&self) {
        *self.lock() = Months::default();
    }

    fn lock(&self) -> MutexGuard<'_, Months> {
        self.months.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Makes the partitions of this month and the next ones, and of months of which something went to the default
    /// partition. `false` if some must be tried again later, because others do not let go of a table.
    pub async fn prepare_months(&self, now: OffsetDateTime) -> Result<bool, Error> {
        self.partitions.forget();
        let mut months = self.months_in_default(now).await?;
        let mut month = first_of_month(now.date());
        months.insert(month);
        for _ in 0..MONTHS_AHEAD {
            month = next_month(month);
            months.insert(month);
        }
        let mut all = true;
        for month in months {
            all &= self.partitions.add(&self.pool, month).await?;
        }
        Ok(all)
    }

    async fn months_in_default(&self, now: OffsetDateTime) -> Result<BTreeSet<Date>, Error> {
        let days = sqlx::query_scalar!(
            r#"
            select day as "day!" from reports_default where day between $1 and $2
            union
            select day from record_blocks_default where day between $1 and $2
            union
            select day from source_day_blocks_default where day between $1 and $2
            union
            select month from source_blocks_default where month between $1 and $2
            "#,
            FIRST_PLAUSIBLE,
            last_plausible(now)
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(days.into_iter().map(first_of_month).collect())
    }
}

/// The first day of the month that a day is in.
pub(crate) fn first_of_month(day: Date) -> Date {
    day.replace_day(1).expect("every month has a first day")
}

/// The last day of the month that a day is in.
pub(crate) fn last_of_month(day: Date) -> Date {
    let length = day.month().length(day.year());
    day.replace_day(length).expect("every month has its length")
}

/// The first day of the month after the one that a day is in.
pub(crate) fn next_month(day: Date) -> Date {
    last_of_month(day).saturating_add(Duration::DAY)
}

fn is_plausible(day: Date, now: OffsetDateTime) -> bool {
    (FIRST_PLAUSIBLE..=last_plausible(now)).contains(&day)
}

fn last_plausible(now: OffsetDateTime) -> Date {
    now.saturating_add(AHEAD).date()
}

/// Adds one partition, in a transaction of its own: it holds no lock of one table while it waits for another.
async fn add_month(pool: &PgPool, parent: &str, month: Date) -> Result<(), Error> {
    // Nobody need wait for the disk: the commit of what is stored in the partition puts it there as well. On a cluster the
    // nodes would have the partition for good, and the coordinator might not.
    sqlx::query!(
        r#"
        select
            case when not exists (select from pg_extension where extname = 'citus')
                then set_config('synchronous_commit', 'off', true)
            end,
            add_month($1, $2)
        "#,
        parent,
        month
    )
    .fetch_one(pool)
    .await?;
    Ok(())
}
