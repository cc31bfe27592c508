//! What makes a report this report, and which days its messages belong to.

use report::Header;
use sha2::{Digest, Sha256};
use time::{Date, OffsetDateTime};
use uuid::Uuid;

const DAY_SECS: i64 = 24 * 60 * 60;

/// A period over more days is taken for a mistake, and all its messages for one day.
const DAYS_MAX: i64 = 366;

/// Spreading makes up to one row per record and day: a small hostile report must not become a large table.
const SPREAD_ROWS_MAX: i64 = 1_000_000;

/// The identity of a report: policy domain, org_name, report_id without one pair of `<>`, begin and end.
///
/// The first 128 bits of a SHA-256 over the five, each with its length in front, so that no two keys run together.
pub fn report_uid(header: &Header) -> Uuid {
    let metadata = &header.report_metadata;
    let mut hash = Sha256::new();
    for text in [
        header.policy_published.domain.as_str(),
        metadata.org_name.as_str(),
        metadata.report_id_key(),
    ] {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    hash.update(metadata.date_range.begin.to_be_bytes());
    hash.update(metadata.date_range.end.to_be_bytes());
    let digest = hash.finalize();
    let mut first = [0; 16];
    first.copy_from_slice(&digest[..16]);
    Uuid::from_bytes(first)
}

/// The UTC day that contains the middle of the reporting period.
pub fn day_of(header: &Header) -> Date {
    let range = header.report_metadata.date_range;
    let middle = i64::midpoint(range.begin, range.end);
    at(middle).date()
}

/// Over how many UTC days the messages of a report are spread: 1 unless its period is longer than 27 hours.
pub(crate) fn day_count(header: &Header, record_count: u64) -> i32 {
    let range = header.report_metadata.date_range;
    let (first, last) = (range.begin.min(range.end), range.begin.max(range.end));
    if !range.is_long() {
        return 1;
    }
    let days = (last - 1).div_euclid(DAY_SECS) - first.div_euclid(DAY_SECS) + 1;
    let records = i64::try_from(record_count).unwrap_or(i64::MAX);
    if days > DAYS_MAX || days.saturating_mul(records) > SPREAD_ROWS_MAX {
        return 1;
    }
    days as i32
}

/// A second since 1970 as a time; the parser admits no second that has none.
pub(crate) fn at(second: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(second).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use report::{DateRange, PolicyPublished, ReportMetadata};
    use time::macros::date;

    use super::*;

    fn header(report_id: &str, begin: i64, end: i64) -> Header {
        Header {
            version: None,
            xml_namespace: None,
            peer: None,
            report_metadata: ReportMetadata {
                org_name: "reporter.example".into(),
                email: None,
                extra_contact_info: None,
                report_id: report_id.into(),
                date_range: DateRange { begin, end },
                error: Vec::new(),
                generator: None,
            },
            policy_published: PolicyPublished {
                domain: "example.com".into(),
                domain_as_reported: None,
                discovery_method: None,
                p: None,
                sp: None,
                np: None,
                adkim: None,
                aspf: None,
                pct: None,
                fo: None,
                testing: None,
            },
        }
    }

    #[test]
    fn one_pair_of_brackets_does_not_tell_reports_apart() {
        assert_eq!(
            report_uid(&header("<a@b>", 0, 1)),
            report_uid(&header("a@b", 0, 1))
        );
        assert_ne!(
            report_uid(&header("<<a@b>>", 0, 1)),
            report_uid(&header("a@b", 0, 1))
        );
        assert_ne!(
            report_uid(&header("a", 0, 1)),
            report_uid(&header("a@b", 0, 1))
        );
    }

    #[test]
    fn every_part_of_the_key_tells_reports_apart() {
        let base = header("1", 100, 200);
        let mut other_domain = base.clone();
        other_domain.policy_published.domain = "example.org".into();
        let mut other_reporter = base.clone();
        other_reporter.report_metadata.org_name = "other.example".into();
        for other in [
            other_domain,
            other_reporter,
            header("2", 100, 200),
            header("1", 101, 200),
            header("1", 100, 201),
        ] {
            assert_ne!(report_uid(&base), report_uid(&other));
        }
    }

    #[test]
    fn the_day_is_that_of_the_middle() {
        // 2026-06-30 00:00 to 23:59:59 UTC, then the same day in a zone 7 hours behind.
        assert_eq!(
            day_of(&header("1", 1782777600, 1782863999)),
            date!(2026 - 06 - 30)
        );
        assert_eq!(
            day_of(&header("1", 1782802800, 1782889199)),
            date!(2026 - 06 - 30)
        );
    }

    #[test]
    fn only_long_periods_are_spread() {
        let day = DAY_SECS;
        assert_eq!(day_count(&header("1", 0, day), 1), 1);
        assert_eq!(day_count(&header("1", 0, 27 * 60 * 60), 1), 1);
        assert_eq!(day_count(&header("1", 0, 27 * 60 * 60 + 1), 1), 2);
        assert_eq!(
            day_count(&header("1", 0, 7 * day), 1),
            7,
            "the end may be the first second after"
        );
        assert_eq!(
            day_count(&header("1", 7 * day, 0), 1),
            7,
            "reversed periods count as the same days"
        );
        assert_eq!(day_count(&header("1", 0, 500 * day), 1), 1, "implausible");
        assert_eq!(
            day_count(&header("1", 0, 100 * day), 100_000),
            1,
            "too many rows"
        );
    }
}
