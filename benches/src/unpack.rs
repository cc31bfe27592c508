//! Mails in memory: the way to the documents in them alone, and on to typed records, against mail-auth.

use std::hint::black_box;

use anyhow::{Result, anyhow, ensure};
use bytes::Bytes;
use report::{Body, Content, Limits, unpack};

use crate::{
    Setting,
    input::Container,
    parser::{self, Found, thread_time},
    results::{Section, median, ratio, thousands},
};

/// Rounds at least: they are short.
const ROUNDS_MIN: usize = 7;
const MAILS: u64 = 2_000;
/// What mail-auth unpacks of a mail at most.
const REPORT_BYTES_MAX: usize = 1 << 30;

/// What is measured, in turns.
const STEPS: [&str; 3] = [
    "ruad, mail to documents",
    "ruad, mail to records",
    "mail-auth, mail to records",
];

pub(crate) fn measure(setting: &Setting) -> Result<Section> {
    let input = setting.inputs.reports(MAILS, Container::Eml)?;
    let mails = parser::read(&input.path)?;
    let mail_bytes: usize = mails.iter().map(Bytes::len).sum();
    let rounds = setting.runs.max(ROUNDS_MIN);
    let limits = Limits::default();
    let expected = Found {
        record_count: input.record_count,
        message_count: input.message_count,
    };
    let mut seconds = STEPS.map(|_| Vec::with_capacity(rounds));
    for round in 0..rounds {
        for turn in 0..STEPS.len() {
            let step = (round + turn) % STEPS.len();
            let started = thread_time();
            let found = match step {
                0 => {
                    to_documents(&mails, &limits)?;
                    expected
                }
                1 => parser::with_ruad(&mails, &limits)?,
                _ => with_mail_auth(&mails)?,
            };
            seconds[step].push((thread_time() - started).as_secs_f64());
            ensure!(found == expected, "{}: {found:?}", STEPS[step]);
        }
    }
    let seconds = seconds.map(|seconds| median(&seconds));
    let row = |(step, seconds): (&str, f64)| {
        vec![
            step.to_owned(),
            thousands(input.report_count as f64 / seconds),
            thousands(input.record_count as f64 / seconds),
            thousands(mail_bytes as f64 / 1e6 / seconds),
        ]
    };
    let mut rows: Vec<Vec<String>> = STEPS.into_iter().zip(seconds).map(row).collect();
    for (row, ratio) in
        rows.iter_mut()
            .zip([String::new(), ratio(seconds[2] / seconds[1]), ratio(1.0)])
    {
        row.push(ratio);
    }
    Ok(Section {
        title: "Unpack: mails in memory".into(),
        text: format!(
            "{} mails, {} records, one thread, {rounds} rounds in turns, processor time of the thread. Documents are \
             found and checked by `report::unpack`, and inflated only when they are parsed. mail-auth goes by \
             `Report::parse_rfc5322`.",
            thousands(input.report_count as f64),
            thousands(input.record_count as f64)
        ),
        head: ["step", "mails/s", "records/s", "mail MB/s", "ratio"]
            .map(Into::into)
            .into(),
        rows,
    })
}

fn to_documents(mails: &[Bytes], limits: &Limits) -> Result<()> {
    let mut document_count = 0;
    for mail in mails {
        let documents = unpack(&Body::Memory(mail.clone()), limits)?;
        document_count += black_box(documents)
            .iter()
            .filter(|document| matches!(document.content, Content::Xml(_)))
            .count();
    }
    ensure!(document_count == mails.len(), "{document_count} documents");
    Ok(())
}

fn with_mail_auth(mails: &[Bytes]) -> Result<Found> {
    let mut found = Found::default();
    for mail in mails {
        let report = mail_auth::report::Report::parse_rfc5322(mail, REPORT_BYTES_MAX);
        let report = black_box(report.map_err(|error| anyhow!("mail-auth: {error:?}"))?);
        found.record_count += report.records().len() as u64;
        let counts = report.records().iter().map(|record| record.count());
        found.message_count += counts.map(u64::from).sum::<u64>();
    }
    Ok(found)
}
