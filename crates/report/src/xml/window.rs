//! A window that slides over the text of a document.

use super::input::Input;
use crate::{Code, Error, Limits, Xml};

/// Large enough that the work at its edge does not count, small enough to stay in the processor's cache.
const WINDOW_BYTES: usize = 256 * 1024;
/// What a document of unknown size begins with: most are small, and a large buffer costs them more than their parsing.
const WINDOW_BYTES_FIRST: u64 = 32 * 1024;
/// Room for a small document of another encoding, which may become longer.
const WINDOW_BYTES_MIN: usize = 4 * 1024;

pub(super) struct Window {
    pub(super) input: Input,
    buffer: Vec<u8>,
    buffer_bytes_max: usize,
    start: usize,
    end: usize,
    /// Offset of the buffer in the document.
    base: u64,
    /// Where the last record ended.
    gap_start: u64,
    gap_bytes_max: u64,
}

impl Window {
    pub(super) fn open(xml: &Xml, limits: &Limits) -> Result<Self, Error> {
        let mut input = Input::open(xml, limits)?;
        // Twice the longest token, so that there is room to read on whatever of one is still unread.
        let buffer_bytes_max = WINDOW_BYTES.max(limits.text_bytes.saturating_mul(2));
        // One byte more than a small document, so that its end is seen without growing.
        let size_bytes = xml.source.plain_size_bytes()?.unwrap_or(WINDOW_BYTES_FIRST);
        let buffer_bytes = usize::try_from(size_bytes.saturating_add(1)).unwrap_or(usize::MAX);
        let mut buffer = vec![0; buffer_bytes.clamp(WINDOW_BYTES_MIN, buffer_bytes_max)];
        let (start, end) = input.read_first(&mut buffer)?;
        Ok(Self {
            input,
            buffer,
            buffer_bytes_max,
            start,
            end,
            base: 0,
            gap_start: 0,
            gap_bytes_max: limits.record_gap_bytes,
        })
    }

    /// What has been read and not consumed.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Offset of the first of [`Window::bytes`] in the document.
    #[inline]
    pub(super) fn offset(&self) -> u64 {
        self.base + self.start as u64
    }

    #[inline]
    pub(super) fn consume(&mut self, length: usize) {
        self.start += length;
    }

    /// Consumes bytes and gives them out.
    #[inline]
    pub(super) fn take(&mut self, length: usize) -> &[u8] {
        let start = self.start;
        self.start += length;
        &self.buffer[start..self.start]
    }

    /// Reads on. `false` means that the document ends with what is in the window.
    pub(super) fn more(&mut self) -> Result<bool, Error> {
        self.check_gap()?;
        // A buffer that was not filled has seen the end of the document.
        let is_short = self.end == self.buffer.len() && self.end < self.buffer_bytes_max;
        self.buffer.copy_within(self.start..self.end, 0);
        self.base += self.start as u64;
        self.end -= self.start;
        self.start = 0;
        if is_short {
            let grown = (self.buffer.len() * 4).min(self.buffer_bytes_max);
            self.buffer.resize(grown, 0);
        }
        let read = self.input.read(&mut self.buffer[self.end..])?;
        self.end += read;
        Ok(read > 0)
    }

    /// Reads on until `length` bytes can be seen; `false` if the document is shorter.
    pub(super) fn ensure(&mut self, length: usize) -> Result<bool, Error> {
        while self.end - self.start < length {
            if !self.more()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A record is complete: the bytes without one are counted from here.
    pub(super) fn start_gap(&mut self) {
        self.gap_start = self.offset();
    }

    /// Nothing a reporter has to say takes this long; it is a bomb.
    pub(super) fn check_gap(&self) -> Result<(), Error> {
        if self.offset().saturating_sub(self.gap_start) > self.gap_bytes_max {
            let detail = "too many bytes without a complete record";
            return Err(Error::new(Code::TooLarge, self.offset(), detail));
        }
        Ok(())
    }
}
