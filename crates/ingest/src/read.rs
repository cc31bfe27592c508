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

/// They are few, but may be large: a report that takes more is streamed as well.
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

/// Whoever waits for the steps has gone away, or our own failure.
enum Stop {
    Unheard,
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
    match read_documents(delivery, rules, steps) {
        Ok(()) => {}
        Err(Stop::Failed(error)) => _ = steps.blocking_send(Step::Failed(error)),
        Err(Stop::Unheard) => {
            tracing::debug!(delivery.id = %delivery_id, "nobody waits for the delivery any more");
        }
    }
}

fn read_documents(delivery: Delivery, rules: &Rules, steps: &Sender<Step>) -> Result<(), Stop> {
    let (size_bytes, sha256) = measure(&delivery.body)?;
    let mut reader = Reader {
        delivery: for_ledger(delivery, size_bytes, Some(sha256)),
        rules,
        steps,
        documents: Vec::new(),
        held: 0,
        held_bytes: 0,
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
    reader.hand_on(None)
}

/// The reading of one delivery.
struct Reader<'a> {
    delivery: store::Delivery,
    rules: &'a Rules,
    steps: &'a Sender<Step>,
    /// Documents not handed on yet.
    documents: Vec<Pending>,
    /// Records that are held of this delivery, handed on or not.
    held: usize,
    /// What they take.
    held_bytes: usize,
    /// Whether the head of a large report was handed on and its end was not.
    is_streaming: bool,
}

/// What a record takes in memory, about.
fn size_bytes(record: &Record) -> usize {
    let text = |text: Option<&str>| text.map_or(0, str::len);
    let dkim = record.dkim.iter().map(|dkim| {
        size_of_val(dkim)
            + text(dkim.domain.as_deref())
            + text(dkim.selector.as_deref())
            + text(dkim.human_result.as_deref())
    });
    let spf = record.spf.iter().map(|spf| {
        size_of_val(spf) + text(spf.domain.as_deref()) + text(spf.human_result.as_deref())
    });
    let reasons = record.reasons.iter().map(|reason| {
        size_of_val(reason) + text(reason.kind.as_deref()) + text(reason.comment.as_deref())
    });
    let odd_values = record
        .odd_values
        .iter()
        .map(|odd| size_of_val(odd) + odd.text.len());
    size_of_val(record)
        + dkim
            .chain(spf)
            .chain(reasons)
            .chain(odd_values)
            .sum::<usize>()
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
        let room = HELD_RECORDS_MAX.saturating_sub(self.held);
        loop {
            // One more than there is room for tells a report that just fits from a larger one.
            let wanted = room.saturating_sub(records.len()).max(1);
            let known = records.len();
            let more = parser.read_records(&mut records, wanted);
            bytes += records[known..].iter().map(size_bytes).sum::<usize>();
            match more {
                Ok(true) if records.len() > room || self.held_bytes + bytes > HELD_BYTES_MAX => {
                    return self.stream(path, parser, records);
                }
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return self.reject_error(path, error, Some(parser.header())),
            }
        }
        self.held += records.len();
        self.held_bytes += bytes;
        self.documents.push(Pending::Report {
            path: path.into(),
            summary: Box::new(parser.finish()),
            records,
        });
        Ok(())
    }

    fn stream(&mut self, path: &str, mut parser: Parser, first: Vec<Record>) -> Result<(), Stop> {
        self.hand_on(Some(LargeHead {
            path: path.into(),
            header: parser.header().clone(),
        }))?;
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
        self.documents.push(Pending::Settled(row));
    }

    fn hand_on(&mut self, large: Option<LargeHead>) -> Result<(), Stop> {
        let documents = Documents {
            delivery: self.delivery.clone(),
            documents: std::mem::take(&mut self.documents),
            large,
        };
        self.send(Step::Documents(Box::new(documents)))
    }

    fn send(&self, step: Step) -> Result<(), Stop> {
        self.steps.blocking_send(step).map_err(|_| Stop::Unheard)
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
