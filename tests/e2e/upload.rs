//! Uploads and their answers.

use hyper::Method;
use serde_json::Value;

use crate::{
    harness::{Response, Service},
    reports::{Container, Report, gzip, mail, mail_with, zip},
};

const TLS_REPORT: &str = r#"{"organization-name":"reporter.example","date-range":{"start-datetime":"2024-03-01T00:00:00Z","end-datetime":"2024-03-01T23:59:59Z"},"contact-info":"tls@reporter.example","report-id":"1","policies":[{"policy":{"policy-type":"sts","policy-domain":"example.com"},"summary":{"total-successful-session-count":1,"total-failure-session-count":0}}]}"#;

const FAILURE_REPORT: &str = "From: dmarc@reporter.example\r\nTo: ruf@example.com\r\nSubject: DMARC failure\r\nMIME-Version: 1.0\r\n\
    Content-Type: multipart/report; report-type=feedback-report; boundary=b\r\n\r\n\
    --b\r\nContent-Type: text/plain\r\n\r\nA message failed DMARC.\r\n\
    --b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: auth-failure\r\nVersion: 1\r\nUser-Agent: test\r\n\
    Auth-Failure: dmarc\r\nReported-Domain: example.com\r\nSource-IP: 192.0.2.1\r\n\
    --b\r\nContent-Type: text/rfc822-headers\r\n\r\nFrom: somebody@example.com\r\n--b--\r\n";

fn report(number: u64) -> Report {
    Report::new("example.com", &number.to_string()).passing("192.0.2.1", number)
}

fn codes(answer: &Response) -> Vec<Value> {
    let json = answer.json();
    json["reports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|report| report["code"].clone())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_container_is_taken_in() {
    let service = Service::start().await;
    for (number, container) in (1..).zip(Container::ALL) {
        let report = report(number);

        let answer = service.upload(container.pack(&report.xml())).await;

        assert_eq!(answer.status, 201, "{container:?}: {answer:?}");
        let json = answer.json();
        let told = &json["reports"][0];
        assert_eq!(told["outcome"], "stored");
        assert_eq!(told["org_name"], "reporter.example");
        assert_eq!(told["domain"], "example.com");
        assert_eq!(told["report_id"], report.report_id);
        assert_eq!(told["record_count"], 1);
        assert_eq!(told["message_count"], number);
        let stored = service
            .get(&format!(
                "/api/v1/reports/{}",
                told["report_uid"].as_str().unwrap()
            ))
            .await;
        assert_eq!(stored["delivery_id"], json["delivery_id"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_declared_type_does_not_matter() {
    let service = Service::start().await;
    for (number, declared) in (1..).zip([
        "application/json",
        "text/html",
        "application/zip",
        "nonsense",
        "message/rfc822",
    ]) {
        let answer = service
            .upload_as(declared, gzip(&report(number).xml()))
            .await;
        assert_eq!(answer.status, 201, "{declared}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_report_again_is_a_duplicate_however_it_is_packed() {
    let service = Service::start().await;
    service.store(report(7).xml()).await;
    for container in Container::ALL {
        let answer = service.upload(container.pack(&report(7).xml())).await;
        assert_eq!(
            (answer.status, answer.outcomes()),
            (200, vec!["duplicate".into()]),
            "{container:?}"
        );
    }
    assert_eq!(service.database.report_count().await, 1);
    assert_eq!(service.totals("example.com").await.message_count, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_reports_with_one_identity_the_first_is_kept() {
    let service = Service::start().await;
    let first = report(7).xml();
    let mut other = report(7).passing("192.0.2.2", 1000);
    other.report_id = "<7>".into();
    service.store(first).await;

    let answer = service.upload(gzip(&other.xml())).await;

    assert_eq!(
        (answer.status, answer.outcomes()),
        (409, vec!["conflict".into()])
    );
    assert_eq!(service.totals("example.com").await.message_count, 7);
    let delivery = format!(
        "/api/v1/deliveries/{}",
        answer.json()["delivery_id"].as_str().unwrap()
    );
    assert_eq!(service.get(&delivery).await["outcome"], "conflict");
    let raw = service
        .request(Method::GET, &format!("{delivery}/raw"))
        .await;
    assert_eq!(
        raw.body,
        gzip(&other.xml()),
        "the other one is kept as it came"
    );
    assert_eq!(service.database.mismatches().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_be_stored_says_why() {
    let service = Service::start().await;
    let xml = String::from_utf8(report(1).xml()).unwrap();
    let gzipped = gzip(xml.as_bytes());
    for (body, code, element) in [
        (xml.as_bytes()[..xml.len() / 2].to_vec(), "truncated", None),
        (gzipped[..gzipped.len() / 2].to_vec(), "truncated", None),
        (Vec::new(), "empty", None),
        (b"\x00\x01\x02\x03 no report".to_vec(), "not_a_report", None),
        (
            xml.replace("</row>", "</wor>").into_bytes(),
            "not_well_formed",
            None,
        ),
        (
            xml.replace("<feedback>", "<!DOCTYPE feedback><feedback>")
                .into_bytes(),
            "doctype",
            None,
        ),
        (
            xml.replace("begin>", "start>").into_bytes(),
            "missing_element",
            Some("report_metadata/date_range/begin"),
        ),
        (
            xml.replace("<end>", "<end>soon").into_bytes(),
            "bad_value",
            Some("report_metadata/date_range/end"),
        ),
    ] {
        let answer = service.upload(body).await;

        assert_eq!(
            (answer.status, answer.outcomes()),
            (422, vec!["rejected".into()]),
            "{code}"
        );
        assert_eq!(codes(&answer), [code]);
        let told = &answer.json()["reports"][0];
        assert!(!told["detail"].as_str().unwrap().is_empty(), "{told}");
        assert!(told["offset_bytes"].is_u64(), "{told}");
        if element.is_some() {
            assert_eq!(told["element"].as_str(), element);
        }
    }
    assert_eq!(service.database.report_count().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_aggregate_report_is_recognised() {
    let service = Service::start().await;
    let notice = "From: a@example.com\r\nTo: b@example.com\r\nSubject: Lunch\r\n\r\nAt noon?\r\n";
    for (body, code) in [
        (TLS_REPORT.as_bytes().to_vec(), "tls_report"),
        (gzip(TLS_REPORT.as_bytes()), "tls_report"),
        (mail(&gzip(TLS_REPORT.as_bytes())), "tls_report"),
        (FAILURE_REPORT.as_bytes().to_vec(), "failure_report"),
        (notice.as_bytes().to_vec(), "no_report"),
    ] {
        let answer = service.upload(body).await;
        assert_eq!(
            (answer.status, answer.outcomes()),
            (200, vec!["not_aggregate".into()]),
            "{code}: {answer:?}"
        );
        assert_eq!(codes(&answer), [code]);
    }
    let ledger = service
        .list("/api/v1/deliveries?outcome=not_aggregate")
        .await;
    assert_eq!(ledger.len(), 5);
    assert!(
        ledger.iter().all(|delivery| delivery["raw_kept"] == false),
        "{ledger:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_broken_report_keeps_no_other_from_being_stored() {
    let service = Service::start().await;
    let broken = &report(2).xml()[..300];
    let message = mail_with(&[
        &gzip(&report(1).xml()),
        &gzip(broken),
        &zip(&[("a", &report(3).xml()), ("b", &report(4).xml())]),
    ]);

    let answer = service.upload(message.clone()).await;

    assert_eq!(answer.status, 201);
    assert_eq!(
        answer.outcomes(),
        ["stored", "rejected", "stored", "stored"]
    );
    assert_eq!(service.totals("example.com").await.message_count, 1 + 3 + 4);
    let delivery = format!(
        "/api/v1/deliveries/{}",
        answer.json()["delivery_id"].as_str().unwrap()
    );
    assert_eq!(
        service.get(&delivery).await["outcome"],
        "rejected",
        "the most serious one"
    );
    assert_eq!(
        service
            .request(Method::GET, &format!("{delivery}/raw"))
            .await
            .body,
        message
    );
    assert_eq!(service.database.mismatches().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_file_of_a_form_is_a_delivery() {
    let service = Service::start().await;
    let mut form = Vec::new();
    for (name, file) in [
        ("a.gz", gzip(&report(1).xml())),
        ("b.txt", b"nothing".to_vec()),
        ("c.xml", report(3).xml()),
    ] {
        form.extend(
            format!(
                "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n"
            )
            .bytes(),
        );
        form.extend(file);
        form.extend(b"\r\n");
    }
    form.extend(b"--x--\r\n");

    let answer = service
        .upload_as("multipart/form-data; boundary=x", form)
        .await;

    assert_eq!(
        (answer.status, answer.outcomes()),
        (
            201,
            vec!["stored".into(), "rejected".into(), "stored".into()]
        )
    );
    let ledger = service.list("/api/v1/deliveries").await;
    let mut names: Vec<_> = ledger
        .iter()
        .map(|delivery| delivery["name"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["a.gz", "b.txt", "c.xml"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_form_is_refused() {
    let service = Service::start().await;
    for (content_type, form) in [
        ("multipart/form-data; boundary=x", "--y\r\n"),
        ("multipart/form-data", "--x--\r\n"),
        (
            "multipart/form-data; boundary=x",
            "--x\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\nno file\r\n--x--\r\n",
        ),
    ] {
        assert_eq!(
            service.upload_as(content_type, form).await.problem(400),
            "bad_multipart",
            "{form}"
        );
    }
    assert_eq!(service.list("/api/v1/deliveries").await.len(), 0);
}
