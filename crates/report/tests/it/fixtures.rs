//! Every fixture: what is accepted against a snapshot, what is hostile against the code in its name.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::outcome::{Outcome, read_file};

pub(crate) fn fixtures(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures")
        .join(folder);
    let entries = fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

pub(crate) fn name_of(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

#[test]
fn reports() {
    check_snapshots("reports");
}

#[test]
fn messages() {
    check_snapshots("messages");
}

fn check_snapshots(folder: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    // The order of maps depends on features of serde_json that other crates switch on.
    settings.set_sort_maps(true);
    settings.bind(|| {
        for path in fixtures(folder) {
            let name = format!("{folder}__{}", name_of(&path));
            insta::assert_json_snapshot!(name, snapshot(&path));
        }
    });
}

#[test]
fn hostile_files_are_rejected_with_the_code_in_their_name() {
    for path in fixtures("hostile") {
        let (code, _) = name_of(&path).split_once("__").unwrap();
        let outcomes = read_file(&path);
        let words: Vec<_> = outcomes.iter().map(|(_, outcome)| outcome.word()).collect();
        assert!(words.contains(&code), "{}: {outcomes:?}", path.display());
        assert!(!words.contains(&"report"), "{}", path.display());
    }
}

fn snapshot(path: &Path) -> Vec<Value> {
    let documents = read_file(path).into_iter();
    let documents = documents.map(|(path, outcome)| {
        let detail = match &outcome {
            Outcome::Report(report) => {
                let (summary, records) = report.as_ref();
                json!({
                    "header": summary.header,
                    "record_count": summary.record_count,
                    "skipped_count": summary.skipped_count,
                    "message_count": summary.message_count,
                    "dmarc_pass_count": summary.dmarc_pass_count,
                    "warnings": summary.warnings,
                    "records": records,
                })
            }
            Outcome::Rejected(error) => json!({
                "detail": error.detail,
                "element": error.element,
                "offset": error.offset,
            }),
            Outcome::TlsReport | Outcome::FailureReport | Outcome::NoReport => Value::Null,
        };
        json!({ "path": path, "outcome": outcome.word(), "detail": detail })
    });
    documents.collect()
}
