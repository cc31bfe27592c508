//! Gzip'd XML and mails to typed records on one core, against mail-auth.

use std::{fs, hint::black_box, io::Read as _, path::Path, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use bytes::Bytes;
use flate2::read::GzDecoder;
use mail_auth::report::Report;
use report::{Body, Content, Limits, Parser, Record, unpack};
use rustix::time::{ClockId, clock_gettime};

use crate::{
    Setting,
    input::Container,
    results::{Section, median, ratio, thousands},
};

/// Rounds at least: they are short.
const ROUNDS_MIN: usize = 7;
/// Records that ruad holds at a time, as when it imports.
const CHUNK_RECORDS: usize = 1_000;

/// What a pass over all files found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) record_count: u64,
    pub(crate) message_count: u64,
}

pub(crate) fn measure(setting: &Setting) -> Result<Section> {
    let small = setting.inputs.reports(2_000, Container::Gz)?;
    let mails = setting.inputs.reports(2_000, Container::Eml)?;
    let large = setting.inputs.huge(200_000)?;
    let rounds = setting.runs.max(ROUNDS_MIN);
    let small_bytes = xml_bytes(&read(&small.path)?)?;
    let large_bytes = xml_bytes(&read(&large.path)?)?;
    let mut rows = Vec::new();
    for (what, input, container, xml_bytes) in [
        ("2,000 small files", &small, Container::Gz, small_bytes),
        // The same reports once more.
        ("2,000 small mails", &mails, Container::Eml, small_bytes),
        ("one file", &large, Container::Gz, large_bytes),
    ] {
        let reports = Reports {
            files: read(&input.path)?,
            container,
            expected: Found {
                record_count: input.record_count,
                message_count: input.message_count,
            },
            xml_bytes,
        };
        rows.extend(compare(what, &reports, rounds)?);
    }
    Ok(Section {
        title: "Parser: gzip'd XML and mails to typed records".into(),
        text: format!(
            "One thread, files already in memory, {rounds} rounds in turns, processor time of the thread. mail-auth 0.13.3 \
             gets the XML inflated by the same flate2 into a buffer that is used again, then `Report::parse_xml`, and \
             mails by `Report::parse_rfc5322`; ruad goes the way of every delivery, `report::unpack` and \
             `report::Parser`, with its limits, warnings and SHA-256."
        ),
        head: ["input", "program", "records/s", "XML MB/s", "ratio"]
            .map(Into::into)
            .into(),
        rows,
    })
}

/// What both programs read.
struct Reports {
    files: Vec<Bytes>,
    container: Container,
    expected: Found,
    xml_bytes: u64,
}

fn compare(what: &str, reports: &Reports, rounds: usize) -> Result<[Vec<String>; 2]> {
    let expected = reports.expected;
    let limits = Limits::default();
    let (mut ruad, mut mail_auth) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        for turn in 0..2 {
            // Whoever goes first changes from round to round.
            let is_ruad = (round + turn) % 2 == 0;
            let started = thread_time();
            let found = if is_ruad {
                with_ruad(&reports.files, &limits)?
            } else {
                with_mail_auth(&reports.files, reports.container)?
            };
            let seconds = (thread_time() - started).as_secs_f64();
            ensure!(
                found == expected,
                "{what}: {found:?} instead of {expected:?}"
            );
            if is_ruad {
                ruad.push(seconds);
            } else {
                mail_auth.push(seconds);
            }
        }
    }
    let (ruad, mail_auth) = (median(&ruad), median(&mail_auth));
    let row = |program: &str, seconds: f64| {
        vec![
            format!(
                "{what}, {} records, {} MB of XML",
                thousands(expected.record_count as f64),
                reports.xml_bytes / 1_000_000
            ),
            program.to_owned(),
            thousands(expected.record_count as f64 / seconds),
            thousands(reports.xml_bytes as f64 / 1e6 / seconds),
            ratio(mail_auth / seconds),
        ]
    };
    Ok([row("ruad", ruad), row("mail-auth", mail_auth)])
}

pub(crate) fn read(path: &Path) -> Result<Vec<Bytes>> {
    if path.is_file() {
        return Ok(vec![fs::read(path)?.into()]);
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(path)? {
        paths.push(entry?.path());
    }
    paths.sort();
    paths
        .iter()
        .map(|path| Ok(fs::read(path)?.into()))
        .collect()
}

fn xml_bytes(files: &[Bytes]) -> Result<u64> {
    let mut bytes = 0;
    for file in files {
        bytes += std::io::copy(&mut GzDecoder::new(&file[..]), &mut std::io::sink())?;
    }
    Ok(bytes)
}

/// Reads all reports with ruad's parser.
pub(crate) fn with_ruad(files: &[Bytes], limits: &Limits) -> Result<Found> {
    let mut found = Found::default();
    let mut records: Vec<Record> = Vec::new();
    for file in files {
        for document in unpack(&Body::Memory(file.clone()), limits)? {
            let Content::Xml(xml) = document.content else {
                bail!("{}: {:?}", document.path, document.content);
            };
            let mut parser = Parser::open(&xml, limits)?;
            let mut is_more = true;
            while is_more {
                records.clear();
                is_more = parser.read_records(&mut records, CHUNK_RECORDS)?;
                found.record_count += black_box(&records).len() as u64;
            }
            found.message_count += black_box(parser.finish()).message_count;
        }
    }
    Ok(found)
}

fn with_mail_auth(files: &[Bytes], container: Container) -> Result<Found> {
    /// Of a decompressed report, as much as ruad takes.
    const BYTES_MAX: usize = 4 << 30;
    let mut found = Found::default();
    let mut xml = Vec::new();
    for file in files {
        let report = match container {
            Container::Gz => {
                xml.clear();
                GzDecoder::new(&file[..]).read_to_end(&mut xml)?;
                Report::parse_xml(&xml).map_err(anyhow::Error::msg)
            }
            Container::Eml => {
                Report::parse_rfc5322(file, BYTES_MAX).map_err(|error| anyhow!("{error:?}"))
            }
        };
        let report = black_box(report.context("mail-auth")?);
        found.record_count += report.records().len() as u64;
        found.message_count += report
            .records()
            .iter()
            .map(|record| u64::from(record.count()))
            .sum::<u64>();
    }
    Ok(found)
}

/// The processor time of this thread: what a core of its own would have taken, whatever else the machine does.
pub(crate) fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}
