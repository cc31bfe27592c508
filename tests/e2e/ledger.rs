//! The ledger and the quarantine: nothing vanishes.

use hyper::Method;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    harness::{Response, Service},
    reports::{Report, gzip},
};

fn path_of(answer: &Response) -> String {
    format!(
        "/api/v1/deliveries/{}",
        answer.json()["delivery_id"].as_str().unwrap()
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_delivery_is_listed_kept_and_discarded() {
    let service = Service::start().await;
    let bytes = b"<feedback><report_metadata>".to_vec();
    let answer = service.upload(bytes.clone()).await;
    let path = path_of(&answer);

    let listed = service.list("/api/v1/deliveries?outcome=rejected").await;

    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0], service.get(&path).await);
    assert_eq!(listed[0]["documents"], answer.json()["reports"]);
    assert_eq!(listed[0]["size_bytes"], bytes.len());
    assert_eq!(listed[0]["sha256"], hex(&Sha256::digest(&bytes)));
    assert_eq!(listed[0]["origin"], "http");
    assert_eq!(
        service
            .request(Method::GET, &format!("{path}/raw"))
            .await
            .body,
        bytes
    );

    assert_eq!(service.request(Method::DELETE, &path).await.status, 204);
    assert_eq!(
        service
            .request(Method::GET, &format!("{path}/raw"))
            .await
            .problem(404),
        "not_kept"
    );
    assert_eq!(
        service
            .request(Method::POST, &format!("{path}/retry"))
            .await
            .problem(404),
        "not_kept"
    );
    assert_eq!(
        service.request(Method::DELETE, &path).await.problem(404),
        "not_kept"
    );
    assert_eq!(service.get(&path).await["raw_kept"], false, "its row stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_listed_whatever_its_outcome() {
    let service = Service::start().await;
    let report = |id: &str| {
        let report = Report::new("example.com", id).passing("192.0.2.1", 5);
        report.passing("192.0.2.2", 6).xml()
    };
    let skipping = String::from_utf8(report("1")).unwrap();
    let skipping = skipping.replace("192.0.2.2", "somewhere");
    let kept = [
        service.upload("<feedback/>").await,
        service.upload(skipping).await,
    ];
    let other = service.upload(report("2")).await;
    let mut newest_first = kept.map(|answer| answer.json()["delivery_id"].clone());
    newest_first.reverse();

    let ids = async |query: &str| {
        let listed = service.list(&format!("/api/v1/deliveries?{query}")).await;
        let ids = listed.iter().map(|item| item["delivery_id"].clone());
        ids.collect::<Vec<_>>()
    };

    assert_eq!(ids("raw_kept=true").await, newest_first);
    assert_eq!(ids("raw_kept=true&limit=1").await, newest_first);
    assert_eq!(ids("raw_kept=true&outcome=stored").await, newest_first[..1]);
    assert_eq!(ids("raw_kept=true&origin=lmtp").await, [] as [Value; 0]);
    let others = ids("raw_kept=false").await;
    assert_eq!(others, [other.json()["delivery_id"].clone()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn trying_again_what_is_still_broken_changes_nothing() {
    let service = Service::start().await;
    let answer = service.upload("<feedback/>").await;
    let path = path_of(&answer);

    let again = service
        .request(Method::POST, &format!("{path}/retry"))
        .await;

    assert_eq!((again.status, again.json()), (422, answer.json()));
    assert_eq!(
        service.list("/api/v1/deliveries").await.len(),
        1,
        "the same row of the ledger"
    );
    assert_eq!(service.get(&path).await["raw_kept"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn trying_again_stores_what_an_older_ruad_could_not_read() {
    let mut service = Service::start().await;
    let report = Report::new("example.com", "1")
        .passing("192.0.2.1", 5)
        .passing("192.0.2.2", 6);
    let database = service.stop().await;
    service = Service::start_with(database, |config| config.limits.records = 1).await;
    let rejected = service.upload(gzip(&report.xml())).await;
    let path = path_of(&rejected);
    assert_eq!(
        (rejected.status, &rejected.json()["reports"][0]["code"]),
        (422, &Value::from("too_large"))
    );

    let service = Service::start_with(service.stop().await, |_| {}).await;
    let again = service
        .request(Method::POST, &format!("{path}/retry"))
        .await;

    assert_eq!(
        (again.status, again.outcomes()),
        (201, vec!["stored".into()])
    );
    assert_eq!(service.totals("example.com").await.message_count, 11);
    let delivery = service.get(&path).await;
    assert_eq!(
        (&delivery["outcome"], &delivery["raw_kept"]),
        (&Value::from("stored"), &Value::from(false))
    );
    assert_eq!(service.database.mismatches().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn skipped_records_reconcile_and_are_kept_raw() {
    let service = Service::start().await;
    let xml = Report::new("example.com", "1")
        .passing("192.0.2.1", 5)
        .passing("192.0.2.2", 6)
        .passing("192.0.2.3", 7);
    let xml = String::from_utf8(xml.xml())
        .unwrap()
        .replace("192.0.2.2", "somewhere")
        .replace("<count>7<", "<count>-7<");

    let answer = service.upload(xml.clone()).await;

    assert_eq!(
        (answer.status, answer.outcomes()),
        (201, vec!["stored".into()])
    );
    let told = &answer.json()["reports"][0];
    assert_eq!(
        (
            &told["record_count"],
            &told["skipped_count"],
            &told["message_count"]
        ),
        (&3.into(), &2.into(), &5.into())
    );
    let report = service
        .get(&format!(
            "/api/v1/reports/{}",
            told["report_uid"].as_str().unwrap()
        ))
        .await;
    let warned: Vec<_> = report["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|warning| warning["code"].as_str().unwrap())
        .collect();
    assert!(
        warned.contains(&"bad_source_ip") && warned.contains(&"bad_count"),
        "{report}"
    );
    assert_eq!(
        service
            .request(Method::GET, &format!("{}/raw", path_of(&answer)))
            .await
            .body,
        xml
    );
    let records = service
        .list(&format!(
            "/api/v1/reports/{}/records",
            told["report_uid"].as_str().unwrap()
        ))
        .await;
    assert_eq!(records.len(), 1);
    assert_eq!(service.database.mismatches().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_delivery_leaves_a_row_newest_first() {
    let service = Service::start().await;
    let report = |number: u64| {
        Report::new("example.com", &number.to_string())
            .passing("192.0.2.1", number)
            .xml()
    };
    let mut conflict = Report::new("example.com", "1").passing("192.0.2.1", 9);
    conflict.schema = crate::reports::Schema::Rfc9990;
    for body in [
        report(1),
        report(1),
        conflict.xml(),
        b"no report".to_vec(),
        b"Subject: x\r\nFrom: a@b\r\n\r\nhello".to_vec(),
        report(2),
    ] {
        service.upload(body).await;
    }

    let ledger = service.list("/api/v1/deliveries?limit=2").await;

    let outcomes: Vec<_> = ledger
        .iter()
        .map(|delivery| delivery["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(
        outcomes,
        [
            "stored",
            "not_aggregate",
            "rejected",
            "conflict",
            "duplicate",
            "stored"
        ]
    );
    let kept: Vec<_> = ledger
        .iter()
        .map(|delivery| delivery["raw_kept"].as_bool().unwrap())
        .collect();
    assert_eq!(kept, [false, false, true, true, false, false]);
    for outcome in [
        "stored",
        "duplicate",
        "conflict",
        "rejected",
        "not_aggregate",
    ] {
        let expected: Vec<_> = ledger
            .iter()
            .filter(|delivery| delivery["outcome"] == outcome)
            .cloned()
            .collect();
        assert_eq!(
            service
                .list(&format!("/api/v1/deliveries?outcome={outcome}"))
                .await,
            expected
        );
    }
}
