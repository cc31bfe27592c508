//! Reads a delivery on a blocking thread and tells, step by step, what is in it.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    panic::{AssertUnwindSafe, catch_unwind},
};

use report::{Body, Code, Content, Header, Limits, Parser, Record, Summary, Xml, unpack};
use sha2::{Digest as _, Sha256};
use store::{Outcome, OutcomeRow, Pending};
use tokio::sync::mpsc::Sender;

use crate::Delivery;

/// Reports with more records than this, or in deliveries with more before them, are streamed into the database.
const HELD_RECORDS_MAX: usize = 5_000;

/// Records of a streamed report that are handed on at a time.
const CHUNK_RECORDS: usize = 5_000;

/// What reading a delivery comes to, in this order: `Begun`, then documents, each either `Document` or `Large`,
/// `Records`..., `LargeEnd`; then `Complete`. `Failed` may come at any time and is the last.
pub(crate) enum Step {
    /// The bytes were read once: this is the delivery for the ledger.
    Begun(Box<store::Delivery>),
    /// A document that is held whole.
    Document(Pending),
    /// A report that is streamed.
    Large { path: String, header: Box<Header> },
    /// Its next records.
    Records(Vec<Record>),
    /// Its totals, or why it is rejected after all.
    LargeEnd(Result<Box<Summary>, report::Error>),
    /// Everything was read.
    Complete,
    /// The bytes could not be read.
    Failed(io::Error),
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
pub(crate) fn read(delivery: Delivery, limits: &Limits, steps: &Sender<Step>) {
    let delivery_id = delivery.delivery_id;
    match read_documents(delivery, limits, steps) {
        Ok(()) => _ = steps.blocking_send(Step::Complete),
        Err(Stop::Failed(error)) => _ = steps.blocking_send(Step::Failed(error)),
        Err(Stop::Unheard) => {
            tracing::debug!(delivery.id = %delivery_id, "nobody waits for the delivery any more")
        }
    }
}

fn read_documents(delivery: Delivery, limits: &Limits, steps: &Sender<Step>) -> Result<(), Stop> {
    let (size_bytes, sha256) = measure(&delivery.body)?;
    let body = delivery.body.clone();
    send(
        steps,
        Step::Begun(Box::new(store::Delivery {
            delivery_id: delivery.delivery_id,
            origin: delivery.origin,
            name: delivery.name.map(printable),
            received_at: delivery.received_at,
            size_bytes,
            sha256,
            body: delivery.body,
        })),
    )?;
    let documents = match catch_unwind(AssertUnwindSafe(|| unpack(&body, limits))) {
        Ok(Ok(documents)) => documents,
        Ok(Err(error)) => return Err(Stop::Failed(io::Error::other(error))),
        Err(_) => {
            return send(
                steps,
                Step::Document(Pending::Settled(defect(String::new()))),
            );
        }
    };
    let mut held = 0;
    for document in documents {
        let path = printable(document.path);
        let settled = match document.content {
            Content::Xml(xml) => {
                let read = catch_unwind(AssertUnwindSafe(|| {
                    read_report(&path, &xml, limits, &mut held, steps)
                }));
                match read {
                    Ok(read) => {
                        read?;
                        continue;
                    }
                    Err(_) => defect(path),
                }
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
        send(steps, Step::Document(Pending::Settled(settled)))?;
    }
    Ok(())
}

fn read_report(
    path: &str,
    xml: &Xml,
    limits: &Limits,
    held: &mut usize,
    steps: &Sender<Step>,
) -> Result<(), Stop> {
    let mut parser = match Parser::open(xml, limits) {
        Ok(parser) => parser,
        Err(error) => return reject(path, error, None, steps),
    };
    let mut records = Vec::new();
    let room = HELD_RECORDS_MAX.saturating_sub(*held);
    loop {
        // One more than there is room for tells a report that just fits from a larger one.
        let wanted = room.saturating_sub(records.len()).max(1);
        match parser.read_records(&mut records, wanted) {
            Ok(true) if records.len() > room => {
                return stream_report(path, parser, records, steps);
            }
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => return reject(path, error, Some(parser.header()), steps),
        }
    }
    *held += records.len();
    let summary = Box::new(parser.finish());
    let document = Pending::Report {
        path: path.into(),
        summary,
        records,
    };
    send(steps, Step::Document(document))
}

fn stream_report(
    path: &str,
    mut parser: Parser,
    first: Vec<Record>,
    steps: &Sender<Step>,
) -> Result<(), Stop> {
    let header = Box::new(parser.header().clone());
    send(
        steps,
        Step::Large {
            path: path.into(),
            header,
        },
    )?;
    send(steps, Step::Records(first))?;
    loop {
        let mut records = Vec::with_capacity(CHUNK_RECORDS);
        match parser.read_records(&mut records, CHUNK_RECORDS) {
            Ok(true) => send(steps, Step::Records(records))?,
            Ok(false) => {
                send(steps, Step::Records(records))?;
                return send(steps, Step::LargeEnd(Ok(Box::new(parser.finish()))));
            }
            Err(error) if error.code == Code::Io => {
                return Err(Stop::Failed(io::Error::other(error)));
            }
            Err(error) => return send(steps, Step::LargeEnd(Err(error))),
        }
    }
}

fn reject(
    path: &str,
    error: report::Error,
    header: Option<&Header>,
    steps: &Sender<Step>,
) -> Result<(), Stop> {
    if error.code == Code::Io {
        return Err(Stop::Failed(io::Error::other(error)));
    }
    let row = OutcomeRow::rejected(path.into(), &error, header);
    send(steps, Step::Document(Pending::Settled(row)))
}

fn other(path: String, code: &str, detail: &str) -> OutcomeRow {
    OutcomeRow::without_report(path, Outcome::NotAggregate, code, Some(detail.into()))
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

fn send(steps: &Sender<Step>, step: Step) -> Result<(), Stop> {
    steps.blocking_send(step).map_err(|_| Stop::Unheard)
}

/// Size and SHA-256 of the bytes as delivered.
fn measure(body: &Body) -> io::Result<(u64, [u8; 32])> {
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
fn printable(name: String) -> String {
    if name.contains(char::is_control) {
        name.replace(char::is_control, "\u{fffd}")
    } else {
        name
    }
}
