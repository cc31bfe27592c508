//! Questions about sources: who sends mail in a domain's name.

use std::net::IpAddr;

use time::Date;

use crate::{
    Error, Store,
    query::{Range, SeriesDay, Totals, totals},
};

/// One source of one domain over a range of days.
#[derive(Clone, Debug)]
pub struct SourceRow {
    /// The sending host.
    pub source_ip: IpAddr,
    /// Its messages, as far as they match the filter.
    pub totals: Totals,
    /// Reports that name it in the range, whatever the filter.
    pub report_count: i64,
    /// First day with such a message.
    pub first_day: Date,
    /// Last day with such a message.
    pub last_day: Date,
}

/// What sources are listed by, greatest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceSort {
    /// All messages.
    #[default]
    Messages,
    /// Messages that fail DMARC.
    Failures,
}

/// A place in the list of sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceKey {
    /// The number that the list is sorted by.
    pub count: i64,
    /// Decides among equals.
    pub source_ip: IpAddr,
}

/// Which messages and sources to count.
#[derive(Clone, Debug, Default)]
pub struct SourceFilter {
    /// The order of the list.
    pub sort: SourceSort,
    /// Only messages that pass DMARC, or only those that fail.
    pub pass: Option<bool>,
    /// Only messages with this author domain.
    pub header_from: Option<String>,
    /// Only sources in this network: an address and a prefix length.
    pub net: Option<(IpAddr, u8)>,
    /// Only what comes after this place.
    pub after: Option<SourceKey>,
}

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

impl Store {
    /// The sources of a domain, greatest first.
    pub async fn sources(
        &self,
        domain_id: i64,
        range: Range,
        filter: &SourceFilter,
        limit: i64,
    ) -> Result<Vec<SourceRow>, Error> {
        let net = filter
            .net
            .map(|(address, prefix)| format!("{address}/{prefix}"));
        let rows = sqlx::query!(
            r#"
            with sources as (
                select
                    source_ip,
                    coalesce(to_count(sum(message_count) filter (where matches)), 0) as message_count,
                    coalesce(to_count(sum(dmarc_pass_count) filter (where matches)), 0) as dmarc_pass_count,
                    coalesce(to_count(sum(dkim_aligned_count) filter (where matches)), 0) as dkim_aligned_count,
                    coalesce(to_count(sum(spf_aligned_count) filter (where matches)), 0) as spf_aligned_count,
                    coalesce(to_count(sum(disposition_none) filter (where matches)), 0) as disposition_none,
                    coalesce(to_count(sum(disposition_pass) filter (where matches)), 0) as disposition_pass,
                    coalesce(to_count(sum(disposition_quarantine) filter (where matches)), 0) as disposition_quarantine,
                    coalesce(to_count(sum(disposition_reject) filter (where matches)), 0) as disposition_reject,
                    coalesce(to_count(sum(disposition_unknown) filter (where matches)), 0) as disposition_unknown,
                    sum(source_report_count) as report_count,
                    min(day) filter (where matches) as first_day,
                    max(day) filter (where matches) as last_day
                from (
                    select
                        *,
                        ($4::boolean is null or dmarc_pass = $4)
                            and ($5::text is null or header_from = $5) as matches
                    from source_day_counts
                    where domain_id = $1
                        and day between $2 and $3
                        and ($6::text is null or source_ip <<= $6::text::inet)
                ) rows
                group by source_ip
                having bool_or(matches)
            ),
            ordered as (
                select *, case when $7 then message_count - dmarc_pass_count else message_count end as sort_count
                from sources
            )
            select
                host(source_ip) as "source_ip!",
                message_count as "message_count!",
                dmarc_pass_count as "dmarc_pass_count!",
                dkim_aligned_count as "dkim_aligned_count!",
                spf_aligned_count as "spf_aligned_count!",
                disposition_none as "disposition_none!",
                disposition_pass as "disposition_pass!",
                disposition_quarantine as "disposition_quarantine!",
                disposition_reject as "disposition_reject!",
                disposition_unknown as "disposition_unknown!",
                report_count as "report_count!",
                first_day as "first_day!",
                last_day as "last_day!"
            from ordered
            where $8::bigint is null
                or sort_count < $8
                or (sort_count = $8 and source_ip > $9::text::inet)
            order by sort_count desc, source_ip
            limit $10
            "#,
            domain_id,
            range.from,
            range.to,
            filter.pass,
            filter.header_from,
            net,
            filter.sort == SourceSort::Failures,
            filter.after.map(|after| after.count),
            filter.after.map(|after| after.source_ip.to_string()),
            limit
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(SourceRow {
                    source_ip: address("source_days", &row.source_ip)?,
                    totals: totals!(row),
                    report_count: row.report_count,
                    first_day: row.first_day,
                    last_day: row.last_day,
                })
            })
            .collect()
    }

    /// The last day with messages of an address, not after `latest`.
    pub async fn last_day_of_source(
        &self,
        source_ip: IpAddr,
        latest: Date,
    ) -> Result<Option<Date>, Error> {
        Ok(sqlx::query_scalar!(
            "select max(day) from source_days where source_ip = $1::text::inet and day <= $2",
            source_ip.to_string(),
            latest
        )
        .fetch_one(&self.pool)
        .await?)
    }

    /// One address over all domains, those with most messages first, those after the place given.
    pub async fn source_domains(
        &self,
        source_ip: IpAddr,
        range: Range,
        after: Option<(i64, &str)>,
        limit: i64,
    ) -> Result<Vec<DomainTotals>, Error> {
        let rows = sqlx::query!(
            r#"
            with totals as (
                select
                    domain_id,
                    to_count(sum(message_count)) as message_count,
                    to_count(sum(dmarc_pass_count)) as dmarc_pass_count,
                    to_count(sum(dkim_aligned_count)) as dkim_aligned_count,
                    to_count(sum(spf_aligned_count)) as spf_aligned_count,
                    to_count(sum(disposition_none)) as disposition_none,
                    to_count(sum(disposition_pass)) as disposition_pass,
                    to_count(sum(disposition_quarantine)) as disposition_quarantine,
                    to_count(sum(disposition_reject)) as disposition_reject,
                    to_count(sum(disposition_unknown)) as disposition_unknown,
                    sum(source_report_count) as report_count,
                    min(day) as first_day,
                    max(day) as last_day
                from source_day_counts
                where source_ip = $1::text::inet
                    and day between $2 and $3
                group by domain_id
            )
            select
                d.name as "domain!",
                message_count as "message_count!",
                dmarc_pass_count as "dmarc_pass_count!",
                dkim_aligned_count as "dkim_aligned_count!",
                spf_aligned_count as "spf_aligned_count!",
                disposition_none as "disposition_none!",
                disposition_pass as "disposition_pass!",
                disposition_quarantine as "disposition_quarantine!",
                disposition_reject as "disposition_reject!",
                disposition_unknown as "disposition_unknown!",
                report_count as "report_count!",
                first_day as "first_day!",
                last_day as "last_day!"
            from totals
            join domains d on d.domain_id = totals.domain_id
            where $4::bigint is null
                or message_count < $4
                or (message_count = $4 and d.name > $5)
            order by message_count desc, d.name
            limit $6
            "#,
            source_ip.to_string(),
            range.from,
            range.to,
            after.map(|(count, _)| count),
            after.map(|(_, domain)| domain),
            limit
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| DomainTotals {
                domain: row.domain,
                totals: totals!(row),
                report_count: row.report_count,
                first_day: row.first_day,
                last_day: row.last_day,
            })
            .collect())
    }

    /// The messages of an address over all domains, day by day; days without any are left out.
    pub async fn source_series(
        &self,
        source_ip: IpAddr,
        range: Range,
    ) -> Result<Vec<SeriesDay>, Error> {
        let rows = sqlx::query!(
            r#"
            select
                day as "day!",
                to_count(sum(message_count)) as "message_count!",
                to_count(sum(dmarc_pass_count)) as "dmarc_pass_count!",
                to_count(sum(dkim_aligned_count)) as "dkim_aligned_count!",
                to_count(sum(spf_aligned_count)) as "spf_aligned_count!",
                to_count(sum(disposition_none)) as "disposition_none!",
                to_count(sum(disposition_pass)) as "disposition_pass!",
                to_count(sum(disposition_quarantine)) as "disposition_quarantine!",
                to_count(sum(disposition_reject)) as "disposition_reject!",
                to_count(sum(disposition_unknown)) as "disposition_unknown!"
            from source_day_counts
            where source_ip = $1::text::inet
                and day between $2 and $3
            group by day
            order by day
            "#,
            source_ip.to_string(),
            range.from,
            range.to
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| SeriesDay {
                day: row.day,
                totals: totals!(row),
            })
            .collect())
    }
}

/// Reads an address that PostgreSQL wrote.
fn address(table: &'static str, text: &str) -> Result<IpAddr, Error> {
    text.parse().map_err(|_| Error::Corrupt {
        table,
        column: "source_ip",
        detail: format!("{text:?} is no address"),
    })
}
