//! Zip archives: the central directory, and reading one member.
//!
//! The directory is walked entry by entry in bounded memory, since an archive may claim millions of members. Nothing
//! a header says of sizes is believed before the data has shown it.

use std::io::{self, Read};

use flate2::{Crc, bufread::DeflateDecoder};

use super::{
    Body,
    source::{BodyReader, Buffered},
};
use crate::{Code, Error};

const LOCAL_HEADER: &[u8] = b"PK\x03\x04";
const DIRECTORY_HEADER: &[u8] = b"PK\x01\x02";
const DIRECTORY_END: &[u8] = b"PK\x05\x06";
const DIRECTORY_END_64: &[u8] = b"PK\x06\x06";
const DIRECTORY_LOCATOR_64: &[u8] = b"PK\x06\x07";

/// How far from the end of the archive the end record may begin: its own size and the longest comment.
const DIRECTORY_END_BYTES_MAX: u64 = 22 + 65_535;

/// One member of an archive, found but not read.
#[derive(Clone, Debug)]
pub(super) struct Member {
    header_offset: u64,
    compressed_bytes: u64,
    size_bytes: u64,
    crc: u32,
    method: Method,
}

#[derive(Clone, Copy, Debug)]
enum Method {
    Stored,
    Deflated,
}

/// An entry of the directory.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) member: Result<Member, Error>,
}

impl Entry {
    /// Directories and what file managers leave behind (C14). The name alone may be empty.
    pub(super) fn is_noise(&self) -> bool {
        let file = self.name.rsplit(['/', '\\']).next().unwrap_or_default();
        (file.is_empty() && !self.name.is_empty())
            || file.starts_with('.')
            || self.name.split('/').any(|folder| folder == "__MACOSX")
    }
}

/// The entries of an archive's central directory, in order.
pub(super) struct Directory {
    reader: Buffered<BodyReader>,
    offset: u64,
    left: u64,
    /// Bytes in front of the archive proper, by which all its offsets are short.
    shift: u64,
}

impl Directory {
    pub(super) fn open(body: &Body) -> Result<Self, Error> {
        let size = body.size_bytes()?;
        let tail_start = size.saturating_sub(DIRECTORY_END_BYTES_MAX);
        let mut tail = vec![0; (size - tail_start) as usize];
        let read = read_at(body, tail_start, &mut tail)?;
        tail.truncate(read);
        let Some((place, end)) = memchr::memmem::rfind(&tail, DIRECTORY_END)
            .and_then(|place| Some((place, tail.get(place..place + 22)?)))
        else {
            return Err(Error::new(
                Code::Truncated,
                size,
                "the zip archive ends without its directory",
            ));
        };
        let end_offset = tail_start + place as u64;
        let (end_offset, length, start) = match (u32_at(end, 12), u32_at(end, 16)) {
            (u32::MAX, _) | (_, u32::MAX) => directory_64(body, end_offset)?,
            (length, start) => (end_offset, u64::from(length), u64::from(start)),
        };
        let Some(offset) = end_offset.checked_sub(length) else {
            return Err(damaged(end_offset, "the zip directory has no room"));
        };
        let Some(shift) = offset.checked_sub(start) else {
            return Err(damaged(
                end_offset,
                "the zip directory is not where it should be",
            ));
        };
        Ok(Self {
            reader: Buffered::new(BodyReader::new(body, offset, length), length),
            offset,
            left: length,
            shift,
        })
    }

    fn take(&mut self, out: &mut [u8]) -> Result<(), Error> {
        let Some(left) = self.left.checked_sub(out.len() as u64) else {
            return Err(damaged(self.offset, "the zip directory is cut short"));
        };
        self.reader.read_exact(out).map_err(|error| {
            let error = Error::from_io(error, self.offset);
            match error.code {
                Code::Io => error,
                _ => damaged(self.offset, "the zip directory is cut short"),
            }
        })?;
        self.left = left;
        self.offset += out.len() as u64;
        Ok(())
    }

    fn entry(&mut self) -> Result<Entry, Error> {
        let offset = self.offset;
        let mut header = [0; 46];
        self.take(&mut header)?;
        if !header.starts_with(DIRECTORY_HEADER) {
            return Err(damaged(offset, "the zip directory is damaged"));
        }
        let mut name = vec![0; u16_at(&header, 28).into()];
        self.take(&mut name)?;
        let mut extra = vec![0; u16_at(&header, 30).into()];
        self.take(&mut extra)?;
        let mut comment = vec![0; u16_at(&header, 32).into()];
        self.take(&mut comment)?;
        Ok(Entry {
            name: String::from_utf8_lossy(&name).into_owned(),
            member: self.member(&header, &extra, offset),
        })
    }

    fn member(&self, header: &[u8; 46], extra: &[u8], offset: u64) -> Result<Member, Error> {
        if u16_at(header, 8) & 1 != 0 {
            return Err(damaged(offset, "the zip member is encrypted"));
        }
        let method = match u16_at(header, 10) {
            0 => Method::Stored,
            8 => Method::Deflated,
            method => {
                return Err(damaged(
                    offset,
                    format!("zip method {method} is not supported"),
                ));
            }
        };
        let mut wide = Wide::new(extra);
        let size_bytes = wide.widen(u32_at(header, 24));
        let compressed_bytes = wide.widen(u32_at(header, 20));
        let header_offset = wide.widen(u32_at(header, 42));
        Ok(Member {
            header_offset: header_offset.saturating_add(self.shift),
            compressed_bytes,
            size_bytes,
            crc: u32_at(header, 16),
            method,
        })
    }
}

impl Iterator for Directory {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let entry = self.entry();
        if entry.is_err() {
            self.left = 0;
        }
        Some(entry)
    }
}

/// The end of the directory, its length and its start, by the zip64 records in front of the end record.
fn directory_64(body: &Body, end_offset: u64) -> Result<(u64, u64, u64), Error> {
    let missing = || damaged(end_offset, "the zip64 directory is missing");
    let mut locator = [0; 20];
    let locator_offset = end_offset.checked_sub(20).ok_or_else(missing)?;
    let mut end = [0; 56];
    if read_at(body, locator_offset, &mut locator)? < locator.len()
        || !locator.starts_with(DIRECTORY_LOCATOR_64)
    {
        return Err(missing());
    }
    let end_offset_64 = u64_at(&locator, 8);
    if read_at(body, end_offset_64, &mut end)? < end.len() || !end.starts_with(DIRECTORY_END_64) {
        return Err(missing());
    }
    Ok((end_offset_64, u64_at(&end, 40), u64_at(&end, 48)))
}

/// The zip64 extra field: 64-bit values for those of the header that say `0xffffffff`, in the header's order.
struct Wide<'a> {
    values: &'a [u8],
}

impl<'a> Wide<'a> {
    fn new(mut extra: &'a [u8]) -> Self {
        while extra.len() >= 4 {
            let end = (4 + usize::from(u16_at(extra, 2))).min(extra.len());
            if u16_at(extra, 0) == 1 {
                return Self {
                    values: &extra[4..end],
                };
            }
            extra = &extra[end..];
        }
        Self { values: &[] }
    }

    fn widen(&mut self, value: u32) -> u64 {
        match self.values.split_at_checked(8) {
            Some((wide, rest)) if value == u32::MAX => {
                self.values = rest;
                u64_at(wide, 0)
            }
            _ => value.into(),
        }
    }
}

impl Member {
    /// Starts reading the member; its end is checked against the directory.
    pub(super) fn open(&self, body: &Body) -> Result<Box<dyn Read + Send>, Error> {
        let mut header = [0; 30];
        let read = read_at(body, self.header_offset, &mut header)?;
        if read < header.len() || !header.starts_with(LOCAL_HEADER) {
            return Err(damaged(self.header_offset, "the zip member has no header"));
        }
        let skip = 30 + u64::from(u16_at(&header, 26)) + u64::from(u16_at(&header, 28));
        let data = BodyReader::new(
            body,
            self.header_offset.saturating_add(skip),
            self.compressed_bytes,
        );
        let checked = |data| Checked {
            data,
            crc: Crc::new(),
            read_bytes: 0,
            member: self.clone(),
        };
        Ok(match self.method {
            Method::Stored => Box::new(checked(Box::new(data))),
            Method::Deflated => {
                let data = Buffered::new(data, self.compressed_bytes);
                Box::new(checked(Box::new(DeflateDecoder::new(data))))
            }
        })
    }
}

/// Compares a member with its directory entry once it is read to its end.
struct Checked {
    data: Box<dyn Read + Send>,
    crc: Crc,
    read_bytes: u64,
    member: Member,
}

impl Read for Checked {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.data.read(out)?;
        self.crc.update(&out[..read]);
        self.read_bytes += read as u64;
        if read == 0 && !out.is_empty() {
            if self.read_bytes != self.member.size_bytes {
                return Err(damaged(0, "the zip member is not of the size given for it").into());
            }
            if self.crc.sum() != self.member.crc {
                return Err(damaged(0, "the zip member does not match its checksum").into());
            }
        }
        Ok(read)
    }
}

fn damaged(offset: u64, detail: impl Into<String>) -> Error {
    Error::new(Code::BadArchive, offset, detail)
}

fn read_at(body: &Body, offset: u64, out: &mut [u8]) -> Result<usize, Error> {
    body.read_at(offset, out)
        .map_err(|error| Error::from_io(error, offset))
}

fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes([bytes[offset], bytes[offset + 1]])
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from(u16_at(bytes, offset)) | u32::from(u16_at(bytes, offset + 2)) << 16
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from(u32_at(bytes, offset)) | u64::from(u32_at(bytes, offset + 4)) << 32
}
