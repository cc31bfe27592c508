//! What parsedmarc keeps of a report and of its records, whatever it keeps them in.

use std::io::Read;

use super::{Form, csv::CsvRows, json::JsonRows};
use crate::Error;

/// What stands in front of the records.
#[derive(Debug, Default)]
pub(super) struct Head {
    pub(super) xml_namespace: Option<String>,
    pub(super) version: Option<String>,
    pub(super) org_name: Option<String>,
    pub(super) email: Option<String>,
    pub(super) extra_contact_info: Option<String>,
    pub(super) report_id: Option<String>,
    /// In local time.
    pub(super) begin: Option<String>,
    pub(super) end: Option<String>,
    /// The length of the period, where it is told.
    pub(super) span_secs: Option<i64>,
    pub(super) errors: Vec<String>,
    pub(super) generator: Option<String>,
    /// Elements of `<policy_published>` with their texts.
    pub(super) policy: Vec<(&'static str, Option<String>)>,
}

/// The elements of `<policy_published>` that parsedmarc keeps, which it names like the report.
pub(super) const POLICY: [&str; 10] = [
    "domain",
    "discovery_method",
    "p",
    "sp",
    "np",
    "adkim",
    "aspf",
    "pct",
    "fo",
    "testing",
];

/// One record, or its share of one day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) source_ip: Option<String>,
    pub(super) count: Option<String>,
    pub(super) disposition: Option<String>,
    pub(super) dkim: Option<String>,
    pub(super) spf: Option<String>,
    /// Type and comment.
    pub(super) reasons: Vec<[Option<String>; 2]>,
    pub(super) header_from: Option<String>,
    pub(super) envelope_from: Option<String>,
    pub(super) envelope_to: Option<String>,
    /// Domain, selector, result and human result.
    pub(super) dkim_results: Vec<[Option<String>; 4]>,
    /// Domain, scope, result and human result.
    pub(super) spf_results: Vec<[Option<String>; 4]>,
    /// The time it counts for, in UTC.
    pub(super) interval: Option<(i64, i64)>,
    /// Whether it is the share of one day of a record.
    pub(super) is_spread: bool,
}

/// Text, unless it is empty.
pub(super) fn some(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The records of a report.
pub(super) struct Rows {
    kept_in: KeptIn,
    /// Read already, and not known to be whole.
    pending: Option<Row>,
}

enum KeptIn {
    Json(JsonRows),
    Csv(CsvRows),
}

impl Rows {
    pub(super) fn open(form: Form, reader: Box<dyn Read + Send>, record_bytes_max: u64) -> Self {
        let kept_in = match form {
            Form::Json => KeptIn::Json(JsonRows::new(reader, record_bytes_max)),
            Form::Csv => KeptIn::Csv(CsvRows::new(reader, record_bytes_max)),
        };
        Self {
            kept_in,
            pending: None,
        }
    }

    /// The next record, or the next share of one.
    pub(super) fn next(&mut self) -> Result<Option<Row>, Error> {
        match &mut self.kept_in {
            KeptIn::Json(rows) => rows.next(),
            KeptIn::Csv(rows) => rows.next(),
        }
    }

    /// The next record, put together from its shares, which follow each other.
    pub(super) fn next_whole(&mut self) -> Result<Option<Row>, Error> {
        let first = match self.pending.take() {
            Some(row) => Some(row),
            None => self.next()?,
        };
        let Some(mut whole) = first else {
            return Ok(None);
        };
        while whole.is_spread
            && let Some(row) = self.next()?
        {
            let Some(count) = shares(&whole, &row) else {
                self.pending = Some(row);
                break;
            };
            whole.count = Some(count);
            whole.interval = row.interval;
        }
        Ok(Some(whole))
    }

    pub(super) fn into_head(self) -> Result<Head, Error> {
        match self.kept_in {
            KeptIn::Json(rows) => rows.into_head(),
            KeptIn::Csv(rows) => rows.into_head(),
        }
    }
}

/// The sum of two shares of the same record: what follows is of a later day, and is equal but for the number.
fn shares(whole: &Row, next: &Row) -> Option<String> {
    let is_later = next.interval?.0 >= whole.interval?.1;
    let like_whole = Row {
        count: whole.count.clone(),
        interval: whole.interval,
        ..next.clone()
    };
    if !is_later || like_whole != *whole {
        return None;
    }
    let number = |row: &Row| row.count.as_deref()?.parse::<u64>().ok();
    Some(number(whole)?.checked_add(number(next)?)?.to_string())
}
