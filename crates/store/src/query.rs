//! Answers. Summaries come from the rollup `source_days`, never from `records`.

mod answers;
pub(crate) mod blocks;
mod deliveries;
mod domains;
mod page;
mod policies;
mod records;
mod reports;
mod source;
mod source_records;
mod sources;

use std::net::IpAddr;

use report::Disposition;
use time::{Date, Duration};

use crate::{Error, rollup::Sum};

pub use deliveries::{DeliveryFilter, DeliveryRow};
pub use domains::{DomainDay, DomainSummary, LatestPolicy};
pub use page::Page;
pub use policies::{Policy, PolicyPeriod, Reporter};
pub use records::RecordRow;
pub use reports::{ReportFilter, ReportRow};
pub use source::{DomainTotals, SourceTotals};
pub use source_records::{SourceRecord, SourceRecordKey};
pub use sources::{SourceFilter, SourceKey, SourceRow, SourceSort};

pub(crate) use answers::Answers;
pub(crate) use page::text_bytes;

/// Days, both inclusive, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Range {
    /// The first day.
    pub from: Date,
    /// The last day.
    pub to: Date,
}

impl Range {
    /// The thirty days up to this one, which are meant where a range has no beginning.
    pub fn up_to(to: Date) -> Self {
        Self {
            from: to.saturating_sub(Duration::days(29)).max(FIRST_DAY),
            to,
        }
    }
}

/// The first day of the year 1. No report is about one before, and PostgreSQL knows few before.
const FIRST_DAY: Date = time::macros::date!(0001 - 01 - 01);

/// Whether a day can be asked about: one of the years 1 to 9999.
pub fn is_askable(day: Date) -> bool {
    day >= FIRST_DAY
}

/// Sums of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// All of them.
    pub message_count: i64,
    /// With an aligned DKIM or SPF pass.
    pub dmarc_pass_count: i64,
    /// With an aligned DKIM pass.
    pub dkim_aligned_count: i64,
    /// With an aligned SPF pass.
    pub spf_aligned_count: i64,
    /// By what the receiver did.
    pub disposition: Dispositions,
}

impl Totals {
    /// Without an aligned pass.
    pub fn dmarc_fail_count(&self) -> i64 {
        self.message_count - self.dmarc_pass_count
    }

    /// The columns of these sums in the rollup, in the order they have there.
    pub(crate) fn columns(&self) -> [i64; 9] {
        [
            self.message_count,
            self.dmarc_pass_count,
            self.dkim_aligned_count,
            self.spf_aligned_count,
            self.disposition.none,
            self.disposition.pass,
            self.disposition.quarantine,
            self.disposition.reject,
            self.disposition.unknown,
        ]
    }

    /// Adds messages. Sums beyond `i64`, which only reports that lie have, are cut.
    pub(crate) fn add(&mut self, sum: &Sum<'_>) {
        let messages = i64::try_from(sum.message_count).unwrap_or(i64::MAX);
        let dispositions = &mut self.disposition;
        let disposition = match sum.key.disposition {
            Some(Disposition::None) => &mut dispositions.none,
            Some(Disposition::Pass) => &mut dispositions.pass,
            Some(Disposition::Quarantine) => &mut dispositions.quarantine,
            Some(Disposition::Reject) => &mut dispositions.reject,
            None => &mut dispositions.unknown,
        };
        *disposition = disposition.saturating_add(messages);
        for (applies, total) in [
            (true, &mut self.message_count),
            (sum.key.dmarc_pass(), &mut self.dmarc_pass_count),
            (
                sum.key.dkim_aligned == Some(true),
                &mut self.dkim_aligned_count,
            ),
            (
                sum.key.spf_aligned == Some(true),
                &mut self.spf_aligned_count,
            ),
        ] {
            if applies {
                *total = total.saturating_add(messages);
            }
        }
    }
}

/// Messages by what the receiver did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dispositions {
    /// Delivered.
    pub none: i64,
    /// Delivered because DMARC passed (RFC 9990).
    pub pass: i64,
    /// Treated as suspicious.
    pub quarantine: i64,
    /// Refused.
    pub reject: i64,
    /// The reporter did not say, or not in a word of the format.
    pub unknown: i64,
}

/// The messages of one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesDay {
    /// UTC.
    pub day: Date,
    /// Its messages.
    pub totals: Totals,
}

/// A row with the sums that every summary has.
macro_rules! totals {
    ($row:expr) => {
        $crate::query::Totals {
            message_count: $row.message_count,
            dmarc_pass_count: $row.dmarc_pass_count,
            dkim_aligned_count: $row.dkim_aligned_count,
            spf_aligned_count: $row.spf_aligned_count,
            disposition: $crate::query::Dispositions {
                none: $row.disposition_none,
                pass: $row.disposition_pass,
                quarantine: $row.disposition_quarantine,
                reject: $row.disposition_reject,
                unknown: $row.disposition_unknown,
            },
        }
    };
}
use totals;

/// Reads an address that PostgreSQL wrote.
pub(crate) fn address(table: &'static str, text: &str) -> Result<IpAddr, Error> {
    text.parse().map_err(|_| Error::Corrupt {
        table,
        column: "source_ip",
        detail: format!("{text:?} is no address"),
    })
}
