//! What stands before and behind the root element.

use memchr::memmem;

use super::{
    Prolog, Reader, Tag,
    attributes::attributes,
    scan::{blank_length, is_blank, is_forbidden, name_length},
};
use crate::{Code, Error, error::quoted};

impl Reader {
    /// Reads up to and including the start tag of the root element, which must be `feedback`.
    pub(crate) fn prolog(&mut self) -> Result<Prolog, Error> {
        let mut prolog = Prolog {
            has_leading_bytes: self.window.offset() > 0,
            ..Prolog::default()
        };
        let blank = self.skip_blanks()?;
        if self.window.bytes().is_empty() {
            let code = if blank { Code::NotAReport } else { Code::Empty };
            return Err(Error::new(code, 0, "the document has no content"));
        }
        self.window.ensure(6)?;
        if let [b'<', b'?', b'x', b'm', b'l', byte, ..] = self.window.bytes()
            && is_blank(*byte)
        {
            prolog.has_leading_bytes |= blank;
            let end = self.find_end(2, b"?>")?;
            if self.window.bytes()[..end]
                .iter()
                .any(|&byte| is_forbidden(byte))
            {
                return Err(self.malformed("a control character"));
            }
            self.window.consume(end + 2);
        }
        loop {
            self.skip_blanks()?;
            self.window.ensure(2)?;
            match self.window.bytes() {
                [b'<', b'!' | b'?', ..] => {
                    self.markup()?;
                    if !self.text.is_empty() {
                        return Err(self.malformed("text before the root element"));
                    }
                }
                [b'<', ..] => {
                    let offset = self.window.offset();
                    let tag = self.tag_length()?;
                    let root = self.window.bytes()[..tag].to_vec();
                    // D8: IKEA opened a schema in front of the report and never closed it.
                    if prolog.stray_schema.is_none() && local_name_of(&root) == b"schema" {
                        prolog.stray_schema = Some(offset);
                        self.start_tag_in_full()?;
                        self.pop();
                        self.is_empty = false;
                        continue;
                    }
                    return self.root(&root, prolog);
                }
                [] => return Err(self.truncated()),
                [..] => {
                    let detail = format!("starts with {}", quoted(self.window.bytes()));
                    return Err(Error::new(Code::NotAReport, self.window.offset(), detail));
                }
            }
        }
    }

    fn root(&mut self, tag: &[u8], mut prolog: Prolog) -> Result<Prolog, Error> {
        let offset = self.window.offset();
        let name = &tag[1..1 + name_length(&tag[1..])];
        if self.start_tag_in_full()? != Tag::Feedback {
            let detail = format!("the root element is {}", quoted(name));
            return Err(Error::new(Code::NotAReport, offset, detail));
        }
        let prefix = match memchr::memrchr(b':', name) {
            Some(colon) => &name[..colon],
            None => b"",
        };
        self.root_prefix = prefix.to_vec();
        let declaration: &[u8] = match prefix {
            b"" => b"xmlns",
            prefix => &[b"xmlns:", prefix].concat(),
        };
        let rest = tag[1 + name.len()..tag.len() - 1].trim_ascii_end();
        let rest = rest.strip_suffix(b"/").unwrap_or(rest);
        // The tag has just been accepted, so there is nothing to find fault with.
        let _ = attributes(rest, self.attributes_max, |name, value| {
            if name == declaration && !value.is_empty() {
                prolog.namespace = Some(String::from_utf8_lossy(value).into_owned());
            }
        });
        Ok(prolog)
    }

    /// Reads whatever follows the root element, so that checksums around the document are verified. Gives the place
    /// of the first byte that does not belong there (D7).
    pub(crate) fn epilog(&mut self) -> Result<Option<u64>, Error> {
        let mut trailing = None;
        loop {
            let bytes = self.window.bytes();
            if let Some(place) = bytes.iter().position(|&byte| !is_blank(byte)) {
                trailing.get_or_insert(self.window.offset() + place as u64);
            }
            // D14: a second report is not junk, and taking the first alone would lose it.
            if let Some(place) = memmem::find(bytes, b"<feedback") {
                self.window.consume(place);
                return Err(self.malformed("a second root element"));
            }
            let length = bytes.len();
            self.window.consume(length);
            if !self.window.more()? {
                self.window.check_gap()?;
                return Ok(trailing);
            }
        }
    }

    /// Skips blanks; says whether there were any.
    fn skip_blanks(&mut self) -> Result<bool, Error> {
        let mut skipped = 0;
        loop {
            let blank = blank_length(self.window.bytes());
            skipped += blank;
            self.window.consume(blank);
            if !self.window.bytes().is_empty() || !self.window.more()? {
                return Ok(skipped > 0);
            }
        }
    }
}

fn local_name_of(tag: &[u8]) -> &[u8] {
    let name = &tag[1..1 + name_length(&tag[1..])];
    match memchr::memrchr(b':', name) {
        Some(colon) => &name[colon + 1..],
        None => name,
    }
}
