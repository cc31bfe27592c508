//! Questions about sources: who sends mail in a domain's name.

use std::{cmp::Reverse, net::IpAddr, panic::resume_unwind};

use foldhash::{HashMap, HashMapExt as _};
use futures_util::TryStreamExt as _;
use time::Date;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use crate::{
    Error, Store,
    query::{
        Range, Totals,
        answers::{KEPT_ROWS_MAX, SUMS_MIN, TURN_SUMS_MIN},
        blocks::{Block, Extent, Span, blocks, extent, parts},
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
        let Some(extent) = extent(&self.reading, domain_id, range).await? else {
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
        let parts = parts(&self.reading, domain_id, range, span, extent).await?;
        let turn = match extent.sum_count {
            ..TURN_SUMS_MIN => None,
            _ => Some(self.answers.turn(domain_id).await?),
        };
        let mut first = Vec::new();
        let mut take = |rows: Vec<SourceRow>| {
            first.extend(rows);
            keep_first(&mut first, limit, |row| filter.sort.place(row));
        };
        let mut ranking: Option<JoinHandle<_>> = None;
        for part in parts {
            // While the part before is ranked.
            let blocks: Vec<Block> = blocks(&self.reading, domain_id, range, part)
                .map_ok(|block| block.within(part))
                .try_collect()
                .await?;
            if let Some(ranking) = ranking.take() {
                take(done(ranking).await?);
            }
            let filter = filter.clone();
            let held = (turn.clone(), self.answers.core().await?);
            ranking = Some(spawn_blocking(move || {
                let _held = held;
                rank(&blocks, &filter, part, limit)
            }));
        }
        if let Some(ranking) = ranking {
            take(done(ranking).await?);
        }
        first.sort_unstable_by_key(|row| filter.sort.place(row));
        Ok(first)
    }
}

/// What work on another thread comes to.
async fn done<T>(work: JoinHandle<Result<T, Error>>) -> Result<T, Error> {
    match work.await.map_err(JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => resume_unwind(panic),
        Err(Err(_)) => Err(Error::Closed),
    }
}

/// The first sources of a part of the addresses, in no order. All sources are counted, but only those that come first are
/// looked at in full: in a large domain nearly all do not.
fn rank(
    blocks: &[Block],
    filter: &SourceFilter,
    part: Span,
    limit: usize,
) -> Result<Vec<SourceRow>, Error> {
    let sum_count = blocks.iter().map(Block::sum_count).sum();
    let mut counts: HashMap<IpAddr, i64> = HashMap::with_capacity(sum_count);
    for_each_sum(blocks, filter, part, |_, sum, matches| {
        if matches {
            let count = counts.entry(sum.source_ip).or_default();
            *count = count.saturating_add(filter.sort.count(sum));
        }
    })?;
    let mut first: Vec<SourceKey> = counts
        .into_iter()
        .map(|(source_ip, count)| SourceKey { count, source_ip })
        .filter(|key| filter.after.is_none_or(|after| after.place() < key.place()))
        .collect();
    keep_first(&mut first, limit, SourceKey::place);

    let mut sources: HashMap<IpAddr, SourceSums> = first
        .into_iter()
        .map(|key| (key.source_ip, SourceSums::default()))
        .collect();
    for_each_sum(blocks, filter, part, |day, sum, matches| {
        if let Some(source) = sources.get_mut(&sum.source_ip) {
            source.add(sum, day, matches);
        }
    })?;
    Ok(sources
        .into_iter()
        .filter_map(|(source_ip, sums)| sums.row(source_ip))
        .collect())
}

/// Calls `take` with each sum of these addresses, its day, and whether it matches the filter.
fn for_each_sum(
    blocks: &[Block],
    filter: &SourceFilter,
    part: Span,
    mut take: impl FnMut(Date, &Sum<'_>, bool),
) -> Result<(), Error> {
    for block in blocks {
        let keys = block.keys()?;
        let matching: Vec<bool> = keys.iter().map(|key| filter.admits(key)).collect();
        for sum in block.sums(&keys) {
            let (number, sum) = sum?;
            if part.contains(sum.source_ip) {
                take(block.day, &sum, matching[number]);
            }
        }
    }
    Ok(())
}

impl SourceFilter {
    fn admits(&self, key: &SumKey<'_>) -> bool {
        self.pass.is_none_or(|pass| pass == key.dmarc_pass())
            && (self.header_from.is_none() || self.header_from.as_deref() == key.header_from)
    }
}

impl SourceKey {
    /// The greatest count comes first, among equals the lowest address.
    fn place(&self) -> (Reverse<i64>, IpAddr) {
        (Reverse(self.count), self.source_ip)
    }
}

impl SourceSort {
    /// What a sum adds to the number that the list is sorted by.
    fn count(self, sum: &Sum<'_>) -> i64 {
        let counts = match self {
            Self::Messages => true,
            Self::Failures => !sum.key.dmarc_pass(),
        };
        if counts {
            i64::try_from(sum.message_count).unwrap_or(i64::MAX)
        } else {
            0
        }
    }

    /// The place of a source in the list.
    fn place(self, row: &SourceRow) -> (Reverse<i64>, IpAddr) {
        let count = match self {
            Self::Messages => row.totals.message_count,
            Self::Failures => row.totals.dmarc_fail_count(),
        };
        let source_ip = row.source_ip;
        SourceKey { count, source_ip }.place()
    }
}

/// Throws away all but the first of the list, in no order.
fn keep_first<T, K: Ord>(list: &mut Vec<T>, limit: usize, place: impl Fn(&T) -> K) {
    if list.len() > limit {
        if limit > 0 {
            list.select_nth_unstable_by_key(limit - 1, place);
        }
        list.truncate(limit);
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
