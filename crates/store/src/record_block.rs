//! Rows of `record_blocks`: the records of a report, many in one row.

use std::net::IpAddr;

use foldhash::{HashMap, HashMapExt as _};
use report::{Disposition, DkimAuthResult, OddValue, Reason, Record, SpfAuthResult};
use serde::{Serialize, Serializer, ser::SerializeSeq as _};
use time::Date;
use uuid::Uuid;

use crate::{
    json::{DkimJson, ReasonJson, SpfJson},
    report_row::ReportKey,
    unnest::json,
};

/// Records in one row at most. A page of records is read from two or three rows, and an array of so many stays small.
pub(crate) const BLOCK_RECORDS_MAX: usize = 1_000;

/// PostgreSQL compresses rows that are larger than this, and no others.
const UNCOMPRESSED_BYTES_MAX: usize = 2_032;

/// Below this, compression saves nothing.
const COMPRESSED_RECORDS_MIN: usize = 3;

/// A row of `record_blocks`.
pub(crate) struct RecordBlock<'a> {
    pub(crate) domain_id: i64,
    pub(crate) report_uid: Uuid,
    pub(crate) day: Date,
    pub(crate) first_position: i32,
    pub(crate) source_ips: Vec<IpAddr>,
    pub(crate) message_counts: Vec<i64>,
    pub(crate) result_numbers: Vec<i16>,
    pub(crate) positions: Option<Vec<i32>>,
    pub(crate) results: Vec<RecordResult<'a>>,
}

/// What records of one report often share: everything but source, number of messages and position.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub(crate) struct RecordResult<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    dkim_aligned: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spf_aligned: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disposition: Option<Disposition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    header_from: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    envelope_from: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    envelope_to: Option<&'a str>,
    #[serde(
        skip_serializing_if = "<[_]>::is_empty",
        serialize_with = "list::<ReasonJson<'_>, _, _>"
    )]
    reasons: &'a [Reason],
    #[serde(
        skip_serializing_if = "<[_]>::is_empty",
        serialize_with = "list::<DkimJson<'_>, _, _>"
    )]
    dkim: &'a [DkimAuthResult],
    #[serde(
        skip_serializing_if = "<[_]>::is_empty",
        serialize_with = "list::<SpfJson<'_>, _, _>"
    )]
    spf: &'a [SpfAuthResult],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    odd_values: &'a [OddValue],
}

impl<'a> RecordResult<'a> {
    fn of(record: &'a Record) -> Self {
        Self {
            dkim_aligned: record.dkim_aligned,
            spf_aligned: record.spf_aligned,
            disposition: record.disposition,
            header_from: record.header_from.as_deref(),
            envelope_from: record.envelope_from.as_deref(),
            envelope_to: record.envelope_to.as_deref(),
            reasons: &record.reasons,
            dkim: &record.dkim,
            spf: &record.spf,
            odd_values: &record.odd_values,
        }
    }
}

/// The records of a report in rows, in their order.
pub(crate) fn record_blocks(
    key: ReportKey,
    records: &[Record],
) -> impl Iterator<Item = RecordBlock<'_>> {
    records
        .chunks(BLOCK_RECORDS_MAX)
        .map(move |records| RecordBlock::new(key, records))
}

impl<'a> RecordBlock<'a> {
    fn new(key: ReportKey, records: &'a [Record]) -> Self {
        let mut results: Vec<RecordResult<'a>> = Vec::new();
        let mut numbers: HashMap<RecordResult<'a>, i16> = HashMap::new();
        let mut result_numbers = Vec::with_capacity(records.len());
        for record in records {
            let result = RecordResult::of(record);
            // At most BLOCK_RECORDS_MAX of them, so the numbers fit.
            let number = *numbers.entry(result).or_insert_with(|| {
                results.push(result);
                results.len() as i16
            });
            result_numbers.push(number);
        }
        let position = |record: &Record| record.position as i32;
        let first_position = records.first().map_or(0, position);
        let contiguous = (first_position..).zip(records);
        let has_gaps = contiguous
            .into_iter()
            .any(|(expected, record)| position(record) != expected);
        Self {
            domain_id: key.domain_id,
            report_uid: key.report_uid,
            day: key.day,
            first_position,
            source_ips: records.iter().map(|record| record.source_ip).collect(),
            message_counts: records
                .iter()
                .map(|record| record.message_count as i64)
                .collect(),
            result_numbers,
            positions: has_gaps.then(|| records.iter().map(position).collect()),
            results,
        }
    }
}

impl RecordBlock<'_> {
    /// `results`, with blanks behind it where those make the row smaller.
    pub(crate) fn results_json(&self) -> String {
        let mut results = json(&self.results);
        let blanks = self.json_bytes_min().saturating_sub(results.len());
        results.extend(std::iter::repeat_n(' ', blanks));
        results
    }

    /// How long `results` must be for PostgreSQL to compress the row, blanks included, which then take no room: it is
    /// several times smaller.
    pub(crate) fn json_bytes_min(&self) -> usize {
        const ELEMENT_BYTES: usize = 12 + size_of::<i64>() + size_of::<i16>();
        let count = self.source_ips.len();
        match count {
            ..COMPRESSED_RECORDS_MIN => 0,
            _ => UNCOMPRESSED_BYTES_MAX.saturating_sub(count * ELEMENT_BYTES),
        }
    }
}

fn list<'a, J, T, S>(items: &&'a [T], serializer: S) -> Result<S::Ok, S::Error>
where
    J: Serialize + From<&'a T>,
    S: Serializer,
{
    let mut list = serializer.serialize_seq(Some(items.len()))?;
    for item in *items {
        list.serialize_element(&J::from(item))?;
    }
    list.end()
}
