//! Reports as other programs keep them: parsedmarc's JSON and CSV, one report at a time.
//!
//! What was kept is turned back into the XML it came from, as a stream, so that parser, limits and warnings are those of
//! every report. What parsedmarc left out or made up stays so; docs/import.md lists it. Offsets in warnings are those in
//! the XML made here.

mod csv;
mod json;
mod row;
mod time;
mod xml;

use std::{
    io::{self, Read},
    sync::Arc,
};

use serde::Serialize;

use self::row::{Head, Rows};
use crate::{Code, Error, Limits, unpack::Budget};

/// How the period of a report that was read from another program's output relates to that of the report itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Peer {
    /// It is the same.
    Exact,
    /// It may be off by a whole number of quarter hours: times are those of the clock on the wall where the program ran.
    LocalTime,
    /// It may be shorter: only the days with messages are known.
    Inside,
}

/// What a report of another program is kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Csv,
}

impl Form {
    /// The name of the form, for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Csv => "CSV",
        }
    }
}

/// The keys of a report in JSON; parsedmarc begins with the first, other programs may have sorted them.
const KEYS: [&[u8]; 5] = [
    b"\"xml_schema\"",
    b"\"xml_namespace\"",
    b"\"report_metadata\"",
    b"\"policy_published\"",
    b"\"records\"",
];

/// What all CSV begins with that parsedmarc ever wrote.
const FIRST_COLUMNS: &[u8] = b"xml_schema,org_name,";

/// Tells parsedmarc's output from other text, by its beginning.
pub(crate) fn form(text: &[u8]) -> Option<Form> {
    if text.starts_with(FIRST_COLUMNS) {
        return Some(Form::Csv);
    }
    let inside = text.strip_prefix(b"{")?.trim_ascii_start();
    let is_key = KEYS.iter().any(|key| inside.starts_with(key));
    is_key.then_some(Form::Json)
}

/// What is known of a report once all of it was read: what stands in front of its records, and its period.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) form: Form,
    pub(crate) peer: Peer,
    head: Head,
    /// Seconds since 1970, or what stands in their place.
    period: (String, String),
    record_bytes_max: u64,
}

impl Survey {
    /// Reads a report to its end.
    pub(crate) fn read(
        form: Form,
        reader: Box<dyn Read + Send>,
        budget: Budget,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let reader = Box::new(Charged {
            reader,
            budget,
            offset: 0,
            bytes_max: limits.report_bytes,
        });
        let record_bytes_max = limits.record_gap_bytes;
        let mut rows = Rows::open(form, reader, record_bytes_max);
        let mut days: Option<(i64, i64)> = None;
        let mut is_spread = false;
        while let Some(row) = rows.next()? {
            is_spread |= row.is_spread;
            if let Some((begin, end)) = row.interval {
                let (first, last) = days.unwrap_or((begin, end));
                days = Some((first.min(begin), last.max(end)));
            }
        }
        let head = rows.into_head()?;
        let (peer, period) = period(form, &head, days, is_spread);
        Ok(Self {
            form,
            peer,
            head,
            period,
            record_bytes_max,
        })
    }
}

/// The period of a report. Since version 9, parsedmarc says of each record in UTC for which time it counts, and spreads
/// records of long reports over days; what it says of the report is local time.
fn period(
    form: Form,
    head: &Head,
    days: Option<(i64, i64)>,
    is_spread: bool,
) -> (Peer, (String, String)) {
    let of = |(begin, end): (i64, i64)| (begin.to_string(), end.to_string());
    let is_whole = |(begin, end): (i64, i64)| head.span_secs == Some(end - begin);
    match days {
        Some(days) if !is_spread => (Peer::Exact, of(days)),
        // Days without a message are left out, at the ends as well.
        Some(days) if is_whole(days) => (Peer::Exact, of(days)),
        Some(days) if form == Form::Csv => (Peer::Inside, of(days)),
        _ => {
            let second = |text: &Option<String>| {
                let text = text.clone().unwrap_or_default();
                time::seconds(&text).map_or(text, |seconds| seconds.to_string())
            };
            (Peer::LocalTime, (second(&head.begin), second(&head.end)))
        }
    }
}

/// The XML of a report, made while it is read.
pub(crate) struct Translation {
    survey: Arc<Survey>,
    rows: Rows,
    /// XML not read yet.
    xml: Vec<u8>,
    read: usize,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Head,
    Records,
    End,
}

impl Translation {
    pub(crate) fn new(survey: &Arc<Survey>, reader: Box<dyn Read + Send>) -> Self {
        Self {
            survey: Arc::clone(survey),
            rows: Rows::open(survey.form, reader, survey.record_bytes_max),
            xml: Vec::new(),
            read: 0,
            stage: Stage::Head,
        }
    }

    fn produce(&mut self) -> Result<(), Error> {
        self.xml.clear();
        self.read = 0;
        match self.stage {
            Stage::Head => {
                xml::head(&self.survey.head, &self.survey.period, &mut self.xml);
                self.stage = Stage::Records;
            }
            Stage::Records => match self.rows.next_whole()? {
                Some(row) => xml::record(&row, &mut self.xml),
                None => {
                    self.xml.extend_from_slice(b"</feedback>\n");
                    self.stage = Stage::End;
                }
            },
            Stage::End => {}
        }
        Ok(())
    }
}

impl Read for Translation {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.read == self.xml.len() {
            self.produce()?;
        }
        let read = (&self.xml[self.read..]).read(out)?;
        self.read += read;
        Ok(read)
    }
}

/// Bytes that are paid for from the allowance of the delivery.
struct Charged {
    reader: Box<dyn Read + Send>,
    budget: Budget,
    offset: u64,
    bytes_max: u64,
}

impl Read for Charged {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(out)?;
        self.offset += read as u64;
        if self.offset > self.bytes_max {
            return Err(Error::new(Code::TooLarge, self.offset, "the report is too large").into());
        }
        self.budget.charge(self.offset)?;
        Ok(read)
    }
}

/// Why a text that began as parsedmarc's output is none.
fn damaged(offset: u64, detail: impl Into<String>) -> Error {
    Error::new(Code::NotAReport, offset, detail)
}
