//! What the page asks the API for beside the main answers: days of all domains, reporters, policies, records of a source.

use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::{
    harness::{Service, query},
    reports::{DAY, FIRST_SECOND, Record, Report, Schema},
};

/// A report of a day by a reporter.
fn report(reporter: &str, day: i64) -> Report {
    let begin = FIRST_SECOND + day * DAY;
    let mut report = Report::new("example.com", &format!("{reporter}-{day}"))
        .period(begin, begin + DAY - 1)
        .passing("192.0.2.1", 5 + day as u64);
    report.org_name = reporter.into();
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn domains_are_listed_with_their_days_where_these_are_asked_for() {
    let service = Service::start().await;
    for day in [0, 2] {
        service
            .store(report("one.example", day).failing("192.0.2.2", 1).xml())
            .await;
    }

    let plain = service.get("/api/v1/domains").await;
    let with_days = service.get("/api/v1/domains?series=true").await;

    assert_eq!(plain["items"][0].get("series"), None);
    assert_eq!(
        with_days["items"][0]["series"],
        json!([
            {"day": "2024-03-01", "message_count": 6, "dmarc_pass_count": 5},
            {"day": "2024-03-03", "message_count": 8, "dmarc_pass_count": 7},
        ])
    );
    let summary = service.get("/api/v1/domains/example.com/summary").await;
    assert_eq!(summary["series"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn reporters_are_listed_by_their_messages() {
    let service = Service::start().await;
    for (reporter, days) in [("few.example", 1), ("a.example", 3), ("b.example", 3)] {
        for day in 0..days {
            service.store(report(reporter, day).xml()).await;
        }
    }

    let all = service.get("/api/v1/domains/example.com/reporters").await;
    let (pages, count) = service
        .pages("/api/v1/domains/example.com/reporters?limit=1")
        .await;

    assert_json_snapshot!("reporters", all);
    assert_eq!((&Value::from(pages), count), (&all["items"], 3));
    let early = service
        .get("/api/v1/domains/example.com/reporters?to=2024-03-01")
        .await;
    assert_eq!(early["items"][0]["report_count"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_lasts_while_most_reports_see_it() {
    let service = Service::start().await;
    for day in 0..6 {
        for reporter in ["a.example", "b.example", "late.example"] {
            let mut report = report(reporter, day);
            // One reporter learns of the new policy a day later than the others.
            let learns = if reporter == "late.example" { 4 } else { 3 };
            if day >= learns {
                report.schema = Schema::Rfc9990;
            }
            service.store(report.xml()).await;
        }
    }

    let all = service.get("/api/v1/domains/example.com/policies").await;
    let (pages, count) = service
        .pages("/api/v1/domains/example.com/policies?limit=1")
        .await;

    assert_json_snapshot!("policies", all);
    assert_eq!((&Value::from(pages), count), (&all["items"], 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_report_does_not_say_makes_no_new_policy() {
    let service = Service::start().await;
    for day in 0..4 {
        let xml = String::from_utf8(report("a.example", day).xml()).unwrap();
        let xml = match day % 2 {
            0 => xml.replace("<sp>none</sp>", ""),
            _ => xml,
        };
        service.store(xml).await;
    }

    let policies = service.list("/api/v1/domains/example.com/policies").await;

    assert_eq!(policies.len(), 1, "{policies:?}");
    assert_eq!(policies[0]["policy_published"]["sp"], "none");
    assert_eq!(policies[0]["report_count"], 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_records_of_a_source_are_found_over_many_reports() {
    let service = Service::start().await;
    for day in 0..3 {
        let report = report("a.example", day)
            .failing("192.0.2.2", 1)
            .failing("192.0.2.1", 2);
        service.store(report.xml()).await;
    }
    let path = "/api/v1/domains/example.com/sources/192.0.2.1/records";

    let (items, _) = service.pages(path).await;
    let (paged, count) = service.pages(&format!("{path}?limit=2")).await;

    assert_eq!(items, paged);
    assert_eq!((items.len(), count), (6, 3));
    let told: Vec<(&str, i64, i64)> = items
        .iter()
        .map(|item| {
            assert_eq!(item["source_ip"], "192.0.2.1");
            let number = |name: &str| item[name].as_i64().unwrap();
            (
                item["day"].as_str().unwrap(),
                number("position"),
                number("message_count"),
            )
        })
        .collect();
    let expected = [
        ("2024-03-03", 0, 7),
        ("2024-03-03", 2, 2),
        ("2024-03-02", 0, 6),
        ("2024-03-02", 2, 2),
        ("2024-03-01", 0, 5),
        ("2024-03-01", 2, 2),
    ];
    assert_eq!(told, expected);
    let one_day = format!("{path}?from=2024-03-02&to=2024-03-02");
    assert_eq!(service.list(&one_day).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_records_of_a_source_are_found_in_long_and_in_large_reports() {
    let service = Service::start().await;
    // One message of a week: the rollup counts it on the first day, while the day of the report is the fourth.
    let long = Report::new("example.com", "long")
        .period(FIRST_SECOND, FIRST_SECOND + 7 * DAY - 1)
        .failing("192.0.2.1", 1);
    service.store(long.xml()).await;
    let mut large = report("a.example", 1);
    for position in 1..3_500 {
        let source_ip = match position % 700 {
            0 => "192.0.2.1".to_owned(),
            _ => format!("198.51.{}.{}", position >> 8, position & 255),
        };
        large
            .records
            .push(Record::new(&source_ip, 2, "example.com"));
    }
    service.store(large.xml()).await;
    let path =
        "/api/v1/domains/example.com/sources/192.0.2.1/records?from=2024-03-01&to=2024-03-31";

    let (items, _) = service.pages(path).await;
    let (paged, count) = service.pages(&format!("{path}&limit=1")).await;

    assert_eq!(items, paged);
    let told: Vec<(&str, i64)> = items
        .iter()
        .map(|item| {
            let position = item["position"].as_i64().unwrap();
            (item["day"].as_str().unwrap(), position)
        })
        .collect();
    let expected = [
        ("2024-03-04", 0),
        ("2024-03-02", 0),
        ("2024-03-02", 700),
        ("2024-03-02", 1_400),
        ("2024-03-02", 2_100),
        ("2024-03-02", 2_800),
    ];
    assert_eq!((told.as_slice(), count), (&expected[..], 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_domains_have_none_of_these() {
    let service = Service::start().await;
    for place in ["reporters", "policies", "sources/192.0.2.1/records"] {
        let path = format!("/api/v1/domains/nobody.example/{place}");
        let answer = service.request(hyper::Method::GET, &path).await;
        assert_eq!(answer.problem(404), "unknown_domain", "{place}");
        let cursor = format!("{path}?cursor={}", query("nonsense"));
        let answer = service.request(hyper::Method::GET, &cursor).await;
        assert!(matches!(answer.status, 404 | 422), "{place}");
    }
}
