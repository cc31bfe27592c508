//! Mails in memory: the way to the documents in them, as a part of the way to typed records.

use std::hint::black_box;

use anyhow::{Result, ensure};
use bytes::Bytes;
use report::{Body, Content, Limits, unpack};

use crate::{
    Setting,
    input::Container,
    parser::{self, Found, thread_time},
    results::{Section, median, thousands},
};

/// Rounds at least: they are short.
const ROUNDS_MIN: usize = 7;
const MAILS: u64 = 2_000;

/// What is measured, in turns.
const STEPS: [&str; 2] = ["mail to documents", "mail to records"];

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
                _ => parser::with_ruad(&mails, &limits)?,
            };
            seconds[step].push((thread_time() - started).as_secs_f64());
            ensure!(found == expected, "{}: {found:?}", STEPS[step]);
        }
    }
    let seconds = seconds.map(|seconds| median(&seconds));
    let whole = seconds[1];
    let row = |(step, seconds): (&str, f64)| {
        vec![
            step.to_owned(),
            thousands(input.report_count as f64 / seconds),
            thousands(input.record_count as f64 / seconds),
            thousands(mail_bytes as f64 / 1e6 / seconds),
            format!("{:.0} %", 100.0 * seconds / whole),
        ]
    };
    Ok(Section {
        title: "Unpack: mails in memory".into(),
        text: format!(
            "{} mails, {} records, one thread, {rounds} rounds in turns, processor time of the thread. Documents are \
             found and checked by `report::unpack`, and inflated only when they are parsed.",
            thousands(input.report_count as f64),
            thousands(input.record_count as f64)
        ),
        head: ["step", "mails/s", "records/s", "mail MB/s", "of the time"]
            .map(Into::into)
            .into(),
        rows: STEPS.into_iter().zip(seconds).map(row).collect(),
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
