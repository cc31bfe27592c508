//! In which form a list is asked for, and how its items are written in it.

use axum::http::{HeaderMap, header};
use serde_json::value::RawValue;

use super::{columns::Columns, csv};
use crate::Error;

/// The forms of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Csv,
    Ndjson,
}

impl Format {
    const ALL: [Self; 3] = [Self::Json, Self::Csv, Self::Ndjson];

    /// The value of `format`, and what a file is named with.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }

    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Ndjson => "application/x-ndjson",
        }
    }

    fn of_media_type(media_type: &str) -> Option<Self> {
        match media_type.to_ascii_lowercase().as_str() {
            "application/json" | "application/*" | "*/*" => Some(Self::Json),
            "text/csv" => Some(Self::Csv),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => {
                Some(Self::Ndjson)
            }
            _ => None,
        }
    }

    /// What stands before the first item.
    pub(super) fn head(self, columns: &Columns) -> Vec<u8> {
        match self {
            Self::Csv => csv::header(columns),
            Self::Json | Self::Ndjson => Vec::new(),
        }
    }

    /// Appends items, one a line.
    pub(super) fn write(self, items: &[&RawValue], columns: &Columns, out: &mut Vec<u8>) {
        match self {
            Self::Csv => csv::write(items, columns, out),
            Self::Json | Self::Ndjson => {
                for item in items {
                    out.extend_from_slice(item.get().as_bytes());
                    out.push(b'\n');
                }
            }
        }
    }
}

/// What a request says about form and place; the rest of its query is for the handler.
pub(super) struct Asked {
    pub(super) format: Format,
    /// Whether the query names the form.
    pub(super) is_in_query: bool,
    pub(super) cursor: Option<String>,
    pub(super) limit: Option<String>,
    /// The parameters that the handler is to see, as written. Where the form is not JSON, without the cursor, which is
    /// another for each page.
    pub(super) query: Vec<String>,
}

impl Asked {
    /// The query goes before the header.
    pub(super) fn read(query: Option<&str>, headers: &HeaderMap) -> Result<Self, Error> {
        let mut format = None;
        let mut rest = Vec::new();
        for pair in query.unwrap_or_default().split('&') {
            match pair.strip_prefix("format=") {
                Some(word) if format.is_none() => {
                    let known = Format::ALL.into_iter().find(|f| f.extension() == word);
                    let wrong = || Error::BadQuery("format is json, csv or ndjson".into());
                    format = Some(known.ok_or_else(wrong)?);
                }
                Some(_) => return Err(Error::BadQuery("format is given twice".into())),
                None if pair.is_empty() => {}
                None => rest.push(pair.to_owned()),
            }
        }
        let value = |name: &str| {
            let value = rest.iter().find_map(|pair| pair.strip_prefix(name));
            value.map(str::to_owned)
        };
        let (cursor, limit) = (value("cursor="), value("limit="));
        let is_in_query = format.is_some();
        let format = format.unwrap_or_else(|| preferred(headers));
        if format != Format::Json {
            rest.retain(|pair| !pair.starts_with("cursor="));
        }
        Ok(Self {
            format,
            is_in_query,
            cursor,
            limit,
            query: rest,
        })
    }
}

/// The form that `Accept` wants most (RFC 9110 section 12.5.1); of equals, the first.
fn preferred(headers: &HeaderMap) -> Format {
    let mut best = (0.0, Format::Json);
    let fields = headers.get_all(header::ACCEPT).into_iter();
    let ranges = fields.filter_map(|field| field.to_str().ok());
    for range in ranges.flat_map(|field| field.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let Some(format) = parts.next().and_then(Format::of_media_type) else {
            continue;
        };
        let weight = parts.find_map(|part| part.strip_prefix("q="));
        let weight: f32 = weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0));
        if weight > best.0 {
            best = (weight, format);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, accept: &str, expected: Format, rest: &str) {
        let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
        let asked = Asked::read(Some(query), &headers).unwrap();
        assert_eq!(
            (asked.format, asked.query.join("&")),
            (expected, rest.into())
        );
    }

    #[test]
    fn the_query_goes_before_the_header() {
        check("", "*/*", Format::Json, "");
        check("a=1", "text/html,*/*;q=0.8", Format::Json, "a=1");
        check("a=1", "text/csv", Format::Csv, "a=1");
        check("", "application/x-ndjson, text/csv", Format::Ndjson, "");
        check("", "text/csv;q=0.5, application/json", Format::Json, "");
        check("", "text/csv;q=0", Format::Json, "");
        check("", "image/png", Format::Json, "");
        check("format=csv&a=1&cursor=x", "*/*", Format::Csv, "a=1");
        check("cursor=x&format=json", "text/csv", Format::Json, "cursor=x");
    }

    #[test]
    fn other_forms_are_refused() {
        for query in ["format=xml", "format=", "format=csv&format=csv"] {
            assert!(
                Asked::read(Some(query), &HeaderMap::new()).is_err(),
                "{query}"
            );
        }
    }
}
