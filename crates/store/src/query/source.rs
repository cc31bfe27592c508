//! Questions about one source: in whose name it sends mail.

use std::net::IpAddr;

use time::Date;

use crate::{
    Error, Store,
    query::{Range, SeriesDay, Totals, totals},
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

impl Store {
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
                from (
                    select
                        *,
                        case when dkim_aligned or spf_aligned then message_count else 0 end as dmarc_pass_count,
                        case when dkim_aligned then message_count else 0 end as dkim_aligned_count,
                        case when spf_aligned then message_count else 0 end as spf_aligned_count,
                        case when disposition = 'none' then message_count else 0 end as disposition_none,
                        case when disposition = 'pass' then message_count else 0 end as disposition_pass,
                        case when disposition = 'quarantine' then message_count else 0 end as disposition_quarantine,
                        case when disposition = 'reject' then message_count else 0 end as disposition_reject,
                        case when disposition is null then message_count else 0 end as disposition_unknown
                    from source_days
                ) counts
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
            from (
                    select
                        *,
                        case when dkim_aligned or spf_aligned then message_count else 0 end as dmarc_pass_count,
                        case when dkim_aligned then message_count else 0 end as dkim_aligned_count,
                        case when spf_aligned then message_count else 0 end as spf_aligned_count,
                        case when disposition = 'none' then message_count else 0 end as disposition_none,
                        case when disposition = 'pass' then message_count else 0 end as disposition_pass,
                        case when disposition = 'quarantine' then message_count else 0 end as disposition_quarantine,
                        case when disposition = 'reject' then message_count else 0 end as disposition_reject,
                        case when disposition is null then message_count else 0 end as disposition_unknown
                    from source_days
                ) counts
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
