//! Reports out of parsedmarc's output: counted right, and counted once when their XML comes as well.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::harness::{Database, Program, Service};

const FORMS: [&str; 2] = ["aggregate.json", "aggregate.csv"];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/parsedmarc")
}

/// The folders with the output of each version.
fn versions() -> Vec<PathBuf> {
    let folders = fs::read_dir(fixtures())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = folders
        .filter(|path| path.join(FORMS[0]).exists())
        .collect();
    folders.sort();
    assert!(folders.len() >= 8, "{folders:?}");
    folders
}

/// The XML of the reports that a version took.
fn originals(version: &Path) -> Vec<PathBuf> {
    let is_refused = |path: &Path| version.ends_with("8.19.1") && path.ends_with("3-week.xml");
    let paths = fs::read_dir(fixtures().join("reports")).unwrap();
    let paths = paths.map(|entry| entry.unwrap().path());
    paths.filter(|path| !is_refused(path)).collect()
}

async fn import(database: &Database, paths: &[PathBuf]) -> Value {
    let program = paths.iter().fold(
        Program::new(["import", "--format", "json"]).on(database),
        |program, path| program.arg(path),
    );
    let ended = program.run().await;
    assert!(matches!(ended.code, Some(0 | 3)), "{ended:?}");
    ended.json()
}

#[track_caller]
fn assert_reports(imported: &Value, stored: usize, duplicate: usize) {
    let reports = &imported["reports"];
    assert_eq!(reports["stored"], stored, "{imported}");
    assert_eq!(reports["duplicate"], duplicate, "{imported}");
    for other in ["conflict", "rejected", "skipped_not_aggregate"] {
        assert_eq!(reports[other], 0, "{imported}");
    }
}

/// Empties the tables that imports fill.
async fn forget(database: &Database) {
    let tables = "reports, record_blocks, peer_reports, source_day_arrivals, source_day_blocks, source_blocks, deliveries";
    database
        .execute(&format!("truncate {tables} cascade"))
        .await;
}

/// What is counted, without what a time zone or an early version may change: the days, and `pass` kept as `none`.
async fn counted(database: &Database) -> String {
    let sums = "select string_agg(sums::text, ' ' order by sums::text) from (
        select d.name, host(source_ip), header_from, replace(disposition, 'pass', 'none'), dkim_aligned, spf_aligned,
            sum(message_count)
        from source_days join domains d using (domain_id)
        group by 1, 2, 3, 4, 5, 6
    ) sums";
    database.value(sums).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_counts_as_its_reports_do_and_once() {
    let database = Database::fresh().await;
    for version in versions() {
        let xml = originals(&version);
        let [json, csv] = FORMS.map(|form| vec![version.join(form)]);
        forget(&database).await;
        assert_reports(&import(&database, &xml).await, xml.len(), 0);
        let expected = counted(&database).await;
        assert_reports(&import(&database, &csv).await, 0, xml.len());
        assert_reports(&import(&database, &json).await, 0, xml.len());
        for first in [&json, &csv] {
            forget(&database).await;
            assert_reports(&import(&database, first).await, xml.len(), 0);
            assert_eq!(counted(&database).await, expected, "{first:?}");
            assert_reports(&import(&database, &xml).await, 0, xml.len());
        }
        // All at once: they are in the hands of several writers at a time.
        forget(&database).await;
        let all = [json, xml.clone(), csv].concat();
        assert_reports(&import(&database, &all).await, xml.len(), 2 * xml.len());
        assert_eq!(counted(&database).await, expected, "{}", version.display());
        assert_eq!(database.mismatches().await, []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_origin_is_told_by_the_warnings() {
    let database = Database::fresh().await;
    import(&database, &[fixtures().join("8.19.1/aggregate.csv")]).await;
    let service = Service::start_with(database, |_| {}).await;

    let reports = service.list("/api/v1/reports").await;

    for report in reports {
        let warnings = report["warnings"].as_array().unwrap();
        let codes: Vec<&str> = warnings
            .iter()
            .map(|warning| warning["code"].as_str().unwrap())
            .collect();
        assert!(codes.contains(&"from_parsedmarc"), "{report}");
        assert!(codes.contains(&"period_unsure"), "{report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_shapes_of_the_json_are_read() {
    let list = fs::read_to_string(fixtures().join("11.1.0/aggregate.json")).unwrap();
    let reports: Vec<Value> = serde_json::from_str(&list).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let lines: String = reports.iter().map(|report| format!("{report}\n")).collect();
    let (first, rest) = reports.split_at(1);
    let json = |list: &[Value]| serde_json::to_string(list).unwrap();
    for (name, text) in [
        ("lines", lines.clone()),
        ("two lists", format!("{},\n{}", json(first), json(rest))),
        (
            "printed",
            format!("{{\"aggregate_reports\": {list}, \"failure_reports\": [{{\"a\": []}}]}}"),
        ),
        ("marked", format!("\u{feff}{list}")),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        let database = Database::fresh().await;
        assert_reports(&import(&database, &[path]).await, reports.len(), 0);
    }
    let service = Service::start().await;
    service
        .store(lines.lines().next().unwrap().to_owned())
        .await;
    assert_eq!(
        service.upload(list).await.json()["reports"][0]["code"],
        "not_a_report"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_history_is_kept_and_does_not_stop_the_rest() {
    let json = fs::read_to_string(fixtures().join("11.1.0/aggregate.json")).unwrap();
    let csv = fs::read_to_string(fixtures().join("11.1.0/aggregate.csv")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let broken = [
        ("cut.json", json[..json.len() - 400].to_owned()),
        ("bad-count.csv", csv.replacen(",25,", ",many,", 1)),
        (
            "other-columns.csv",
            csv.replacen("1.0,google.com", "1.0,x,y,z,google.com", 1),
        ),
    ];
    let paths = broken.map(|(name, text)| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    });

    let expected = [(3, 1), (4, 0), (4, 1)];
    for (path, (stored, rejected)) in paths.iter().zip(expected) {
        let database = Database::fresh().await;
        let imported = import(&database, std::slice::from_ref(path)).await;
        let reports = &imported["reports"];
        assert_eq!(
            (&reports["stored"], &reports["rejected"]),
            (&stored.into(), &rejected.into()),
            "{imported}"
        );
        let kept: i64 = database.value("select count(*) from quarantine").await;
        assert_eq!(kept, 1, "{}", path.display());
    }
}
