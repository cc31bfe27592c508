//! What a delivery comes to, in one call.

use std::{fs::File, path::Path, sync::Arc};

use report::{Body, Content, Error, Limits, Parser, Record, Summary, Xml, unpack};

/// One document of a delivery, read to its end.
#[derive(Debug)]
pub(crate) enum Outcome {
    Report(Box<(Summary, Vec<Record>)>),
    TlsReport,
    FailureReport,
    NoReport,
    Rejected(Error),
}

impl Outcome {
    /// One word: the code of a rejection, or what else it is.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Report(_) => "report",
            Self::TlsReport => "tls_report",
            Self::FailureReport => "failure_report",
            Self::NoReport => "no_report",
            Self::Rejected(error) => error.code.as_str(),
        }
    }
}

pub(crate) fn read_file(path: &Path) -> Vec<(String, Outcome)> {
    let file = File::open(path).unwrap();
    read(&Body::File(Arc::new(file)), &Limits::default())
}

pub(crate) fn read_bytes(bytes: impl Into<Vec<u8>>) -> Vec<(String, Outcome)> {
    let body = Body::Memory(bytes.into().into());
    read(&body, &Limits::default())
}

pub(crate) fn read(body: &Body, limits: &Limits) -> Vec<(String, Outcome)> {
    let documents = unpack(body, limits).unwrap();
    assert!(!documents.is_empty(), "a delivery without a document");
    let outcomes = documents.into_iter().map(|document| {
        let outcome = match document.content {
            Content::Xml(xml) => read_report(&xml, limits),
            Content::TlsReport => Outcome::TlsReport,
            Content::FailureReport => Outcome::FailureReport,
            Content::NoReport => Outcome::NoReport,
            Content::Rejected(error) => Outcome::Rejected(error),
        };
        (document.path, outcome)
    });
    outcomes.collect()
}

fn read_report(xml: &Xml, limits: &Limits) -> Outcome {
    match parse(xml, limits) {
        Ok(report) => Outcome::Report(Box::new(report)),
        Err(error) => Outcome::Rejected(error),
    }
}

fn parse(xml: &Xml, limits: &Limits) -> Result<(Summary, Vec<Record>), Error> {
    let mut parser = Parser::open(xml, limits)?;
    let mut records = Vec::new();
    while parser.read_records(&mut records, 100)? {}
    let summary = parser.finish();
    let stored = summary.record_count - summary.skipped_count;
    assert_eq!(
        records.len() as u64,
        stored,
        "records seen = stored + skipped"
    );
    let messages: u64 = records.iter().map(|record| record.message_count).sum();
    assert_eq!(messages, summary.message_count);
    Ok((summary, records))
}
