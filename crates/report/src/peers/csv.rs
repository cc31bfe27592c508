//! The lines of a report in parsedmarc's `aggregate.csv`, behind the line with the names of the columns.

use std::{
    collections::HashMap,
    io::{self, Read},
};

use csv::{Reader, ReaderBuilder, StringRecord};

use super::{
    damaged,
    row::{Head, POLICY, Row, some},
    time,
};
use crate::{Code, Error};

/// The records of one report, one at a time.
pub(super) struct CsvRows {
    lines: Reader<Bounded>,
    line_bytes_max: u64,
    /// Where each column stands; empty before the first line.
    columns: HashMap<String, usize>,
    column_count: usize,
    /// The first record, which says what all of them say of the report.
    first: Option<StringRecord>,
}

/// Columns that tell reports apart.
const IDENTITY: [&str; 3] = ["org_name", "report_id", "domain"];

impl CsvRows {
    pub(super) fn new(reader: Box<dyn Read + Send>, line_bytes_max: u64) -> Self {
        let bounded = Bounded {
            reader,
            left: line_bytes_max,
        };
        Self {
            lines: ReaderBuilder::new()
                .has_headers(false)
                .flexible(true)
                .from_reader(bounded),
            line_bytes_max,
            columns: HashMap::new(),
            column_count: 0,
            first: None,
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<Row>, Error> {
        if self.columns.is_empty()
            && let Some(names) = self.line()?
        {
            self.column_count = names.len();
            let names = names.iter().enumerate();
            self.columns = names
                .map(|(place, name)| (name.to_owned(), place))
                .collect();
        }
        let Some(line) = self.line()? else {
            return Ok(None);
        };
        // Written by another version below the columns of this one: nobody knows what is what. It counts as a record
        // that cannot be stored.
        if line.len() != self.column_count {
            return Ok(Some(Row::default()));
        }
        let row = self.row(&line);
        let Some(first) = &self.first else {
            self.first = Some(line);
            return Ok(Some(row));
        };
        if IDENTITY
            .iter()
            .any(|name| self.field(first, name) != self.field(&line, name))
        {
            let offset = self.lines.position().byte();
            return Err(damaged(
                offset,
                "lines of several reports: `ruad import` takes them apart",
            ));
        }
        Ok(Some(row))
    }

    pub(super) fn into_head(self) -> Result<Head, Error> {
        let Some(first) = &self.first else {
            return Err(damaged(
                0,
                "no line has the columns that the first one names",
            ));
        };
        let of = |name: &str| self.field(first, name);
        Ok(Head {
            xml_namespace: None,
            version: of("xml_schema"),
            org_name: of("org_name"),
            email: of("org_email"),
            extra_contact_info: of("org_extra_contact_info"),
            report_id: of("report_id"),
            begin: of("begin_date"),
            end: of("end_date"),
            span_secs: None,
            errors: of("errors")
                .iter()
                .flat_map(|errors| errors.split('|'))
                .filter_map(some)
                .collect(),
            generator: None,
            policy: POLICY.map(|name| (name, of(name))).into(),
        })
    }

    /// The next line; bytes that are no UTF-8 are replaced.
    fn line(&mut self) -> Result<Option<StringRecord>, Error> {
        let offset = self.lines.position().byte();
        self.lines.get_mut().left = self.line_bytes_max;
        let mut line = csv::ByteRecord::new();
        match self.lines.read_byte_record(&mut line) {
            Ok(true) => Ok(Some(StringRecord::from_byte_record_lossy(line))),
            Ok(false) => Ok(None),
            Err(error) => Err(match error.into_kind() {
                csv::ErrorKind::Io(error) => Error::from_io(error, offset),
                other => damaged(offset, format!("the CSV is damaged: {other:?}")),
            }),
        }
    }

    /// A cell, without the apostrophe that parsedmarc puts before what a spreadsheet could take for a formula.
    fn field(&self, line: &StringRecord, name: &str) -> Option<String> {
        let cell = line.get(*self.columns.get(name)?)?;
        let text = cell
            .strip_prefix('\'')
            .filter(|rest| rest.starts_with(['=', '+', '-', '@', '\t', '\r']));
        some(text.unwrap_or(cell))
    }

    fn row(&self, line: &StringRecord) -> Row {
        let of = |name: &str| self.field(line, name);
        // Words up to version 5, then whether it is so.
        let aligned = |now: &str, before: &str| match of(now).as_deref() {
            Some("True") => Some("pass".to_owned()),
            Some("False") => Some("fail".to_owned()),
            _ => of(before),
        };
        let second = |name| of(name).and_then(|text| time::seconds(&text));
        let spread = of("normalized_timespan");
        Row {
            source_ip: of("source_ip_address"),
            count: of("count"),
            disposition: of("disposition"),
            dkim: aligned("dkim_aligned", "dkim_alignment"),
            spf: aligned("spf_aligned", "spf_alignment"),
            reasons: reasons(
                of("policy_override_reasons"),
                of("policy_override_comments"),
            ),
            header_from: of("header_from"),
            envelope_from: of("envelope_from"),
            envelope_to: of("envelope_to"),
            dkim_results: results(of("dkim_domains"), of("dkim_selectors"), of("dkim_results")),
            spf_results: results(of("spf_domains"), of("spf_scopes"), of("spf_results")),
            interval: spread
                .is_some()
                .then(|| second("begin_date").zip(second("end_date")))
                .flatten(),
            is_spread: spread.as_deref() == Some("True"),
        }
    }
}

/// What parsedmarc writes for nothing.
fn known(text: &str) -> Option<String> {
    some(text).filter(|text| text != "none")
}

/// Types are joined by commas and comments by bars, which may be in comments as well: what is too much belongs to the last.
fn reasons(types: Option<String>, comments: Option<String>) -> Vec<[Option<String>; 2]> {
    let Some(types) = types else {
        return Vec::new();
    };
    let types: Vec<&str> = types.split(',').collect();
    let comments = comments.unwrap_or_default();
    let mut comments = comments.splitn(types.len(), '|');
    let pair = |kind: &&str| [known(kind), comments.next().and_then(known)];
    types.iter().map(pair).collect()
}

/// Domains, details and results, each joined by commas. Details that are fewer than domains belong to nobody knows which.
fn results(
    domains: Option<String>,
    details: Option<String>,
    results: Option<String>,
) -> Vec<[Option<String>; 4]> {
    let split = |text: &Option<String>| -> Vec<String> {
        let parts = text.iter().flat_map(|text| text.split(','));
        parts.map(str::to_owned).collect()
    };
    let (domains, details, results) = (split(&domains), split(&details), split(&results));
    let detail = |place: usize| {
        let detail = details
            .get(place)
            .filter(|_| details.len() == domains.len());
        detail.and_then(|detail| known(detail))
    };
    domains
        .iter()
        .enumerate()
        .map(|(place, domain)| {
            let result = results.get(place).and_then(|result| some(result));
            [some(domain), detail(place), result, None]
        })
        .collect()
}

/// A reader that ends in an error when a line is too long: the one below holds a line as a whole.
struct Bounded {
    reader: Box<dyn Read + Send>,
    left: u64,
}

impl Read for Bounded {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(Error::new(Code::TooLarge, 0, "a line is too long").into());
        }
        let read = self.reader.read(out)?;
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}
