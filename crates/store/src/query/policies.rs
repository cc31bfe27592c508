//! What the reports of a domain say beside its messages: who reported, and which policy they saw.

use std::pin::pin;

use futures_util::TryStreamExt as _;
use time::Date;

use crate::{Error, Store, query::Range};

/// One reporter of a domain over a range of days.
#[derive(Clone, Debug)]
pub struct Reporter {
    /// Its name.
    pub org_name: String,
    /// Its reports.
    pub report_count: i64,
    /// Messages of its reports.
    pub message_count: i64,
    /// With an aligned DKIM or SPF pass.
    pub dmarc_pass_count: i64,
    /// Day of its first report in the range.
    pub first_day: Date,
    /// Day of its last report in the range.
    pub last_day: Date,
}

/// A policy, and the days on which most reports saw it.
#[derive(Clone, Debug)]
pub struct PolicyPeriod {
    /// The policy.
    pub policy: Policy,
    /// The first of these days.
    pub first_day: Date,
    /// The last of them.
    pub last_day: Date,
    /// Reports of these days that saw it.
    pub report_count: i64,
}

/// A policy published; null is what reports did not say.
#[derive(Clone, Debug)]
pub struct Policy {
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
    /// The t tag.
    pub testing: Option<bool>,
}

impl Policy {
    /// Whether the two say nothing different: reporters leave out what their format does not have, such as `np`.
    fn agrees_with(&self, other: &Self) -> bool {
        fn agree<T: PartialEq>(one: &Option<T>, other: &Option<T>) -> bool {
            one.is_none() || other.is_none() || one == other
        }
        agree(&self.p, &other.p)
            && agree(&self.sp, &other.sp)
            && agree(&self.np, &other.np)
            && agree(&self.adkim, &other.adkim)
            && agree(&self.aspf, &other.aspf)
            && agree(&self.pct, &other.pct)
            && agree(&self.testing, &other.testing)
    }

    /// Completes it with what another report said.
    fn learn(&mut self, other: Self) {
        let known = std::mem::replace(self, other);
        self.p = known.p.or(self.p.take());
        self.sp = known.sp.or(self.sp.take());
        self.np = known.np.or(self.np.take());
        self.adkim = known.adkim.or(self.adkim.take());
        self.aspf = known.aspf.or(self.aspf.take());
        self.pct = known.pct.or(self.pct);
        self.testing = known.testing.or(self.testing);
    }
}

impl Store {
    /// Who reported about a domain, those with most messages first, after the place that `after` names.
    pub async fn reporters(
        &self,
        domain_id: i64,
        range: Range,
        after: Option<(i64, &str)>,
        limit: i64,
    ) -> Result<Vec<Reporter>, Error> {
        Ok(sqlx::query_as!(
            Reporter,
            r#"
            select
                org_name as "org_name!",
                report_count as "report_count!",
                message_count as "message_count!",
                dmarc_pass_count as "dmarc_pass_count!",
                first_day as "first_day!",
                last_day as "last_day!"
            from (
                select
                    org_name,
                    count(*) as report_count,
                    to_count(sum(message_count)) as message_count,
                    to_count(sum(dmarc_pass_count)) as dmarc_pass_count,
                    min(day) as first_day,
                    max(day) as last_day
                from reports
                where domain_id = $1
                    and day between $2 and $3
                group by org_name
            ) as reporters
            where $4::bigint is null
                or message_count < $4
                or (message_count = $4 and org_name > $5)
            order by message_count desc, org_name
            limit $6
            "#,
            domain_id,
            range.from,
            range.to,
            after.map(|(message_count, _)| message_count),
            after.map(|(_, org_name)| org_name),
            limit
        )
        .fetch_all(&self.reading)
        .await?)
    }

    /// The policies of a domain, newest first, those before a day. On a day with several, that of most reports counts:
    /// reporters learn of a change at different times.
    pub async fn policies(
        &self,
        domain_id: i64,
        before: Option<Date>,
        limit: i64,
    ) -> Result<Vec<PolicyPeriod>, Error> {
        let limit = usize::try_from(limit).unwrap_or(0);
        let mut days = pin!(
            sqlx::query!(
                r#"
                select day, p, sp, np, adkim, aspf, pct, testing, count(*) as "report_count!"
                from reports
                where domain_id = $1
                    and ($2::date is null or day < $2)
                group by day, p, sp, np, adkim, aspf, pct, testing
                order by
                    day desc, count(*) desc,
                    p nulls last, sp nulls last, np nulls last, adkim nulls last, aspf nulls last,
                    pct nulls last, testing nulls last
                "#,
                domain_id,
                before
            )
            .fetch(&self.reading)
        );
        let mut periods: Vec<PolicyPeriod> = Vec::new();
        let mut last_seen = None;
        while let Some(row) = days.try_next().await? {
            if last_seen.replace(row.day) == Some(row.day) {
                continue;
            }
            let policy = Policy {
                p: row.p,
                sp: row.sp,
                np: row.np,
                adkim: row.adkim,
                aspf: row.aspf,
                pct: row.pct,
                testing: row.testing,
            };
            if let Some(period) = periods.last_mut()
                && period.policy.agrees_with(&policy)
            {
                period.policy.learn(policy);
                period.first_day = row.day;
                period.report_count += row.report_count;
                continue;
            }
            if periods.len() == limit {
                break;
            }
            periods.push(PolicyPeriod {
                policy,
                first_day: row.day,
                last_day: row.day,
                report_count: row.report_count,
            });
        }
        Ok(periods)
    }
}
