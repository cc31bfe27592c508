//! The bodies of answers, whole: a key that appears, goes or is renamed changes the API.

use insta::assert_json_snapshot;
use serde_json::Value;

use crate::{
    harness::Service,
    reports::{Report, Schema},
};

/// What differs from run to run is replaced.
fn steady(mut body: Value) -> Value {
    match &mut body {
        Value::Object(members) => {
            for (key, member) in members.iter_mut() {
                let varies = ["delivery_id", "received_at", "next"].contains(&key.as_str())
                    && !member.is_null();
                *member = if varies {
                    format!("[{key}]").into()
                } else {
                    steady(member.take())
                };
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| *item = steady(item.take())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    body
}

/// A service with a report of each schema, the second with oddities, and a broken one.
async fn filled() -> (Service, String) {
    let service = Service::start().await;
    let first = Report::new("example.com", "1")
        .passing("192.0.2.1", 10)
        .failing("2001:db8::7", 3);
    service.store(first.xml()).await;
    let mut second = Report::new("Example.ORG", "2").passing("192.0.2.1", 5);
    second.schema = Schema::Rfc9990;
    let odd = String::from_utf8(second.xml()).unwrap();
    let odd = odd
        .replace("<disposition>none<", "<disposition>delivered<")
        .replace("</policy_evaluated>", "<reason><type>mailing_list</type><comment>a list</comment></reason></policy_evaluated>")
        .replace("<header_from>", "<envelope_from>bounce.example.org</envelope_from><header_from>");
    let told = service.store(odd).await;
    service.upload("<feedback><report_metadata>").await;
    (
        service,
        told["reports"][0]["report_uid"].as_str().unwrap().into(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn of_domains_and_sources() {
    let (service, _) = filled().await;
    assert_json_snapshot!("domains", service.get("/api/v1/domains").await);
    assert_json_snapshot!(
        "summary",
        service.get("/api/v1/domains/example.com/summary").await
    );
    assert_json_snapshot!(
        "sources",
        steady(
            service
                .get("/api/v1/domains/example.com/sources?limit=1")
                .await
        )
    );
    assert_json_snapshot!("source", service.get("/api/v1/sources/192.0.2.1").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_reports_and_records() {
    let (service, report_uid) = filled().await;
    assert_json_snapshot!(
        "reports",
        steady(service.get("/api/v1/reports?domain=example.com").await)
    );
    assert_json_snapshot!(
        "report",
        steady(service.get(&format!("/api/v1/reports/{report_uid}")).await)
    );
    assert_json_snapshot!(
        "records",
        service
            .get(&format!("/api/v1/reports/{report_uid}/records"))
            .await
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_deliveries_and_uploads() {
    let (service, _) = filled().await;
    assert_json_snapshot!(
        "deliveries",
        steady(service.get("/api/v1/deliveries").await)
    );
    let told = service
        .upload(
            Report::new("example.net", "3")
                .passing("192.0.2.1", 1)
                .xml(),
        )
        .await;
    assert_json_snapshot!("upload", steady(told.json()));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_empty_service_and_of_problems() {
    let service = Service::start().await;
    assert_json_snapshot!("no_domains", service.get("/api/v1/domains").await);
    assert_json_snapshot!("no_source", service.get("/api/v1/sources/192.0.2.1").await);
    let problem = service
        .request(hyper::Method::GET, "/api/v1/domains/example.com/sources")
        .await;
    assert_json_snapshot!("problem", problem.json());
}
