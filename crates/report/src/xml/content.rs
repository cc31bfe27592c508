//! Text, references, comments, CDATA and processing instructions.

use memchr::{memchr2, memmem};

use super::{
    Reader,
    scan::{
        REFERENCE_BYTES_MAX, begins_name, is_blank, is_forbidden, name_length, reference,
        text_length,
    },
};
use crate::{Code, Error};

impl Reader {
    /// Consumes text up to the next `<`, and collects it.
    #[cold]
    pub(super) fn run_of_text(&mut self) -> Result<(), Error> {
        let start = self.text.len();
        loop {
            let bytes = self.window.bytes();
            let length = text_length(bytes);
            self.text.extend_from_slice(&bytes[..length]);
            self.window.consume(length);
            if self.text.len() - start > self.text_bytes_max {
                return Err(self.too_large("a text is too long"));
            }
            if !self.window.ensure(1)? {
                return Err(self.truncated());
            }
            match self.window.bytes()[0] {
                b'<' => return Ok(()),
                b'&' => self.reference()?,
                b']' => self.bracket()?,
                byte if is_forbidden(byte) => {
                    return Err(self.malformed("a control character in text"));
                }
                _ => {}
            }
        }
    }

    fn bracket(&mut self) -> Result<(), Error> {
        self.window.ensure(3)?;
        if self.window.bytes().starts_with(b"]]>") {
            return Err(self.malformed("']]>' in text"));
        }
        self.text.push(b']');
        self.window.consume(1);
        Ok(())
    }

    fn reference(&mut self) -> Result<(), Error> {
        let is_whole = self.window.ensure(REFERENCE_BYTES_MAX)?;
        let Some((char, length)) = reference(self.window.bytes()) else {
            if !is_whole && memchr2(b';', b'<', self.window.bytes()).is_none() {
                return Err(self.truncated());
            }
            return Err(self.malformed("'&' that begins no known entity"));
        };
        let mut buffer = [0; 4];
        let encoded = char.encode_utf8(&mut buffer);
        self.text.extend_from_slice(encoded.as_bytes());
        self.window.consume(length);
        Ok(())
    }

    /// Reads what begins with `<!` or `<?`: comments and processing instructions are skipped, CDATA is text (D12), a
    /// document type declaration is the end (D13).
    #[cold]
    pub(super) fn markup(&mut self) -> Result<(), Error> {
        const CDATA: &[u8] = b"<![CDATA[";
        const DOCTYPE: &[u8] = b"<!DOCTYPE";
        self.window.ensure(DOCTYPE.len())?;
        let bytes = self.window.bytes();
        let start = &bytes[..bytes.len().min(DOCTYPE.len())];
        if start.eq_ignore_ascii_case(DOCTYPE) {
            let detail = "a document type declaration";
            return Err(Error::new(Code::Doctype, self.window.offset(), detail));
        }
        let (open, close): (&[u8], &[u8]) = match start {
            CDATA => (CDATA, b"]]>"),
            [b'<', b'!', b'-', b'-', ..] => (b"<!--", b"-->"),
            [b'<', b'?', ..] => (b"<?", b"?>"),
            _ if start.len() < DOCTYPE.len() => return Err(self.truncated()),
            _ => return Err(self.malformed("'<!' that begins nothing known")),
        };
        let end = self.find_end(open.len(), close)?;
        let content = &self.window.bytes()[open.len()..end];
        if content.iter().any(|&byte| is_forbidden(byte)) {
            return Err(self.malformed("a control character"));
        }
        match open {
            CDATA => {
                let too_long = self.text.len() + content.len() > self.text_bytes_max;
                self.text.extend_from_slice(content);
                if too_long {
                    return Err(self.too_large("a text is too long"));
                }
            }
            b"<!--" if memmem::find(content, b"--").is_some() || content.ends_with(b"-") => {
                return Err(self.malformed("'--' in a comment"));
            }
            b"<!--" => {}
            _ => self.check_instruction(end)?,
        }
        self.window.consume(end + close.len());
        Ok(())
    }

    fn check_instruction(&self, end: usize) -> Result<(), Error> {
        let content = &self.window.bytes()[2..end];
        let target = &content[..name_length(content)];
        let is_separated = content.get(target.len()).is_none_or(|&byte| is_blank(byte));
        if !is_separated || !target.first().is_some_and(|&byte| begins_name(byte)) {
            return Err(self.malformed("a processing instruction has no name"));
        }
        if target.eq_ignore_ascii_case(b"xml") {
            return Err(self.malformed("an XML declaration that is not at the start"));
        }
        Ok(())
    }

    /// Finds `end` in the window from `from` on, reading as far as one token may be long.
    pub(super) fn find_end(&mut self, from: usize, end: &[u8]) -> Result<usize, Error> {
        loop {
            let bytes = self.window.bytes().get(from..).unwrap_or_default();
            let bytes = &bytes[..bytes.len().min(self.text_bytes_max)];
            if let Some(place) = memmem::find(bytes, end) {
                return Ok(from + place);
            }
            if bytes.len() == self.text_bytes_max {
                return Err(self.too_large("a comment, instruction or CDATA section is too long"));
            }
            if !self.window.more()? {
                return Err(self.truncated());
            }
        }
    }
}
