//! The documents in a delivery.

mod budget;
mod mime;
mod sniff;
mod source;
mod transfer;
mod zip;

use std::{
    borrow::Cow,
    fs::File,
    io::{BufRead, BufReader, Read},
    sync::Arc,
};

use bytes::Bytes;
use serde::{Deserialize, de::IgnoredAny};

pub(crate) use self::{budget::Budget, source::Source};
use self::{
    mime::Leaf,
    sniff::{Kind, PREFIX_BYTES, PREFIX_BYTES_MAX, sniff},
    zip::Directory,
};
use crate::{Code, Error, Limits};

/// Bytes of JSON read to see whether it is a TLS report.
const JSON_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The bytes of a delivery. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Body {
    /// In memory.
    Memory(Bytes),
    /// In a file, read in place and never loaded whole; its cursor is not used.
    File(Arc<File>),
}

/// One document found in a delivery.
#[derive(Debug)]
pub struct Document {
    /// Where in the delivery it was found: names of parts and archive members joined with `/`, for people. Empty for
    /// a bare document.
    pub path: String,
    /// What it is.
    pub content: Content,
}

/// What a document turned out to be, from its bytes alone.
#[derive(Debug)]
pub enum Content {
    /// XML that claims to be an aggregate report.
    Xml(Xml),
    /// An SMTP TLS report (RFC 8460).
    TlsReport,
    /// A failure report (RFC 6591, RFC 9991).
    FailureReport,
    /// A message that carries no report at all: a bounce, a notice, spam.
    NoReport,
    /// What claims to be a report but cannot be read.
    Rejected(Error),
}

/// XML of a report, not read yet. Cheap to keep; opening it twice reads it twice.
#[derive(Clone, Debug)]
pub struct Xml {
    pub(crate) source: Source,
    pub(crate) budget: Budget,
}

impl Xml {
    /// XML that stands by itself, outside any delivery.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        Self {
            source: Source::new(Body::Memory(bytes.into())),
            budget: Budget::new(u64::MAX),
        }
    }
}

/// Lists the documents of a delivery, in order, without reading the reports themselves.
///
/// `Err` only for [`crate::Code::Io`]. At least one document is returned.
pub fn unpack(body: &Body, limits: &Limits) -> Result<Vec<Document>, Error> {
    let mut walk = Walk {
        limits,
        budget: Budget::new(limits.delivery_bytes),
        memory_left: limits.message_bytes,
        members_left: limits.members,
        documents: Vec::new(),
    };
    walk.document(Source::new(body.clone()), Place::default())?;
    Ok(walk.documents)
}

/// Where in the delivery the walk is.
#[derive(Clone, Debug, Default)]
struct Place {
    path: String,
    /// Containers around.
    depth: usize,
}

impl Place {
    /// Inside one more container, below a name that is anyone's text.
    fn inside(&self, name: &str) -> Self {
        const NAME_CHARS_MAX: usize = 255;
        let name = name.chars().filter(|char| !char.is_control());
        let separator = if self.path.is_empty() { "" } else { "/" };
        Self {
            path: [self.path.as_str(), separator]
                .into_iter()
                .flat_map(str::chars)
                .chain(name.take(NAME_CHARS_MAX))
                .collect(),
            depth: self.depth + 1,
        }
    }
}

struct Walk<'a> {
    limits: &'a Limits,
    budget: Budget,
    /// Bytes that may still be held of messages and archives found inside compressed data.
    memory_left: u64,
    members_left: usize,
    documents: Vec<Document>,
}

impl Walk<'_> {
    /// Adds a document, or what is in it if it is a container. What cannot be read becomes a rejection of itself
    /// alone; only a failure of ours ends the walk.
    fn document(&mut self, source: Source, place: Place) -> Result<(), Error> {
        let path = place.path.clone();
        match self.visit(source, place) {
            Err(error) if error.code == Code::Io => Err(error),
            Err(error) => {
                self.add(path, Content::Rejected(error));
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn add(&mut self, path: String, content: Content) {
        self.documents.push(Document { path, content });
    }

    fn add_xml(&mut self, path: String, source: Source) {
        let budget = self.budget.for_document();
        self.add(path, Content::Xml(Xml { source, budget }));
    }

    fn visit(&mut self, mut source: Source, place: Place) -> Result<(), Error> {
        if place.depth > self.limits.nesting {
            let detail = "containers are nested too deep";
            return Err(Error::new(Code::TooManyParts, 0, detail));
        }
        let mut kind = Kind::Empty;
        if source.plain().is_some() || !source.is_small()? {
            kind = sniff(&source.prefix(PREFIX_BYTES)?);
        }
        if kind == Kind::Empty {
            // Compressed and small, or blanks stand in front (D5).
            kind = sniff(&source.prefix(PREFIX_BYTES_MAX)?);
        }
        match kind {
            Kind::Gzip => {
                let depth = place.depth + 1;
                self.visit(source.gunzip(), Place { depth, ..place })
            }
            Kind::Zip => {
                let body = match source.plain() {
                    Some(body) => body.clone(),
                    None => Body::Memory(self.load(&source)?),
                };
                self.zip(&body, &place)
            }
            Kind::Message => {
                let message = match source.plain() {
                    Some(_) => source.load(self.limits.message_bytes)?,
                    None => self.load(&source)?,
                };
                let mut parts_left = self.limits.mime_parts;
                if self.message(&message, &place, &mut parts_left)? == 0 {
                    self.add(place.path, Content::NoReport);
                }
                Ok(())
            }
            Kind::Xml => {
                self.add_xml(place.path, source);
                Ok(())
            }
            Kind::Peer(form) => {
                let source = source.translate(form, &self.budget, self.limits)?;
                self.add_xml(place.path, source);
                Ok(())
            }
            Kind::Json if is_tls_report(&source)? => {
                self.add(place.path, Content::TlsReport);
                Ok(())
            }
            kind => Err(rejection(kind)),
        }
    }

    /// Loads what is inside compressed data; all of it together may not be larger than one message.
    fn load(&mut self, source: &Source) -> Result<Bytes, Error> {
        let bytes = source.load(self.memory_left)?;
        self.memory_left -= bytes.len() as u64;
        Ok(bytes)
    }

    fn zip(&mut self, body: &Body, place: &Place) -> Result<(), Error> {
        let documents_before = self.documents.len();
        for entry in Directory::open(body)? {
            let entry = entry?;
            if entry.is_noise() {
                continue;
            }
            if entry.name == "[Content_Types].xml" {
                let detail = "an office document";
                return Err(Error::new(Code::NotAReport, 0, detail));
            }
            if self.members_left == 0 {
                let detail = "too many archive members";
                return Err(Error::new(Code::TooManyParts, 0, detail));
            }
            self.members_left -= 1;
            let inside = place.inside(&entry.name);
            match entry.member {
                Ok(member) => self.document(Source::member(body, member), inside)?,
                Err(error) => self.add(inside.path, Content::Rejected(error)),
            }
        }
        if self.documents.len() == documents_before {
            return Err(Error::new(Code::Empty, 0, "the zip archive has no files"));
        }
        Ok(())
    }

    /// Adds the documents of a message; says how many there are.
    fn message(
        &mut self,
        message: &Bytes,
        place: &Place,
        parts_left: &mut usize,
    ) -> Result<usize, Error> {
        let documents_before = self.documents.len();
        let (leaves, error) = mime::leaves(message, self.limits, parts_left);
        if leaves.iter().any(is_failure_report) {
            self.add(place.path.clone(), Content::FailureReport);
            return Ok(1);
        }
        for leaf in &leaves {
            let name = leaf.name.as_deref().unwrap_or(&leaf.media_type);
            let inside = place.inside(name);
            match leaf.media_type.as_str() {
                "message/rfc822" | "message/global" if inside.depth > self.limits.nesting => {
                    let detail = "messages are nested too deep";
                    let error = Error::new(Code::TooManyParts, 0, detail);
                    self.add(inside.path, Content::Rejected(error));
                }
                // C8: forwarded and journaled reports.
                "message/rfc822" | "message/global" => {
                    let nested = decode(leaf, message);
                    self.message(&nested, &inside, parts_left)?;
                }
                _ => self.leaf(leaf, message, inside)?,
            }
        }
        if let Some(error) = error {
            self.add(place.path.clone(), Content::Rejected(error));
        }
        Ok(self.documents.len() - documents_before)
    }

    /// Adds a part of a message if it is a report or claims to be one. Everything else in a message is decoration
    /// (C17): texts, images, signatures.
    fn leaf(&mut self, leaf: &Leaf<'_>, message: &Bytes, place: Place) -> Result<(), Error> {
        let content = decode(leaf, message);
        let prefix = &content[..content.len().min(PREFIX_BYTES_MAX)];
        let kind = sniff(prefix);
        let source = Source::new(Body::Memory(content.clone()));
        let claim = Claim::of(leaf);
        match kind {
            Kind::Gzip | Kind::Zip => self.document(source, place),
            Kind::Peer(_) if claim == Claim::Report => self.document(source, place),
            Kind::Message if claim == Claim::Message => self.document(source, place),
            Kind::Json if claim == Claim::Report || is_tls_report(&source)? => {
                self.document(source, place)
            }
            Kind::Xml => {
                let root = sniff::first_element(prefix);
                if root.as_deref() == Some(b"feedback")
                    || claim == Claim::Report
                    || (root.is_none() && claim != Claim::Text)
                {
                    self.add_xml(place.path, source);
                }
                Ok(())
            }
            Kind::Tnef => self.document(source, place),
            Kind::Ole if claim == Claim::Message => self.document(source, place),
            Kind::Empty | Kind::Other(_) | Kind::Message if claim == Claim::Report => {
                self.add(place.path, Content::Rejected(rejection(kind)));
                Ok(())
            }
            Kind::Empty
            | Kind::Json
            | Kind::Peer(_)
            | Kind::Message
            | Kind::Ole
            | Kind::Other(_) => Ok(()),
        }
    }
}

/// What a part is declared to be, by its type or its name. It matters only for what its content leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    Report,
    Message,
    Text,
    Nothing,
}

impl Claim {
    fn of(leaf: &Leaf<'_>) -> Self {
        const NAME_ENDS: [&str; 5] = [".xml", ".gz", ".gzip", ".zip", ".json"];
        const TYPE_WORDS: [&str; 4] = ["xml", "gzip", "zip", "tlsrpt"];
        let name = leaf
            .name
            .as_deref()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let media_type = leaf.media_type.as_str();
        let is_page = media_type.contains("xhtml") || media_type.contains("svg");
        if NAME_ENDS.iter().any(|end| name.ends_with(end))
            || (!is_page && TYPE_WORDS.iter().any(|word| media_type.contains(word)))
        {
            Self::Report
        } else if name.ends_with(".eml") || name.ends_with(".msg") {
            Self::Message
        } else if matches!(media_type, "" | "text/plain" | "text/html") || is_page {
            Self::Text
        } else {
            Self::Nothing
        }
    }
}

/// The decoded content of a part, without copying where it is not encoded.
fn decode(leaf: &Leaf<'_>, message: &Bytes) -> Bytes {
    match leaf.transfer.decode(leaf.body) {
        Cow::Borrowed(content) => message.slice_ref(content),
        Cow::Owned(content) => content.into(),
    }
}

/// Recognised by the type of a part, or by its first field where the type is wrong.
fn is_failure_report(leaf: &Leaf<'_>) -> bool {
    const FIRST_FIELD: &[u8] = b"feedback-type:";
    let start = leaf.body.trim_ascii_start();
    leaf.media_type == "message/feedback-report"
        || leaf.has_feedback_type
        || start
            .get(..FIRST_FIELD.len())
            .is_some_and(|field| field.eq_ignore_ascii_case(FIRST_FIELD))
}

/// RFC 8460 section 4.4: an object with these two members.
fn is_tls_report(source: &Source) -> Result<bool, Error> {
    #[derive(Deserialize)]
    struct TlsReport {
        #[serde(rename = "report-id")]
        _report_id: IgnoredAny,
        #[serde(rename = "policies")]
        _policies: Vec<IgnoredAny>,
    }
    let mut reader = BufReader::new(source.open()?.take(JSON_BYTES_MAX));
    let start = reader
        .fill_buf()
        .map_err(|error| Error::from_io(error, 0))?;
    let mark_bytes = start.len() - sniff::without_mark(start).len();
    reader.consume(mark_bytes);
    match serde_json::from_reader::<_, TlsReport>(reader) {
        Ok(_) => Ok(true),
        Err(error) if error.is_io() => Err(Error::from_io(error.into(), 0)),
        Err(_) => Ok(false),
    }
}

fn rejection(kind: Kind) -> Error {
    let (code, detail) = match kind {
        Kind::Empty => (Code::Empty, "nothing is there"),
        Kind::Json => (Code::NotAReport, "JSON that is no TLS report"),
        Kind::Tnef => (Code::NotAReport, "an Outlook winmail.dat (TNEF) file"),
        Kind::Ole => (Code::NotAReport, "an Outlook .msg or another OLE file"),
        Kind::Other(what) => (Code::NotAReport, what),
        Kind::Gzip | Kind::Zip | Kind::Xml | Kind::Message | Kind::Peer(_) => {
            (Code::NotAReport, "not what a report is sent in")
        }
    };
    Error::new(code, 0, detail)
}
