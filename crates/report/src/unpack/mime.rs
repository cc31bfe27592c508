//! The parts of a mail message (RFC 5322, RFC 2045, RFC 2046), as slices of it.
//!
//! Only what finding a report needs is read: the type and boundary of each part, its transfer encoding and its name.
//! Multiparts are cut from the outside in, so that the work is bounded by size times depth, and nothing is copied.

use memchr::{memchr, memmem::Finder};

use super::{
    sniff::{is_header_line, is_postmark},
    transfer::Transfer,
};
use crate::{Code, Error, Limits};

/// Bytes looked at of one header field.
const FIELD_BYTES_MAX: usize = 16 * 1024;

/// A part that is no multipart.
#[derive(Debug)]
pub(super) struct Leaf<'a> {
    /// Lower case, without parameters; empty if not declared.
    pub(super) media_type: String,
    pub(super) name: Option<String>,
    pub(super) transfer: Transfer,
    pub(super) body: &'a [u8],
    /// Its header has a `Feedback-Type` field: someone kept the part of a failure report only.
    pub(super) has_feedback_type: bool,
}

/// The leaves of a message, in order, and why there are no more of them if a limit was hit.
pub(super) fn leaves<'a>(
    message: &'a [u8],
    limits: &Limits,
    parts_left: &mut usize,
) -> (Vec<Leaf<'a>>, Option<Error>) {
    let mut walk = Walk {
        message,
        depth_max: limits.mime_depth,
        parts_left,
        leaves: Vec::new(),
    };
    let message = match is_postmark(message) {
        true => message.splitn(2, |&byte| byte == b'\n').nth(1),
        false => None,
    }
    .unwrap_or(message);
    let error = walk.part(message.trim_ascii_start(), "", 0).err();
    (walk.leaves, error)
}

struct Walk<'a, 'p> {
    message: &'a [u8],
    depth_max: usize,
    parts_left: &'p mut usize,
    leaves: Vec<Leaf<'a>>,
}

impl<'a> Walk<'a, '_> {
    fn part(&mut self, part: &'a [u8], default_type: &str, depth: usize) -> Result<(), Error> {
        let offset = self.message.len().saturating_sub(part.len()) as u64;
        if *self.parts_left == 0 || depth > self.depth_max {
            let what = match depth > self.depth_max {
                true => "parts are nested too deep",
                false => "too many parts",
            };
            return Err(Error::new(Code::TooManyParts, offset, what));
        }
        *self.parts_left -= 1;
        let (mut fields, body) = Fields::read(part);
        if fields.media_type.is_empty() {
            fields.media_type = default_type.to_owned();
        }
        let parts = match &fields.boundary {
            Some(boundary) if fields.media_type.starts_with("multipart/") => {
                split(body, boundary, *self.parts_left + 1)
            }
            _ => Vec::new(),
        };
        if parts.is_empty() {
            self.leaves.push(Leaf {
                media_type: fields.media_type,
                name: fields.name,
                transfer: fields.transfer,
                body,
                has_feedback_type: fields.has_feedback_type,
            });
            return Ok(());
        }
        let default_type = match fields.media_type.as_str() {
            "multipart/digest" => "message/rfc822",
            _ => "",
        };
        for part in parts {
            self.part(part, default_type, depth + 1)?;
        }
        Ok(())
    }
}

/// The parts between the boundary lines of a multipart body, at most `parts_max`. The last one may lack its end.
fn split<'a>(body: &'a [u8], boundary: &[u8], parts_max: usize) -> Vec<&'a [u8]> {
    let delimiter = [b"--", boundary].concat();
    let finder = Finder::new(&delimiter);
    let mut parts = Vec::new();
    let (mut part_start, mut searched) = (None, 0);
    while parts.len() < parts_max {
        let Some(place) = finder.find(&body[searched..]).map(|place| searched + place) else {
            break;
        };
        searched = place + delimiter.len();
        let rest = &body[searched..];
        let line = &rest[..memchr(b'\n', rest).unwrap_or(rest.len())];
        let is_last = line.starts_with(b"--");
        let after = if is_last { &line[2..] } else { line };
        if (place > 0 && body[place - 1] != b'\n') || !after.trim_ascii().is_empty() {
            continue;
        }
        if let Some(start) = part_start {
            let end = line_break_before(body, place).max(start);
            parts.push(&body[start..end]);
        }
        searched += line.len();
        part_start = (!is_last).then_some((searched + 1).min(body.len()));
        if is_last {
            break;
        }
    }
    if let Some(start) = part_start.filter(|_| parts.len() < parts_max) {
        parts.push(&body[start..]);
    }
    parts
}

/// The line break in front of a boundary belongs to the boundary.
fn line_break_before(body: &[u8], place: usize) -> usize {
    let before = &body[..place];
    let before = before.strip_suffix(b"\n").unwrap_or(before);
    before.strip_suffix(b"\r").unwrap_or(before).len()
}

/// What is read of the header of a part.
#[derive(Debug)]
struct Fields {
    media_type: String,
    boundary: Option<Vec<u8>>,
    name: Option<String>,
    transfer: Transfer,
    has_feedback_type: bool,
}

impl Fields {
    /// Reads a header; also gives the body after it.
    fn read(part: &[u8]) -> (Self, &[u8]) {
        let mut fields = Self {
            media_type: String::new(),
            boundary: None,
            name: None,
            transfer: Transfer::Identity,
            has_feedback_type: false,
        };
        let mut rest = part;
        loop {
            let line_length = memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            let line = &rest[..line_length];
            if line.trim_ascii().is_empty() {
                return (fields, &rest[line_length..]);
            }
            if !is_header_line(line) {
                return (fields, rest);
            }
            let mut length = line_length;
            while let Some(b' ' | b'\t') = rest.get(length) {
                let line =
                    memchr(b'\n', &rest[length..]).map_or(rest.len() - length, |end| end + 1);
                if rest[length..length + line].trim_ascii().is_empty() {
                    break;
                }
                length += line;
            }
            fields.take(&rest[..length]);
            rest = &rest[length..];
        }
    }

    fn take(&mut self, field: &[u8]) {
        let Some(colon) = memchr(b':', field) else {
            return;
        };
        let name = field[..colon].trim_ascii().to_ascii_lowercase();
        let value = &field[colon + 1..field.len().min(colon + 1 + FIELD_BYTES_MAX)];
        match name.as_slice() {
            // C6: Trustwave misspells it.
            b"content-type" | b"contenttype" if self.media_type.is_empty() => {
                let mut parameters = Parameters::new(value);
                self.media_type = parameters.value();
                for (name, value) in parameters {
                    match name.as_str() {
                        "boundary" if !value.is_empty() => self.boundary = Some(value),
                        "name" if self.name.is_none() => self.name = Some(lossy(&value)),
                        _ => {}
                    }
                }
            }
            b"content-disposition" => {
                // C7: RFC 2231 cuts long names into filename*0, filename*1, ...
                let file_name: Vec<u8> = Parameters::new(value)
                    .filter(|(name, _)| name.starts_with("filename"))
                    .flat_map(|(_, value)| value)
                    .collect();
                if !file_name.is_empty() {
                    self.name = Some(lossy(&file_name));
                }
            }
            b"content-transfer-encoding" => self.transfer = Transfer::from_field(value),
            b"feedback-type" => self.has_feedback_type = true,
            _ => {}
        }
    }
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

/// The value and the parameters of a structured header field.
struct Parameters<'a> {
    rest: &'a [u8],
}

impl<'a> Parameters<'a> {
    fn new(field: &'a [u8]) -> Self {
        Self { rest: field }
    }

    /// What stands before the first parameter, lower-cased.
    fn value(&mut self) -> String {
        let end = memchr(b';', self.rest).unwrap_or(self.rest.len());
        let value = lossy(self.rest[..end].trim_ascii()).to_ascii_lowercase();
        self.rest = &self.rest[end..];
        let word = value.split(|char: char| char.is_whitespace() || char == '(');
        word.take(1).collect()
    }
}

impl Iterator for Parameters<'_> {
    type Item = (String, Vec<u8>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let start = memchr(b';', self.rest)? + 1;
            self.rest = &self.rest[start..];
            let end = self
                .rest
                .iter()
                .position(|byte| matches!(byte, b'=' | b';'))?;
            if self.rest[end] == b';' {
                continue;
            }
            let name = lossy(self.rest[..end].trim_ascii()).to_ascii_lowercase();
            self.rest = self.rest[end + 1..].trim_ascii_start();
            let value = match self.rest.first() {
                Some(b'"') => self.quoted_value(),
                _ => {
                    let end = memchr(b';', self.rest).unwrap_or(self.rest.len());
                    let value = self.rest[..end].trim_ascii().to_vec();
                    self.rest = &self.rest[end..];
                    value
                }
            };
            return Some((name, value));
        }
    }
}

impl Parameters<'_> {
    fn quoted_value(&mut self) -> Vec<u8> {
        let mut value = Vec::new();
        let mut bytes = self.rest[1..].iter();
        while let Some(&byte) = bytes.next() {
            match byte {
                b'"' => break,
                b'\\' => value.extend(bytes.next()),
                b'\r' | b'\n' => {}
                _ => value.push(byte),
            }
        }
        self.rest = bytes.as_slice();
        value
    }
}
