//! Rows of `source_blocks`: the merged sums once more, by source.

use std::net::IpAddr;

use report::Disposition;
use time::Date;

use crate::{
    copy::{CopyRow, Fields},
    rollup::SumKey,
};

/// Which part of a month an address belongs to: the lowest byte of FNV-1a over its octets, for which it is enough to
/// carry that byte along. Every address is stored under it, so it can never change.
pub(crate) fn bucket(address: IpAddr) -> u8 {
    const OFFSET: u8 = 0xc5;
    const PRIME: u8 = 0x93;
    let hash = |octets: &[u8]| {
        let step = |hash: u8, octet: &u8| (hash ^ octet).wrapping_mul(PRIME);
        octets.iter().fold(OFFSET, step)
    };
    match address {
        IpAddr::V4(address) => hash(&address.octets()),
        IpAddr::V6(address) => hash(&address.octets()),
    }
}

/// The results of a sum as one number; the author domain is not in it.
pub(crate) fn results_number(key: &SumKey<'_>) -> u8 {
    let disposition = match key.disposition {
        None => 0,
        Some(Disposition::None) => 1,
        Some(Disposition::Pass) => 2,
        Some(Disposition::Quarantine) => 3,
        Some(Disposition::Reject) => 4,
    };
    let aligned = |aligned: Option<bool>| match aligned {
        None => 0,
        Some(false) => 1,
        Some(true) => 2,
    };
    disposition * 9 + aligned(key.dkim_aligned) * 3 + aligned(key.spf_aligned)
}

/// The results that a number stands for, `None` if it stands for none.
pub(crate) fn results_of_number(number: u8) -> Option<SumKey<'static>> {
    let disposition = match number / 9 {
        0 => None,
        1 => Some(Disposition::None),
        2 => Some(Disposition::Pass),
        3 => Some(Disposition::Quarantine),
        4 => Some(Disposition::Reject),
        _ => return None,
    };
    let aligned = |digit: u8| match digit % 3 {
        0 => None,
        digit => Some(digit == 2),
    };
    Some(SumKey {
        dkim_aligned: aligned(number / 3),
        spf_aligned: aligned(number),
        disposition,
        header_from: None,
    })
}

/// A row of `source_blocks`.
#[derive(Debug)]
pub(crate) struct SourceBlock {
    pub(crate) month: Date,
    pub(crate) bucket: u8,
    pub(crate) run_sum_count: i32,
    pub(crate) first_source: IpAddr,
    pub(crate) last_source: IpAddr,
    pub(crate) source_ips: Vec<IpAddr>,
    pub(crate) domain_ids: Vec<i64>,
    pub(crate) days: Vec<Date>,
    pub(crate) results: Vec<i16>,
    pub(crate) message_counts: Vec<i64>,
    pub(crate) source_report_counts: Option<Vec<i32>>,
}

impl CopyRow for SourceBlock {
    const COLUMNS: &'static [&'static str] = &[
        "month",
        "bucket",
        "run_sum_count",
        "first_source",
        "last_source",
        "sum_count",
        "source_ips",
        "domain_ids",
        "days",
        "results",
        "message_counts",
        "source_report_counts",
    ];

    fn encode(&self, fields: &mut Fields) {
        fields.value(self.month);
        fields.value(i16::from(self.bucket));
        fields.value(self.run_sum_count);
        fields.value(self.first_source);
        fields.value(self.last_source);
        fields.value(self.source_ips.len() as i32);
        fields.array(&self.source_ips);
        fields.array(&self.domain_ids);
        fields.array(&self.days);
        fields.array(&self.results);
        fields.array(&self.message_counts);
        fields.array_or_null(self.source_report_counts.as_deref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_stays_in_its_bucket() {
        // The lowest bytes of 32-bit FNV-1a, worked out independently.
        for (address, expected) in [
            ("0.0.0.0", 0x15),
            ("192.0.2.1", 0x94),
            ("255.255.255.255", 0xb1),
            ("::", 0x05),
            ("2001:db8::1", 0xf4),
        ] {
            assert_eq!(bucket(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn results_are_what_their_number_says() {
        for number in 0..45 {
            let key = results_of_number(number).unwrap();
            assert_eq!(results_number(&key), number);
        }
        assert_eq!(results_of_number(45), None);
    }
}
