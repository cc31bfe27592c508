//! Where the bytes of a document come from: a body, and the compressed layers around the document.

use std::{
    cell::RefCell,
    io::{self, BufRead, Read},
    os::unix::fs::FileExt,
    sync::Arc,
};

use bytes::Bytes;
use flate2::bufread::GzDecoder;

use super::{Body, budget::Budget, sniff::PREFIX_BYTES_MAX, zip::Member};
use crate::{
    Code, Error, Limits,
    peers::{Form, Survey, Translation},
};

/// Members of one gzip stream. Splitting a report into more is an attempt to make us busy, not to compress.
const GZIP_MEMBERS_MAX: usize = 100_000;

thread_local! {
    /// Room for a prefix. It is kept, since clearing that much memory would cost more than inflating a small report.
    static PREFIX_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A recipe for the bytes of a document, cheap to keep and to run again.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    body: Body,
    member: Option<Member>,
    gzip_layers: usize,
    /// Where the document is made from what another program kept.
    survey: Option<Arc<Survey>>,
}

impl Source {
    pub(crate) fn new(body: Body) -> Self {
        Self {
            body,
            member: None,
            gzip_layers: 0,
            survey: None,
        }
    }

    pub(super) fn member(body: &Body, member: Member) -> Self {
        Self {
            member: Some(member),
            ..Self::new(body.clone())
        }
    }

    pub(super) fn gunzip(mut self) -> Self {
        self.gzip_layers += 1;
        self
    }

    /// The body itself, if nothing is around the document.
    pub(super) fn plain(&self) -> Option<&Body> {
        (self.member.is_none() && self.gzip_layers == 0 && self.survey.is_none())
            .then_some(&self.body)
    }

    /// The XML of a report that another program kept in this form.
    pub(super) fn translate(
        mut self,
        form: Form,
        budget: &Budget,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let survey = Survey::read(form, self.open()?, budget.for_document(), limits)?;
        self.survey = Some(Arc::new(survey));
        Ok(self)
    }

    /// What is known of the report that another program kept.
    pub(crate) fn survey(&self) -> Option<&Survey> {
        self.survey.as_deref()
    }

    /// The size of the document, known where nothing is around it.
    pub(crate) fn plain_size_bytes(&self) -> Result<Option<u64>, Error> {
        self.plain().map(Body::size_bytes).transpose()
    }

    /// Starts reading the decompressed bytes.
    pub(crate) fn open(&self) -> Result<Box<dyn Read + Send>, Error> {
        let size_bytes = self.body.size_bytes()?;
        let mut reader: Box<dyn Read + Send> = match &self.member {
            Some(member) => member.open(&self.body)?,
            None => Box::new(BodyReader::new(&self.body, 0, size_bytes)),
        };
        for _ in 0..self.gzip_layers {
            reader = Box::new(Gzip::new(Buffered::new(reader, size_bytes)));
        }
        if let Some(survey) = &self.survey {
            reader = Box::new(Translation::new(survey, reader));
        }
        Ok(reader)
    }

    /// Whether the document may fit into a prefix of [`PREFIX_BYTES_MAX`]. Told from the compressed bytes: XML of reports
    /// shrinks to a tenth or less.
    pub(super) fn is_small(&self) -> Result<bool, Error> {
        Ok(self.body.size_bytes()? <= PREFIX_BYTES_MAX as u64 / 8)
    }

    /// The first bytes, as many as there are up to `bytes_max`, which is [`PREFIX_BYTES_MAX`] or less. A compressed
    /// document that ends within them is from then on read from memory: nearly all reports are small, and setting up to
    /// inflate costs more than inflating.
    pub(super) fn prefix(&mut self, bytes_max: usize) -> Result<Bytes, Error> {
        if let Some(Body::Memory(bytes)) = self.plain() {
            return Ok(bytes.slice(..bytes.len().min(bytes_max)));
        }
        let prefix = PREFIX_BUFFER.with_borrow_mut(|buffer| {
            buffer.resize(PREFIX_BYTES_MAX, 0);
            let out = &mut buffer[..bytes_max];
            // In one go: inflating piece by piece takes much longer. But where data is damaged, only that shows the place.
            let length = self
                .read_in_steps(out, bytes_max)
                .or_else(|_| self.read_in_steps(out, 1))?;
            Ok(Bytes::copy_from_slice(&out[..length]))
        })?;
        if prefix.len() < bytes_max && self.plain().is_none() {
            *self = Self::new(Body::Memory(prefix.clone()));
        }
        Ok(prefix)
    }

    /// Reads until `out` is full or the document ends.
    fn read_in_steps(&self, out: &mut [u8], step_bytes: usize) -> Result<usize, Error> {
        let mut reader = self.open()?;
        let mut length = 0;
        while length < out.len() {
            let end = out.len().min(length + step_bytes);
            match reader.read(&mut out[length..end]) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::from_io(error, length as u64)),
            }
        }
        Ok(length)
    }

    /// All bytes, if they are not more than `bytes_max`.
    pub(super) fn load(&self, bytes_max: u64) -> Result<Bytes, Error> {
        let too_large = || Error::new(Code::TooLarge, bytes_max, "larger than is held in memory");
        if let Some(body) = self.plain() {
            if body.size_bytes()? > bytes_max {
                return Err(too_large());
            }
            if let Body::Memory(bytes) = body {
                return Ok(bytes.clone());
            }
        }
        let mut bytes = Vec::new();
        self.open()?
            .take(bytes_max.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| Error::from_io(error, bytes.len() as u64))?;
        if bytes.len() as u64 > bytes_max {
            return Err(too_large());
        }
        Ok(bytes.into())
    }
}

impl Body {
    pub(super) fn size_bytes(&self) -> Result<u64, Error> {
        match self {
            Self::Memory(bytes) => Ok(bytes.len() as u64),
            Self::File(file) => match file.metadata() {
                Ok(metadata) => Ok(metadata.len()),
                Err(error) => Err(Error::from_io(error, 0)),
            },
        }
    }

    /// Reads at a place, as much as is there up to the length of `out`.
    pub(super) fn read_at(&self, mut offset: u64, mut out: &mut [u8]) -> io::Result<usize> {
        let wanted = out.len();
        while !out.is_empty() {
            let read = match self {
                Self::Memory(bytes) => {
                    let rest = bytes.get(usize::try_from(offset).unwrap_or(usize::MAX)..);
                    rest.unwrap_or_default().read(out)?
                }
                Self::File(file) => match file.read_at(out, offset) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    read => read?,
                },
            };
            if read == 0 {
                break;
            }
            offset += read as u64;
            out = &mut out[read..];
        }
        Ok(wanted - out.len())
    }
}

/// A stretch of a body. It leaves a file's cursor alone, so that readers of one file do not disturb each other.
pub(super) struct BodyReader {
    body: Body,
    offset: u64,
    end: u64,
}

impl BodyReader {
    pub(super) fn new(body: &Body, offset: u64, size_bytes: u64) -> Self {
        Self {
            body: body.clone(),
            offset,
            end: offset.saturating_add(size_bytes),
        }
    }
}

impl Read for BodyReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let wanted = out.len().min(left);
        let read = self.body.read_at(self.offset, &mut out[..wanted])?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// Bytes of compressed data read at a time.
const BUFFER_BYTES: usize = 64 * 1024;
const BUFFER_BYTES_MIN: usize = 64;

/// A buffered reader that can look at the next few bytes wherever its buffer happens to end.
pub(super) struct Buffered<R> {
    inner: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl<R: Read> Buffered<R> {
    /// `size_bytes` is how much there may be to read: most reports are far smaller than a full buffer.
    pub(super) fn new(inner: R, size_bytes: u64) -> Self {
        let size = usize::try_from(size_bytes).unwrap_or(usize::MAX);
        Self {
            inner,
            buffer: vec![0; size.clamp(BUFFER_BYTES_MIN, BUFFER_BYTES)].into(),
            start: 0,
            end: 0,
        }
    }

    fn starts_with(&mut self, magic: &[u8]) -> io::Result<bool> {
        if self.end - self.start < magic.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            while self.end < magic.len() {
                match self.inner.read(&mut self.buffer[self.end..])? {
                    0 => return Ok(false),
                    read => self.end += read,
                }
            }
        }
        Ok(self.buffer[self.start..self.end].starts_with(magic))
    }
}

impl<R: Read> Read for Buffered<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(out)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: Read> BufRead for Buffered<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            self.end = self.inner.read(&mut self.buffer)?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn consume(&mut self, bytes: usize) {
        self.start = (self.start + bytes).min(self.end);
    }
}

/// A gzip stream of one or more members. Whatever else follows a member is left alone: Mimecast appends a line break
/// (C12), and `MultiGzDecoder` takes that for a broken member.
struct Gzip {
    decoder: Option<GzDecoder<Buffered<Box<dyn Read + Send>>>>,
    members: usize,
}

impl Gzip {
    fn new(inner: Buffered<Box<dyn Read + Send>>) -> Self {
        Self {
            decoder: Some(GzDecoder::new(inner)),
            members: 1,
        }
    }
}

impl Read for Gzip {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while let Some(decoder) = &mut self.decoder {
            let read = decoder.read(out)?;
            if read > 0 || out.is_empty() {
                return Ok(read);
            }
            // C13: another member may follow.
            let Some(decoder) = self.decoder.take() else {
                break;
            };
            let mut rest = decoder.into_inner();
            if rest.starts_with(&[0x1f, 0x8b])? {
                self.members += 1;
                if self.members > GZIP_MEMBERS_MAX {
                    return Err(Error::new(Code::TooManyParts, 0, "too many gzip members").into());
                }
                self.decoder = Some(GzDecoder::new(rest));
            }
        }
        Ok(0)
    }
}
