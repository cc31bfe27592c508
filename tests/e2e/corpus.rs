//! Files of real reporters, where `RUAD_CORPUS` names a folder of them with a MANIFEST.tsv of what they hold.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    harness::{Database, Program, Service, skip},
    reports::Totals,
};

struct Row {
    path: String,
    kind: String,
    accept: bool,
    org_name: String,
    report_id: String,
    domain: String,
    records: u64,
    count_sum: u64,
    pass_sum: u64,
    /// Rows with the same identity share a group.
    group: Option<String>,
}

impl Row {
    fn is_stored(&self) -> bool {
        self.kind == "rua" && self.accept
    }
}

fn corpus() -> Option<(PathBuf, Vec<Row>)> {
    let Some(folder) = std::env::var_os("RUAD_CORPUS").map(PathBuf::from) else {
        skip("RUAD_CORPUS names no folder of report files");
        return None;
    };
    let manifest = std::fs::read_to_string(folder.join("MANIFEST.tsv")).unwrap();
    let rows: Vec<Row> = manifest.lines().skip(1).map(row).collect();
    assert!(!rows.is_empty());
    Some((folder, rows))
}

fn row(line: &str) -> Row {
    let columns: Vec<&str> = line.split('\t').collect();
    let [
        path,
        kind,
        _,
        expected,
        org_name,
        report_id,
        domain,
        records,
        count_sum,
        pass_sum,
        notes,
        ..,
    ] = columns[..]
    else {
        panic!("{line}");
    };
    let group = notes
        .split_once("same_identity_group=")
        .map(|(_, rest)| rest.split(' ').next().unwrap().into());
    Row {
        path: path.into(),
        kind: kind.into(),
        accept: expected == "accept",
        org_name: org_name.into(),
        report_id: report_id.into(),
        domain: domain.trim_end_matches('.').to_lowercase(),
        records: records.parse().unwrap_or_default(),
        count_sum: count_sum.parse().unwrap_or_default(),
        pass_sum: pass_sum.parse().unwrap_or_default(),
        group,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_of_the_corpus_is_read_as_its_manifest_says() {
    let Some((folder, rows)) = corpus() else {
        return;
    };
    let mut files: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    rows.iter()
        .for_each(|row| files.entry(&row.path).or_default().push(row));
    let program = Program::new(["show", "--format", "json", "--no-records"]);
    let shown = files
        .keys()
        .fold(program, |program, path| program.arg(folder.join(path)))
        .run()
        .await;
    assert_eq!(shown.code, Some(3), "{}", shown.stderr);
    let mut documents: HashMap<String, Vec<Value>> = HashMap::new();
    for document in shown.json().as_array().unwrap() {
        let name = document["file"].as_str().unwrap();
        // A message that begins as in an mbox is the first one of it.
        let name = name.strip_suffix("#1").unwrap_or(name);
        let file = Path::new(name)
            .strip_prefix(&folder)
            .unwrap()
            .to_str()
            .unwrap();
        documents
            .entry(file.into())
            .or_default()
            .push(document.clone());
    }

    let mut wrong = Vec::new();
    for (path, rows) in files {
        wrong.extend(mistakes(
            &rows,
            documents.get(path).map_or(&[][..], Vec::as_slice),
        ));
    }
    assert!(
        wrong.is_empty(),
        "{} mistakes:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// What a file was read as that its rows do not say.
fn mistakes(rows: &[&Row], documents: &[Value]) -> Vec<String> {
    let path = &rows[0].path;
    let reports: Vec<&Value> = documents
        .iter()
        .filter(|document| document["outcome"] == "report")
        .collect();
    let expected: Vec<&&Row> = rows.iter().filter(|row| row.is_stored()).collect();
    let mut wrong = Vec::new();
    if reports.len() != expected.len() || documents.is_empty() {
        wrong.push(format!(
            "{path}: {} reports, not {}: {documents:?}",
            reports.len(),
            expected.len()
        ));
        return wrong;
    }
    for row in &expected {
        let matches = |report: &&&Value| {
            report["org_name"] == row.org_name
                && report["report_id"] == row.report_id
                && report["domain"] == row.domain
                && report["record_count"] == row.records
                && report["message_count"] == row.count_sum
                && report["dmarc_pass_count"] == row.pass_sum
        };
        if !reports.iter().any(|report| matches(&report)) {
            wrong.push(format!(
                "{path}: {} of {} is not in {reports:?}",
                row.report_id, row.domain
            ));
        }
    }
    if rows.iter().any(|row| row.kind == "rua" && !row.accept)
        && !documents
            .iter()
            .any(|document| document["outcome"] == "rejected")
    {
        wrong.push(format!("{path}: rejected nothing"));
    }
    wrong
}

#[tokio::test(flavor = "multi_thread")]
async fn the_corpus_is_stored_once_and_nothing_else() {
    let Some((folder, mut rows)) = corpus() else {
        return;
    };
    // The order in which folders are walked.
    rows.sort_by(|one, other| Path::new(&one.path).cmp(Path::new(&other.path)));
    let mut seen = HashSet::new();
    let first: Vec<&Row> = rows
        .iter()
        .filter(|row| row.is_stored())
        .filter(|row| {
            row.group
                .as_ref()
                .is_none_or(|group| seen.insert(group.clone()))
        })
        .collect();
    let database = Database::fresh().await;

    let import = Program::new(["import", "--format", "json"])
        .arg(&folder)
        .on(&database);
    let ended = import.run().await;

    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    let reports = &ended.json()["reports"];
    let all = rows.iter().filter(|row| row.is_stored()).count();
    let again = reports["duplicate"].as_u64().unwrap() + reports["conflict"].as_u64().unwrap();
    assert_eq!(
        (&reports["stored"], again as usize),
        (&first.len().into(), all - first.len())
    );
    let service = Service::start_with(database, |_| {}).await;
    let mut stored: Vec<String> = service
        .list("/api/v1/reports?limit=1000")
        .await
        .iter()
        .map(describe)
        .collect();
    let mut expected: Vec<String> = first.iter().map(|row| row_describe(row)).collect();
    stored.sort_unstable();
    expected.sort_unstable();
    assert_eq!(stored, expected);
    assert_eq!(service.database.mismatches().await, []);
}

fn describe(report: &Value) -> String {
    let text = |name: &str| report[name].as_str().unwrap().to_owned();
    format!(
        "{} {} {} {} {} {}",
        text("domain"),
        text("org_name"),
        text("report_id"),
        report["record_count"],
        report["message_count"],
        report["dmarc_pass_count"]
    )
}

fn row_describe(row: &Row) -> String {
    let Row {
        domain,
        org_name,
        report_id,
        records,
        count_sum,
        pass_sum,
        ..
    } = row;
    format!("{domain} {org_name} {report_id} {records} {count_sum} {pass_sum}")
}

/// Runs the generator beside the corpus; `None` where it or Python is missing.
fn run_generator(folder: &Path) -> Option<Value> {
    let corpus = std::env::var_os("RUAD_CORPUS").map(PathBuf::from)?;
    let generator = corpus.join("../tools/gen_reports.py");
    let options = "--seed 7 --reports 300 --duplicates 0.1 --malformed 0.1 --quirks 0.3 --id-collisions 0.05 --container mix";
    let done = std::process::Command::new("python3")
        .arg(generator)
        .args(options.split(' '))
        .arg("--out")
        .arg(folder.join("files"))
        .arg("--truth")
        .arg(folder.join("truth.json"))
        .output()
        .ok()?;
    if !done.status.success() {
        skip(&format!(
            "the generator: {}",
            String::from_utf8_lossy(&done.stderr)
        ));
        return None;
    }
    Some(serde_json::from_slice(&std::fs::read(folder.join("truth.json")).unwrap()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_of_another_generator_come_to_its_truth() {
    let folder = tempfile::tempdir().unwrap();
    let Some(truth) = run_generator(folder.path()) else {
        skip("no generator beside the folder that RUAD_CORPUS names");
        return;
    };
    let database = Database::fresh().await;
    let import = Program::new(["import", "--format", "json"])
        .arg(folder.path().join("files"))
        .on(&database);
    let ended = import.run().await;
    assert!(matches!(ended.code, Some(0 | 3)), "{ended:?}");

    let service = Service::start_with(database, |_| {}).await;

    for (domain, sources) in truth["by_domain_source"].as_object().unwrap() {
        let expected: BTreeMap<_, _> = sources
            .as_object()
            .unwrap()
            .iter()
            .map(|(ip, row)| (ip.parse().unwrap(), totals_of(row)))
            .collect();
        let answered: BTreeMap<_, _> = service
            .sources(domain)
            .await
            .into_iter()
            .map(|(ip, source)| (ip, source.totals))
            .collect();
        assert_eq!(answered, expected, "{domain}");
        let reports = service
            .list(&format!("/api/v1/reports?domain={domain}"))
            .await;
        assert_eq!(
            reports.len() as u64,
            truth["reports_by_domain"][domain].as_u64().unwrap(),
            "{domain}"
        );
    }
    let broken = service
        .list("/api/v1/reports?domain=malformed.example")
        .await;
    assert!(
        broken.iter().all(|report| report["message_count"] == 0),
        "{broken:?}"
    );
    assert_eq!(service.database.mismatches().await, []);
}

/// A row of the truth: records, messages, dmarc_pass, dkim_pass, spf_pass, then none, pass, quarantine, reject.
fn totals_of(row: &Value) -> Totals {
    let column = |number: usize| row[number].as_u64().unwrap();
    let mut totals = Totals {
        message_count: column(1),
        dmarc_pass_count: column(2),
        dmarc_fail_count: column(1) - column(2),
        dkim_aligned_count: column(3),
        spf_aligned_count: column(4),
        ..Totals::default()
    };
    totals.disposition.none = column(5);
    totals.disposition.pass = column(6);
    totals.disposition.quarantine = column(7);
    totals.disposition.reject = column(8);
    totals
}
