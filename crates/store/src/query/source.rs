//! Questions about one source: in whose name it sends mail.
//!
//! They are answered from `source_blocks` and from what arrived since, both read in one statement, so that a sum that is
//! just being moved is there once.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use sqlx::{PgPool, types::Json};
use time::Date;

use crate::{
    Error, Store, Visible,
    elements::{Elements, count_at},
    partitions::{first_of_month, last_of_month},
    query::{Range, SeriesDay, Totals, blocks::Key},
    rollup::{Sum, SumKey},
    source_block::{bucket, results_of_number},
};

/// What one address sends in one domain's name.
#[derive(Clone, Debug)]
pub struct DomainTotals {
    /// The policy domain.
    pub domain: String,
    /// The messages.
    pub totals: Totals,
    /// Reports that name the address.
    pub report_count: i64,
    /// First day with a message.
    pub first_day: Date,
    /// Last day with a message.
    pub last_day: Date,
}

/// What one address sends over all domains.
#[derive(Clone, Debug)]
pub struct SourceTotals {
    /// Domains, those with most messages first.
    pub domains: Vec<DomainTotals>,
    /// The messages of all domains, day by day; days without any are left out.
    pub series: Vec<SeriesDay>,
}

impl Store {
    /// The last day with messages of an address, not after `latest`.
    pub async fn last_day_of_source(
        &self,
        visible: &Visible,
        source_ip: IpAddr,
        latest: Date,
    ) -> Result<Option<Date>, Error> {
        // Arrivals first: what is moved between the statements is then found a second time rather than not at all.
        let mut last_day = sqlx::query_scalar!(
            r#"
            select max(day)
            from source_day_arrivals
            where first_source <= $1::text::inet
                and last_source >= $1::text::inet
                and day <= $2
                and $1::text::inet = any(source_ips)
                and ($3::bigint[] is null or domain_id = any($3))
            "#,
            source_ip.to_string(),
            latest,
            visible.domain_ids()
        )
        .fetch_one(&self.reading)
        .await?;
        let months = sqlx::query_scalar!(
            r#"
            select distinct month
            from source_blocks
            where bucket = $1
                and first_source <= $2::text::inet
                and last_source >= $2::text::inet
                and month <= $3
                and ($4::bigint[] is null or domain_ids && $4)
            order by month desc
            "#,
            i16::from(bucket(source_ip)),
            source_ip.to_string(),
            latest,
            visible.domain_ids()
        )
        .fetch_all(&self.reading)
        .await?;
        for month in months {
            if last_day.is_some_and(|day| day >= last_of_month(month)) {
                break;
            }
            let in_month = self
                .last_day_in_month(visible, source_ip, month, latest)
                .await?;
            last_day = last_day.max(in_month);
            if in_month.is_some() {
                break;
            }
        }
        Ok(last_day)
    }

    /// The last day of a month with messages of an address, of what is merged.
    async fn last_day_in_month(
        &self,
        visible: &Visible,
        source_ip: IpAddr,
        month: Date,
        latest: Date,
    ) -> Result<Option<Date>, Error> {
        Ok(sqlx::query_scalar!(
            r#"
            select max(day)
            from (
                select
                    days,
                    domain_ids,
                    coalesce(width_bucket($2::text::inet, source_ips), 0) + 1 as first_place,
                    width_bucket($1::text::inet, source_ips) as last_place
                from source_blocks
                where bucket = $3
                    and month = $4
                    and first_source <= $1::text::inet
                    and last_source >= $1::text::inet
                offset 0
            ) as blocks
            cross join lateral unnest(days[first_place:last_place], domain_ids[first_place:last_place]) as sum (day, domain_id)
            where first_place <= last_place
                and day <= $5
                and ($6::bigint[] is null or domain_id = any($6))
            "#,
            source_ip.to_string(),
            before(source_ip).map(|address| address.to_string()),
            i16::from(bucket(source_ip)),
            month,
            latest,
            visible.domain_ids()
        )
        .fetch_one(&self.reading)
        .await?)
    }

    /// One address over all domains that are visible. Of the domains those after the place given.
    pub async fn source(
        &self,
        visible: &Visible,
        source_ip: IpAddr,
        range: Range,
        after: Option<(i64, &str)>,
        limit: i64,
    ) -> Result<SourceTotals, Error> {
        let mut domains: HashMap<i64, DomainSums> = HashMap::new();
        let mut days: BTreeMap<Date, Totals> = BTreeMap::new();
        let mut found = match visible.domain_ids() {
            None => found(&self.reading, source_ip, range).boxed(),
            Some(domain_ids) => found_within(&self.reading, domain_ids, source_ip, range).boxed(),
        };
        while let Some(found) = found.try_next().await? {
            found.each_sum(source_ip, |domain_id, day, sum| {
                if (range.from..=range.to).contains(&day) {
                    let domain = domains.entry(domain_id).or_insert(DomainSums::new(day));
                    domain.add(day, sum);
                    days.entry(day).or_default().add(sum);
                }
            })?;
        }
        let limit = usize::try_from(limit).unwrap_or(0);
        let series = days
            .into_iter()
            .map(|(day, totals)| SeriesDay { day, totals });
        Ok(SourceTotals {
            domains: self.listed(domains, after, limit).await?,
            series: series.collect(),
        })
    }

    /// The part of the list of domains that is asked for.
    async fn listed(
        &self,
        domains: HashMap<i64, DomainSums>,
        after: Option<(i64, &str)>,
        limit: usize,
    ) -> Result<Vec<DomainTotals>, Error> {
        let mut domains: Vec<(i64, DomainSums)> = domains.into_iter().collect();
        domains.retain(|(_, sums)| after.is_none_or(|(count, _)| sums.message_count() <= count));
        let after = after.map(|(count, domain)| (Reverse(count), domain));
        let mut rows = Vec::new();
        // Those with as many messages as the last one are named together. When the place given is among them, some come
        // before it, and more are needed.
        while rows.len() < limit && !domains.is_empty() {
            let greatest = take_greatest(&mut domains, limit);
            rows.extend(self.named(greatest).await?);
            rows.retain(|row| after.is_none_or(|after| place(row) > after));
        }
        rows.sort_unstable_by(|a, b| place(a).cmp(&place(b)));
        rows.truncate(limit);
        Ok(rows)
    }

    async fn named(&self, sums: Vec<(i64, DomainSums)>) -> Result<Vec<DomainTotals>, Error> {
        let domain_ids: Vec<i64> = sums.iter().map(|(domain_id, _)| *domain_id).collect();
        let mut names: HashMap<i64, String> = sqlx::query!(
            "select domain_id, name from domains where domain_id = any($1)",
            &domain_ids
        )
        .fetch_all(&self.reading)
        .await?
        .into_iter()
        .map(|row| (row.domain_id, row.name))
        .collect();
        Ok(sums
            .into_iter()
            .filter_map(|(domain_id, sums)| {
                Some(DomainTotals {
                    domain: names.remove(&domain_id)?,
                    totals: sums.totals,
                    report_count: sums.report_count,
                    first_day: sums.first_day,
                    last_day: sums.last_day,
                })
            })
            .collect())
    }
}

/// The messages in one domain's name while they are added up.
#[derive(Clone, Debug)]
struct DomainSums {
    totals: Totals,
    report_count: i64,
    first_day: Date,
    last_day: Date,
}

impl DomainSums {
    fn new(day: Date) -> Self {
        Self {
            totals: Totals::default(),
            report_count: 0,
            first_day: day,
            last_day: day,
        }
    }

    fn add(&mut self, day: Date, sum: &Sum<'_>) {
        self.totals.add(sum);
        self.report_count += i64::from(sum.source_report_count);
        self.first_day = self.first_day.min(day);
        self.last_day = self.last_day.max(day);
    }

    fn message_count(&self) -> i64 {
        self.totals.message_count
    }
}

/// The order of the list.
fn place(row: &DomainTotals) -> (Reverse<i64>, &str) {
    (Reverse(row.totals.message_count), &row.domain)
}

/// Takes those with most messages out, and all that have as many as the last of them.
fn take_greatest(domains: &mut Vec<(i64, DomainSums)>, count: usize) -> Vec<(i64, DomainSums)> {
    domains.sort_unstable_by_key(|(_, sums)| Reverse(sums.message_count()));
    let Some((_, last)) = domains.get(count.saturating_sub(1)) else {
        return std::mem::take(domains);
    };
    let least = last.message_count();
    let end = domains.partition_point(|(_, sums)| sums.message_count() >= least);
    domains.drain(..end).collect()
}

/// The address before, in the order of PostgreSQL.
fn before(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => {
            let bits = address.to_bits().checked_sub(1)?;
            Some(Ipv4Addr::from_bits(bits).into())
        }
        IpAddr::V6(address) => Some(match address.to_bits().checked_sub(1) {
            Some(bits) => Ipv6Addr::from_bits(bits).into(),
            None => Ipv4Addr::BROADCAST.into(),
        }),
    }
}

/// The part of a row that is about one address: of an arrival, or of `source_blocks`.
#[derive(Debug)]
struct Found {
    domain_id: Option<i64>,
    day: Option<Date>,
    keys: Option<Json<Vec<Key>>>,
    domain_ids: Option<Elements<i64>>,
    days: Option<Elements<Date>>,
    /// Numbers of keys, or of results.
    numbers: Elements<i16>,
    message_counts: Elements<i64>,
    source_report_counts: Option<Elements<i32>>,
}

impl Found {
    /// Calls `add` with domain, day and each sum.
    fn each_sum(
        &self,
        source_ip: IpAddr,
        mut add: impl FnMut(i64, Date, &Sum<'_>),
    ) -> Result<(), Error> {
        let keys: Option<Vec<SumKey<'_>>> = match &self.keys {
            Some(keys) => Some(keys.iter().map(Key::read).collect::<Result<_, _>>()?),
            None => None,
        };
        let columns = self.numbers.0.iter().zip(&self.message_counts.0);
        for (place, (number, message_count)) in columns.enumerate() {
            let key = match &keys {
                Some(keys) => keys.get((*number as usize).wrapping_sub(1)).copied(),
                None => u8::try_from(*number).ok().and_then(results_of_number),
            };
            let domain_id = self.domain_id.or_else(|| element(&self.domain_ids, place));
            let day = self.day.or_else(|| element(&self.days, place));
            let source_report_count = count_at(&self.source_report_counts, place);
            let (Some(key), Some(domain_id), Some(day), Some(source_report_count)) =
                (key, domain_id, day, source_report_count)
            else {
                return Err(Error::Corrupt {
                    table: "source_blocks",
                    column: "source_ips",
                    detail: "a block does not fit together".into(),
                });
            };
            let sum = Sum {
                source_ip,
                key,
                message_count: *message_count as u64,
                report_count: 0,
                source_report_count: source_report_count as u32,
            };
            add(domain_id, day, &sum);
        }
        Ok(())
    }
}

fn element<T: Copy>(elements: &Option<Elements<T>>, place: usize) -> Option<T> {
    elements.as_ref()?.0.get(place).copied()
}

/// What is stored of an address. Addresses are in order in each row, so `width_bucket` finds where it begins and ends.
fn found(
    pool: &PgPool,
    source_ip: IpAddr,
    range: Range,
) -> impl Stream<Item = Result<Found, Error>> {
    sqlx::query_as!(
        Found,
        r#"
        select
            null::bigint as domain_id,
            null::date as day,
            null::json as "keys: Json<Vec<Key>>",
            domain_ids[first_place:last_place] as "domain_ids: Elements<_>",
            days[first_place:last_place] as "days: Elements<_>",
            results[first_place:last_place] as "numbers!: Elements<_>",
            message_counts[first_place:last_place] as "message_counts!: Elements<_>",
            source_report_counts[first_place:last_place] as "source_report_counts: Elements<_>"
        from (
            select
                *,
                coalesce(width_bucket($2::text::inet, source_ips), 0) + 1 as first_place,
                width_bucket($1::text::inet, source_ips) as last_place
            from source_blocks
            where bucket = $3
                and month between $4 and $5
                and first_source <= $1::text::inet
                and last_source >= $1::text::inet
            offset 0
        ) as merged
        where first_place <= last_place
        union all
        select
            domain_id,
            day,
            keys,
            null,
            null,
            key_numbers[first_place:last_place],
            message_counts[first_place:last_place],
            source_report_counts[first_place:last_place]
        from (
            select
                *,
                coalesce(width_bucket($2::text::inet, source_ips), 0) + 1 as first_place,
                width_bucket($1::text::inet, source_ips) as last_place
            from source_day_arrivals
            where day between $6 and $7
                and first_source <= $1::text::inet
                and last_source >= $1::text::inet
            offset 0
        ) as arrived
        where first_place <= last_place
        "#,
        source_ip.to_string(),
        before(source_ip).map(|address| address.to_string()),
        i16::from(bucket(source_ip)),
        first_of_month(range.from),
        first_of_month(range.to),
        range.from,
        range.to
    )
    .fetch(pool)
    .map_err(Error::from)
}

/// The same of some domains: nothing of others leaves the database. One row for each of them and month.
fn found_within(
    pool: &PgPool,
    domain_ids: &[i64],
    source_ip: IpAddr,
    range: Range,
) -> impl Stream<Item = Result<Found, Error>> {
    sqlx::query_as!(
        Found,
        r#"
        select
            sum.domain_id,
            null::date as day,
            null::json as "keys: Json<Vec<Key>>",
            null::bigint[] as "domain_ids: Elements<_>",
            array_agg(sum.day) as "days: Elements<_>",
            array_agg(sum.result) as "numbers!: Elements<_>",
            array_agg(sum.message_count) as "message_counts!: Elements<_>",
            array_agg(coalesce(sum.source_report_count, 1)) as "source_report_counts: Elements<_>"
        from (
            select
                *,
                coalesce(width_bucket($2::text::inet, source_ips), 0) + 1 as first_place,
                width_bucket($1::text::inet, source_ips) as last_place
            from source_blocks
            where bucket = $3
                and month between $4 and $5
                and first_source <= $1::text::inet
                and last_source >= $1::text::inet
            offset 0
        ) as merged
        cross join lateral unnest(
            domain_ids[first_place:last_place], days[first_place:last_place], results[first_place:last_place],
            message_counts[first_place:last_place], source_report_counts[first_place:last_place]
        ) as sum (domain_id, day, result, message_count, source_report_count)
        where first_place <= last_place
            and sum.domain_id = any($8)
        group by sum.domain_id, merged.month
        union all
        select
            domain_id, day, keys, null, null, key_numbers[first_place:last_place], message_counts[first_place:last_place],
            source_report_counts[first_place:last_place]
        from (
            select
                *,
                coalesce(width_bucket($2::text::inet, source_ips), 0) + 1 as first_place,
                width_bucket($1::text::inet, source_ips) as last_place
            from source_day_arrivals
            where day between $6 and $7
                and domain_id = any($8)
                and first_source <= $1::text::inet
                and last_source >= $1::text::inet
            offset 0
        ) as arrived
        where first_place <= last_place
        "#,
        source_ip.to_string(),
        before(source_ip).map(|address| address.to_string()),
        i16::from(bucket(source_ip)),
        first_of_month(range.from),
        first_of_month(range.to),
        range.from,
        range.to,
        domain_ids
    )
    .fetch(pool)
    .map_err(Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_an_address_is_what_postgresql_sorts_before_it() {
        let before_of = |text: &str| before(text.parse().unwrap()).map(|ip| ip.to_string());
        assert_eq!(before_of("0.0.0.0"), None);
        assert_eq!(before_of("192.0.2.0").as_deref(), Some("192.0.1.255"));
        assert_eq!(before_of("::").as_deref(), Some("255.255.255.255"));
        assert_eq!(
            before_of("2001:db8::").as_deref(),
            Some("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff")
        );
    }
}
