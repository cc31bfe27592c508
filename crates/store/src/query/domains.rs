//! Questions about policy domains.

use std::collections::HashMap;

use time::{Date, OffsetDateTime};

use crate::{
    Error, Store,
    query::{Range, SeriesDay, Totals, totals},
};

/// A policy domain over a range of days.
#[derive(Clone, Debug)]
pub struct DomainSummary {
    /// The policy domain.
    pub domain: String,
    /// Its messages.
    pub totals: Totals,
    /// Reports whose day is in the range.
    pub report_count: i64,
    /// Different sources.
    pub source_count: i64,
    /// The policy in its latest report up to the end of the range.
    pub latest: Option<LatestPolicy>,
}

/// The policy published, as the latest report of a domain saw it.
#[derive(Clone, Debug)]
pub struct LatestPolicy {
    /// End of the report's period.
    pub end_at: OffsetDateTime,
    /// The reporter.
    pub org_name: String,
    /// Policy for the domain.
    pub p: Option<String>,
    /// Policy for subdomains.
    pub sp: Option<String>,
    /// Policy for subdomains that do not exist.
    pub np: Option<String>,
    /// DKIM alignment mode.
    pub adkim: Option<String>,
    /// SPF alignment mode.
    pub aspf: Option<String>,
    /// Per cent of messages.
    pub pct: Option<i16>,
    /// Failure reporting options.
    pub fo: Option<String>,
    /// The t tag.
    pub testing: Option<bool>,
}

impl Store {
    /// The id of a policy domain, `None` if no report named it.
    pub async fn domain_id(&self, name: &str) -> Result<Option<i64>, Error> {
        Ok(
            sqlx::query_scalar!("select domain_id from domains where name = $1", name)
                .fetch_optional(&self.pool)
                .await?,
        )
    }

    /// The last day with a report, of one domain or of all, not after `latest`: reports that claim to come from the
    /// future do not move the default range.
    pub async fn last_day(
        &self,
        domain_id: Option<i64>,
        latest: Date,
    ) -> Result<Option<Date>, Error> {
        Ok(match domain_id {
            Some(domain_id) => {
                sqlx::query_scalar!(
                    "select max(day) from reports where domain_id = $1 and day <= $2",
                    domain_id,
                    latest
                )
                .fetch_one(&self.pool)
                .await?
            }
            None => {
                sqlx::query_scalar!("select max(day) from reports where day <= $1", latest)
                    .fetch_one(&self.pool)
                    .await?
            }
        })
    }

    /// Domains in the order of their names, those after `after`.
    pub async fn domains(
        &self,
        range: Range,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<DomainSummary>, Error> {
        let rows = sqlx::query!(
            r#"
            select domain_id, name
            from domains
            where $1::text is null or name > $1
            order by name
            limit $2
            "#,
            after,
            limit
        )
        .fetch_all(&self.pool)
        .await?;
        let domains = rows
            .into_iter()
            .map(|row| (row.domain_id, row.name))
            .collect();
        self.summaries(domains, range).await
    }

    /// One domain.
    pub async fn domain(
        &self,
        domain_id: i64,
        name: String,
        range: Range,
    ) -> Result<DomainSummary, Error> {
        let mut summaries = self.summaries(vec![(domain_id, name)], range).await?;
        Ok(summaries.pop().expect("one domain went in"))
    }

    async fn summaries(
        &self,
        domains: Vec<(i64, String)>,
        range: Range,
    ) -> Result<Vec<DomainSummary>, Error> {
        let domain_ids: Vec<i64> = domains.iter().map(|(domain_id, _)| *domain_id).collect();
        let mut sums: HashMap<i64, _> = sqlx::query!(
            r#"
            select
                domain_id as "domain_id!",
                to_count(sum(message_count)) as "message_count!",
                to_count(sum(dmarc_pass_count)) as "dmarc_pass_count!",
                to_count(sum(dkim_aligned_count)) as "dkim_aligned_count!",
                to_count(sum(spf_aligned_count)) as "spf_aligned_count!",
                to_count(sum(disposition_none)) as "disposition_none!",
                to_count(sum(disposition_pass)) as "disposition_pass!",
                to_count(sum(disposition_quarantine)) as "disposition_quarantine!",
                to_count(sum(disposition_reject)) as "disposition_reject!",
                to_count(sum(disposition_unknown)) as "disposition_unknown!",
                count(distinct source_ip) as "source_count!"
            from source_day_counts
            where domain_id = any($1)
                and day between $2 and $3
            group by domain_id
            "#,
            &domain_ids,
            range.from,
            range.to
        )
        .fetch_all(&self.pool)
        .await?
        .into_iter()
        .map(|row| (row.domain_id, (totals!(row), row.source_count)))
        .collect();
        let report_counts: HashMap<i64, i64> = sqlx::query!(
            r#"
            select domain_id, count(*) as "count!"
            from reports
            where domain_id = any($1)
                and day between $2 and $3
            group by domain_id
            "#,
            &domain_ids,
            range.from,
            range.to
        )
        .fetch_all(&self.pool)
        .await?
        .into_iter()
        .map(|row| (row.domain_id, row.count))
        .collect();
        let mut summaries = Vec::with_capacity(domains.len());
        for (domain_id, domain) in domains {
            let (totals, source_count) = sums.remove(&domain_id).unwrap_or_default();
            summaries.push(DomainSummary {
                domain,
                totals,
                report_count: report_counts.get(&domain_id).copied().unwrap_or_default(),
                source_count,
                latest: self.latest_policy(domain_id, range.to).await?,
            });
        }
        Ok(summaries)
    }

    async fn latest_policy(&self, domain_id: i64, to: Date) -> Result<Option<LatestPolicy>, Error> {
        Ok(sqlx::query_as!(
            LatestPolicy,
            r#"
            select end_at, org_name, p, sp, np, adkim, aspf, pct, fo, testing
            from reports
            where domain_id = $1
                and day <= $2
            order by day desc, report_uid desc
            limit 1
            "#,
            domain_id,
            to
        )
        .fetch_optional(&self.pool)
        .await?)
    }

    /// The messages of a domain day by day; days without any are left out.
    pub async fn domain_series(
        &self,
        domain_id: i64,
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
            where domain_id = $1
                and day between $2 and $3
            group by day
            order by day
            "#,
            domain_id,
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
