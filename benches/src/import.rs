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

/// What everything took, run by run.
#[derive(Default)]
struct Taken {
    import: Runs,
    again: Runs,
    parsedmarc: Runs,
    own_seconds: Vec<f64>,
    copy_seconds: Vec<f64>,
    rows_seconds: Vec<f64>,
    /// Of the whole database, for each record.
    bytes: f64,
}

pub(crate) fn measure(setting: &Setting, server: &Server) -> Result<[Section; 2]> {
    let input = setting
        .inputs
        .reports(setting.sizes.mails, Container::Eml)?;
    let parsedmarc = if setting.skip_parsedmarc {
        None
    } else {
        Some(Parsedmarc::prepare(setting, server, &input)?)
    };
    let mut taken = Taken::default();
    let mut dump = None;
    for _ in 0..setting.runs {
        server.fresh_database(DATABASE)?;
        let (finished, summary) = ruad_import(setting, server, DATABASE, &input.path)?;
        check(&summary, &input, "stored")?;
        taken.import.add(&finished);
        taken.own_seconds.push(own_seconds(&summary)?);

        server.rest()?;
        let (finished, summary) = ruad_import(setting, server, DATABASE, &input.path)?;
        check(&summary, &input, "duplicate")?;
        taken.again.add(&finished);

        let dump = match &dump {
            Some(dump) => dump,
            None => {
                taken.bytes = bytes(server, DATABASE)? / input.record_count as f64;
                dump.insert(Dump::take(setting, server, DATABASE)?)
            }
        };
        taken.copy_seconds.push(dump.load(server, DATABASE)?);
        taken.rows_seconds.push(dump.load_rows(server, DATABASE)?);

        if let Some(parsedmarc) = &parsedmarc {
            taken.parsedmarc.add(&parsedmarc.run(server)?);
        }
    }
    Ok([
        first_time(setting, &input, parsedmarc.as_ref(), &taken),
        second_time(&input, &taken.again),
    ])
}

fn first_time(
    setting: &Setting,
    input: &Input,
    parsedmarc: Option<&Parsedmarc>,
    taken: &Taken,
) -> Section {
    let records = input.record_count as f64;
    let rate = records / taken.import.median_seconds();
    let row = |program: &str, their_rate: f64, target: &str, peak: &str| {
        vec![
            program.to_owned(),
            thousands(their_rate),
            ratio(rate / their_rate),
            target.into(),
            peak.into(),
        ]
    };
    let cores = setting.cores;
    let copy = format!("COPY of the same rows, {cores} x psql");
    let rows_copy = format!("COPY of a row for each record, {cores} x psql");
    let by_itself = "ruad import, by its own clock";
    let mut rows = vec![
        row(
            "ruad import, whole process",
            rate,
            "100,000 records/s",
            &taken.import.peak(),
        ),
        row(by_itself, records / median(&taken.own_seconds), "", ""),
        row(&copy, records / median(&taken.copy_seconds), "0.6", ""),
        row(&rows_copy, records / median(&taken.rows_seconds), "", ""),
    ];
    let mut text = format!(
        "{} mails with {} records into an empty database; a run begins after a checkpoint. ruad makes its schema first, \
         as part of the run. COPY loads what ruad wrote (blocks of records, reports, rollup, ledger; binary, indexes in \
         place) from prepared files, as a limit; the other COPY loads the view `records` row by row into a table without \
         indexes. After the import, with the ledger of the second one, the database takes {:.0} bytes a record.",
        thousands(input.report_count as f64),
        thousands(records),
        taken.bytes
    );
    if let Some(parsedmarc) = parsedmarc {
        let seconds = taken.parsedmarc.median_seconds() - parsedmarc.start_seconds;
        let their_rate = parsedmarc.record_count as f64 / seconds;
        let peak = taken.parsedmarc.peak();
        rows.push(row(&parsedmarc.name(), their_rate, "150", &peak));
        text.push_str(&parsedmarc.explanation());
    }
    Section {
        title: "Import: mails to a database".into(),
        text,
        head: [
            "program",
            "records/s",
            "ruad is ... times as fast",
            "target",
            "peak MiB",
        ]
        .map(Into::into)
        .into(),
        rows,
    }
}

fn second_time(input: &Input, again: &Runs) -> Section {
    Section {
        title: "Duplicates: the same mails once more".into(),
        text: "Each mail is read, parsed and recorded in the ledger as a duplicate; whole process."
            .into(),
        head: ["program", "reports/s", "records/s", "peak MiB"]
            .map(Into::into)
            .into(),
        rows: vec![vec![
            "ruad import".into(),
            thousands(input.report_count as f64 / again.median_seconds()),
            thousands(input.record_count as f64 / again.median_seconds()),
            again.peak(),
        ]],
    }
}

/// What a database takes on disk.
fn bytes(server: &Server, database: &str) -> Result<f64> {
    let statement = "select sum(pg_total_relation_size(oid)) from pg_class \
        where relnamespace = 'public'::regnamespace and relkind = 'r'";
    server
        .query(database, statement)?
        .parse()
        .context("the size of a database")
}

/// Runs `ruad import` and reads its summary.
pub(crate) fn ruad_import(
    setting: &Setting,
    server: &Server,
    database: &str,
    path: &Path,
) -> Result<(Finished, Value)> {
    let mut command = process::ruad(&setting.ruad);
    command.env("DATABASE_URL", server.url(database));
    command.args(["import", "--format", "json"]).arg(path);
    let finished = process::measure(&mut command)?;
    let summary = serde_json::from_str(&finished.output).context("the summary of ruad import")?;
    Ok((finished, summary))
}

/// What `ruad import` says that it took, without its start.
pub(crate) fn own_seconds(summary: &Value) -> Result<f64> {
    summary["seconds"]
        .as_f64()
        .context("seconds of the summary")
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
