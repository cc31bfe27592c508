//! The rollup of long periods, and of what was lost: from the records, by the view `record_days`.

use report::Disposition;
use sqlx::{FromRow, PgConnection};
use time::Date;

use crate::{
    Error,
    copy::copy_rows,
    query::address,
    report_row::ReportKey,
    rollup::{Sum, SumKey, source_day_blocks},
};

/// Rows fetched at a time.
const FETCH: &str = "fetch 10000 from sums";

/// Fills the rollup of one report from its records.
pub(crate) async fn fill_rollup(
    connection: &mut PgConnection,
    key: ReportKey,
) -> Result<(), Error> {
    prepare_for_many_rows(connection).await?;
    sqlx::query!(
        r#"
        declare sums no scroll cursor for
        select
            domain_id, day, host(source_ip) as source_ip, header_from, disposition, dkim_aligned, spf_aligned,
            message_count, report_count::bigint, source_report_count::bigint
        from record_days
        where domain_id = $1
            and report_uid = $2
            and report_day = $3
        order by domain_id, day, record_days.source_ip
        "#,
        key.domain_id,
        key.report_uid,
        key.day
    )
    .execute(&mut *connection)
    .await?;
    pack_sums(connection).await
}

/// Fills the rollup, from `rollup_from` on, of all reports whose day is one of `from` to `before`, the last one not included.
pub(crate) async fn fill_rollups(
    connection: &mut PgConnection,
    from: Date,
    before: Date,
    rollup_from: Option<Date>,
) -> Result<(), Error> {
    prepare_for_many_rows(connection).await?;
    sqlx::query!(
        r#"
        declare sums no scroll cursor for
        select
            domain_id, day, host(source_ip) as source_ip, header_from, disposition, dkim_aligned, spf_aligned,
            to_count(sum(message_count)) as message_count,
            sum(report_count) as report_count,
            sum(source_report_count) as source_report_count
        from record_days
        where report_day >= $1
            and report_day < $2
            and ($3::date is null or day >= $3)
        group by domain_id, day, record_days.source_ip, header_from, disposition, dkim_aligned, spf_aligned
        order by domain_id, day, record_days.source_ip
        "#,
        from,
        before,
        rollup_from
    )
    .execute(&mut *connection)
    .await?;
    pack_sums(connection).await
}

/// The sort of a large report goes to disk, but need not do so in pieces of 4 MiB. Of tables that were never analyzed
/// PostgreSQL believes that they are small, and compares each record of a block with each of its results.
async fn prepare_for_many_rows(connection: &mut PgConnection) -> Result<(), Error> {
    sqlx::query!(
        "select set_config('work_mem', '32MB', true) as work_mem, set_config('enable_nestloop', 'off', true) as enable_nestloop"
    )
    .fetch_one(connection)
    .await?;
    Ok(())
}

/// A row of the cursor.
#[derive(FromRow)]
struct SumRow {
    domain_id: i64,
    day: Date,
    source_ip: String,
    header_from: Option<String>,
    disposition: Option<String>,
    dkim_aligned: Option<bool>,
    spf_aligned: Option<bool>,
    message_count: i64,
    report_count: i64,
    source_report_count: i64,
}

impl SumRow {
    fn sum(&self) -> Result<Sum<'_>, Error> {
        Ok(Sum {
            source_ip: address("records", &self.source_ip)?,
            key: SumKey {
                dkim_aligned: self.dkim_aligned,
                spf_aligned: self.spf_aligned,
                disposition: self.disposition.as_deref().and_then(Disposition::from_word),
                header_from: self.header_from.as_deref(),
            },
            message_count: self.message_count.max(0) as u64,
            report_count: u32::try_from(self.report_count).unwrap_or(u32::MAX),
            source_report_count: u32::try_from(self.source_report_count).unwrap_or(u32::MAX),
        })
    }
}

/// Writes what the cursor gives, in order of domain, day and source.
async fn pack_sums(connection: &mut PgConnection) -> Result<(), Error> {
    loop {
        // Not a checked query: the cursor lives only in this transaction.
        let rows: Vec<SumRow> = sqlx::query_as(FETCH).fetch_all(&mut *connection).await?;
        if rows.is_empty() {
            break;
        }
        let mut blocks = Vec::new();
        for same_day in rows.chunk_by(|a, b| (a.domain_id, a.day) == (b.domain_id, b.day)) {
            let sums: Vec<Sum<'_>> = same_day.iter().map(SumRow::sum).collect::<Result<_, _>>()?;
            let key = &same_day[0];
            blocks.extend(source_day_blocks(key.domain_id, key.day, &sums));
        }
        copy_rows(connection, "source_day_arrivals", blocks.into_iter()).await?;
    }
    sqlx::query!("close sums").execute(connection).await?;
    Ok(())
}
