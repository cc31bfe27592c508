//! Questions about sources: who sends mail in a domain's name.

use std::{cmp::Reverse, collections::HashMap, net::IpAddr, pin::pin};

use futures_util::TryStreamExt as _;
use time::Date;

use crate::{
    Error, Store,
    query::{
        Range, Totals,
        answers::{KEPT_ROWS_MAX, SUMS_MIN},
        blocks::{Extent, Span, blocks, extent, parts},
    },
    rollup::{Sum, SumKey},
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SourceSort {
    /// All messages.
    #[default]
    Messages,
    /// Messages that fail DMARC.
    Failures,
}

/// A place in the list of sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceKey {
    /// The number that the list is sorted by.
    pub count: i64,
    /// Decides among equals.
    pub source_ip: IpAddr,
}

/// Which messages and sources to count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
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

impl Store {
    /// The sources of a domain, greatest first.
    pub async fn sources(
        &self,
        domain_id: i64,
        range: Range,
        filter: &SourceFilter,
        limit: i64,
    ) -> Result<Vec<SourceRow>, Error> {
        let Some(extent) = extent(&self.pool, domain_id, range).await? else {
            return Ok(Vec::new());
        };
        // Long pages are those of exports, which nobody asks for again.
        if extent.sum_count < SUMS_MIN || limit > KEPT_ROWS_MAX {
            return self.ranked(domain_id, range, filter, limit, extent).await;
        }
        let question = (domain_id, range, filter.clone(), limit);
        if let Some(rows) = self.answers.sources.get(&question, extent.version) {
            return Ok(rows);
        }
        let rows = self.ranked(domain_id, range, filter, limit, extent).await?;
        self.answers
            .sources
            .put(question, extent.version, rows.clone());
        Ok(rows)
    }

    /// Adds up the sums of each source, part by part of the addresses, and keeps the greatest.
    async fn ranked(
        &self,
        domain_id: i64,
        range: Range,
        filter: &SourceFilter,
        limit: i64,
        extent: Extent,
    ) -> Result<Vec<SourceRow>, Error> {
        let limit = usize::try_from(limit).unwrap_or(0);
        let span = match filter.net {
            Some((address, prefix)) => Span::of_net(address, prefix),
            None => Span::ALL,
        };
        let parts = parts(&self.pool, domain_id, range, span, extent).await?;
        let _turn = match parts.len() {
            1 => None,
            _ => Some(
                self.answers
                    .large
                    .acquire()
                    .await
                    .map_err(|_| Error::Closed)?,
            ),
        };
        let mut ranked = Vec::new();
        for part in parts {
            let sources = self.add_up(domain_id, range, filter, part).await?;
            ranked.extend(
                sources
                    .into_iter()
                    .filter_map(|(source_ip, sums)| sums.row(source_ip))
                    .filter(|row| filter.comes_after(row)),
            );
            keep_greatest(&mut ranked, filter.sort, limit);
        }
        ranked.sort_unstable_by_key(|row| filter.sort.place(row));
        Ok(ranked)
    }

    async fn add_up(
        &self,
        domain_id: i64,
        range: Range,
        filter: &SourceFilter,
        part: Span,
    ) -> Result<HashMap<IpAddr, SourceSums>, Error> {
        let mut sources: HashMap<IpAddr, SourceSums> = HashMap::new();
        let mut blocks = pin!(blocks(&self.pool, domain_id, range, part));
        while let Some(block) = blocks.try_next().await? {
            let keys = block.keys()?;
            let matching: Vec<bool> = keys.iter().map(|key| filter.admits(key)).collect();
            for sum in block.sums(&keys) {
                let (number, sum) = sum?;
                if part.contains(sum.source_ip) {
                    let source = sources.entry(sum.source_ip).or_default();
                    source.add(&sum, block.day, matching[number]);
                }
            }
        }
        Ok(sources)
    }
}

impl SourceFilter {
    fn admits(&self, key: &SumKey<'_>) -> bool {
        self.pass.is_none_or(|pass| pass == key.dmarc_pass())
            && (self.header_from.is_none() || self.header_from.as_deref() == key.header_from)
    }

    fn comes_after(&self, row: &SourceRow) -> bool {
        self.after
            .is_none_or(|after| (Reverse(after.count), after.source_ip) < self.sort.place(row))
    }
}

impl SourceSort {
    /// The place of a source in the list: that of the greatest count comes first, among equals that of the lowest address.
    fn place(self, row: &SourceRow) -> (Reverse<i64>, IpAddr) {
        let count = match self {
            Self::Messages => row.totals.message_count,
            Self::Failures => row.totals.dmarc_fail_count(),
        };
        (Reverse(count), row.source_ip)
    }
}

/// Throws away all but the first of the list, in no order.
fn keep_greatest(rows: &mut Vec<SourceRow>, sort: SourceSort, limit: usize) {
    if rows.len() > limit {
        if limit > 0 {
            rows.select_nth_unstable_by_key(limit - 1, |row| sort.place(row));
        }
        rows.truncate(limit);
    }
}

/// The messages of one source while they are added up.
#[derive(Debug, Default)]
struct SourceSums {
    totals: Totals,
    report_count: i64,
    /// The first and the last day with messages that match.
    days: Option<(Date, Date)>,
}

impl SourceSums {
    fn add(&mut self, sum: &Sum<'_>, day: Date, matches: bool) {
        self.report_count += i64::from(sum.source_report_count);
        if matches {
            self.totals.add(sum);
            let (first, last) = self.days.unwrap_or((day, day));
            self.days = Some((first.min(day), last.max(day)));
        }
    }

    /// A row of the list, if any message matches.
    fn row(self, source_ip: IpAddr) -> Option<SourceRow> {
        let (first_day, last_day) = self.days?;
        Some(SourceRow {
            source_ip,
            totals: self.totals,
            report_count: self.report_count,
            first_day,
            last_day,
        })
    }
}
