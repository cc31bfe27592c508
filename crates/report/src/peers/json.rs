//! A report as parsedmarc writes it into `aggregate.json`.

use std::io::{BufRead, BufReader, Read};

use serde_json::{Map, Value};

use super::{
    damaged,
    row::{Head, POLICY, Row, some},
    time,
};
use crate::{Code, Error};

/// Values of the report as a whole are texts and short lists.
const HEAD_BYTES_MAX: u64 = 1024 * 1024;

/// The records of one report, one at a time.
pub(super) struct JsonRows {
    text: Scanner,
    at: At,
    head: Map<String, Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Start,
    Members,
    Records,
    End,
}

impl JsonRows {
    pub(super) fn new(reader: Box<dyn Read + Send>, record_bytes_max: u64) -> Self {
        Self {
            text: Scanner {
                reader: BufReader::with_capacity(64 * 1024, reader),
                offset: 0,
                value: Vec::new(),
                value_bytes_max: record_bytes_max,
            },
            at: At::Start,
            head: Map::new(),
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<Row>, Error> {
        loop {
            if self.at == At::End {
                return Ok(None);
            }
            let byte = self.text.peek()?;
            match (self.at, byte) {
                (At::Start, b'{') => self.text.skip(At::Members, &mut self.at),
                (At::Members | At::Records, b',') => self.text.skip(self.at, &mut self.at),
                (At::Members, b'}') => self.text.skip(At::End, &mut self.at),
                (At::Members, b'"') => self.member()?,
                (At::Records, b']') => self.text.skip(At::Members, &mut self.at),
                (At::Records, b'{') => return self.text.value().map(|record| Some(row(&record))),
                _ => return Err(self.text.unexpected()),
            }
        }
    }

    fn member(&mut self) -> Result<(), Error> {
        let Value::String(key) = self.text.value()? else {
            return Err(self.text.unexpected());
        };
        if self.text.peek()? != b':' {
            return Err(self.text.unexpected());
        }
        self.text.consume();
        if key == "records" && self.text.peek()? == b'[' {
            self.text.skip(At::Records, &mut self.at);
            return Ok(());
        }
        let value = self.text.value()?;
        if self.text.value.len() as u64 > HEAD_BYTES_MAX {
            return Err(self.text.too_large());
        }
        if matches!(
            key.as_str(),
            "xml_schema" | "xml_namespace" | "report_metadata" | "policy_published"
        ) {
            self.head.insert(key, value);
        }
        Ok(())
    }

    pub(super) fn into_head(self) -> Result<Head, Error> {
        let metadata = &self.head.get("report_metadata").unwrap_or(&Value::Null);
        let policy = &self.head.get("policy_published").unwrap_or(&Value::Null);
        let of = |key| text(&metadata[key]);
        Ok(Head {
            xml_namespace: self.head.get("xml_namespace").and_then(text),
            version: self.head.get("xml_schema").and_then(text),
            org_name: of("org_name"),
            email: of("org_email"),
            extra_contact_info: of("org_extra_contact_info"),
            report_id: of("report_id"),
            begin: of("begin_date"),
            end: of("end_date"),
            span_secs: metadata["original_timespan_seconds"].as_i64(),
            errors: list(&metadata["errors"]).filter_map(text).collect(),
            generator: of("generator"),
            policy: POLICY.map(|name| (name, text(&policy[name]))).into(),
        })
    }
}

fn row(record: &Value) -> Row {
    let evaluated = &record["policy_evaluated"];
    let identifiers = &record["identifiers"];
    let results = &record["auth_results"];
    let second = |key| text(&record[key]).and_then(|text| time::seconds(&text));
    let reasons = list(&evaluated["policy_override_reasons"]);
    Row {
        source_ip: text(&record["source"]["ip_address"]),
        count: text(&record["count"]),
        disposition: text(&evaluated["disposition"]),
        dkim: text(&evaluated["dkim"]),
        spf: text(&evaluated["spf"]),
        reasons: reasons
            .map(|reason| ["type", "comment"].map(|key| text(&reason[key])))
            .collect(),
        header_from: text(&identifiers["header_from"]),
        envelope_from: text(&identifiers["envelope_from"]),
        envelope_to: text(&identifiers["envelope_to"]),
        dkim_results: list(&results["dkim"])
            .map(|dkim| {
                let [domain, selector, result, human_result] =
                    ["domain", "selector", "result", "human_result"].map(|key| text(&dkim[key]));
                // Made up where the report has none.
                let selector = selector.filter(|selector| selector != "none");
                [domain, selector, result, human_result]
            })
            .collect(),
        spf_results: list(&results["spf"])
            .map(|spf| ["domain", "scope", "result", "human_result"].map(|key| text(&spf[key])))
            .collect(),
        interval: second("interval_begin").zip(second("interval_end")),
        is_spread: record["normalized_timespan"] == true,
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// JSON, value by value.
struct Scanner {
    reader: BufReader<Box<dyn Read + Send>>,
    offset: u64,
    /// The text of the last value.
    value: Vec<u8>,
    value_bytes_max: u64,
}

impl Scanner {
    /// The next byte that is not blank, which is not consumed.
    fn peek(&mut self) -> Result<u8, Error> {
        loop {
            let bytes = fill(&mut self.reader, self.offset)?;
            let blanks = bytes
                .iter()
                .take_while(|byte| byte.is_ascii_whitespace())
                .count();
            let (found, is_empty) = (bytes.get(blanks).copied(), bytes.is_empty());
            self.advance(blanks);
            match found {
                Some(byte) => return Ok(byte),
                None if is_empty => return Err(self.truncated()),
                None => {}
            }
        }
    }

    fn consume(&mut self) {
        self.advance(1);
    }

    /// Consumes a byte, which leads to another place.
    fn skip(&mut self, to: At, at: &mut At) {
        self.advance(1);
        *at = to;
    }

    /// Reads one value.
    fn value(&mut self) -> Result<Value, Error> {
        self.peek()?;
        self.value.clear();
        let start = self.offset;
        let mut end = End::default();
        loop {
            let bytes = fill(&mut self.reader, self.offset)?;
            if bytes.is_empty() {
                return Err(self.truncated());
            }
            let place = bytes.iter().position(|byte| end.is_behind(*byte));
            let taken = place.unwrap_or(bytes.len());
            self.value.extend_from_slice(&bytes[..taken]);
            self.advance(taken);
            if self.value.len() as u64 > self.value_bytes_max {
                return Err(self.too_large());
            }
            if place.is_some() {
                break;
            }
        }
        serde_json::from_slice(&self.value)
            .map_err(|error| damaged(start, format!("the JSON is damaged: {error}")))
    }

    fn advance(&mut self, bytes: usize) {
        self.reader.consume(bytes);
        self.offset += bytes as u64;
    }

    fn unexpected(&self) -> Error {
        damaged(
            self.offset,
            "the JSON is damaged, or not what parsedmarc writes",
        )
    }

    fn truncated(&self) -> Error {
        Error::new(Code::Truncated, self.offset, "the JSON ends early")
    }

    fn too_large(&self) -> Error {
        Error::new(Code::TooLarge, self.offset, "a value is too long")
    }
}

fn fill(reader: &mut BufReader<Box<dyn Read + Send>>, offset: u64) -> Result<&[u8], Error> {
    reader
        .fill_buf()
        .map_err(|error| Error::from_io(error, offset))
}

/// Finds the end of a value.
#[derive(Default)]
struct End {
    depth: usize,
    is_in_string: bool,
    is_escaped: bool,
    is_complete: bool,
}

impl End {
    /// Takes the next byte; says whether it stands behind the value.
    fn is_behind(&mut self, byte: u8) -> bool {
        if self.is_complete {
            return true;
        }
        if self.is_in_string {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => {
                    self.is_in_string = false;
                    self.is_complete = self.depth == 0;
                }
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => self.is_in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' if self.depth == 0 => return true,
            b'}' | b']' => {
                self.depth -= 1;
                self.is_complete = self.depth == 0;
            }
            b',' => return self.depth == 0,
            _ => {}
        }
        false
    }
}
