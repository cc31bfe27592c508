//! A corpus of real report files, where there is one: a folder with a `MANIFEST.tsv` that says what each file holds.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use crate::outcome::{Outcome, read_file};

#[test]
fn every_file_of_the_corpus_is_what_its_manifest_says() {
    let Some(folder) = env::var_os("RUAD_CORPUS").map(PathBuf::from) else {
        println!("SKIPPED: RUAD_CORPUS names no folder");
        return;
    };
    let manifest = fs::read_to_string(folder.join("MANIFEST.tsv")).unwrap();
    let mut lines = manifest.lines();
    let columns: Vec<&str> = lines.next().unwrap().split('\t').collect();
    let mut files: BTreeMap<&str, Vec<Row>> = BTreeMap::new();
    for line in lines {
        let row: Row = columns.iter().copied().zip(line.split('\t')).collect();
        files.entry(row["path"]).or_default().push(row);
    }
    let wrong: Vec<String> = files
        .iter()
        .flat_map(|(path, rows)| differences(&folder.join(path), rows))
        .collect();
    println!("{} files, {} differences", files.len(), wrong.len());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

type Row<'a> = BTreeMap<&'a str, &'a str>;

fn differences(path: &Path, rows: &[Row<'_>]) -> Vec<String> {
    let outcomes = read_file(path);
    let mut expected: Vec<String> = rows.iter().map(expected).collect();
    expected.retain(|line| line != "reject");
    expected.sort();
    let mut found: Vec<String> = outcomes
        .iter()
        .filter_map(|(_, found)| line(found))
        .collect();
    found.sort();
    if found == expected {
        return Vec::new();
    }
    vec![format!(
        "{}\n  expected {expected:#?}\n  found {found:#?}\n  in {:?}",
        path.display(),
        outcomes
            .iter()
            .filter(|(_, outcome)| !matches!(outcome, Outcome::Report(_)))
            .collect::<Vec<_>>()
    )]
}

fn expected(row: &Row<'_>) -> String {
    match (row["expected"], row["kind"]) {
        ("reject", _) => "reject".to_owned(),
        (_, "rua") => [
            "org_name",
            "report_id",
            "domain",
            "records",
            "count_sum",
            "pass_sum",
            "begin",
            "end",
        ]
        .map(|column| row[column].to_owned())
        .join(" | "),
        (_, kind) => kind.to_owned(),
    }
}

/// `None` for what is not stored.
fn line(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Report(report) => {
            let (summary, _) = report.as_ref();
            let metadata = &summary.header.report_metadata;
            let policy = &summary.header.policy_published;
            let fields = [
                metadata.org_name.clone(),
                metadata.report_id.clone(),
                policy
                    .domain_as_reported
                    .as_ref()
                    .unwrap_or(&policy.domain)
                    .clone(),
                summary.record_count.to_string(),
                summary.message_count.to_string(),
                summary.dmarc_pass_count.to_string(),
                metadata.date_range.begin.to_string(),
                metadata.date_range.end.to_string(),
            ];
            Some(fields.join(" | "))
        }
        Outcome::TlsReport => Some("tlsrpt".to_owned()),
        Outcome::FailureReport => Some("ruf".to_owned()),
        Outcome::NoReport | Outcome::Rejected(_) => None,
    }
}
