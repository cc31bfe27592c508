//! The rollup: sums of messages by domain, day, source and results, many in one row.

use std::net::IpAddr;

use report::{Disposition, Record};
use serde::Serialize;
use time::Date;

use crate::query::Totals;

/// Sums in one row at most: one address is read from a row in half a millisecond, and a large day is a few rows.
pub(crate) const BLOCK_SUMS_MAX: usize = 2_000;

/// Messages of one domain and day with the same source, author domain and results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sum<'a> {
    pub(crate) source_ip: IpAddr,
    pub(crate) key: SumKey<'a>,
    pub(crate) message_count: u64,
    /// Reports in it.
    pub(crate) report_count: u32,
    /// Reports counted for the source here: each once per source, at the first of the source's sums.
    pub(crate) source_report_count: u32,
}

/// What a sum is kept by, besides domain, day and source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(crate) struct SumKey<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dkim_aligned: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) spf_aligned: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disposition: Option<Disposition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) header_from: Option<&'a str>,
}

impl SumKey<'_> {
    /// DMARC passes when DKIM or SPF passes in alignment.
    pub(crate) fn dmarc_pass(&self) -> bool {
        self.dkim_aligned == Some(true) || self.spf_aligned == Some(true)
    }
}

/// The sums of a report whose period is one day, in order of source and key.
pub(crate) fn report_sums(records: &[Record]) -> Vec<Sum<'_>> {
    let mut sums: Vec<Sum<'_>> = records
        .iter()
        .map(|record| Sum {
            source_ip: record.source_ip,
            key: SumKey {
                dkim_aligned: record.dkim_aligned,
                spf_aligned: record.spf_aligned,
                disposition: record.disposition,
                header_from: record.header_from.as_deref(),
            },
            message_count: record.message_count,
            report_count: 0,
            source_report_count: 0,
        })
        .collect();
    merge(&mut sums);
    let mut before = None;
    for sum in &mut sums {
        sum.report_count = 1;
        sum.source_report_count = u32::from(before.replace(sum.source_ip) != Some(sum.source_ip));
    }
    sums
}

/// Puts sums in order of source and key, and adds up those that have both in common.
pub(crate) fn merge(sums: &mut Vec<Sum<'_>>) {
    sums.sort_unstable();
    sums.dedup_by(|next, sum| {
        let same = next.source_ip == sum.source_ip && next.key == sum.key;
        if same {
            sum.message_count = sum.message_count.saturating_add(next.message_count);
            sum.report_count = sum.report_count.saturating_add(next.report_count);
            sum.source_report_count = sum
                .source_report_count
                .saturating_add(next.source_report_count);
        }
        same
    });
}

/// A row of `source_day_arrivals` or `source_day_blocks`.
#[derive(Debug)]
pub(crate) struct SourceDayBlock<'a> {
    pub(crate) domain_id: i64,
    pub(crate) day: Date,
    pub(crate) first_source: IpAddr,
    pub(crate) last_source: IpAddr,
    pub(crate) sum_count: i32,
    pub(crate) source_report_count: i64,
    pub(crate) totals: Totals,
    pub(crate) source_ips: Vec<IpAddr>,
    pub(crate) key_numbers: Vec<i16>,
    pub(crate) message_counts: Vec<i64>,
    pub(crate) report_counts: Option<Vec<i32>>,
    pub(crate) source_report_counts: Option<Vec<i32>>,
    pub(crate) keys: Vec<SumKey<'a>>,
}

/// Sums of one domain and day in rows. They must be in order of source.
pub(crate) fn source_day_blocks<'a, 's>(
    domain_id: i64,
    day: Date,
    sums: &'s [Sum<'a>],
) -> impl Iterator<Item = SourceDayBlock<'a>> + use<'a, 's> {
    sums.chunks(BLOCK_SUMS_MAX)
        .filter_map(move |sums| SourceDayBlock::new(domain_id, day, sums))
}

impl<'a> SourceDayBlock<'a> {
    fn new(domain_id: i64, day: Date, sums: &[Sum<'a>]) -> Option<Self> {
        let (first, last) = (sums.first()?, sums.last()?);
        let mut totals = Totals::default();
        let mut keys: Vec<SumKey<'a>> = sums.iter().map(|sum| sum.key).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut key_numbers = Vec::with_capacity(sums.len());
        for sum in sums {
            totals.add(sum);
            // At most BLOCK_SUMS_MAX of them, so the numbers fit.
            let number = keys.partition_point(|key| *key < sum.key) + 1;
            key_numbers.push(number as i16);
        }
        Some(Self {
            domain_id,
            day,
            first_source: first.source_ip,
            last_source: last.source_ip,
            sum_count: sums.len() as i32,
            source_report_count: sums
                .iter()
                .map(|sum| i64::from(sum.source_report_count))
                .sum(),
            totals,
            source_ips: sums.iter().map(|sum| sum.source_ip).collect(),
            key_numbers,
            message_counts: sums.iter().map(|sum| cut(sum.message_count)).collect(),
            report_counts: counts(sums, |sum| sum.report_count),
            source_report_counts: counts(sums, |sum| sum.source_report_count),
            keys,
        })
    }
}

/// One number for each sum; none when each is 1, which is the common case.
fn counts(sums: &[Sum<'_>], count: impl Fn(&Sum<'_>) -> u32) -> Option<Vec<i32>> {
    let differ = sums.iter().any(|sum| count(sum) != 1);
    differ.then(|| sums.iter().map(|sum| count(sum) as i32).collect())
}

fn cut(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    fn record(source_ip: &str, message_count: u64, dkim_aligned: Option<bool>) -> Record {
        Record {
            position: 0,
            source_ip: source_ip.parse().unwrap(),
            message_count,
            disposition: Some(Disposition::None),
            dkim_aligned,
            spf_aligned: None,
            reasons: Vec::new(),
            header_from: Some("example.com".into()),
            envelope_from: None,
            envelope_to: None,
            dkim: Vec::new(),
            dkim_omitted: 0,
            spf: Vec::new(),
            odd_values: Vec::new(),
        }
    }

    #[test]
    fn equal_results_are_one_sum_and_each_source_counts_once() {
        let records = [
            record("192.0.2.2", 5, Some(true)),
            record("192.0.2.1", 2, Some(true)),
            record("192.0.2.1", 3, None),
            record("192.0.2.1", 7, Some(true)),
        ];
        let sums: Vec<_> = report_sums(&records)
            .iter()
            .map(|sum| {
                let counts = (sum.report_count, sum.source_report_count);
                (sum.source_ip.to_string(), sum.message_count, counts)
            })
            .collect();
        assert_eq!(
            sums,
            [
                ("192.0.2.1".into(), 3, (1, 1)),
                ("192.0.2.1".into(), 9, (1, 0)),
                ("192.0.2.2".into(), 5, (1, 1)),
            ]
        );
    }

    #[test]
    fn reports_of_one_day_add_up() {
        let records = [
            record("192.0.2.1", 2, Some(true)),
            record("2001:db8::1", u64::MAX, None),
        ];
        let mut sums = [report_sums(&records), report_sums(&records)].concat();
        merge(&mut sums);
        let blocks: Vec<_> = source_day_blocks(7, date!(2026 - 06 - 30), &sums).collect();
        assert_eq!(blocks.len(), 1);
        let block = &blocks[0];
        assert_eq!(block.message_counts, [4, i64::MAX]);
        assert_eq!(block.report_counts, Some(vec![2, 2]));
        assert_eq!(block.source_report_count, 4);
        assert_eq!(
            block.totals.message_count,
            i64::MAX,
            "cut, not wrapped around"
        );
        assert_eq!(block.totals.dkim_aligned_count, 4);
        assert_eq!(block.key_numbers, [2, 1]);
    }
}
