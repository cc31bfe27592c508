//! The output of parsedmarc, report by report: each is a delivery of its own, like the messages of an mbox.
//!
//! What is found here is handed on as it stands; `report` reads it.

mod csv;
mod json;
mod piece;

use std::{fs::File, io};

use crate::Found;

/// What reports are kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeptIn {
    Json,
    Csv,
}

/// Tells parsedmarc's output by its beginning: a list of reports, or one report after the other, or the columns of CSV.
pub(crate) fn kept_in(start: &[u8]) -> Option<KeptIn> {
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    if text.starts_with(b"xml_schema,org_name,") {
        return Some(KeptIn::Csv);
    }
    let between = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'[' | b',' | b']');
    let begin = text.iter().position(|byte| !between(byte));
    let inside = begin.and_then(|begin| text[begin..].strip_prefix(b"{"));
    let inside = inside.unwrap_or_default().trim_ascii_start();
    let is_json = inside.starts_with(b"\"xml_schema\"") || inside.starts_with(json::WRAPPER_KEY);
    is_json.then_some(KeptIn::Json)
}

/// Visits the reports in a file. Returns what `visit` did.
pub(crate) fn reports(
    name: &str,
    file: &File,
    kept_in: KeptIn,
    line_bytes_max: u64,
    visit: &mut dyn FnMut(Found) -> bool,
) -> bool {
    let reports: Box<dyn Iterator<Item = io::Result<report::Body>> + '_> = match kept_in {
        KeptIn::Json => Box::new(json::Reports::new(file)),
        KeptIn::Csv => Box::new(csv::Reports::new(file, line_bytes_max)),
    };
    for (number, body) in reports.enumerate() {
        let failed = body.is_err();
        let name = format!("{name}#{}", number + 1);
        if !visit(Found { name, body }) {
            return false;
        }
        if failed {
            break;
        }
    }
    true
}
