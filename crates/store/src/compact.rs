//! The rollup in the background: what arrived is merged with what is there.
//!
//! One job is one transaction: sums leave `source_day_arrivals` and go into both `source_day_blocks` and `source_blocks`,
//! or nothing changes. Whoever reads sees each sum once, before or after; who writes only adds arrivals and waits for
//! nothing here. Jobs take turns over all processes.

mod check;
mod days;
mod runs;
mod sources;
mod sums;

use std::collections::HashMap;

use futures_util::TryStreamExt as _;
use sqlx::{PgConnection, types::Json};
use time::{Date, OffsetDateTime};

use crate::{
    Error, Store,
    compact::{
        days::merge_days,
        sources::merge_sources,
        sums::{Keys, MovedSum, merge_by_day, merge_by_source},
    },
    elements::Elements,
    maintain::take_turn_if_free,
    partitions::{first_of_month, last_of_month},
    query::blocks::{Block, Key},
};

pub(crate) use check::source_block_mismatches;

/// Sums that one job moves, but for the last rows.
const JOB_SUMS_MAX: i64 = 200_000;

/// Months that one job works on at most.
const JOB_MONTHS_MAX: i64 = 24;

/// Domains and days that one job works on at most.
const JOB_PLACES_MAX: i64 = 50_000;

/// What became of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compacted {
    /// So many sums were moved.
    Moved(u64),
    /// There was nothing to move.
    Nothing,
    /// Another process is at it.
    Busy,
}

/// A month of the rollup.
#[derive(Clone, Copy, Debug)]
struct Month {
    first: Date,
    last: Date,
}

impl Month {
    fn of(day: Date) -> Self {
        Self {
            first: first_of_month(day),
            last: last_of_month(day),
        }
    }
}

/// Arrivals of one month that a job takes.
#[derive(Debug, Default)]
struct Chosen {
    domain_ids: Vec<i64>,
    days: Vec<Date>,
    /// Only rows that begin with this address or one before.
    first_source_max: Option<String>,
    sum_count: i64,
}

impl Store {
    /// How many sums have arrived and are not merged yet.
    pub async fn arrived_sum_count(&self) -> Result<i64, Error> {
        Ok(sqlx::query_scalar!(
            r#"select coalesce(sum(sum_count), 0) as "sum_count!" from source_day_arrivals"#
        )
        .fetch_one(&self.reading)
        .await?)
    }

    /// Merges a part of what has arrived, the fullest months first. It may be broken off anywhere: then nothing happened.
    pub async fn compact(&self, now: OffsetDateTime) -> Result<Compacted, Error> {
        let months = self.fullest_months().await?;
        if months.is_empty() {
            return Ok(Compacted::Nothing);
        }
        // Not in the transaction, so that it holds no locks on tables for long.
        self.partitions
            .ensure(&self.pool, months.iter().copied(), now)
            .await?;
        let mut transaction = self.pool.begin().await?;
        if !take_turn_if_free(&mut transaction).await? {
            return Ok(Compacted::Busy);
        }
        let mut moved = 0;
        for (month, chosen) in choose(&mut transaction, &months).await? {
            moved += move_month(&mut transaction, month, &chosen).await?;
        }
        transaction.commit().await?;
        Ok(match moved {
            0 => Compacted::Nothing,
            moved => Compacted::Moved(moved),
        })
    }

    /// The first days of the months with most arrivals, as many as a job can take.
    async fn fullest_months(&self) -> Result<Vec<Date>, Error> {
        let rows = sqlx::query!(
            r#"
            select date_trunc('month', day::timestamp)::date as "month!", sum(sum_count) as "sum_count!"
            from source_day_arrivals
            group by 1
            order by 2 desc, 1
            limit $1
            "#,
            JOB_MONTHS_MAX
        )
        .fetch_all(&self.pool)
        .await?;
        let mut room = JOB_SUMS_MAX;
        let mut months = Vec::new();
        for row in rows {
            if room > 0 {
                months.push(row.month);
            }
            room -= row.sum_count;
        }
        Ok(months)
    }
}

/// Chooses what a job takes of these months: days with much first, since each is written anew.
async fn choose(
    connection: &mut PgConnection,
    months: &[Date],
) -> Result<Vec<(Month, Chosen)>, Error> {
    // A name takes as much memory as a few sums.
    let mut arrived = sqlx::query!(
        r#"
        select domain_id as "domain_id!", day as "day!", sum(weight) as "sum_count!"
        from (
            select
                domain_id,
                day,
                sum_count + case when pg_column_size(keys) > 500 then 6 * json_array_length(keys) else 0 end as weight
            from source_day_arrivals
            where date_trunc('month', day::timestamp)::date = any($1)
            offset 0
        ) as arrivals
        group by domain_id, day
        order by 3 desc, day, domain_id
        limit $2
        "#,
        months,
        JOB_PLACES_MAX
    )
    .fetch(&mut *connection);
    let mut of_months: HashMap<Date, Vec<(i64, Date, i64)>> = HashMap::new();
    while let Some(row) = arrived.try_next().await? {
        of_months
            .entry(Month::of(row.day).first)
            .or_default()
            .push((row.domain_id, row.day, row.sum_count));
    }
    drop(arrived);
    let mut room = JOB_SUMS_MAX;
    let mut taken = Vec::new();
    for month in months {
        let mut chosen = Chosen::default();
        for (domain_id, day, sum_count) in of_months.remove(month).unwrap_or_default() {
            let too_many = sum_count > JOB_SUMS_MAX;
            if sum_count <= room || (too_many && room == JOB_SUMS_MAX) {
                chosen.domain_ids.push(domain_id);
                chosen.days.push(day);
                chosen.sum_count += sum_count.min(JOB_SUMS_MAX);
                room -= sum_count;
            }
            if too_many && room < 0 {
                chosen.first_source_max = split(connection, domain_id, day).await?;
                break;
            }
        }
        if !chosen.days.is_empty() {
            taken.push((Month::of(*month), chosen));
        }
    }
    Ok(taken)
}

/// The address with which the rows end that a job can take of a day with too many sums.
async fn split(
    connection: &mut PgConnection,
    domain_id: i64,
    day: Date,
) -> Result<Option<String>, Error> {
    Ok(sqlx::query_scalar!(
        r#"
        select host(first_source) as "first_source!"
        from (
            select
                first_source,
                sum(sum_count + case when pg_column_size(keys) > 500 then 6 * json_array_length(keys) else 0 end)
                    over (order by first_source rows unbounded preceding) as sum_count
            from source_day_arrivals
            where domain_id = $1
                and day = $2
        ) as running
        where sum_count >= $3
        order by running.first_source
        limit 1
        "#,
        domain_id,
        day,
        JOB_SUMS_MAX
    )
    .fetch_optional(connection)
    .await?)
}

/// Moves what is chosen of one month and returns how many sums it was.
async fn move_month(
    connection: &mut PgConnection,
    month: Month,
    chosen: &Chosen,
) -> Result<u64, Error> {
    let mut keys = Keys::default();
    let (mut sums, moved) = take(connection, chosen, &mut keys).await?;
    merge_by_day(&mut sums);
    merge_days(connection, month, &sums, &mut keys).await?;
    for sum in &mut sums {
        sum.key = keys.results(sum.key);
    }
    merge_by_source(&mut sums);
    merge_sources(connection, month, &sums).await?;
    Ok(moved)
}

/// Takes arrivals out and counts their sums, of which some may be added up already.
async fn take(
    connection: &mut PgConnection,
    chosen: &Chosen,
    keys: &mut Keys,
) -> Result<(Vec<MovedSum>, u64), Error> {
    let mut taken = sqlx::query_as!(
        Block,
        r#"
        delete from source_day_arrivals as arrivals
        using unnest($1::bigint[], $2::date[]) as places (domain_id, day)
        where arrivals.domain_id = places.domain_id
            and arrivals.day = places.day
            and ($3::text is null or arrivals.first_source <= $3::text::inet)
        returning
            arrivals.domain_id,
            arrivals.day,
            arrivals.source_ips as "source_ips!: Elements<_>",
            arrivals.key_numbers as "key_numbers!: Elements<_>",
            arrivals.message_counts as "message_counts!: Elements<_>",
            arrivals.report_counts as "report_counts: Elements<_>",
            arrivals.source_report_counts as "source_report_counts: Elements<_>",
            arrivals.keys as "keys!: Json<Vec<Key>>"
        "#,
        &chosen.domain_ids,
        &chosen.days,
        chosen.first_source_max
    )
    .fetch(connection);
    let mut sums = Vec::with_capacity(chosen.sum_count as usize);
    let mut moved = 0;
    while let Some(block) = taken.try_next().await? {
        let before = sums.len();
        keys.read(&block, &mut sums)?;
        moved += (sums.len() - before) as u64;
        if sums.len() == sums.capacity() {
            // More has arrived since it was counted, or many rows begin with the same address.
            merge_by_day(&mut sums);
        }
    }
    Ok((sums, moved))
}
