//! Answers. Summaries come from the rollup `source_days`, never from `records`.

mod domains;
mod reports;
mod sources;

use time::Date;

pub use domains::{DomainSummary, LatestPolicy};
pub use reports::{RecordRow, ReportFilter, ReportRow};
pub use sources::{DomainTotals, SourceFilter, SourceKey, SourceRow, SourceSort};

/// Days, both inclusive, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first day.
    pub from: Date,
    /// The last day.
    pub to: Date,
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
