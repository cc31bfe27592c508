//! Sums on their way from table to table, 56 bytes each whatever the names in them.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use time::Date;

use crate::{
    Error,
    query::blocks::Block,
    rollup::{Sum, SumKey},
    source_block::{bucket, results_number, results_of_number},
};

/// Messages of one domain, day and source with the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MovedSum {
    pub(super) domain_id: i64,
    pub(super) day: Date,
    pub(super) source_ip: IpAddr,
    /// Of the source.
    pub(super) bucket: u8,
    /// Its number among [`Keys`], or the number of its results where nothing else is kept.
    pub(super) key: u32,
    pub(super) message_count: i64,
    pub(super) report_count: i32,
    pub(super) source_report_count: i32,
}

impl MovedSum {
    /// Adds another sum of the same messages, unless the columns are too narrow for both together: then they stay apart,
    /// so that nothing is lost.
    fn absorb(&mut self, other: &Self) -> bool {
        let totals = (
            self.message_count.checked_add(other.message_count),
            self.report_count.checked_add(other.report_count),
            self.source_report_count
                .checked_add(other.source_report_count),
        );
        let (Some(message_count), Some(report_count), Some(source_report_count)) = totals else {
            return false;
        };
        self.message_count = message_count;
        self.report_count = report_count;
        self.source_report_count = source_report_count;
        true
    }
}

/// In the order of `source_day_blocks`, equal ones added up.
pub(super) fn merge_by_day(sums: &mut Vec<MovedSum>) {
    sums.sort_unstable_by_key(|sum| (sum.domain_id, sum.day, sum.source_ip, sum.key));
    add_up(sums);
}

/// In the order of `source_blocks`, equal ones added up.
pub(super) fn merge_by_source(sums: &mut Vec<MovedSum>) {
    sums.sort_unstable_by_key(|sum| (sum.bucket, sum.source_ip, sum.domain_id, sum.day, sum.key));
    add_up(sums);
}

fn add_up(sums: &mut Vec<MovedSum>) {
    let place = |sum: &MovedSum| (sum.domain_id, sum.day, sum.source_ip, sum.key);
    sums.dedup_by(|next, sum| place(next) == place(sum) && sum.absorb(next));
}

/// What sums are kept by, besides domain, day and source: each once, by number.
#[derive(Debug, Default)]
pub(super) struct Keys {
    keys: Vec<Key>,
    numbers: HashMap<Key, u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    results: u8,
    header_from: Option<Arc<str>>,
}

impl Keys {
    fn number(&mut self, key: &SumKey<'_>) -> u32 {
        let key = Key {
            results: results_number(key),
            header_from: key.header_from.map(Arc::from),
        };
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        let number = self.keys.len() as u32;
        self.keys.push(key.clone());
        self.numbers.insert(key, number);
        number
    }

    /// The number of a key's results.
    pub(super) fn results(&self, number: u32) -> u32 {
        u32::from(self.keys[number as usize].results)
    }

    /// Takes over the sums of a block.
    pub(super) fn read(&mut self, block: &Block, sums: &mut Vec<MovedSum>) -> Result<(), Error> {
        let keys = block.keys()?;
        let numbers: Vec<u32> = keys.iter().map(|key| self.number(key)).collect();
        for sum in block.sums(&keys) {
            let (number, sum) = sum?;
            sums.push(MovedSum {
                domain_id: block.domain_id,
                day: block.day,
                source_ip: sum.source_ip,
                bucket: bucket(sum.source_ip),
                key: numbers[number],
                // All three come from columns of these types.
                message_count: sum.message_count as i64,
                report_count: sum.report_count as i32,
                source_report_count: sum.source_report_count as i32,
            });
        }
        Ok(())
    }

    /// The sum as it is written to a row.
    pub(super) fn sum(&self, sum: &MovedSum) -> Sum<'_> {
        let key = &self.keys[sum.key as usize];
        let results = results_of_number(key.results).expect("made from results");
        Sum {
            source_ip: sum.source_ip,
            key: SumKey {
                header_from: key.header_from.as_deref(),
                ..results
            },
            message_count: sum.message_count as u64,
            report_count: sum.report_count as u32,
            source_report_count: sum.source_report_count as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    fn sum(source_ip: &str, domain_id: i64, message_count: i64) -> MovedSum {
        let source_ip = source_ip.parse().unwrap();
        MovedSum {
            domain_id,
            day: date!(2026 - 06 - 30),
            source_ip,
            bucket: bucket(source_ip),
            key: 0,
            message_count,
            report_count: 1,
            source_report_count: 1,
        }
    }

    #[test]
    fn what_has_all_in_common_is_added_up() {
        let mut sums = vec![
            sum("192.0.2.1", 2, 5),
            sum("192.0.2.1", 1, 1),
            sum("192.0.2.1", 2, 7),
        ];
        merge_by_day(&mut sums);
        let mut by_source = sums.clone();
        merge_by_source(&mut by_source);
        assert_eq!(sums, by_source);
        assert_eq!(sums.len(), 2);
        assert_eq!((sums[1].message_count, sums[1].report_count), (12, 2));
    }

    #[test]
    fn what_would_not_fit_stays_apart() {
        let mut sums = vec![sum("192.0.2.1", 1, i64::MAX), sum("192.0.2.1", 1, 1)];
        merge_by_day(&mut sums);
        let mut counts: Vec<i64> = sums.iter().map(|sum| sum.message_count).collect();
        counts.sort_unstable();
        assert_eq!(counts, [1, i64::MAX]);
    }

    #[test]
    fn a_sum_is_what_it_was_moved_from() {
        let mut keys = Keys::default();
        let key = SumKey {
            dkim_aligned: Some(false),
            spf_aligned: None,
            disposition: Some(report::Disposition::Reject),
            header_from: Some("example.com"),
        };
        keys.number(&SumKey {
            header_from: None,
            ..key
        });
        let number = keys.number(&key);
        assert_eq!(number, keys.number(&key));
        let moved = MovedSum {
            key: number,
            ..sum("192.0.2.1", 1, 3)
        };
        assert_eq!(keys.sum(&moved).key, key);
    }
}
