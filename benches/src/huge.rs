//! Large reports: memory must not grow with them.

use anyhow::{Result, ensure};

use crate::{
    Setting,
    import::{DATABASE, check, ruad_import},
    postgres::Server,
    process,
    results::{Runs, Section, thousands},
};

const SHOWN_RECORDS: u64 = 200_000;

pub(crate) fn measure(setting: &Setting, server: &Server) -> Result<Section> {
    let imported = setting.inputs.huge(setting.sizes.huge_records)?;
    let shown = setting.inputs.huge(SHOWN_RECORDS)?;
    let (mut import, mut show) = (Runs::default(), Runs::default());
    for _ in 0..setting.runs {
        server.fresh_database(DATABASE)?;
        let (finished, summary) = ruad_import(setting, server, DATABASE, &imported.path)?;
        check(&summary, &imported, "stored")?;
        import.add(&finished);

        let mut command = process::ruad(&setting.ruad);
        let finished = process::measure(command.args(["show", "--no-records"]).arg(&shown.path))?;
        let is_whole = finished.output.contains(&shown.record_count.to_string());
        ensure!(is_whole, "not all records were seen: {}", finished.output);
        show.add(&finished);
    }
    let row = |program: &str, record_count: u64, runs: &Runs, targets: [&str; 2]| {
        vec![
            program.to_owned(),
            thousands(record_count as f64),
            thousands(record_count as f64 / runs.median_seconds()),
            targets[0].into(),
            runs.peak(),
            targets[1].into(),
        ]
    };
    let (imported, shown) = (imported.record_count, shown.record_count);
    Ok(Section {
        title: "One large report".into(),
        text: "A gzip file of one report, whole process; `show` uses no database. The peak is the highest of all runs."
            .into(),
        head: [
            "program",
            "records",
            "records/s",
            "target",
            "peak MiB",
            "target",
        ]
        .map(Into::into)
        .into(),
        rows: vec![
            row("ruad import", imported, &import, ["100,000", "64"]),
            row("ruad show --no-records", shown, &show, ["", ""]),
        ],
    })
}
