//! What operators build on: metrics and their alert rules, completions, manual pages.

use std::{collections::BTreeSet, fs, path::Path};

use hyper::Method;

use crate::{
    harness::{Program, Service},
    reports::Report,
};

async fn metrics(service: &Service) -> String {
    let answer = service.request(Method::GET, "/metrics").await;
    String::from_utf8(answer.body.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_outcomes_commits_and_what_waits() {
    let service = Service::start().await;
    let report = Report::new("example.com", "1")
        .passing("192.0.2.1", 5)
        .xml();
    service.store(report.clone()).await;
    service.upload(report).await;
    service.upload("<feedback>").await;

    let text = metrics(&service).await;

    for line in [
        "ruad_documents_total{outcome=\"stored\",code=\"\"} 1\n",
        "ruad_documents_total{outcome=\"duplicate\",code=\"\"} 1\n",
        "ruad_documents_total{outcome=\"rejected\",code=\"truncated\"} 1\n",
        "ruad_commit_duration_seconds_bucket{le=\"+Inf\"} 3\n",
        "ruad_commit_duration_seconds_count 3\n",
        "ruad_http_request_duration_seconds_count{route=\"/api/v1/reports\"} 3\n",
        "ruad_database_connections_max 16\n",
        "ruad_waiting_deliveries 0\n",
        "ruad_rollup_backlog 1\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alert_rules_ask_for_metrics_that_exist() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/prometheus");
    let rules = fs::read_to_string(folder.join("ruad.rules.yml")).unwrap();
    let words = rules.split(|char: char| !(char.is_ascii_alphanumeric() || char == '_'));
    let asked: BTreeSet<&str> = words.filter(|word| word.starts_with("ruad_")).collect();
    assert!(asked.len() >= 10, "{asked:?}");

    let text = metrics(&Service::start().await).await;

    for name in asked {
        let name = name.strip_suffix("_bucket").unwrap_or(name);
        assert!(text.contains(&format!("# TYPE {name} ")), "{name}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_and_manual_pages_know_the_commands() {
    for (shell, sign) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef ruad"),
        ("fish", "complete -c ruad"),
    ] {
        // No configuration is needed, not even a valid one.
        let program = Program::new(["completions", shell]).env("RUAD_CONFIG", "/nowhere");
        let text = program.run().await.succeeded().stdout;
        assert!(
            text.contains(sign) && text.contains("healthcheck"),
            "{shell}: {text}"
        );
    }
    let page = Program::new(["man"]).run().await.succeeded().stdout;
    assert!(page.contains(".TH ruad 1"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    Program::new(["man", "--out"])
        .arg(folder.path())
        .run()
        .await
        .succeeded();
    assert!(folder.path().join("ruad-import.1").exists());
}
