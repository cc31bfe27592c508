//! The rollup of one report: partial sums for `source_days`.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use report::{Disposition, Record};

/// The messages of one report with the same source, author domain and results.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PartialSum<'a> {
    pub(crate) key: SumKey<'a>,
    pub(crate) message_count: u64,
    /// Whether the report is counted for its source here: at the first of the source's sums.
    pub(crate) counts_source: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SumKey<'a> {
    pub(crate) source_ip: IpAddr,
    pub(crate) header_from: Option<&'a str>,
    pub(crate) disposition: Option<Disposition>,
    pub(crate) dkim_aligned: Option<bool>,
    pub(crate) spf_aligned: Option<bool>,
}

/// The partial sums of a report whose period is one day, in the order of its records.
pub(crate) fn partial_sums(records: &[Record]) -> Vec<PartialSum<'_>> {
    let mut sums: Vec<PartialSum<'_>> = Vec::with_capacity(records.len());
    let mut places = HashMap::with_capacity(records.len());
    let mut sources = HashSet::with_capacity(records.len());
    for record in records {
        let key = SumKey {
            source_ip: record.source_ip,
            header_from: record.header_from.as_deref(),
            disposition: record.disposition,
            dkim_aligned: record.dkim_aligned,
            spf_aligned: record.spf_aligned,
        };
        let place = *places.entry(key).or_insert_with(|| {
            sums.push(PartialSum {
                key,
                message_count: 0,
                counts_source: sources.insert(key.source_ip),
            });
            sums.len() - 1
        });
        sums[place].message_count += record.message_count;
    }
    sums
}

#[cfg(test)]
mod tests {
    use report::Record;

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
            record("192.0.2.1", 2, Some(true)),
            record("192.0.2.1", 3, None),
            record("192.0.2.2", 5, Some(true)),
            record("192.0.2.1", 7, Some(true)),
        ];
        let sums: Vec<_> = partial_sums(&records)
            .iter()
            .map(|sum| {
                (
                    sum.key.source_ip.to_string(),
                    sum.message_count,
                    sum.counts_source,
                )
            })
            .collect();
        assert_eq!(
            sums,
            [
                ("192.0.2.1".into(), 9, true),
                ("192.0.2.1".into(), 3, false),
                ("192.0.2.2".into(), 5, true),
            ]
        );
    }
}
