//! Mails into a database: `ruad import` against COPY of the same rows and against parsedmarc.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    Setting,
    copy::Dump,
    input::{Container, Input},
    parsedmarc::Parsedmarc,
    postgres::Server,
    process::{self, Finished},
    results::{Runs, Section, median, ratio, thousands},
};

pub(crate) const DATABASE: &str = "ruad";

pub(crate) fn measure(setting: &Setting, server: &Server) -> Result<[Section; 2]> {
    let input = setting.inputs.reports(2_000, Container::Eml)?;
    let parsedmarc = if setting.skip_parsedmarc {
        None
    } else {
        Some(Parsedmarc::prepare(setting, server, &input)?)
    };

    let (mut import, mut again, mut theirs) = (Runs::default(), Runs::default(), Runs::default());
    let (mut own_seconds, mut copy_seconds) = (Vec::new(), Vec::new());
    let mut dump = None;
    for _ in 0..setting.runs {
        server.fresh_database(DATABASE)?;
        let (finished, summary) = ruad_import(setting, server, &input.path)?;
        check(&summary, &input, "stored")?;
        import.add(&finished);
        own_seconds.push(
            summary["seconds"]
                .as_f64()
                .context("seconds of the summary")?,
        );

        server.rest()?;
        let (finished, summary) = ruad_import(setting, server, &input.path)?;
        check(&summary, &input, "duplicate")?;
        again.add(&finished);

        let dump = match &dump {
            Some(dump) => dump,
            None => dump.insert(Dump::take(setting, server, DATABASE)?),
        };
        copy_seconds.push(dump.load(server, DATABASE)?);

        if let Some(parsedmarc) = &parsedmarc {
            theirs.add(&parsedmarc.run(server)?);
        }
    }

    let records = input.record_count as f64;
    let rate = records / import.median_seconds();
    let mut rows = vec![
        row("ruad import, whole process", rate, rate, &import.peak()),
        row(
            "ruad import, by its own clock",
            records / median(&own_seconds),
            rate,
            "",
        ),
        row(
            &format!("COPY of the same rows, {} x psql", setting.cores),
            records / median(&copy_seconds),
            rate,
            "",
        ),
    ];
    let mut text = format!(
        "{} mails with {} records into an empty database; a run begins after a checkpoint. ruad makes its schema first, \
         as part of the run. COPY loads what ruad wrote (records, reports, rollup, ledger; binary, indexes in place) \
         from prepared files, as a limit.",
        thousands(input.report_count as f64),
        thousands(records)
    );
    if let Some(parsedmarc) = &parsedmarc {
        let seconds = theirs.median_seconds() - parsedmarc.start_seconds;
        let theirs_rate = parsedmarc.record_count as f64 / seconds;
        rows.push(row(&parsedmarc.name(), theirs_rate, rate, &theirs.peak()));
        text.push_str(&parsedmarc.explanation());
    }
    let rate = input.report_count as f64 / again.median_seconds();
    Ok([
        Section {
            title: "Import: mails to a database",
            text,
            head: &["program", "records/s", "ruad is ... times as fast", "peak MiB"],
            rows,
        },
        Section {
            title: "Duplicates: the same mails once more",
            text: "Each mail is read, parsed and recorded in the ledger as a duplicate; whole process.".into(),
            head: &["program", "reports/s", "records/s", "peak MiB"],
            rows: vec![vec![
                "ruad import".into(),
                thousands(rate),
                thousands(records / again.median_seconds()),
                again.peak(),
            ]],
        },
    ])
}

/// Runs `ruad import` and reads its summary.
pub(crate) fn ruad_import(
    setting: &Setting,
    server: &Server,
    path: &Path,
) -> Result<(Finished, Value)> {
    let mut command = process::ruad(&setting.ruad);
    command.env("DATABASE_URL", server.url(DATABASE));
    command.args(["import", "--format", "json"]).arg(path);
    let finished = process::measure(&mut command)?;
    let summary = serde_json::from_str(&finished.output).context("the summary of ruad import")?;
    Ok((finished, summary))
}

/// Fast and wrong would be no result: every report must have the outcome, and all of its records be stored.
pub(crate) fn check(summary: &Value, input: &Input, outcome: &str) -> Result<()> {
    let is_stored = outcome == "stored";
    let expected = |count: u64| Some(if is_stored { count } else { 0 });
    ensure!(
        summary["reports"][outcome].as_u64() == Some(input.report_count)
            && summary["records"].as_u64() == expected(input.record_count)
            && summary["messages"].as_u64() == expected(input.message_count),
        "not every report is {outcome}: {summary}"
    );
    Ok(())
}

fn row(program: &str, rate: f64, ruad_rate: f64, peak: &str) -> Vec<String> {
    vec![
        program.into(),
        thousands(rate),
        ratio(ruad_rate / rate),
        peak.into(),
    ]
}
