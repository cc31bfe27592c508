//! Checking and rebuilding what is derived, and forgetting what is kept for a time.

use serde::Serialize;
use sqlx::PgConnection;
use time::{Date, OffsetDateTime};

use crate::{
    Action, Actor, Change, Error, Store, audit::record_change, compact::source_block_mismatches,
    fill::fill_rollups, retention::Forgotten,
};

/// Deliveries that lose their bytes in one statement.
const PRUNED_MAX: usize = 100;

/// Something that does not add up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// The invariant: `records_of_report`, `source_days`, `source_day_totals`, `source_blocks` or `delivery_of_report`.
    pub check: String,
    /// The policy domain.
    pub domain: String,
    /// Which report or which day.
    pub place: String,
    /// What should be and what is.
    pub detail: String,
}

/// How long the bytes of deliveries are kept.
#[derive(Clone, Copy, Debug)]
pub struct Prune {
    /// Those kept before are thrown away.
    pub kept_before: OffsetDateTime,
    /// Bytes kept at most; the oldest go first.
    pub total_bytes_max: u64,
}

/// Waits until nobody else moves sums of the rollup from table to table, and keeps others from it until the transaction
/// ends.
pub(crate) async fn take_turn(connection: &mut PgConnection) -> Result<(), Error> {
    sqlx::query!("select pg_advisory_xact_lock(hashtext('ruad.rollup.' || current_schema))")
        .execute(connection)
        .await?;
    Ok(())
}

/// The same without waiting: false if somebody else is at it.
pub(crate) async fn take_turn_if_free(connection: &mut PgConnection) -> Result<bool, Error> {
    Ok(sqlx::query_scalar!(
        r#"select pg_try_advisory_xact_lock(hashtext('ruad.rollup.' || current_schema)) as "free!""#
    )
    .fetch_one(connection)
    .await?)
}

/// Reports whose totals are not those of their records.
async fn reports_that_differ(
    connection: &mut PgConnection,
    forgotten: Forgotten,
    limit: i64,
) -> Result<Vec<Mismatch>, Error> {
    Ok(sqlx::query_as!(
        Mismatch,
        r#"
        select
            'records_of_report' as "check!",
            d.name as "domain!",
            p.report_uid::text as "place!",
            format(
                'the report says %s records, %s skipped, %s messages, %s passing; stored are %s, %s, %s',
                p.record_count, p.skipped_count, p.message_count, p.dmarc_pass_count,
                coalesce(r.records, 0), coalesce(r.messages, 0), coalesce(r.passing, 0)
            ) as "detail!"
        from reports p
        join domains d on d.domain_id = p.domain_id
        left join (
            select
                domain_id, report_uid, count(*) as records, sum(message_count) as messages,
                sum(message_count) filter (where dkim_aligned or spf_aligned) as passing
            from records
            group by domain_id, report_uid
        ) r on r.domain_id = p.domain_id and r.report_uid = p.report_uid
        where ($2::date is null or p.day >= $2 or r.records is not null)
            and (
                p.record_count - p.skipped_count <> coalesce(r.records, 0)
                or p.message_count <> coalesce(r.messages, 0)
                or p.dmarc_pass_count <> coalesce(r.passing, 0)
            )
        order by p.domain_id, p.report_uid
        limit $1
        "#,
        limit,
        forgotten.records_before
    )
    .fetch_all(connection)
    .await?)
}

/// Sums of the rollup that do not follow from the records.
async fn sums_that_differ(
    connection: &mut PgConnection,
    forgotten: Forgotten,
    limit: i64,
) -> Result<Vec<Mismatch>, Error> {
    Ok(sqlx::query_as!(
        Mismatch,
        r#"
        select
            'source_days' as "check!",
            coalesce(d.name, '') as "domain!",
            format('%s %s', t.day, host(t.source_ip)) as "place!",
            format(
                'header_from %s, disposition %s, dkim %s, spf %s: the rollup differs from the records by %s messages, %s reports, %s reports of the source',
                t.header_from, t.disposition, t.dkim_aligned, t.spf_aligned, t.messages, t.reports, t.source_reports
            ) as "detail!"
        from (
            select
                domain_id, day, source_ip, header_from, disposition, dkim_aligned, spf_aligned,
                sum(message_count) as messages, sum(report_count) as reports,
                sum(source_report_count) as source_reports
            from (
                select
                    domain_id, day, source_ip, header_from, disposition, dkim_aligned, spf_aligned,
                    message_count, report_count, source_report_count
                from source_days
                union all
                select
                    domain_id, day, source_ip, header_from, disposition, dkim_aligned, spf_aligned,
                    -message_count, -report_count, -source_report_count
                from record_days
            ) both_sides
            where $2::date is null or day >= $2
            group by domain_id, day, source_ip, header_from, disposition, dkim_aligned, spf_aligned
        ) t
        left join domains d on d.domain_id = t.domain_id
        where t.messages <> 0 or t.reports <> 0 or t.source_reports <> 0
        order by t.domain_id, t.day, t.source_ip
        limit $1
        "#,
        limit,
        forgotten.rebuild_from
    )
    .fetch_all(connection)
    .await?)
}

/// Rows of the rollup whose totals are not those of their sums.
async fn totals_that_differ(
    connection: &mut PgConnection,
    limit: i64,
) -> Result<Vec<Mismatch>, Error> {
    Ok(sqlx::query_as!(
        Mismatch,
        r#"
        select
            'source_day_totals' as "check!",
            coalesce(d.name, '') as "domain!",
            b.day::text as "place!",
            format('the totals of a row are %s, those of its sums %s', said, summed) as "detail!"
        from (
            select
                domain_id,
                day,
                (
                    first_source, last_source, sum_count::bigint, source_report_count, message_count, dmarc_pass_count,
                    dkim_aligned_count, spf_aligned_count,
                    disposition_none, disposition_pass, disposition_quarantine, disposition_reject, disposition_unknown
                )::text as said,
                summed
            from source_day_rows r
            cross join lateral (
                select (
                    min(e.source_ip),
                    max(e.source_ip),
                    count(*),
                    sum(coalesce(e.source_report_count, 1)),
                    to_count(sum(e.message_count)),
                    to_count(coalesce(sum(e.message_count) filter (where k.dkim_aligned or k.spf_aligned), 0)),
                    to_count(coalesce(sum(e.message_count) filter (where k.dkim_aligned), 0)),
                    to_count(coalesce(sum(e.message_count) filter (where k.spf_aligned), 0)),
                    to_count(coalesce(sum(e.message_count) filter (where k.disposition = 'none'), 0)),
                    to_count(coalesce(sum(e.message_count) filter (where k.disposition = 'pass'), 0)),
                    to_count(coalesce(sum(e.message_count) filter (where k.disposition = 'quarantine'), 0)),
                    to_count(coalesce(sum(e.message_count) filter (where k.disposition = 'reject'), 0)),
                    to_count(coalesce(sum(e.message_count) filter (where k.disposition is null), 0))
                )::text as summed
                -- Said, or a cluster takes the columns for those of another table.
                from lateral unnest(r.source_ips, r.key_numbers, r.message_counts, r.source_report_counts)
                    as e (source_ip, key_number, message_count, source_report_count)
                join lateral sum_keys(r.keys) k
                    on k.number = e.key_number
            ) s
        ) b
        left join domains d on d.domain_id = b.domain_id
        where said <> summed
        order by b.domain_id, b.day
        limit $1
        "#,
        limit
    )
    .fetch_all(connection)
    .await?)
}

/// Reports whose delivery is not in the ledger.
async fn reports_without_delivery(
    connection: &mut PgConnection,
    limit: i64,
) -> Result<Vec<Mismatch>, Error> {
    Ok(sqlx::query_as!(
        Mismatch,
        r#"
        -- Materialized because reports are spread over a cluster and deliveries are not: such tables do not join.
        with brought as materialized (
            select p.domain_id, d.name as domain, p.report_uid, p.delivery_id
            from reports p
            join domains d on d.domain_id = p.domain_id
        )
        select
            'delivery_of_report' as "check!",
            domain as "domain!",
            report_uid::text as "place!",
            format('delivery %s is not in the ledger', delivery_id) as "detail!"
        from brought b
        where not exists (select from deliveries v where v.delivery_id = b.delivery_id)
        order by domain_id, b.report_uid
        limit $1
        "#,
        limit
    )
    .fetch_all(connection)
    .await?)
}

/// Deletes the rollup from the first day of a month on, or all of it.
async fn empty_rollup(connection: &mut PgConnection, from: Option<Date>) -> Result<(), Error> {
    sqlx::query!(
        "delete from source_day_arrivals where $1::date is null or day >= $1",
        from
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "delete from source_day_blocks where $1::date is null or day >= $1",
        from
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "delete from source_blocks where $1::date is null or month >= $1",
        from
    )
    .execute(&mut *connection)
    .await?;
    Ok(())
}

impl Store {
    /// Compares what must be equal and returns what is not, at most `limit` of each kind: the totals of every report
    /// with its records, the rollup with the records and with its own totals, its two copies with each other, and reports
    /// with the ledger. What was forgotten because of its age is not missed.
    pub async fn verify(&self, limit: i64) -> Result<Vec<Mismatch>, Error> {
        loop {
            let forgotten = self.forgotten().await?;
            let mismatches = self.mismatches(forgotten, limit).await?;
            // What is forgotten while it is compared seems to be missing.
            if mismatches.is_empty() || self.forgotten().await? == forgotten {
                return Ok(mismatches);
            }
        }
    }

    async fn forgotten(&self) -> Result<Forgotten, Error> {
        let mut connection = self.pool.acquire().await?;
        Forgotten::read(&mut connection).await
    }

    async fn mismatches(&self, forgotten: Forgotten, limit: i64) -> Result<Vec<Mismatch>, Error> {
        // Said in BEGIN: from there a cluster passes it on to its nodes.
        let mut snapshot = self
            .pool
            .begin_with("begin isolation level repeatable read, read only")
            .await?;
        let mut mismatches = reports_that_differ(&mut snapshot, forgotten, limit).await?;
        mismatches.extend(sums_that_differ(&mut snapshot, forgotten, limit).await?);
        mismatches.extend(totals_that_differ(&mut snapshot, limit).await?);
        mismatches.extend(source_block_mismatches(&mut snapshot, forgotten, limit).await?);
        mismatches.extend(reports_without_delivery(&mut snapshot, limit).await?);
        Ok(mismatches)
    }

    /// Makes the rollup anew from the records, but for days whose records were forgotten. Reports may arrive meanwhile:
    /// the transaction sees one moment of the database, and what is stored after it has its own sums.
    pub async fn rebuild(&self, actor: &Actor) -> Result<(), Error> {
        // Held first and by another transaction, so that this one begins after whatever merges or forgets the rollup now.
        let mut turn = self.pool.begin().await?;
        take_turn(&mut turn).await?;
        let mut transaction = self
            .pool
            .begin_with("begin isolation level repeatable read")
            .await?;
        let from = Forgotten::read(&mut transaction).await?.rebuild_from;
        empty_rollup(&mut transaction, from).await?;
        let months = sqlx::query!(
            r#"
            select month::date as "first!", (month + interval '1 month')::date as "next!"
            from (select distinct date_trunc('month', day::timestamp) as month from reports) months
            order by month
            "#
        )
        .fetch_all(&mut *transaction)
        .await?;
        for month in months {
            fill_rollups(&mut transaction, month.first, month.next, from).await?;
        }
        record_change(&mut transaction, actor, &Change::new(Action::Rebuilt)).await?;
        transaction.commit().await?;
        turn.rollback().await?;
        Ok(())
    }

    /// Throws away the bytes of deliveries that are kept too long, and the oldest of those that are too many. Returns
    /// how many deliveries lost their bytes.
    pub async fn prune_quarantine(&self, prune: Prune) -> Result<u64, Error> {
        let due = sqlx::query_scalar!(
            r#"
            select delivery_id
            from (
                select
                    delivery_id,
                    kept_at,
                    sum(length(raw)) over (order by kept_at desc, delivery_id desc) as total
                from quarantine
            ) newest_first
            where kept_at < $1
                or total > $2::bigint
            "#,
            prune.kept_before,
            i64::try_from(prune.total_bytes_max).unwrap_or(i64::MAX)
        )
        .fetch_all(&self.pool)
        .await?;
        let mut pruned = 0;
        for some in due.chunks(PRUNED_MAX) {
            let done = sqlx::query!("delete from quarantine where delivery_id = any($1)", some);
            pruned += done.execute(&self.pool).await?.rows_affected();
        }
        Ok(pruned)
    }
}
