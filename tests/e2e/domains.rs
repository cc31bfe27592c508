//! The list of policy domains whose reports are stored: anybody may send reports for any other.

use hyper::Method;
use serde_json::{Value, json};

use crate::{
    harness::{Database, Program, Response, Service},
    reports::{Report, gzip, mail_with, zip},
};

fn report(domain: &str, id: &str) -> Report {
    Report::new(domain, id).passing("192.0.2.1", 5)
}

/// A service that stores reports for these domains only.
async fn service_for(database: Database, domains: &[&str]) -> Service {
    let domains: Vec<String> = domains.iter().map(|&domain| domain.into()).collect();
    Service::start_with(database, |config| config.domains = domains.into()).await
}

/// A service for example.com and its subdomains.
async fn service() -> Service {
    service_for(Database::fresh().await, &["example.com"]).await
}

fn path_of(answer: &Response) -> String {
    format!(
        "/api/v1/deliveries/{}",
        answer.json()["delivery_id"].as_str().unwrap()
    )
}

async fn retry(service: &Service, path: &str) -> Response {
    service
        .request(Method::POST, &format!("{path}/retry"))
        .await
}

/// That nothing of other domains is in any table.
async fn assert_only_example_com(database: &Database) {
    let strangers = "select count(*) from domains where name not like '%example.com'";
    assert_eq!(database.value::<i64>(strangers).await, 0);
    assert_eq!(database.mismatches().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_for_configured_domains_and_their_subdomains_are_stored() {
    let service = service().await;

    for domain in [
        "example.com",
        "Example.COM",
        "mail.example.com",
        "a.b.example.com.",
    ] {
        let answer = service.upload(report(domain, domain).xml()).await;
        assert_eq!(answer.status, 201, "{domain}: {answer:?}");
    }

    assert_eq!(service.database.report_count().await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_for_another_domain_is_kept_aside_with_its_reason() {
    let service = service().await;
    let bytes = gzip(&report("example.net", "17").xml());

    let answer = service.upload(bytes.clone()).await;

    assert_eq!(answer.status, 422, "{answer:?}");
    let told = &answer.json()["reports"][0];
    assert_eq!(told["outcome"], "rejected");
    assert_eq!(told["code"], "domain_not_allowed");
    let detail = told["detail"].as_str().unwrap();
    assert!(detail.contains("example.net"), "{detail}");
    assert_eq!(
        (&told["org_name"], &told["domain"], &told["report_id"]),
        (
            &json!("reporter.example"),
            &json!("example.net"),
            &json!("17")
        )
    );
    let path = path_of(&answer);
    let delivery = service.get(&path).await;
    assert_eq!(
        (&delivery["outcome"], &delivery["raw_kept"]),
        (&json!("rejected"), &json!(true))
    );
    let raw = service.request(Method::GET, &format!("{path}/raw")).await;
    assert_eq!(raw.body, bytes);
    assert_only_example_com(&service.database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lookalikes_are_other_domains() {
    let service = service().await;

    for domain in [
        "badexample.com",
        "example.com.evil.example",
        "com",
        "xn--exmple-cua.com",
    ] {
        let answer = service.upload(report(domain, domain).xml()).await;
        assert_eq!(answer.status, 422, "{domain}: {answer:?}");
        assert_eq!(answer.json()["reports"][0]["code"], "domain_not_allowed");
    }

    assert_eq!(service.database.report_count().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_report_for_another_domain_leaves_no_trace_but_its_delivery() {
    let service = service().await;
    let mut large = Report::new("example.net", "1");
    for number in 0..5_500 {
        let source_ip = format!("198.51.{}.{}", 100 + number / 256, number % 256);
        large = large.passing(&source_ip, 1);
    }

    let answer = service.upload(gzip(&large.xml())).await;

    assert_eq!(
        (answer.status, &answer.json()["reports"][0]["code"]),
        (422, &json!("domain_not_allowed"))
    );
    for table in ["reports", "records", "source_days"] {
        let rows = format!("select count(*) from {table}");
        assert_eq!(service.database.value::<i64>(&rows).await, 0, "{table}");
    }
    assert_only_example_com(&service.database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_delivery_with_both_kinds_the_allowed_reports_are_stored() {
    let service = service().await;
    let ours = report("example.com", "1").xml();
    let other = report("example.net", "2").xml();
    let below = report("shop.example.com", "3").xml();
    let archive = zip(&[("1.xml", &ours), ("2.xml", &other), ("3.xml", &below)]);
    let again = mail_with(&[&gzip(&ours), &gzip(&other)]);

    let stored = service.upload(archive).await;
    let repeated = service.upload(again).await;

    assert_eq!(stored.status, 201, "{stored:?}");
    assert_eq!(stored.outcomes(), ["stored", "rejected", "stored"]);
    assert_eq!(stored.json()["reports"][1]["code"], "domain_not_allowed");
    assert_eq!(repeated.outcomes(), ["duplicate", "rejected"]);
    let delivery = service.get(&path_of(&stored)).await;
    assert_eq!(
        (&delivery["outcome"], &delivery["raw_kept"]),
        (&json!("rejected"), &json!(true)),
        "what was not stored can be tried again"
    );
    assert_eq!(service.database.report_count().await, 2);
    assert_only_example_com(&service.database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trying_again_stores_it_once_the_list_was_widened() {
    let narrow = service().await;
    let archive = zip(&[
        ("1.xml", &report("example.com", "1").xml()),
        ("2.xml", &report("mail.example.net", "2").xml()),
    ]);
    let answer = narrow.upload(archive).await;
    assert_eq!(answer.outcomes(), ["stored", "rejected"]);
    let path = path_of(&answer);
    assert_eq!(
        retry(&narrow, &path).await.outcomes(),
        ["stored", "rejected"],
        "its own report is no duplicate"
    );

    let wide = service_for(narrow.stop().await, &["example.com", "example.net"]).await;
    let again = retry(&wide, &path).await;

    assert_eq!(
        (again.status, again.outcomes()),
        (201, vec!["stored".into(), "stored".into()])
    );
    assert_eq!(wide.totals("mail.example.net").await.message_count, 5);
    let delivery = wide.get(&path).await;
    assert_eq!(
        (&delivery["outcome"], &delivery["raw_kept"]),
        (&json!("stored"), &json!(false))
    );
    assert_eq!(wide.database.mismatches().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_respects_the_list() {
    let folder = tempfile::tempdir().unwrap();
    let reports = folder.path().join("reports");
    std::fs::create_dir(&reports).unwrap();
    for (number, domain) in (1..).zip(["example.com", "example.net", "mail.example.com"]) {
        let report = report(domain, &number.to_string());
        std::fs::write(reports.join(format!("{number}.xml")), report.xml()).unwrap();
    }
    let config = folder.path().join("ruad.toml");
    std::fs::write(&config, "domains = ['example.com']\n").unwrap();
    let database = Database::fresh().await;

    let ended = Program::new(["import", "--format", "json"])
        .arg(&reports)
        .env("RUAD_CONFIG", &config)
        .on(&database)
        .run()
        .await;

    assert_eq!(ended.code, Some(3), "something was rejected: {ended:?}");
    let json: Value = ended.json();
    assert_eq!(
        (&json["reports"]["stored"], &json["reports"]["rejected"]),
        (&json!(2), &json!(1))
    );
    assert!(ended.stderr.contains("domain_not_allowed"), "{ended:?}");
    assert_only_example_com(&database).await;
}
