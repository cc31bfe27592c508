//! One report as a stream of records.

mod auth_results;
mod header;
mod notes;
mod record;
mod value;

use self::{header::Draft, notes::Notes};
use crate::{
    Code, Error, Header, Limits, Record, Warning, WarningCode, Xml,
    xml::{Reader, Tag},
};

/// Bytes of XML after which a chunk of records is given out although it is not full: its records are long.
const CHUNK_BYTES: u64 = 2 * 1024 * 1024;

/// Reads one report: the header first, then its records in chunks.
///
/// After an error the report is lost, and the parser of no more use.
pub struct Parser {
    header: Header,
    pass: Pass,
    at: At,
    record_count: u64,
    skipped_count: u64,
    message_count: u64,
    dmarc_pass_count: u64,
}

/// What a whole report adds up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The header, now with what stood after the records.
    pub header: Header,
    /// `<record>` elements seen, skipped ones included.
    pub record_count: u64,
    /// Records that could not be stored; each is in a warning.
    pub skipped_count: u64,
    /// Messages of the storable records.
    pub message_count: u64,
    /// Messages of those that pass DMARC.
    pub dmarc_pass_count: u64,
    /// What was odd, in order of first sight.
    pub warnings: Vec<Warning>,
    /// SHA-256 of the decompressed XML.
    pub content_sha256: [u8; 32],
}

impl Summary {
    /// What it takes in memory, about.
    pub fn size_bytes(&self) -> usize {
        let warnings = self.warnings.iter().map(|warning| {
            let text = warning.text.as_ref().map_or(0, String::len);
            size_of_val(warning) + warning.element.len() + text
        });
        size_of_val(self) + self.header.size_bytes() + warnings.sum::<usize>()
    }
}

impl Parser {
    /// Opens a report and reads its header. Records that stand before the header are read on a second pass.
    pub fn open(xml: &Xml, limits: &Limits) -> Result<Self, Error> {
        let mut pass = Pass::begin(xml, limits)?;
        let mut at = pass.advance()?;
        let is_record_first = at == At::Record && !pass.draft.is_complete();
        while at == At::Record && !pass.draft.is_complete() {
            pass.skip_record()?;
            at = pass.advance()?;
        }
        let header = Header {
            peer: xml.source.survey().map(|survey| survey.peer),
            ..pass.draft.header()?
        };
        if is_record_first {
            pass = Pass::begin(xml, limits)?;
            at = pass.advance()?;
        }
        Ok(Self {
            header,
            pass,
            at,
            record_count: 0,
            skipped_count: 0,
            message_count: 0,
            dmarc_pass_count: 0,
        })
    }

    /// Everything but the records.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Appends up to `max` storable records to `records`; fewer if they are very long. Returns `false` once the
    /// report is complete.
    pub fn read_records(&mut self, records: &mut Vec<Record>, max: usize) -> Result<bool, Error> {
        let chunk_end = self.pass.reader.offset().saturating_add(CHUNK_BYTES);
        let records_before = records.len();
        while self.at == At::Record {
            let read = records.len() - records_before;
            if read >= max || self.pass.reader.offset() >= chunk_end {
                return Ok(true);
            }
            self.read_record(records)?;
            self.at = self.pass.advance()?;
        }
        Ok(false)
    }

    fn read_record(&mut self, records: &mut Vec<Record>) -> Result<(), Error> {
        let offset = self.pass.reader.offset();
        let position = match u32::try_from(self.record_count) {
            Ok(position) if self.record_count < self.pass.limits.records => position,
            _ => return Err(Error::new(Code::TooLarge, offset, "too many records")),
        };
        self.record_count += 1;
        let Some(record) = self.pass.record(position)? else {
            self.skipped_count += 1;
            return Ok(());
        };
        // Sums are kept in 64 bits, signed, wherever they go.
        let message_count = self.message_count.checked_add(record.message_count);
        let Some(message_count) = message_count.filter(|&count| i64::try_from(count).is_ok())
        else {
            let code = WarningCode::BadCount;
            self.pass.notes.add(code, "record/row/count", offset);
            self.skipped_count += 1;
            return Ok(());
        };
        self.message_count = message_count;
        if record.dmarc_pass() {
            self.dmarc_pass_count += record.message_count;
        }
        records.push(record);
        Ok(())
    }

    /// The totals of a report that was read to its end (`read_records` returned `false`).
    pub fn finish(self) -> Summary {
        let Pass {
            reader,
            mut notes,
            draft,
            ..
        } = self.pass;
        let mut header = self.header;
        header.version = header.version.or(draft.version);
        if self.record_count == 0 {
            // D15.
            notes.add(WarningCode::NoRecords, "", reader.offset());
        }
        if let Some(replaced) = reader.replaced() {
            let code = WarningCode::InvalidEncoding;
            notes.add_times(code, "", replaced.offset, replaced.occurrences);
        }
        Summary {
            header,
            record_count: self.record_count,
            skipped_count: self.skipped_count,
            message_count: self.message_count,
            dmarc_pass_count: self.dmarc_pass_count,
            warnings: notes.into_warnings(),
            content_sha256: reader.sha256(),
        }
    }
}

/// Where a pass is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Behind the start tag of a `<record>`.
    Record,
    /// Behind the end of the document.
    End,
}

/// One reading of a document from its start.
struct Pass {
    reader: Reader,
    notes: Notes,
    draft: Draft,
    limits: Limits,
}

impl Pass {
    fn begin(xml: &Xml, limits: &Limits) -> Result<Self, Error> {
        let mut reader = Reader::open(xml, limits)?;
        let mut notes = Notes::default();
        if let Some(survey) = xml.source.survey() {
            notes.add_peer(survey);
        }
        let prolog = reader.prolog()?;
        if prolog.has_leading_bytes {
            notes.add(WarningCode::LeadingBytes, "", 0);
        }
        if let Some(offset) = prolog.stray_schema {
            notes.add(WarningCode::StraySchema, "", offset);
        }
        Ok(Self {
            reader,
            notes,
            draft: Draft::new(prolog.namespace),
            limits: limits.clone(),
        })
    }

    /// Reads on to the next record or the end of the document, and takes into the draft what stands before.
    fn advance(&mut self) -> Result<At, Error> {
        while let Some(tag) = self.reader.next()? {
            match tag {
                Tag::Record => return Ok(At::Record),
                Tag::Version => self.version()?,
                Tag::ReportMetadata => self.report_metadata()?,
                Tag::PolicyPublished => self.policy_published()?,
                Tag::Extension => self.reader.skip()?,
                _ => self.unknown("")?,
            }
        }
        if let Some(offset) = self.reader.epilog()? {
            self.notes.add(WarningCode::TrailingBytes, "", offset);
        }
        Ok(At::End)
    }

    fn skip_record(&mut self) -> Result<(), Error> {
        self.reader.skip()?;
        self.reader.end_record()
    }

    /// Skips an element that has no place inside `parent`. Elements of another namespace are extensions, and
    /// extensions are legal (RFC 9990 section 5).
    fn unknown(&mut self, parent: &str) -> Result<(), Error> {
        if !self.reader.is_foreign() {
            let name = String::from_utf8_lossy(self.reader.name());
            let (name, _) = notes::clean(&name, 64);
            let separator = if parent.is_empty() { "" } else { "/" };
            let element = [parent, separator, &name].concat();
            let offset = self.reader.offset();
            self.notes
                .add(WarningCode::UnknownElement, &element, offset);
        }
        self.reader.skip()
    }

    /// Skips an element that may stand once and stands again (D17).
    fn repeated(&mut self, element: &str) -> Result<(), Error> {
        let offset = self.reader.offset();
        self.notes.add(WarningCode::Repeated, element, offset);
        self.reader.skip()
    }
}

/// The elements met so far inside another one, a bit for each.
#[derive(Clone, Copy, Debug, Default)]
struct Seen(u64);

const _: () = assert!(Tag::Unknown as u64 <= 64, "there are more names than bits");

impl Seen {
    /// Takes note of an element; says whether it was there before.
    fn again(&mut self, tag: Tag) -> bool {
        let bit = 1 << tag as u64;
        let again = self.0 & bit != 0;
        self.0 |= bit;
        again
    }

    fn has(self, tag: Tag) -> bool {
        self.0 & 1 << tag as u64 != 0
    }
}
