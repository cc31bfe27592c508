//! Questions about policy domains.

use std::{collections::HashMap, net::IpAddr, pin::pin};

use foldhash::{HashSet, HashSetExt as _};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use time::{Date, OffsetDateTime};

use crate::{
    Error, Store, Visible,
    query::{
        Range, SeriesDay, Totals,
        answers::SUMS_MIN,
        blocks::{Extent, Span, addresses, parts},
        totals,
    },
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

/// What a domain sends on one day, in short.
#[derive(Clone, Debug)]
pub struct DomainDay {
    /// The policy domain.
    pub domain: String,
    /// The day.
    pub day: Date,
    /// Its messages.
    pub message_count: i64,
    /// With an aligned DKIM or SPF pass.
    pub dmarc_pass_count: i64,
}

/// Latest policies that are looked up at a time, one by one: a question each, which a cluster answers on one node.
const LATEST_AT_ONCE: usize = 4;

/// Small domains whose sources are counted at a time.
const SMALL_AT_ONCE: usize = 40;

impl Store {
    /// The id of a policy domain, `None` if no report named it.
    pub async fn domain_id(&self, name: &str) -> Result<Option<i64>, Error> {
        Ok(
            sqlx::query_scalar!("select domain_id from domains where name = $1", name)
                .fetch_optional(&self.reading)
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
                .fetch_one(&self.reading)
                .await?
            }
            None => {
                sqlx::query_scalar!("select max(day) from reports where day <= $1", latest)
                    .fetch_one(&self.reading)
                    .await?
            }
        })
    }

    /// The same of all domains that are visible.
    pub async fn last_visible_day(
        &self,
        visible: &Visible,
        latest: Date,
    ) -> Result<Option<Date>, Error> {
        let Some(domain_ids) = visible.domain_ids() else {
            return self.last_day(None, latest).await;
        };
        Ok(sqlx::query_scalar!(
            "select max(day) from reports where domain_id = any($1) and day <= $2",
            domain_ids,
            latest
        )
        .fetch_one(&self.reading)
        .await?)
    }

    /// Domains in the order of their names, those after `after`.
    pub async fn domains(
        &self,
        visible: &Visible,
        range: Range,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<DomainSummary>, Error> {
        let rows = sqlx::query!(
            r#"
            select domain_id, name
            from domains
            where ($1::text is null or name > $1)
                and ($3::bigint[] is null or domain_id = any($3))
            order by name
            limit $2
            "#,
            after,
            limit,
            visible.domain_ids()
        )
        .fetch_all(&self.reading)
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
        let rows = sqlx::query!(
            r#"
            select
                domain_id as "domain_id!",
                to_count(sum(source_report_count)) as "source_report_count!",
                sum(sum_count) as "sum_count!",
                to_count(sum(message_count)) as "message_count!",
                to_count(sum(dmarc_pass_count)) as "dmarc_pass_count!",
                to_count(sum(dkim_aligned_count)) as "dkim_aligned_count!",
                to_count(sum(spf_aligned_count)) as "spf_aligned_count!",
                to_count(sum(disposition_none)) as "disposition_none!",
                to_count(sum(disposition_pass)) as "disposition_pass!",
                to_count(sum(disposition_quarantine)) as "disposition_quarantine!",
                to_count(sum(disposition_reject)) as "disposition_reject!",
                to_count(sum(disposition_unknown)) as "disposition_unknown!"
            from source_day_totals
            where domain_id = any($1)
                and day between $2 and $3
            group by domain_id
            "#,
            &domain_ids,
            range.from,
            range.to
        )
        .fetch_all(&self.reading)
        .await?;
        let mut totals = HashMap::with_capacity(rows.len());
        let mut extents = HashMap::with_capacity(rows.len());
        for row in rows {
            let extent = Extent {
                version: (row.source_report_count, row.message_count),
                sum_count: row.sum_count,
            };
            extents.insert(row.domain_id, extent);
            totals.insert(row.domain_id, totals!(row));
        }
        let source_counts = self.source_counts(range, &extents).await?;
        let report_counts = self.report_counts(&domain_ids, range).await?;
        let latest = stream::iter(domain_ids)
            .map(|domain_id| self.latest_policy(domain_id, range.to))
            .buffered(LATEST_AT_ONCE)
            .try_collect::<Vec<_>>()
            .await?;
        Ok(domains
            .into_iter()
            .zip(latest)
            .map(|((domain_id, domain), latest)| DomainSummary {
                domain,
                totals: totals.remove(&domain_id).unwrap_or_default(),
                report_count: report_counts.get(&domain_id).copied().unwrap_or_default(),
                source_count: source_counts.get(&domain_id).copied().unwrap_or_default(),
                latest,
            })
            .collect())
    }

    /// How many reports each of these domains has whose day is in the range.
    async fn report_counts(
        &self,
        domain_ids: &[i64],
        range: Range,
    ) -> Result<HashMap<i64, i64>, Error> {
        let rows = sqlx::query!(
            r#"
            select domain_id, count(*) as "count!"
            from reports
            where domain_id = any($1)
                and day between $2 and $3
            group by domain_id
            "#,
            domain_ids,
            range.from,
            range.to
        )
        .fetch_all(&self.reading)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| (row.domain_id, row.count))
            .collect())
    }

    /// How many different sources each of these domains has.
    async fn source_counts(
        &self,
        range: Range,
        extents: &HashMap<i64, Extent>,
    ) -> Result<HashMap<i64, i64>, Error> {
        let mut counts = HashMap::with_capacity(extents.len());
        let mut small = Vec::new();
        for (domain_id, extent) in extents {
            let question = (*domain_id, range);
            if let Some(count) = self.answers.source_counts.get(&question, extent.version) {
                counts.insert(*domain_id, count);
            } else if extent.sum_count < SUMS_MIN {
                small.push(*domain_id);
            } else {
                let count = self.source_count(*domain_id, range, *extent).await?;
                self.answers
                    .source_counts
                    .put(question, extent.version, count);
                counts.insert(*domain_id, count);
            }
        }
        // So many domains at a time that their addresses are few together.
        for some in small.chunks(SMALL_AT_ONCE) {
            let mut sources: HashMap<i64, HashSet<IpAddr>> = HashMap::new();
            let mut all = pin!(addresses(&self.reading, some, range, Span::ALL));
            while let Some((domain_id, addresses)) = all.try_next().await? {
                sources.entry(domain_id).or_default().extend(addresses);
            }
            let counted = sources.into_iter();
            counts.extend(counted.map(|(domain_id, sources)| (domain_id, sources.len() as i64)));
        }
        Ok(counts)
    }

    /// How many different sources a large domain has, counted part by part of the addresses.
    async fn source_count(
        &self,
        domain_id: i64,
        range: Range,
        extent: Extent,
    ) -> Result<i64, Error> {
        let parts = parts(&self.reading, domain_id, range, Span::ALL, extent).await?;
        let _turn = self.answers.turn(domain_id).await?;
        let domain_ids = [domain_id];
        let mut count = 0;
        for part in parts {
            let mut sources = HashSet::new();
            let mut blocks = pin!(addresses(&self.reading, &domain_ids, range, part));
            while let Some((_, addresses)) = blocks.try_next().await? {
                sources.extend(addresses.into_iter().filter(|ip| part.contains(*ip)));
            }
            count += sources.len() as i64;
        }
        Ok(count)
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
        .fetch_optional(&self.reading)
        .await?)
    }

    /// The messages of several domains day by day, in short; days without any are left out.
    pub async fn days_of_domains(
        &self,
        domains: &[String],
        range: Range,
    ) -> Result<Vec<DomainDay>, Error> {
        Ok(sqlx::query_as!(
            DomainDay,
            r#"
            select
                d.name as "domain!",
                t.day as "day!",
                to_count(sum(t.message_count)) as "message_count!",
                to_count(sum(t.dmarc_pass_count)) as "dmarc_pass_count!"
            from domains d
            join source_day_totals t on t.domain_id = d.domain_id
            where d.name = any($1)
                and t.day between $2 and $3
            group by d.name, t.day
            order by d.name, t.day
            "#,
            domains,
            range.from,
            range.to
        )
        .fetch_all(&self.reading)
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
            from source_day_totals
            where domain_id = $1
                and day between $2 and $3
            group by day
            order by day
            "#,
            domain_id,
            range.from,
            range.to
        )
        .fetch_all(&self.reading)
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
