//! `ruad show`: reads reports and prints them, without any database.

mod csv;
mod json;
mod text;

use anyhow::{Context as _, Result, anyhow, bail};
use ingest::Found;
use report::{Body, Content, Error, Limits, Parser, Record, Summary, Xml, unpack};

use crate::{
    Config,
    cli::{Format, ShowArgs},
    exit::{Exit, Misuse},
};

/// Records held at a time.
const CHUNK_RECORDS: usize = 1_000;

/// A document of a file, read once for its outcome. Its records are read again to be printed, so that a large report
/// needs no more memory than a small one and nothing is printed of a report that turns out to be broken.
struct Shown<'a> {
    file: &'a str,
    /// Where in the file it was found.
    path: &'a str,
    outcome: ShownOutcome<'a>,
}

enum ShownOutcome<'a> {
    Report(Box<Summary>, Records<'a>),
    Rejected(Error),
    NotAggregate {
        code: &'static str,
        detail: &'static str,
    },
}

/// The storable records of a report that is known to be good.
struct Records<'a> {
    xml: &'a Xml,
    limits: &'a Limits,
}

impl Records<'_> {
    fn for_each(&self, visit: &mut dyn FnMut(&Record) -> Result<()>) -> Result<()> {
        let mut parser = Parser::open(self.xml, self.limits)?;
        let mut records = Vec::new();
        loop {
            let more = parser.read_records(&mut records, CHUNK_RECORDS)?;
            for record in &records {
                visit(record)?;
            }
            if !more {
                return Ok(());
            }
            records.clear();
        }
    }
}

/// Something that prints documents.
trait Printer {
    fn document(&mut self, shown: &Shown<'_>) -> Result<()>;
    fn finish(self: Box<Self>) -> Result<()>;
}

/// Prints everything found in the files.
pub(crate) fn show(config: &Config, args: &ShowArgs) -> Result<Exit> {
    let mut printer: Box<dyn Printer> = match args.format {
        Format::Text => Box::new(text::Text::new(!args.no_records)),
        Format::Json => Box::new(json::Json::new(!args.no_records)),
        Format::Csv if args.no_records => {
            return Err(anyhow!(
                "CSV has a line for each record, so that nothing is left"
            ))
            .context(Misuse("--no-records"));
        }
        Format::Csv => Box::new(csv::Csv::new()?),
    };
    let mut rejected = false;
    let mut result = Ok(());
    ingest::find(&args.files, config.limits.message_bytes, &mut |found| {
        result = show_found(found, &config.limits, printer.as_mut(), &mut rejected);
        result.is_ok()
    });
    result?;
    printer.finish()?;
    Ok(if rejected { Exit::Rejected } else { Exit::Done })
}

fn show_found(
    found: Found,
    limits: &Limits,
    printer: &mut dyn Printer,
    rejected: &mut bool,
) -> Result<()> {
    let Found { name, body } = found;
    let body: Body = match body {
        Ok(body) => body,
        Err(error) => bail!("{name}: {error}"),
    };
    for document in unpack(&body, limits)? {
        let outcome = match &document.content {
            Content::Xml(xml) => match read(xml, limits) {
                Ok(summary) => ShownOutcome::Report(Box::new(summary), Records { xml, limits }),
                Err(error) if error.code == report::Code::Io => bail!("{name}: {error}"),
                Err(error) => ShownOutcome::Rejected(error),
            },
            Content::TlsReport => ShownOutcome::NotAggregate {
                code: "tls_report",
                detail: "an SMTP TLS report (RFC 8460)",
            },
            Content::FailureReport => ShownOutcome::NotAggregate {
                code: "failure_report",
                detail: "a failure report (RFC 6591)",
            },
            Content::NoReport => ShownOutcome::NotAggregate {
                code: "no_report",
                detail: "no report found",
            },
            Content::Rejected(error) => ShownOutcome::Rejected(Error {
                code: error.code,
                detail: error.detail.clone(),
                element: error.element.clone(),
                offset: error.offset,
            }),
        };
        *rejected |= matches!(outcome, ShownOutcome::Rejected(_));
        printer.document(&Shown {
            file: &name,
            path: &document.path,
            outcome,
        })?;
    }
    Ok(())
}

fn read(xml: &Xml, limits: &Limits) -> Result<Summary, Error> {
    let mut parser = Parser::open(xml, limits)?;
    let mut records = Vec::new();
    while parser.read_records(&mut records, CHUNK_RECORDS)? {
        records.clear();
    }
    Ok(parser.finish())
}
