//! Reads a delivery on a blocking thread and tells, step by step, what is in it.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use report::{Body, Code, Content, Header, Limits, Parser, Record, Summary, Xml, unpack};
use sha2::{Digest as _, Sha256};
use store::{DomainList, Outcome, OutcomeRow, Pending};
use tokio::sync::mpsc::Sender;

use crate::{AllowedDomains, Delivery};

/// Reports with more records than this, or in deliveries with more before them, are streamed into the database.
const HELD_RECORDS_MAX: usize = 5_000;

/// They are few, but may be large: a report that takes more, with those before it, is streamed as well.
const HELD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Records of a streamed report that are handed on at a time.
const CHUNK_RECORDS: usize = 5_000;

/// What reading a delivery comes to: `Documents`, and if these end with a large report, its `Records`..., its
/// `LargeEnd`, and `Documents` again. `Failed` may come at any time and is the last.
pub(crate) enum Step {
    /// The documents up to the next large report, or to the end of the delivery.
    Documents(Box<Documents>),
    /// The next records of the large report.
    Records(Vec<Record>),
    /// Its totals, or why it is rejected after all.
    LargeEnd(Result<Box<Summary>, Box<OutcomeRow>>),
    /// The bytes could not be read.
    Failed(io::Error),
}

/// Documents that are held whole. Most deliveries are nothing else: they cost one message between threads.
pub(crate) struct Documents {
    /// The delivery as it goes into the ledger.
    pub(crate) delivery: store::Delivery,
    /// In order.
    pub(crate) documents: Vec<Pending>,
    /// The report behind them that is streamed; without it, the delivery ends here.
    pub(crate) large: Option<LargeHead>,
    /// What is held at its end, other deliveries that are read together included.
    held: Held,
}

/// What waits in memory: records, and what they and their reports take there.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    records: usize,
    bytes: usize,
}

impl Held {
    fn is_full(self) -> bool {
        self.records > HELD_RECORDS_MAX || self.bytes > HELD_BYTES_MAX
    }
}

/// What is known of a large report before its records.
pub(crate) struct LargeHead {
    pub(crate) path: String,
    pub(crate) header: Header,
}

/// What holds for every delivery.
pub(crate) struct Rules {
    pub(crate) limits: Arc<Limits>,
    pub(crate) domains: Arc<AllowedDomains>,
    pub(crate) restriction: Option<Arc<DomainList>>,
}

/// Why reading a delivery ends before its end.
enum Stop {
    /// Whoever waits for the steps has gone away.
    Unheard,
    /// There is a large report, and nobody to stream it to.
    Large,
    /// Our own failure.
    Failed(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Reads a delivery to its end.
pub(crate) fn read(delivery: Delivery, rules: &Rules, steps: &Sender<Step>) {
    let delivery_id = delivery.delivery_id;
    let last = match read_documents(delivery, rules, Some(steps), Held::default()) {
        Ok(documents) => Step::Documents(Box::new(documents)),
        Err(Stop::Failed(error)) => Step::Failed(error),
        Err(Stop::Unheard | Stop::Large) => {
            tracing::debug!(delivery.id = %delivery_id, "nobody waits for the delivery any more");
            return;
        }
    };
    _ = steps.blocking_send(last);
}

/// Reads small deliveries one after the other. `None` for one that has to be read by itself, because its reports are not
/// small after all, or those before it are as much as may be held.
pub(crate) fn read_together(
    deliveries: Vec<Delivery>,
    rules: &Rules,
) -> Vec<Option<io::Result<Documents>>> {
    let mut held = Held::default();
    let mut read = |delivery| {
        if held.is_full() {
            return None;
        }
        match read_documents(delivery, rules, None, held) {
            Ok(documents) => {
                held = documents.held;
                Some(Ok(documents))
            }
            Err(Stop::Failed(error)) => Some(Err(error)),
            Err(Stop::Unheard | Stop::Large) => None,
        }
    };
    deliveries.into_iter().map(&mut read).collect()
}

fn read_documents(
    delivery: Delivery,
    rules: &Rules,
    steps: Option<&Sender<Step>>,
    held: Held,
) -> Result<Documents, Stop> {
    let (size_bytes, sha256) = measure(&delivery.body)?;
    let mut reader = Reader {
        delivery: for_ledger(delivery, size_bytes, Some(sha256)),
        rules,
        steps,
        documents: Vec::new(),
        held,
        is_streaming: false,
    };
    match catch_unwind(AssertUnwindSafe(|| {
        unpack(&reader.delivery.body, &rules.limits)
    })) {
        Ok(Ok(documents)) => {
            for document in documents {
                reader.document(printable(document.path), document.content)?;
            }
        }
        Ok(Err(error)) => return Err(Stop::Failed(io::Error::other(error))),
        Err(_) => reader.settle(defect(String::new())),
    }
    Ok(reader.take(None))
}

/// The reading of one delivery.
struct Reader<'a> {
    delivery: store::Delivery,
    rules: &'a Rules,
    /// Who streams large reports.
    steps: Option<&'a Sender<Step>>,
    /// Documents not handed on yet.
    documents: Vec<Pending>,
    /// What is held of this delivery and those before it, handed on or not.
    held: Held,
    /// Whether the head of a large report was handed on and its end was not.
    is_streaming: bool,
}

impl Reader<'_> {
    fn document(&mut self, path: String, content: Content) -> Result<(), Stop> {
        let row = match content {
            Content::Xml(xml) => {
                return match catch_unwind(AssertUnwindSafe(|| self.report(&path, &xml))) {
                    Ok(read) => read,
                    Err(_) => self.reject(defect(path)),
                };
            }
            Content::TlsReport => other(
                path,
                "tls_report",
                "an SMTP TLS report (RFC 8460): not processed",
            ),
            Content::FailureReport => other(
                path,
                "failure_report",
                "a failure report (RFC 6591): not processed",
            ),
            Content::NoReport => other(path, "no_report", "no report found"),
            Content::Rejected(error) => OutcomeRow::rejected(path, &error, None),
        };
        self.settle(row);
        Ok(())
    }

    fn report(&mut self, path: &str, xml: &Xml) -> Result<(), Stop> {
        let mut parser = match Parser::open(xml, &self.rules.limits) {
            Ok(parser) => parser,
            Err(error) => return self.reject_error(path, error, None),
        };
        let domain = &parser.header().policy_published.domain;
        if !self.rules.domains.allows(domain) {
            let allowed = "the configured domains";
            return self.reject(domain_not_allowed(path.into(), parser.header(), allowed));
        }
        let restriction = self.rules.restriction.as_ref();
        if restriction.is_some_and(|restriction| !restriction.holds(domain)) {
            let allowed = "the domains of the token";
            return self.reject(domain_not_allowed(path.into(), parser.header(), allowed));
        }
        let mut records = Vec::new();
        let mut bytes = 0;
        let room = HELD_RECORDS_MAX.saturating_sub(self.held.records);
        loop {
            // One more than there is room for tells a report that just fits from a larger one.
            let wanted = room.saturating_sub(records.len()).max(1);
            let known = records.len();
            let more = parser.read_records(&mut records, wanted);
            bytes += records[known..]
                .iter()
                .map(Record::size_bytes)
                .sum::<usize>();
            match more {
                Ok(true) if records.len() > room || self.held.bytes + bytes > HELD_BYTES_MAX => {
                    return self.stream(path, parser, records);
                }
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return self.reject_error(path, error, Some(parser.header())),
            }
        }
        let summary = Box::new(parser.finish());
        self.held.records += records.len();
        self.held.bytes += bytes + summary.size_bytes();
        self.documents.push(Pending::Report {
            path: path.into(),
            summary,
            records,
        });
        Ok(())
    }

    fn stream(&mut self, path: &str, mut parser: Parser, first: Vec<Record>) -> Result<(), Stop> {
        let documents = self.take(Some(LargeHead {
            path: path.into(),
            header: parser.header().clone(),
        }));
        self.send(Step::Documents(Box::new(documents)))?;
        self.is_streaming = true;
        self.send(Step::Records(first))?;
        loop {
            let mut records = Vec::with_capacity(CHUNK_RECORDS);
            match parser.read_records(&mut records, CHUNK_RECORDS) {
                Ok(true) => self.send(Step::Records(records))?,
                Ok(false) => {
                    self.send(Step::Records(records))?;
                    self.is_streaming = false;
                    return self.send(Step::LargeEnd(Ok(Box::new(parser.finish()))));
                }
                Err(error) => return self.reject_error(path, error, Some(parser.header())),
            }
        }
    }

    fn reject_error(
        &mut self,
        path: &str,
        error: report::Error,
        header: Option<&Header>,
    ) -> Result<(), Stop> {
        if error.code == Code::Io {
            return Err(Stop::Failed(io::Error::other(error)));
        }
        self.reject(OutcomeRow::rejected(path.into(), &error, header))
    }

    /// Rejects the report at hand, which may be half streamed.
    fn reject(&mut self, row: OutcomeRow) -> Result<(), Stop> {
        if std::mem::take(&mut self.is_streaming) {
            return self.send(Step::LargeEnd(Err(Box::new(row))));
        }
        self.settle(row);
        Ok(())
    }

    fn settle(&mut self, row: OutcomeRow) {
        self.held.bytes += row.size_bytes();
        self.documents.push(Pending::Settled(row));
    }

    fn take(&mut self, large: Option<LargeHead>) -> Documents {
        Documents {
            delivery: self.delivery.clone(),
            documents: std::mem::take(&mut self.documents),
            large,
            held: self.held,
        }
    }

    fn send(&self, step: Step) -> Result<(), Stop> {
        let steps = self.steps.ok_or(Stop::Large)?;
        steps.blocking_send(step).map_err(|_| Stop::Unheard)
    }
}

fn other(path: String, code: &str, detail: &str) -> OutcomeRow {
    OutcomeRow::without_report(path, Outcome::NotAggregate, code, Some(detail.into()))
}

fn domain_not_allowed(path: String, header: &Header, allowed: &str) -> OutcomeRow {
    let detail = format!(
        "{} is not among {allowed}, nor below one of them",
        header.policy_published.domain
    );
    let row =
        OutcomeRow::without_report(path, Outcome::Rejected, "domain_not_allowed", Some(detail));
    row.with_header(header)
}

/// A defect of ours must not keep the deliveries behind it waiting: the bytes are kept, and the log tells.
fn defect(path: String) -> OutcomeRow {
    tracing::error!(
        path,
        "reading a document panicked; please report this with the document"
    );
    let detail =
        "a defect in ruad; the document is kept and can be tried again with another version";
    OutcomeRow::without_report(path, Outcome::Rejected, "internal", Some(detail.into()))
}

/// A delivery as it goes into the ledger.
pub(crate) fn for_ledger(
    delivery: Delivery,
    size_bytes: u64,
    sha256: Option<[u8; 32]>,
) -> store::Delivery {
    store::Delivery {
        delivery_id: delivery.delivery_id,
        origin: delivery.origin,
        name: delivery.name.map(printable),
        received_at: delivery.received_at,
        size_bytes,
        sha256,
        body: delivery.body,
        authenticity: delivery.authenticity,
    }
}

/// Size and SHA-256 of the bytes as delivered.
pub(crate) fn measure(body: &Body) -> io::Result<(u64, [u8; 32])> {
    match body {
        Body::Memory(bytes) => Ok((bytes.len() as u64, Sha256::digest(bytes).into())),
        Body::File(file) => measure_file(file),
    }
}

fn measure_file(file: &File) -> io::Result<(u64, [u8; 32])> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 32 * 1024];
    let mut offset = 0;
    loop {
        let length = match file.read_at(&mut buffer, offset) {
            Ok(0) => return Ok((offset, hash.finalize().into())),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hash.update(&buffer[..length]);
        offset += length as u64;
    }
}

/// Names come from outside: control characters in them, NUL above all, go no further.
pub(crate) fn printable(name: String) -> String {
    if name.contains(char::is_control) {
        name.replace(char::is_control, "\u{fffd}")
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;
    use uuid::Uuid;

    use super::*;

    /// A report with this many records, each with so many long comments.
    fn wordy(record_count: usize, comment_count: usize) -> Delivery {
        let comment = "x".repeat(2_000);
        let reasons = format!("<reason><type>other</type><comment>{comment}</comment></reason>")
            .repeat(comment_count);
        let record = format!(
            "<record><row><source_ip>192.0.2.1</source_ip><count>1</count><policy_evaluated>\
             <disposition>none</disposition><dkim>pass</dkim><spf>pass</spf>\
             {reasons}</policy_evaluated></row>\
             <identifiers><header_from>example.com</header_from></identifiers><auth_results/></record>"
        );
        let xml = format!(
            "<feedback><report_metadata><org_name>reporter.example</org_name><email>dmarc@reporter.example</email>\
             <report_id>1</report_id><date_range><begin>1700000000</begin><end>1700086399</end></date_range>\
             </report_metadata><policy_published><domain>example.com</domain><p>none</p></policy_published>{}</feedback>",
            record.repeat(record_count)
        );
        Delivery {
            delivery_id: Uuid::nil(),
            origin: "file".into(),
            name: None,
            received_at: OffsetDateTime::UNIX_EPOCH,
            body: Body::Memory(xml.into()),
            authenticity: None,
        }
    }

    /// Which of these are read together, by the number of their records.
    fn together(deliveries: Vec<Delivery>) -> Vec<Option<usize>> {
        let rules = Rules {
            limits: Arc::new(Limits::default()),
            domains: Arc::new(AllowedDomains::default()),
            restriction: None,
        };
        let record_count = |documents: Documents| match &documents.documents[..] {
            [document] => document.record_count(),
            documents => panic!("{documents:?}"),
        };
        read_together(deliveries, &rules)
            .into_iter()
            .map(|read| read.map(|read| record_count(read.unwrap())))
            .collect()
    }

    #[test]
    fn no_more_is_read_together_than_may_be_held() {
        let many = || wordy(HELD_RECORDS_MAX / 2, 0);
        assert_eq!(
            together(vec![many(), many(), many(), many()]),
            [Some(2_500), Some(2_500), None, None]
        );
        let long = || wordy(100, 45);
        assert_eq!(
            together(vec![long(), long(), long(), long()]),
            [Some(100), None, None, None]
        );
        assert_eq!(
            together(vec![wordy(HELD_RECORDS_MAX + 2, 0), wordy(1, 0)]),
            [None, Some(1)],
            "a large one is left out, those behind it are not"
        );
    }
}
