//! What was odd about a report that was accepted all the same.

use serde::Serialize;

/// A deviation that did not keep the report from being stored. Equal ones are counted, not repeated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// What deviates.
    pub code: WarningCode,
    /// Path of the element it was seen at, from below `<feedback>`; empty where none applies.
    pub element: String,
    /// Byte offset in the decompressed report where it was first seen.
    pub offset: u64,
    /// How often it was seen.
    pub occurrences: u64,
    /// The first text in question, cut to 255 characters.
    pub text: Option<String>,
}

/// The kinds of [`Warning`]. The words are stored and shown: they are part of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WarningCode {
    /// A byte order mark, or blanks before the declaration.
    LeadingBytes,
    /// Bytes after the end of the root element.
    TrailingBytes,
    /// Bytes that are not of the encoding were replaced by U+FFFD.
    InvalidEncoding,
    /// `org_name` is empty; the domain of `email` was taken.
    OrgNameMissing,
    /// `begin` or `end` was in milliseconds.
    Milliseconds,
    /// `begin` is after `end`.
    PeriodReversed,
    /// The period is longer than 27 hours.
    PeriodLong,
    /// The report has no `<record>`.
    NoRecords,
    /// An element that may stand once stands again; the first was taken.
    Repeated,
    /// A value outside the format: null in its column, its text kept.
    UnknownValue,
    /// A text was cut to its limit.
    TextCut,
    /// More DKIM results than are kept.
    DkimOmitted,
    /// More of another repeatable element than are kept.
    Omitted,
    /// A schema's start tag around the report, which nothing closes, was dropped.
    StraySchema,
    /// An element of neither schema (RFC 7489, RFC 9990) was skipped.
    UnknownElement,
    /// A record was skipped: no `<row>`.
    RecordWithoutRow,
    /// A record was skipped: `source_ip` is missing or no address.
    BadSourceIp,
    /// A record was skipped: `count` is missing, negative or no number.
    BadCount,
    /// The report was read from parsedmarc's output, which does not keep all of it.
    FromParsedmarc,
    /// The program that kept the report did not keep its exact period.
    PeriodUnsure,
}

impl WarningCode {
    /// The stable word for this kind.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LeadingBytes => "leading_bytes",
            Self::TrailingBytes => "trailing_bytes",
            Self::InvalidEncoding => "invalid_encoding",
            Self::OrgNameMissing => "org_name_missing",
            Self::Milliseconds => "milliseconds",
            Self::PeriodReversed => "period_reversed",
            Self::PeriodLong => "period_long",
            Self::NoRecords => "no_records",
            Self::Repeated => "repeated",
            Self::UnknownValue => "unknown_value",
            Self::TextCut => "text_cut",
            Self::DkimOmitted => "dkim_omitted",
            Self::Omitted => "omitted",
            Self::StraySchema => "stray_schema",
            Self::UnknownElement => "unknown_element",
            Self::RecordWithoutRow => "record_without_row",
            Self::BadSourceIp => "bad_source_ip",
            Self::BadCount => "bad_count",
            Self::FromParsedmarc => "from_parsedmarc",
            Self::PeriodUnsure => "period_unsure",
        }
    }
}
