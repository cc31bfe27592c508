//! The sums that every summary has.

use serde::Serialize;
use time::Date;
use utoipa::ToSchema;

use crate::days::day;

/// Sums of messages.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub(crate) struct Totals {
    /// All messages.
    #[schema(example = 1200)]
    message_count: i64,
    /// With an aligned DKIM or SPF pass.
    #[schema(example = 1180)]
    dmarc_pass_count: i64,
    /// Without either.
    #[schema(example = 20)]
    dmarc_fail_count: i64,
    /// With an aligned DKIM pass.
    #[schema(example = 1180)]
    dkim_aligned_count: i64,
    /// With an aligned SPF pass.
    #[schema(example = 1100)]
    spf_aligned_count: i64,
    disposition: Dispositions,
}

/// Messages by what the receiver did with them.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub(crate) struct Dispositions {
    /// Delivered.
    #[schema(example = 1185)]
    none: i64,
    /// Delivered because DMARC passed (RFC 9990).
    #[schema(example = 0)]
    pass: i64,
    /// Treated as suspicious.
    #[schema(example = 15)]
    quarantine: i64,
    /// Refused.
    #[schema(example = 0)]
    reject: i64,
    /// The reporter did not say, or not in a word of the format.
    #[schema(example = 0)]
    unknown: i64,
}

/// The messages of one UTC day; days without any are left out.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct SeriesDay {
    #[serde(with = "day")]
    #[schema(example = "2024-05-01")]
    day: Date,
    #[serde(flatten)]
    totals: Totals,
}

impl From<store::Totals> for Totals {
    fn from(totals: store::Totals) -> Self {
        let disposition = totals.disposition;
        Self {
            message_count: totals.message_count,
            dmarc_pass_count: totals.dmarc_pass_count,
            dmarc_fail_count: totals.dmarc_fail_count(),
            dkim_aligned_count: totals.dkim_aligned_count,
            spf_aligned_count: totals.spf_aligned_count,
            disposition: Dispositions {
                none: disposition.none,
                pass: disposition.pass,
                quarantine: disposition.quarantine,
                reject: disposition.reject,
                unknown: disposition.unknown,
            },
        }
    }
}

impl Totals {
    /// The sum of all days. Reports that lie may reach the end of the numbers, which is no reason to fail.
    pub(crate) fn of(series: &[SeriesDay]) -> Self {
        series.iter().fold(Self::default(), |sum, day| {
            let totals = day.totals;
            let (ours, theirs) = (sum.disposition, totals.disposition);
            Self {
                message_count: sum.message_count.saturating_add(totals.message_count),
                dmarc_pass_count: sum.dmarc_pass_count.saturating_add(totals.dmarc_pass_count),
                dmarc_fail_count: sum.dmarc_fail_count.saturating_add(totals.dmarc_fail_count),
                dkim_aligned_count: sum
                    .dkim_aligned_count
                    .saturating_add(totals.dkim_aligned_count),
                spf_aligned_count: sum
                    .spf_aligned_count
                    .saturating_add(totals.spf_aligned_count),
                disposition: Dispositions {
                    none: ours.none.saturating_add(theirs.none),
                    pass: ours.pass.saturating_add(theirs.pass),
                    quarantine: ours.quarantine.saturating_add(theirs.quarantine),
                    reject: ours.reject.saturating_add(theirs.reject),
                    unknown: ours.unknown.saturating_add(theirs.unknown),
                },
            }
        })
    }
}

impl From<store::SeriesDay> for SeriesDay {
    fn from(day: store::SeriesDay) -> Self {
        Self {
            day: day.day,
            totals: day.totals.into(),
        }
    }
}
