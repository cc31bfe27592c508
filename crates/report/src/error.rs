//! Why a document can never be stored.

use std::io;

use serde::Serialize;

/// Why a document was rejected, and where. The only variant of [`Code`] that is not final is [`Code::Io`].
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Error {
    /// The reason.
    pub code: Code,
    /// What was found, for people: lower case, no full stop, hostile text cut and escaped.
    pub detail: String,
    /// Path of the element it was found at, from below `<feedback>`, where there is one.
    pub element: Option<String>,
    /// Byte offset in the decompressed document.
    pub offset: u64,
}

impl Error {
    pub(crate) fn new(code: Code, offset: u64, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            element: None,
            offset,
        }
    }

    pub(crate) fn at(mut self, element: impl Into<String>) -> Self {
        self.element = Some(element.into());
        self
    }

    /// What a failed read means. Decompressors speak in kinds of `io::Error`; only the operating system's own errors,
    /// which carry its number, are a failure of ours.
    pub(crate) fn from_io(error: io::Error, offset: u64) -> Self {
        if error.raw_os_error().is_some() {
            return Self::new(Code::Io, offset, format!("reading failed: {error}"));
        }
        match error.downcast::<Self>() {
            Ok(error) => Self { offset, ..error },
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::new(Code::Truncated, offset, "compressed data ends early")
            }
            Err(error) => Self::new(Code::BadArchive, offset, error.to_string()),
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}

/// Hostile text for a message: cut and escaped.
pub(crate) fn quoted(text: &[u8]) -> String {
    const CHARS_MAX: usize = 64;
    let text = String::from_utf8_lossy(&text[..text.len().min(4 * CHARS_MAX)]);
    let mut quoted = String::from("'");
    quoted.extend(text.chars().take(CHARS_MAX).flat_map(char::escape_debug));
    quoted.push_str(if text.chars().count() > CHARS_MAX {
        "...'"
    } else {
        "'"
    });
    quoted
}

/// The reasons of [`Error`]. The words of [`Code::as_str`] are stored, shown and counted: they are part of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Nothing is there: an empty file, body or archive member.
    Empty,
    /// Neither XML, gzip, zip nor a message; or XML with another root than `feedback`.
    NotAReport,
    /// Ends before it is complete.
    Truncated,
    /// The archive is damaged, encrypted or uses a method that is not supported.
    BadArchive,
    /// A limit on size is hit.
    TooLarge,
    /// A limit on nesting, members or parts is hit.
    TooManyParts,
    /// Not well-formed XML.
    NotWellFormed,
    /// A document type declaration: no genuine report has one.
    Doctype,
    /// A required element is missing or empty.
    MissingElement,
    /// A required value is not of its type.
    BadValue,
    /// The encoding declared is not known.
    BadEncoding,
    /// Reading failed; the fault is ours, and trying again is right.
    Io,
}

impl Code {
    /// Those that are final, and so are outcomes.
    pub const FINAL: [Self; 11] = [
        Self::Empty,
        Self::NotAReport,
        Self::Truncated,
        Self::BadArchive,
        Self::TooLarge,
        Self::TooManyParts,
        Self::NotWellFormed,
        Self::Doctype,
        Self::MissingElement,
        Self::BadValue,
        Self::BadEncoding,
    ];

    /// The stable word for this reason.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NotAReport => "not_a_report",
            Self::Truncated => "truncated",
            Self::BadArchive => "bad_archive",
            Self::TooLarge => "too_large",
            Self::TooManyParts => "too_many_parts",
            Self::NotWellFormed => "not_well_formed",
            Self::Doctype => "doctype",
            Self::MissingElement => "missing_element",
            Self::BadValue => "bad_value",
            Self::BadEncoding => "bad_encoding",
            Self::Io => "io",
        }
    }
}
