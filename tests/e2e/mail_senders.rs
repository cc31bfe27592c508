//! Who sent a mail: shown with its delivery and its reports, and to be filtered by.

use hyper::Method;
use report::{Body, Content, Limits, Parser, unpack};
use serde_json::{Value, json};
use sqlx::types::Uuid;
use store::{Authenticity, Delivery, Outcome, OutcomeRow, Pending, Store, Submission};
use time::macros::datetime;

use crate::{
    harness::{Database, Service},
    reports::{Report, mail},
};

fn report(id: &str) -> Report {
    Report::new("example.com", id).passing("192.0.2.1", 5)
}

fn sent_by(from_domain: Option<&str>, dkim: &[&str], dmarc_pass: Option<bool>) -> Authenticity {
    Authenticity {
        from_domain: from_domain.map(str::to_owned),
        dkim_domains: dkim.iter().map(|&domain| domain.into()).collect(),
        dmarc_pass,
    }
}

fn delivery(origin: &str, report: &Report, authenticity: Option<Authenticity>) -> Delivery {
    let bytes = mail(&report.xml());
    Delivery {
        delivery_id: Uuid::now_v7(),
        origin: origin.into(),
        name: None,
        received_at: datetime!(2024-03-02 12:00 UTC),
        size_bytes: bytes.len() as u64,
        sha256: Some([7; 32]),
        body: Body::Memory(bytes.into()),
        authenticity,
    }
}

fn parser(report: &Report) -> Parser {
    let limits = Limits::default();
    let documents = unpack(&Body::Memory(report.xml().into()), &limits).unwrap();
    let Content::Xml(xml) = &documents[0].content else {
        panic!("no XML")
    };
    Parser::open(xml, &limits).unwrap()
}

async fn submit(store: &Store, delivery: Delivery, document: Pending) {
    let documents = vec![document];
    let submission = Submission {
        delivery,
        documents,
    };
    let room = store.reserve(&submission.documents).await.unwrap();
    store.submit(submission, room).await.unwrap();
}

async fn store_report(store: &Store, delivery: Delivery, report: &Report) {
    let mut parser = parser(report);
    let mut records = Vec::new();
    while parser.read_records(&mut records, 1000).unwrap() {}
    let pending = Pending::Report {
        path: String::new(),
        summary: Box::new(parser.finish()),
        records,
    };
    submit(store, delivery, pending).await;
}

/// A service with a report of each kind of mail, and two that were uploaded.
async fn filled() -> Service {
    let database = Database::fresh().await;
    let store = database.store();
    let good = Some("reporter.example");
    for (id, origin, authenticity) in [
        (
            "passes",
            "imap:dmarc",
            Some(sent_by(good, &["reporter.example"], Some(true))),
        ),
        (
            "fails",
            "imap:dmarc",
            Some(sent_by(good, &["mass.example"], Some(false))),
        ),
        ("open", "imap:other", Some(sent_by(None, &[], None))),
        ("unchecked", "lmtp", None),
    ] {
        let report = report(id);
        store_report(&store, delivery(origin, &report, authenticity), &report).await;
    }
    store.close().await;
    let service = Service::start_with(database, |_| {}).await;
    service.store(report("uploaded").xml()).await;
    service.upload("<feedback/>").await;
    service
}

async fn report_ids(service: &Service, filter: &str) -> Vec<String> {
    let path = format!("/api/v1/reports?limit=1{filter}");
    let mut ids: Vec<String> = service
        .list(&path)
        .await
        .iter()
        .map(|report| report["report_id"].as_str().unwrap().into())
        .collect();
    ids.sort();
    ids
}

async fn delivered(service: &Service, filter: &str) -> Vec<Value> {
    let path = format!("/api/v1/deliveries?limit=1{filter}");
    let deliveries = service.list(&path).await;
    deliveries
        .iter()
        .map(|delivery| delivery["documents"][0]["report_id"].clone())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sender_is_shown_with_deliveries_and_reports() {
    let service = filled().await;
    let expected = |id: &str| match id {
        "passes" => {
            json!({"from_domain": "reporter.example", "dkim_domains": ["reporter.example"], "dmarc_pass": true})
        }
        "fails" => {
            json!({"from_domain": "reporter.example", "dkim_domains": ["mass.example"], "dmarc_pass": false})
        }
        "open" => json!({"from_domain": null, "dkim_domains": [], "dmarc_pass": null}),
        _ => Value::Null,
    };

    let reports = service.list("/api/v1/reports").await;

    assert_eq!(reports.len(), 5);
    for report in reports {
        let id = report["report_id"].as_str().unwrap();
        assert_eq!(report["mail"], expected(id), "{id}");
        let path = format!(
            "/api/v1/deliveries/{}",
            report["delivery_id"].as_str().unwrap()
        );
        assert_eq!(service.get(&path).await["mail"], expected(id), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_by_what_the_sender_proved() {
    let service = filled().await;

    assert_eq!(
        report_ids(&service, "&mail_dmarc_pass=true").await,
        ["passes"]
    );
    assert_eq!(
        report_ids(&service, "&mail_dmarc_pass=false&domain=example.com").await,
        ["fails"]
    );
    assert_eq!(report_ids(&service, "").await.len(), 5);
    assert_eq!(
        delivered(&service, "&mail_dmarc_pass=true").await,
        ["passes"]
    );
    assert_eq!(
        delivered(&service, "&mail_dmarc_pass=false").await,
        ["fails"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_filtered_by_the_way_they_came() {
    let service = filled().await;

    for (origin, expected) in [
        ("imap:dmarc", json!(["fails", "passes"])),
        ("imap:other", json!(["open"])),
        ("imap:", json!([])),
        ("lmtp", json!(["unchecked"])),
        ("http", json!([null, "uploaded"])),
        ("http&outcome=stored", json!(["uploaded"])),
        ("file", json!([])),
        ("imap:dmarc&mail_dmarc_pass=false", json!(["fails"])),
    ] {
        let found = delivered(&service, &format!("&origin={origin}")).await;
        assert_eq!(Value::from(found), expected, "{origin}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trying_mail_again_that_was_not_authentic_takes_it_in() {
    let database = Database::fresh().await;
    let store = database.store();
    let report = report("1");
    let failing = sent_by(Some("reporter.example"), &[], Some(false));
    let delivery = delivery("imap:dmarc", &report, Some(failing));
    let path = format!("/api/v1/deliveries/{}", delivery.delivery_id);
    let row = OutcomeRow::without_report(String::new(), Outcome::Rejected, "not_authentic", None);
    submit(&store, delivery, Pending::Settled(row)).await;
    store.close().await;
    let service = Service::start_with(database, |_| {}).await;

    let again = service
        .request(Method::POST, &format!("{path}/retry"))
        .await;

    assert_eq!(again.status, 201, "{again:?}");
    let delivery = service.get(&path).await;
    assert_eq!(
        (&delivery["outcome"], &delivery["origin"]),
        (&json!("stored"), &json!("imap:dmarc"))
    );
    assert_eq!(delivery["raw_kept"], false);
    let stored = &service.list("/api/v1/reports?mail_dmarc_pass=false").await[0];
    assert_eq!(stored["mail"]["dmarc_pass"], false, "it is still known");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_report_knows_its_sender_too() {
    let database = Database::fresh().await;
    let store = database.store();
    let report = report("1");
    let passing = sent_by(Some("reporter.example"), &["reporter.example"], Some(true));
    let delivery = delivery("lmtp", &report, Some(passing));
    let mut parser = parser(&report);
    let mut stream = store.stream(&delivery, parser.header()).await.unwrap();
    let mut records = Vec::new();
    while parser.read_records(&mut records, 1000).unwrap() {}
    stream.records(&records).await.unwrap();
    let summary = parser.finish();
    let finished = stream.finish(String::new(), &summary, &[]);
    let row = finished.await.unwrap();
    submit(&store, delivery, Pending::Settled(row)).await;
    store.close().await;

    let service = Service::start_with(database, |_| {}).await;

    assert_eq!(report_ids(&service, "&mail_dmarc_pass=true").await, ["1"]);
    assert_eq!(delivered(&service, "&mail_dmarc_pass=true").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_too_large_to_be_fetched_has_no_hash() {
    let database = Database::fresh().await;
    let store = database.store();
    let mut delivery = delivery("imap:dmarc", &report("1"), None);
    (delivery.sha256, delivery.size_bytes) = (None, 100_000_000);
    delivery.body = Body::Memory(bytes::Bytes::new());
    let row = OutcomeRow::without_report(String::new(), Outcome::Rejected, "too_large", None);
    submit(&store, delivery, Pending::Settled(row)).await;
    store.close().await;
    let service = Service::start_with(database, |_| {}).await;

    let listed = &service.list("/api/v1/deliveries?outcome=rejected").await[0];

    assert_eq!(listed["sha256"], Value::Null);
    assert_eq!(listed["size_bytes"], 100_000_000);
    assert_eq!(listed["raw_kept"], false);
}
