//! `aggregate.csv`: a line for each record. The lines of a report follow each other; they are handed on with the line of the
//! columns in front.

use std::{
    fs::File,
    io::{self, Read},
};

use csv::{ByteRecord, Reader, ReaderBuilder, WriterBuilder};
use report::Body;

use super::piece::Piece;

/// Columns that tell reports apart; `normalized_timespan` decides whether the period is one of them.
const IDENTITY: [&[u8]; 3] = [b"org_name", b"report_id", b"domain"];
const PERIOD: [&[u8]; 2] = [b"begin_date", b"end_date"];
const IS_SPREAD: &[u8] = b"normalized_timespan";

/// The reports of a file, one at a time.
pub(super) struct Reports<'a> {
    lines: Reader<Bounded<'a>>,
    line_bytes_max: u64,
    columns: Option<ByteRecord>,
    /// The first line of the next report.
    pending: Option<ByteRecord>,
}

impl<'a> Reports<'a> {
    pub(super) fn new(file: &'a File, line_bytes_max: u64) -> Self {
        Self {
            lines: ReaderBuilder::new()
                .has_headers(false)
                .flexible(true)
                .buffer_capacity(256 * 1024)
                .from_reader(Bounded { file, left: 0 }),
            line_bytes_max,
            columns: None,
            pending: None,
        }
    }

    fn report(&mut self) -> io::Result<Option<Body>> {
        if self.columns.is_none() {
            self.columns = self.line()?;
        }
        let Some(columns) = self.columns.clone() else {
            return Ok(None);
        };
        let first = match self.pending.take() {
            Some(line) => Some(line),
            None => self.line()?,
        };
        let Some(first) = first else {
            return Ok(None);
        };
        let key = key(&columns, &first);
        let mut piece = WriterBuilder::new()
            .flexible(true)
            .from_writer(Piece::default());
        piece.write_byte_record(&columns)?;
        piece.write_byte_record(&first)?;
        while let Some(line) = self.line()? {
            if self::key(&columns, &line) != key {
                self.pending = Some(line);
                break;
            }
            // Also with too many or too few columns, to be rejected.
            piece.write_byte_record(&line)?;
        }
        let piece = piece.into_inner().map_err(|error| error.into_error())?;
        piece.finish().map(Some)
    }

    /// The next line. Files that were put together have the columns again, which is passed over.
    fn line(&mut self) -> io::Result<Option<ByteRecord>> {
        loop {
            self.lines.get_mut().left = self.line_bytes_max;
            let mut line = ByteRecord::new();
            if !self.lines.read_byte_record(&mut line)? {
                return Ok(None);
            }
            if self.columns.as_ref() != Some(&line) {
                return Ok(Some(line));
            }
        }
    }
}

impl Iterator for Reports<'_> {
    type Item = io::Result<Body>;

    fn next(&mut self) -> Option<Self::Item> {
        self.report().transpose()
    }
}

/// What the lines of a report have in common and those of the next one do not. Lines of other versions, with more or
/// fewer columns, have only their length.
fn key(columns: &ByteRecord, line: &ByteRecord) -> Vec<Vec<u8>> {
    if columns.len() != line.len() {
        return vec![line.len().to_string().into_bytes()];
    }
    let value = |name: &[u8]| {
        let place = columns.iter().position(|column| column == name);
        place.and_then(|place| line.get(place)).unwrap_or_default()
    };
    let period = PERIOD.iter().filter(|_| value(IS_SPREAD) != b"True");
    let names = IDENTITY.iter().chain(period).chain([&IS_SPREAD]);
    names.map(|name| value(name).to_vec()).collect()
}

/// A file that ends in an error when a line is too long to be held.
struct Bounded<'a> {
    file: &'a File,
    left: u64,
}

impl Read for Bounded<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            let detail = "a line is too long";
            return Err(io::Error::new(io::ErrorKind::InvalidData, detail));
        }
        let read = self.file.read(out)?;
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}
