//! Forgetting what is kept for a time only: whole months, by dropping their partitions, and rows of the audit.
//!
//! What was dropped is written down in the table `forgotten`, in the transaction that drops it, so that nothing takes it
//! for lost. Reports of a forgotten month may still arrive; they are forgotten with the next run.

use sqlx::{PgConnection, Postgres, Transaction};
use time::{Date, Duration, OffsetDateTime};
use uuid::Uuid;

use crate::{
    Error, Store,
    maintain::take_turn,
    partitions::{first_of_month, next_month},
};

/// How long to wait for others who rearrange the rollup. Nobody waits meanwhile.
const TURN_TIMEOUT: &str = "10s";

/// Rows deleted in one transaction.
const ROWS_MAX: i64 = 1_000;

/// What is kept no longer. Months go as a whole: the month that a day is in stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forget {
    /// Records of reports of earlier days.
    pub records_before: Option<Date>,
    /// Earlier days of the rollup, and their reports with whatever belongs to them.
    pub days_before: Option<Date>,
}

/// What was forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forgot {
    /// Partitions dropped.
    pub partition_count: u64,
    /// Rows deleted of days that have no partition of their own.
    pub row_count: u64,
    /// `false` if some is left, because others do not let go of a table: to be tried again later.
    pub is_complete: bool,
}

/// What `forgotten` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Forgotten {
    /// Records of reports of earlier days are dropped.
    pub(crate) records_before: Option<Date>,
    /// The rollup of earlier days cannot be made from records. It is the first day of a month.
    pub(crate) rebuild_from: Option<Date>,
}

impl Forgotten {
    pub(crate) async fn read(connection: &mut PgConnection) -> Result<Self, Error> {
        let rows = sqlx::query!("select kind, before from forgotten")
            .fetch_all(connection)
            .await?;
        let before = |kind: &str| {
            let row = rows.iter().find(|row| row.kind == kind);
            row.map(|row| row.before)
        };
        Ok(Self {
            records_before: before("records"),
            rebuild_from: before("rebuild"),
        })
    }
}

/// What one step came to.
enum Step {
    Done(u64),
    Locked,
}

impl Store {
    /// Forgets what is too old. Several processes may do so at once. Nobody waits for it longer than two seconds; where
    /// others do not let go of a table for as long, the rest is left for later.
    pub async fn forget(&self, forget: Forget) -> Result<Forgot, Error> {
        let month = |day: Option<Date>| day.map(first_of_month);
        let days_before = month(forget.days_before);
        // Records are of no use without their report.
        let records_before = month(forget.records_before).max(days_before);
        let mut forgot = Forgot {
            partition_count: 0,
            row_count: 0,
            is_complete: true,
        };
        if let Some(before) = records_before {
            self.forget_months("record_blocks", before, &mut forgot)
                .await?;
        }
        // Reports go last: they tell how far their messages are spread.
        for parent in ["source_day_blocks", "source_blocks", "reports"] {
            // Records whose reports are gone would stay for ever.
            if let Some(before) = days_before
                && forgot.is_complete
            {
                self.forget_months(parent, before, &mut forgot).await?;
            }
        }
        if let Some(before) = days_before
            && forgot.is_complete
        {
            self.forget_days("source_day_arrivals", before, &mut forgot)
                .await?;
        }
        self.partitions.forget();
        Ok(forgot)
    }

    /// Deletes the rows of the audit from before this time, some at a time: whoever writes one does not wait. Several
    /// processes may do so at once. Returns how many this one deleted.
    pub async fn forget_audit(&self, before: OffsetDateTime) -> Result<u64, Error> {
        let mut row_count = 0;
        loop {
            let deleted = sqlx::query!(
                r#"
                with old as materialized (
                    select audit_id
                    from audit
                    where at < $1
                    order by audit_id
                    limit $2
                    for update skip locked
                )
                delete from audit
                using old
                where audit.audit_id = old.audit_id
                "#,
                before,
                ROWS_MAX
            )
            .execute(&self.pool)
            .await?
            .rows_affected();
            row_count += deleted;
            if deleted < ROWS_MAX.unsigned_abs() {
                return Ok(row_count);
            }
        }
    }

    /// Whether the records of this report were dropped because of their age.
    pub async fn are_records_forgotten(&self, report_uid: Uuid, day: Date) -> Result<bool, Error> {
        let mut connection = self.reading.acquire().await?;
        let forgotten = Forgotten::read(&mut connection).await?;
        if forgotten.records_before.is_none_or(|before| before <= day) {
            return Ok(false);
        }
        let stored = sqlx::query_scalar!(
            r#"
            select first_position
            from record_blocks
            where report_uid = $1
                and day = $2
            limit 1
            "#,
            report_uid,
            day
        )
        .fetch_optional(&mut *connection)
        .await?;
        Ok(stored.is_none())
    }

    /// Drops the partitions of the months before this day, the earliest first, and deletes what is in the default one.
    async fn forget_months(
        &self,
        parent: &str,
        before: Date,
        forgot: &mut Forgot,
    ) -> Result<(), Error> {
        for month in self.months_of(parent).await? {
            if month >= before {
                break;
            }
            match self.drop_month(parent, month).await? {
                Step::Done(count) => forgot.partition_count += count,
                Step::Locked => {
                    forgot.is_complete = false;
                    return Ok(());
                }
            }
        }
        self.forget_days(&format!("{parent}_default"), before, forgot)
            .await
    }

    /// The months that a table has partitions for, the earliest first.
    async fn months_of(&self, parent: &str) -> Result<Vec<Date>, Error> {
        Ok(sqlx::query_scalar!(
            r#"
            select to_date(right(partition.relname, 7), 'YYYY_MM') as "month!"
            from pg_inherits
            join pg_class partition on partition.oid = inhrelid
            where inhparent = to_regclass($1)
                and partition.relname ~ '_\d{4}_\d{2}$'
            order by 1
            "#,
            parent
        )
        .fetch_all(&self.pool)
        .await?)
    }

    async fn drop_month(&self, parent: &str, month: Date) -> Result<Step, Error> {
        let Some(mut transaction) = self.begin_turn().await? else {
            return Ok(Step::Locked);
        };
        match drop_and_remember(&mut transaction, parent, month).await {
            Ok(false) => return Ok(Step::Done(0)),
            Ok(true) => {}
            Err(error) if error.is_lock_timeout() => return Ok(Step::Locked),
            Err(error) => return Err(error),
        }
        transaction.commit().await?;
        tracing::info!(table = parent, %month, "a month was dropped because of its age");
        Ok(Step::Done(1))
    }

    /// Deletes the days before this one from a table that holds few rows of them.
    async fn forget_days(
        &self,
        table: &str,
        before: Date,
        forgot: &mut Forgot,
    ) -> Result<(), Error> {
        loop {
            let Some(mut transaction) = self.begin_turn().await? else {
                forgot.is_complete = false;
                return Ok(());
            };
            let deleted = sqlx::query!(
                r#"
                select first_day, last_day, deleted_count as "deleted_count!"
                from delete_days($1, $2, $3)
                "#,
                table,
                before,
                ROWS_MAX
            )
            .fetch_one(&mut *transaction)
            .await?;
            let Some((first_day, last_day)) = deleted.first_day.zip(deleted.last_day) else {
                return Ok(());
            };
            let next = last_day.saturating_add(Duration::days(1));
            remember(&mut transaction, table, first_day, next).await?;
            transaction.commit().await?;
            forgot.row_count += deleted.deleted_count.unsigned_abs();
        }
    }

    /// A transaction that has the rollup for itself; `None` if others keep it for long.
    async fn begin_turn(&self) -> Result<Option<Transaction<'static, Postgres>>, Error> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query!("select set_config('lock_timeout', $1, true)", TURN_TIMEOUT)
            .fetch_one(&mut *transaction)
            .await?;
        match take_turn(&mut transaction).await {
            Ok(()) => Ok(Some(transaction)),
            Err(error) if error.is_lock_timeout() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The first day of the month that begins on this day or next.
fn first_month_from(day: Date) -> Date {
    match day.day() {
        1 => day,
        _ => next_month(day),
    }
}

/// Drops the partition of a month; `false` if another process did before.
async fn drop_and_remember(
    connection: &mut PgConnection,
    parent: &str,
    month: Date,
) -> Result<bool, Error> {
    let is_dropped =
        sqlx::query_scalar!(r#"select drop_month($1, $2) as "dropped!""#, parent, month)
            .fetch_one(&mut *connection)
            .await?;
    if is_dropped {
        // Others wait by now: whoever keeps us from the other tables is not waited for as long as for a turn.
        sqlx::query!("select set_config('lock_timeout', '500ms', true)")
            .fetch_one(&mut *connection)
            .await?;
        remember(connection, parent, month, next_month(month)).await?;
    }
    Ok(is_dropped)
}

/// Writes down that these days of a table are forgotten, the second one not included.
async fn remember(
    connection: &mut PgConnection,
    table: &str,
    from: Date,
    before: Date,
) -> Result<(), Error> {
    if !table.starts_with("record_blocks") {
        return remember_before(connection, "days", before).await;
    }
    remember_before(connection, "records", before).await?;
    // A long report counts for days after its own; from the month after those on, the rollup follows from records.
    let spread = sqlx::query_scalar!(
        r#"
        select (date_trunc('month', max((least(begin_at, end_at) at time zone 'utc')::date + day_count - 1)) + interval '1 month')::date
        from reports
        where day >= $1
            and day < $2
            and day_count > 1
        "#,
        from,
        before
    )
    .fetch_one(&mut *connection)
    .await?;
    let rebuild_from = first_month_from(before);
    let rebuild_from = spread.map_or(rebuild_from, |spread| spread.max(rebuild_from));
    remember_before(connection, "rebuild", rebuild_from).await
}

async fn remember_before(
    connection: &mut PgConnection,
    kind: &str,
    before: Date,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into forgotten (kind, before)
        values ($1, $2)
        on conflict (kind) do update
        set before = greatest(forgotten.before, excluded.before)
        "#,
        kind,
        before
    )
    .execute(connection)
    .await?;
    Ok(())
}
