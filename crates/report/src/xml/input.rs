//! The text of a document as UTF-8: counted, hashed and, where it is of another encoding, converted.

use std::io::{self, Read};

use encoding_rs::{Decoder, Encoding, REPLACEMENT, UTF_8, UTF_16BE, UTF_16LE};
use sha2::{Digest, Sha256};

use crate::{Code, Error, Limits, Xml, error::quoted, unpack::Budget};

/// Enough for any XML declaration.
const PREFIX_BYTES: usize = 4096;

pub(super) struct Input {
    counted: Counted,
    transcoder: Option<Transcoder>,
}

impl Input {
    pub(super) fn open(xml: &Xml, limits: &Limits) -> Result<Self, Error> {
        Ok(Self {
            counted: Counted {
                reader: xml.source.open()?,
                hash: Sha256::new(),
                offset: 0,
                budget: xml.budget.clone(),
                bytes_max: limits.report_bytes,
            },
            transcoder: None,
        })
    }

    /// The first read, which finds out the encoding. Fills `out`, which must hold an XML declaration, and gives the
    /// lengths of the byte order mark and of all that is there, mark included; that is nothing where bytes must be
    /// converted.
    pub(super) fn read_first(&mut self, out: &mut [u8]) -> Result<(usize, usize), Error> {
        let length = self.read(out)?;
        let (encoding, mark_bytes) = detect(&out[..length.min(PREFIX_BYTES)])?;
        if encoding == UTF_8 {
            return Ok((mark_bytes, length));
        }
        let mut transcoder = Transcoder::new(encoding);
        transcoder.decode(&out[mark_bytes..length]);
        self.transcoder = Some(transcoder);
        Ok((mark_bytes, mark_bytes))
    }

    /// Reads UTF-8, except that what was declared UTF-8 is passed on as it is. Fills `out` unless the document ends.
    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        let mut length = 0;
        while length < out.len() {
            let out = &mut out[length..];
            match self.read_some(out)? {
                0 => break,
                read => length += read,
            }
        }
        Ok(length)
    }

    fn read_some(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        let Some(transcoder) = &mut self.transcoder else {
            return self.counted.read(out);
        };
        while transcoder.needs_raw() {
            let mut raw = [0; 8 * 1024];
            let read = self.counted.read(&mut raw)?;
            transcoder.decode(&raw[..read]);
        }
        Ok(transcoder.take(out))
    }

    /// Whether bytes outside the declared encoding were replaced while converting.
    pub(super) fn has_replaced(&self) -> bool {
        self.transcoder
            .as_ref()
            .is_some_and(|transcoder| transcoder.has_replaced)
    }

    /// SHA-256 of what was read, as it was before any conversion.
    pub(super) fn sha256(&self) -> [u8; 32] {
        self.counted.hash.clone().finalize().into()
    }
}

/// Counts, limits and hashes the decompressed bytes.
struct Counted {
    reader: Box<dyn Read + Send>,
    hash: Sha256,
    offset: u64,
    budget: Budget,
    bytes_max: u64,
}

impl Counted {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        let read = loop {
            match self.reader.read(out) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read.map_err(|error| Error::from_io(error, self.offset))?,
            }
        };
        self.hash.update(&out[..read]);
        self.offset += read as u64;
        if self.offset > self.bytes_max {
            return Err(Error::new(
                Code::TooLarge,
                self.offset,
                "the report is too large",
            ));
        }
        self.budget.charge(self.offset)?;
        Ok(read)
    }
}

/// Converts a buffer at a time into one that has room for whatever becomes of it.
struct Transcoder {
    decoder: Decoder,
    text: String,
    /// How much of the text has been given out.
    text_start: usize,
    is_finished: bool,
    has_replaced: bool,
}

impl Transcoder {
    fn new(encoding: &'static Encoding) -> Self {
        Self {
            decoder: encoding.new_decoder_without_bom_handling(),
            text: String::new(),
            text_start: 0,
            is_finished: false,
            has_replaced: false,
        }
    }

    fn needs_raw(&self) -> bool {
        self.text_start == self.text.len() && !self.is_finished
    }

    /// Decodes the next bytes; none means that the document ends.
    fn decode(&mut self, raw: &[u8]) {
        self.is_finished = raw.is_empty();
        self.text.clear();
        self.text_start = 0;
        let text_bytes = self.decoder.max_utf8_buffer_length(raw.len());
        self.text.reserve(text_bytes.unwrap_or_default());
        let (_, _, has_replaced) =
            self.decoder
                .decode_to_string(raw, &mut self.text, self.is_finished);
        self.has_replaced |= has_replaced;
    }

    fn take(&mut self, out: &mut [u8]) -> usize {
        let rest = &self.text.as_bytes()[self.text_start..];
        let length = rest.len().min(out.len());
        out[..length].copy_from_slice(&rest[..length]);
        self.text_start += length;
        length
    }
}

/// The encoding, and the length of the byte order mark if there is one (D1, D2).
fn detect(prefix: &[u8]) -> Result<(&'static Encoding, usize), Error> {
    match prefix {
        [0xef, 0xbb, 0xbf, ..] => return Ok((UTF_8, 3)),
        [0xff, 0xfe, ..] => return Ok((UTF_16LE, 2)),
        [0xfe, 0xff, ..] => return Ok((UTF_16BE, 2)),
        [b'<', 0, ..] => return Ok((UTF_16LE, 0)),
        [0, b'<', ..] => return Ok((UTF_16BE, 0)),
        _ => {}
    }
    let Some(label) = declared_label(prefix) else {
        return Ok((UTF_8, 0));
    };
    // A declaration that could be read byte by byte is not UTF-16 whatever it says, and ASCII is UTF-8.
    let is_ascii_label = [&b"us-ascii"[..], b"ascii"]
        .iter()
        .any(|ascii| label.eq_ignore_ascii_case(ascii));
    match Encoding::for_label(label) {
        Some(encoding) if encoding == REPLACEMENT => {}
        Some(encoding) if is_ascii_label || encoding == UTF_16LE || encoding == UTF_16BE => {
            return Ok((UTF_8, 0));
        }
        Some(encoding) => return Ok((encoding, 0)),
        None if label.to_ascii_lowercase().starts_with(b"utf-16") => return Ok((UTF_8, 0)),
        None => {}
    }
    let detail = format!("the encoding {} is not known", quoted(label));
    Err(Error::new(Code::BadEncoding, 0, detail))
}

/// The value of `encoding` in an XML declaration; `None` also if it is empty.
fn declared_label(prefix: &[u8]) -> Option<&[u8]> {
    let declaration = prefix.trim_ascii_start().strip_prefix(b"<?xml")?;
    let declaration = &declaration[..memchr::memmem::find(declaration, b"?>")?];
    let place = memchr::memmem::find(declaration, b"encoding")?;
    let value = declaration[place + b"encoding".len()..].trim_ascii_start();
    let value = value.strip_prefix(b"=")?.trim_ascii_start();
    let (quote, value) = value.split_first()?;
    let end = memchr::memchr(*quote, value)?;
    Some(value[..end].trim_ascii()).filter(|label| !label.is_empty())
}
