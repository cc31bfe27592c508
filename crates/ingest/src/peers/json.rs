//! `aggregate.json`: a list of reports. Versions that added to it by writing behind its end left several lists with commas
//! in between; others write a report a line, and the program itself prints an object around the list. All that matters
//! is where the objects of reports begin and end.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _, Write as _},
};

use report::Body;

use super::piece::Piece;

/// The first key of what the program prints.
pub(super) const WRAPPER_KEY: &[u8] = b"\"aggregate_reports\"";

/// Of what is no report, so much is kept.
const REST_BYTES_MAX: u64 = 64 * 1024;

/// The reports of a file, one at a time.
pub(super) struct Reports<'a> {
    text: BufReader<&'a File>,
    is_wrapped: bool,
    is_over: bool,
}

impl<'a> Reports<'a> {
    pub(super) fn new(file: &'a File) -> Self {
        Self {
            text: BufReader::with_capacity(256 * 1024, file),
            is_wrapped: false,
            is_over: false,
        }
    }

    fn report(&mut self) -> io::Result<Option<Body>> {
        loop {
            if self.is_over {
                return Ok(None);
            }
            let Some(byte) = self.skip_between()? else {
                return Ok(None);
            };
            // Behind the list stand those of other kinds of reports.
            self.is_over = byte != b'{';
            if self.is_over {
                return if self.is_wrapped {
                    Ok(None)
                } else {
                    self.rest()
                };
            }
            if self.is_wrapped || !self.enter_wrapper()? {
                return self.object().map(Some);
            }
        }
    }

    /// The first byte that does not stand between reports; it is not consumed.
    fn skip_between(&mut self) -> io::Result<Option<u8>> {
        loop {
            let bytes = self.text.fill_buf()?;
            if bytes.is_empty() {
                return Ok(None);
            }
            // A mark of UTF-8 stands at the beginning only, and nowhere else do these bytes stand between reports.
            let is_between = |byte: &u8| {
                byte.is_ascii_whitespace()
                    || matches!(byte, b'[' | b']' | b',' | 0xef | 0xbb | 0xbf)
            };
            let place = bytes.iter().position(|byte| !is_between(byte));
            let found = place.map(|place| bytes[place]);
            let skipped = place.unwrap_or(bytes.len());
            self.text.consume(skipped);
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    /// Steps into the object around the list, if this is it. The buffer holds its beginning, which is that of the file.
    fn enter_wrapper(&mut self) -> io::Result<bool> {
        let bytes = self.text.fill_buf()?;
        let inside = bytes[1..].trim_ascii_start();
        if !inside.starts_with(WRAPPER_KEY) {
            return Ok(false);
        }
        let list = bytes.iter().position(|byte| *byte == b'[');
        let skipped = list.unwrap_or(bytes.len());
        self.text.consume(skipped);
        self.is_wrapped = true;
        Ok(true)
    }

    /// An object as it stands. One that does not end is the last, and rejected for that.
    fn object(&mut self) -> io::Result<Body> {
        let mut piece = Piece::default();
        let (mut depth, mut is_in_string, mut is_escaped) = (0_usize, false, false);
        loop {
            let bytes = self.text.fill_buf()?;
            let mut end = None;
            for (place, byte) in bytes.iter().enumerate() {
                match byte {
                    _ if is_escaped => is_escaped = false,
                    b'\\' if is_in_string => is_escaped = true,
                    b'"' => is_in_string = !is_in_string,
                    _ if is_in_string => {}
                    b'{' => depth += 1,
                    b'}' => depth -= 1,
                    _ => {}
                }
                if depth == 0 {
                    end = Some(place + 1);
                    break;
                }
            }
            let taken = end.unwrap_or(bytes.len());
            piece.write_all(&bytes[..taken])?;
            self.text.consume(taken);
            if end.is_some() || taken == 0 {
                return piece.finish();
            }
        }
    }

    fn rest(&mut self) -> io::Result<Option<Body>> {
        let mut rest = Vec::new();
        (&mut self.text)
            .take(REST_BYTES_MAX)
            .read_to_end(&mut rest)?;
        Ok(Some(Body::Memory(rest.into())))
    }
}

impl Iterator for Reports<'_> {
    type Item = io::Result<Body>;

    fn next(&mut self) -> Option<Self::Item> {
        self.report().transpose()
    }
}
