//! `ruad show`.

use insta::assert_snapshot;

use crate::{
    harness::{Ended, Program},
    reports::{Report, Schema, gzip, mail, zip},
};

fn report(number: u64) -> Report {
    Report::new("example.com", &number.to_string()).passing("192.0.2.1", number)
}

/// Puts files into a folder and names their paths without it, so that snapshots are the same everywhere.
async fn show(arguments: &[&str], files: &[(&str, &[u8])]) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let paths = files.iter().map(|(name, _)| folder.path().join(name));
    let program = paths.fold(Program::new(["show"]), Program::arg);
    let mut ended = arguments.iter().fold(program, Program::arg).run().await;
    let prefix = format!("{}/", folder.path().display());
    ended.stdout = ended.stdout.replace(&prefix, "");
    ended.stderr = ended.stderr.replace(&prefix, "");
    ended
}

fn two_reports() -> Vec<(&'static str, Vec<u8>)> {
    let first = report(7).failing("2001:db8::7", 3);
    let mut second = Report::new("example.org", "<a@b>").passing("192.0.2.1", 1);
    second.schema = Schema::Rfc9990;
    let odd = String::from_utf8(second.xml())
        .unwrap()
        .replace("<dkim>pass</dkim>", "<dkim>perhaps</dkim>");
    vec![
        ("first.xml", first.xml()),
        ("second.eml", mail(&gzip(odd.as_bytes()))),
        ("broken.xml", b"<feedback><report_metadata>".to_vec()),
        (
            "tls.json",
            br#"{"organization-name":"a","date-range":{},"report-id":"1","policies":[]}"#.to_vec(),
        ),
    ]
}

async fn show_two_reports(arguments: &[&str]) -> Ended {
    let files = two_reports();
    let files: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, bytes)| (*name, bytes.as_slice()))
        .collect();
    let ended = show(arguments, &files).await;
    assert_eq!(ended.code, Some(3), "{ended:?}");
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn show_prints_text() {
    assert_snapshot!(show_two_reports(&[]).await.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn show_prints_json() {
    let ended = show_two_reports(&["--format", "json"]).await;
    insta::assert_json_snapshot!(ended.json());
}

#[tokio::test(flavor = "multi_thread")]
async fn show_prints_csv_and_names_the_rest_on_standard_error() {
    let ended = show_two_reports(&["--format", "csv"]).await;
    assert_snapshot!(format!("{}---\n{}", ended.stdout, ended.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn show_leaves_records_out_when_asked() {
    let ended = show_two_reports(&["--format", "json", "--no-records"]).await;
    let json = ended.json();
    assert_eq!(json.as_array().unwrap().len(), 4);
    assert_eq!(json[0]["message_count"], 10);
    assert!(
        json.as_array()
            .unwrap()
            .iter()
            .all(|document| document.get("records").is_none()),
        "{json}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn show_needs_no_database_and_reads_standard_input() {
    let ended = Program::new(["show", "--format", "json", "-"])
        .env("DATABASE_URL", "postgres://nobody@localhost:1/nowhere")
        .input(zip(&[
            ("a.xml", &report(1).xml()),
            ("b.xml", &report(2).xml()),
        ]))
        .run()
        .await
        .succeeded();
    let json = ended.json();
    assert_eq!(
        (&json[0]["report_id"], &json[1]["report_id"]),
        (&"1".into(), &"2".into())
    );
}
