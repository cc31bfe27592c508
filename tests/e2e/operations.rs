//! What operators build on: metrics and their alert rules, completions, manual pages.

use std::{collections::BTreeSet, fs, path::Path};

use hyper::Method;
use server::Secret;
use sqlx::{Connection as _, PgConnection};

use crate::{
    harness::{Cluster, Database, Program, Service, eventually},
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
        "ruad_http_request_duration_seconds_count{route=\"/api/v1/reports\",method=\"POST\"} 3\n",
        "ruad_database_connections_max{work=\"read\"} 6\n",
        "ruad_database_connections_max{work=\"write\"} 10\n",
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

    // Nothing listens there.
    let mailbox = server::mailbox::Config {
        host: "127.0.0.1".into(),
        port: 1,
        user: "dmarc".into(),
        password: Secret::from("hush"),
        ..Default::default()
    };
    let service = Service::start_with(Database::fresh().await, |config| {
        config.mailboxes.insert("dmarc".into(), mailbox);
    })
    .await;
    let looked_into = "update mailboxes set backlog = 3, last_poll_at = now() where name = 'dmarc'";
    eventually("the mailbox is known", async || {
        service.database.execute(looked_into).await == 1
    })
    .await;
    let of_the_past = "insert into mailboxes (name, state, backlog, last_poll_at) values ('gone', 'stopped', 1, now())";
    service.database.execute(of_the_past).await;
    let text = metrics(&service).await;

    for name in asked {
        let is_sample = |line: &str| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
        };
        assert!(text.lines().any(is_sample), "{name}: {text}");
    }
    for line in [
        "ruad_documents_total{outcome=\"stored\",code=\"\"} 0\n",
        "ruad_documents_total{outcome=\"conflict\",code=\"\"} 0\n",
        "ruad_documents_total{outcome=\"rejected\",code=\"not_a_report\"} 0\n",
        "ruad_uploads_refused_total{code=\"unavailable\"} 0\n",
        "ruad_http_requests_total{route=\"/api/v1/domains\",method=\"GET\",status=\"5xx\"} 0\n",
        "ruad_mailbox_up{mailbox=\"dmarc\"} 0\n",
        "ruad_mailbox_backlog{mailbox=\"dmarc\"} 3\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    assert!(!text.contains("gone"), "{text}");
}

/// What `/readyz` says is missing.
async fn missing(service: &Service) -> Option<String> {
    let answer = service.request(Method::GET, "/readyz").await;
    let json = answer.json();
    let missing = json["missing"].as_str().map(str::to_owned);
    assert_eq!(answer.status == 200, missing.is_none(), "{answer:?}");
    missing
}

/// Waits until `/readyz` says so: it may repeat itself for a second.
async fn lacks(service: &Service, expected: &str) {
    eventually(expected, async || {
        missing(service)
            .await
            .is_some_and(|missing| missing.contains(expected))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_says_what_is_missing() {
    let mut cluster = Cluster::start().await;
    let service = Service::start_with(cluster.database(), |_| {}).await;
    let database = &service.database;
    assert_eq!(missing(&service).await, None);

    let mut other = PgConnection::connect(&database.url).await.unwrap();
    let lock = "begin; lock table _sqlx_migrations in access exclusive mode";
    sqlx::raw_sql(lock).execute(&mut other).await.unwrap();
    lacks(&service, "busy").await;
    other.close().await.unwrap();
    service.becomes_ready().await;

    let newest = "version = (select max(version) from _sqlx_migrations)";
    let older = format!("update _sqlx_migrations set success = false where {newest}");
    database.execute(&older).await;
    lacks(&service, "older schema").await;
    let none = "alter table _sqlx_migrations rename to gone";
    database.execute(none).await;
    lacks(&service, "no schema").await;

    cluster.stop().await;
    lacks(&service, "cannot be reached").await;
    service.stop().await;
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
