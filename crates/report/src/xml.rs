//! A streaming XML reader for one document.
//!
//! It knows the element names of the report formats, checks that everything is well-formed, also what is skipped,
//! and holds no more than a window of the text. The common shapes, a known start tag without attributes and an
//! element with plain text only, are recognised in place; all else takes the long way round.

mod attributes;
mod content;
mod ends;
mod input;
mod scan;
mod tag;
mod window;

use std::borrow::Cow;

pub(crate) use self::tag::Tag;
use self::{
    attributes::{Fault, attributes},
    scan::{begins_name, blank_length, is_blank, name_length, plain_length, simple_length},
    window::Window,
};
use crate::{Code, Error, Limits, Xml, error::quoted};

pub(crate) struct Reader {
    window: Window,
    open: Vec<Open>,
    /// The names of those open elements that are not a [`Tag`]'s exact name, one after the other.
    names: Vec<u8>,
    /// The element opened last has no content: its tag ends in `/>`.
    is_empty: bool,
    /// The element opened last is of another namespace than the root, by its prefix or its own `xmlns`.
    is_foreign: bool,
    root_prefix: Vec<u8>,
    /// Text that could not be taken in place.
    text: Vec<u8>,
    text_bytes_max: usize,
    depth_max: usize,
    attributes_max: usize,
    replaced: Option<Replaced>,
}

/// The name of an open element, which its end tag must repeat.
#[derive(Clone, Copy)]
enum Open {
    Known(Tag),
    /// Where in [`Reader::names`] the name starts.
    Other(usize),
}

/// The text of an element, trimmed.
#[derive(Clone, Debug)]
pub(crate) struct Text<'a> {
    pub(crate) value: Cow<'a, str>,
    /// Where in the document it starts, blanks included.
    pub(crate) offset: u64,
    /// Known to be of lower-case letters, digits and few others only, none of which is ever changed or left out.
    pub(crate) is_simple: bool,
}

/// What stands in front of the content of the root element.
#[derive(Debug, Default)]
pub(crate) struct Prolog {
    pub(crate) namespace: Option<String>,
    /// There was a byte order mark, or blanks before the declaration.
    pub(crate) has_leading_bytes: bool,
    /// Offset of a schema's start tag around the root, which nothing closes (D8).
    pub(crate) stray_schema: Option<u64>,
}

/// Places where bytes outside the encoding were replaced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replaced {
    pub(crate) offset: u64,
    pub(crate) occurrences: u64,
}

impl Reader {
    pub(crate) fn open(xml: &Xml, limits: &Limits) -> Result<Self, Error> {
        Ok(Self {
            window: Window::open(xml, limits)?,
            open: Vec::with_capacity(limits.xml_depth.min(64)),
            names: Vec::new(),
            is_empty: false,
            is_foreign: false,
            root_prefix: Vec::new(),
            text: Vec::new(),
            text_bytes_max: limits.text_bytes,
            depth_max: limits.xml_depth,
            attributes_max: limits.attributes,
            replaced: None,
        })
    }

    /// The next child of the element opened last, now open itself; `None` at the end of that element, now closed.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Tag>, Error> {
        self.text.clear();
        self.advance()
    }

    /// As [`Reader::next`], but keeps the text collected so far.
    #[inline]
    fn advance(&mut self) -> Result<Option<Tag>, Error> {
        if self.is_empty {
            self.is_empty = false;
            self.pop();
            return Ok(None);
        }
        loop {
            let bytes = self.window.bytes();
            let blank = blank_length(bytes);
            match bytes[blank..] {
                [b'<', b'/', ..] if blank <= self.text_bytes_max => {
                    self.window.consume(blank);
                    self.end_tag()?;
                    return Ok(None);
                }
                [b'<', b'!' | b'?', ..] => {
                    self.run_of_text()?;
                    self.markup()?;
                }
                [b'<', _, ..] if blank <= self.text_bytes_max => {
                    self.window.consume(blank);
                    return self.start_tag().map(Some);
                }
                _ => {
                    self.run_of_text()?;
                    if !self.window.ensure(2)? {
                        return Err(self.truncated());
                    }
                }
            }
        }
    }

    /// The text of the element opened last, which is closed by this. Children are skipped.
    #[inline]
    pub(crate) fn text(&mut self) -> Result<Text<'_>, Error> {
        let offset = self.window.offset();
        if let Some(&Open::Known(tag)) = self.open.last()
            && !self.is_empty
        {
            let bytes = self.window.bytes();
            let mut length = simple_length(bytes);
            let is_simple = bytes.get(length) == Some(&b'<');
            if !is_simple {
                length = plain_length(bytes);
            }
            if tag.is_ended_by(&bytes[length..]) && length <= self.text_bytes_max {
                self.open.pop();
                let text = &self.window.take(length + tag.name().len() + 3)[..length];
                let text = if is_simple { text } else { text.trim_ascii() };
                let text = str::from_utf8(text).expect("plain bytes are ASCII");
                return Ok(Text {
                    value: Cow::Borrowed(text),
                    offset,
                    is_simple,
                });
            }
        }
        self.text_in_full(offset)
    }

    #[cold]
    fn text_in_full(&mut self, offset: u64) -> Result<Text<'_>, Error> {
        self.text.clear();
        while self.advance()?.is_some() {
            self.skip()?;
        }
        Ok(Text {
            value: self.collected(offset),
            offset,
            is_simple: false,
        })
    }

    /// The text that stood directly in the element closed last, as far as its last child.
    pub(crate) fn loose_text(&mut self) -> Text<'_> {
        let offset = self.window.offset();
        Text {
            value: self.collected(offset),
            offset,
            is_simple: false,
        }
    }

    fn collected(&mut self, offset: u64) -> Cow<'_, str> {
        let text = String::from_utf8_lossy(&self.text);
        // D3: what is no UTF-8 is replaced; a replacement that was written as such stays borrowed.
        if matches!(text, Cow::Owned(_)) {
            let replaced = self.replaced.get_or_insert(Replaced {
                offset,
                occurrences: 0,
            });
            replaced.occurrences += 1;
        }
        match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
            Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
        }
    }

    /// Skips the rest of the element opened last, which is closed by this.
    pub(crate) fn skip(&mut self) -> Result<(), Error> {
        let depth = self.open.len();
        let kept = self.text.len();
        while self.open.len() >= depth {
            self.advance()?;
            self.text.truncate(kept);
        }
        Ok(())
    }

    /// The name of the element opened last, as written.
    pub(crate) fn name(&self) -> &[u8] {
        match self.open.last() {
            Some(Open::Known(tag)) => tag.name().as_bytes(),
            Some(Open::Other(start)) => &self.names[*start..],
            None => b"",
        }
    }

    /// Whether the element opened last is of another namespace than the root element.
    pub(crate) fn is_foreign(&self) -> bool {
        self.is_foreign
    }

    pub(crate) fn offset(&self) -> u64 {
        self.window.offset()
    }

    /// A record is complete: the limit on bytes without one starts anew.
    pub(crate) fn end_record(&mut self) -> Result<(), Error> {
        self.window.check_gap()?;
        self.window.start_gap();
        Ok(())
    }

    /// Where bytes that are not of the encoding were replaced, if anywhere.
    pub(crate) fn replaced(&self) -> Option<Replaced> {
        let transcoded = self.window.input.has_replaced().then_some(Replaced {
            offset: 0,
            occurrences: 1,
        });
        self.replaced.or(transcoded)
    }

    /// SHA-256 of the document as far as it has been read.
    pub(crate) fn sha256(&self) -> [u8; 32] {
        self.window.input.sha256()
    }

    /// Reads a start tag, at whose `<` the window stands.
    #[inline]
    fn start_tag(&mut self) -> Result<Tag, Error> {
        if let Some(tag) = Tag::from_start_tag(self.window.bytes()) {
            self.push(Open::Known(tag))?;
            self.window.consume(tag.name().len() + 2);
            self.is_foreign = false;
            return Ok(tag);
        }
        self.start_tag_in_full()
    }

    #[cold]
    fn start_tag_in_full(&mut self) -> Result<Tag, Error> {
        let length = self.tag_length()?;
        let offset = self.window.offset();
        let inside = &self.window.bytes()[1..length - 1];
        let (inside, is_empty) = match inside.strip_suffix(b"/") {
            Some(inside) => (inside, true),
            None => (inside, false),
        };
        let name = &inside[..name_length(inside)];
        if !name.first().is_some_and(|&byte| begins_name(byte)) {
            return Err(self.malformed("'<' that begins no tag"));
        }
        let mut has_namespace = false;
        let checked = attributes(&inside[name.len()..], self.attributes_max, |name, _| {
            has_namespace |= name == b"xmlns";
        });
        if let Err((fault, at)) = checked {
            let offset = offset + 1 + (name.len() + at) as u64;
            return Err(match fault {
                Fault::Malformed(what) => Error::new(Code::NotWellFormed, offset, what),
                Fault::TooMany => Error::new(Code::TooLarge, offset, "too many attributes"),
            });
        }
        let (prefix, local) = match memchr::memrchr(b':', name) {
            Some(colon) => (&name[..colon], &name[colon + 1..]),
            None => (&b""[..], name),
        };
        self.is_foreign = has_namespace || (!prefix.is_empty() && prefix != self.root_prefix);
        let tag = Tag::from_name(local);
        let open = if tag.name().as_bytes() == name {
            Open::Known(tag)
        } else {
            let start = self.names.len();
            self.names.extend_from_slice(name);
            Open::Other(start)
        };
        self.push(open)?;
        self.is_empty = is_empty;
        self.window.consume(length);
        Ok(tag)
    }

    /// The length of the tag the window stands at, `>` included, once all of it can be seen.
    fn tag_length(&mut self) -> Result<usize, Error> {
        let (mut length, mut quote) = (1, None);
        loop {
            let Some(&byte) = self.window.bytes().get(length) else {
                if !self.window.more()? {
                    return Err(self.truncated());
                }
                continue;
            };
            length += 1;
            match (quote, byte) {
                (None, b'>') => return Ok(length),
                (_, b'<') => return Err(self.malformed("'<' in a tag")),
                (None, b'"' | b'\'') => quote = Some(byte),
                (Some(open), _) if open == byte => quote = None,
                _ => {}
            }
            if length > self.text_bytes_max {
                return Err(self.too_large("a tag is too long"));
            }
        }
    }

    /// Reads the end tag of the element opened last, at whose `<` the window stands.
    #[inline]
    fn end_tag(&mut self) -> Result<(), Error> {
        if let Some(&Open::Known(tag)) = self.open.last()
            && tag.is_ended_by(self.window.bytes())
        {
            self.open.pop();
            self.window.consume(tag.name().len() + 3);
            return Ok(());
        }
        self.end_tag_in_full()
    }

    #[cold]
    fn end_tag_in_full(&mut self) -> Result<(), Error> {
        let length = self.tag_length()?;
        let inside = &self.window.bytes()[2..length - 1];
        let blanks = inside.iter().rev().take_while(|&&byte| is_blank(byte));
        let inside = &inside[..inside.len() - blanks.count()];
        if inside != self.name() {
            let detail = format!(
                "the end tag {} does not match {}",
                quoted(inside),
                quoted(self.name())
            );
            return Err(Error::new(
                Code::NotWellFormed,
                self.window.offset(),
                detail,
            ));
        }
        self.pop();
        self.window.consume(length);
        Ok(())
    }

    #[inline]
    fn push(&mut self, open: Open) -> Result<(), Error> {
        if self.open.len() >= self.depth_max {
            let detail = "elements are nested too deep";
            return Err(Error::new(Code::TooManyParts, self.window.offset(), detail));
        }
        self.open.push(open);
        Ok(())
    }

    fn pop(&mut self) {
        if let Some(Open::Other(start)) = self.open.pop() {
            self.names.truncate(start);
        }
    }

    fn malformed(&self, detail: &str) -> Error {
        Error::new(Code::NotWellFormed, self.window.offset(), detail)
    }

    fn too_large(&self, detail: &str) -> Error {
        Error::new(Code::TooLarge, self.window.offset(), detail)
    }

    fn truncated(&self) -> Error {
        let offset = self.window.offset() + self.window.bytes().len() as u64;
        Error::new(Code::Truncated, offset, "the document ends early")
    }
}

#[cfg(test)]
mod tests;
