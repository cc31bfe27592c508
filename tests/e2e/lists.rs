//! Lists: pages, filters, order, and what is refused.

use std::{collections::BTreeMap, net::IpAddr};

use hyper::Method;
use serde::Deserialize as _;

use crate::{
    generated::imported,
    harness::{Service, query},
    reports::{Generated, Record, Report, Source, Truth},
};

const SOURCES: &str = "/api/v1/domains/example.com/sources?from=2020-01-01&to=2026-12-31";

async fn filled() -> (Generated, Service) {
    let (generated, database) = imported().await;
    (generated, Service::start_with(database, |_| {}).await)
}

async fn sources(service: &Service, filter: &str) -> Vec<Source> {
    let items = service.list(&format!("{SOURCES}{filter}")).await;
    items
        .into_iter()
        .map(|item| Source::deserialize(item).unwrap())
        .collect()
}

fn by_ip(sources: Vec<Source>) -> BTreeMap<IpAddr, Source> {
    sources
        .into_iter()
        .map(|source| (source.source_ip, source))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_everything_once_and_in_order() {
    let (_, service) = filled().await;

    for path in [
        SOURCES,
        "/api/v1/domains?from=2020-01-01&to=2026-12-31",
        "/api/v1/reports?",
        "/api/v1/deliveries?",
    ] {
        let (whole, one) = service.pages(&format!("{path}&limit=1000")).await;
        let (paged, many) = service.pages(&format!("{path}&limit=3")).await;

        assert_eq!(one, 1, "{path}");
        assert_eq!(many, whole.len().div_ceil(3), "{path}");
        assert_eq!(paged, whole, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_count_only_what_matches() {
    let (generated, service) = filled().await;
    let truth = Truth(&generated.reports);
    let check = async |filter: &str, counts: &dyn Fn(&Record) -> bool| {
        let expected = truth.sources_where("example.com", counts);
        assert!(!expected.is_empty(), "{filter}");
        assert_eq!(by_ip(sources(&service, filter).await), expected, "{filter}");
    };

    check("&pass=true", &|record| record.dkim || record.spf).await;
    check("&pass=false&limit=4", &|record| !record.dkim && !record.spf).await;
    check("&header_from=news.example.com", &|record| {
        record.header_from == "news.example.com"
    })
    .await;
    check("&header_from=SHOP.example.com&pass=true", &|record| {
        record.header_from == "Shop.example.com" && (record.dkim || record.spf)
    })
    .await;
    check("&net=203.0.113.0/24", &|record| {
        record.source_ip.to_string().starts_with("203.0.113.")
    })
    .await;
    check("&net=2001:db8::/32&limit=5", &|record| {
        record.source_ip.is_ipv6()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_come_in_the_order_asked_for() {
    let (_, service) = filled().await;

    let by_messages = sources(&service, "&limit=9").await;
    let by_failures = sources(&service, "&sort=failures&limit=9").await;

    assert!(
        by_messages
            .is_sorted_by_key(|source| (u64::MAX - source.totals.message_count, source.source_ip))
    );
    assert!(
        by_failures.is_sorted_by_key(|source| (
            u64::MAX - source.totals.dmarc_fail_count,
            source.source_ip
        ))
    );
    assert_ne!(by_messages, by_failures);
    assert_eq!(by_ip(by_messages), by_ip(by_failures));
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_are_filtered() {
    let (generated, service) = filled().await;
    let check = async |filter: &str, matches: &dyn Fn(&Report) -> bool| {
        let expected = generated
            .reports
            .iter()
            .filter(|report| matches(report))
            .count();
        assert!(expected > 0, "{filter}");
        assert_eq!(
            service
                .list(&format!("/api/v1/reports?{filter}&limit=17"))
                .await
                .len(),
            expected,
            "{filter}"
        );
    };

    check("domain=example.ORG", &|report| {
        report.domain == "Example.ORG"
    })
    .await;
    let org_name = query("Post & Söhne1");
    check(&format!("org_name={org_name}"), &|report| {
        report.org_name == "Post & Söhne1"
    })
    .await;
    check("from=2024-03-10&to=2024-03-12", &|report| {
        (10..=12).contains(&report.day().day()) && report.day().month() == time::Month::March
    })
    .await;
    assert_eq!(
        service
            .list("/api/v1/reports?domain=nowhere.example")
            .await
            .len(),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_a_list_keep_their_range_when_reports_arrive() {
    let service = Service::start().await;
    let report = Report::new("example.com", "1")
        .passing("192.0.2.1", 5)
        .passing("192.0.2.2", 4);
    service.store(report.xml()).await;
    let path = "/api/v1/domains/example.com/sources?limit=1";
    let first = service.get(path).await;

    let later = Report::new("example.com", "2")
        .period(1_735_689_600, 1_735_775_999)
        .passing("192.0.2.9", 9);
    service.store(later.xml()).await;
    let second = service
        .get(&format!(
            "{path}&cursor={}",
            first["next"].as_str().unwrap()
        ))
        .await;

    assert_eq!(
        (&second["from"], &second["to"]),
        (&first["from"], &first["to"])
    );
    assert_eq!(second["items"][0]["source_ip"], "192.0.2.2");
    assert!(second["next"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_questions_are_refused_by_name() {
    let service = Service::start().await;
    service
        .store(
            Report::new("example.com", "1")
                .passing("192.0.2.1", 5)
                .xml(),
        )
        .await;

    for (path, status, code) in [
        (
            "/api/v1/domains/nowhere.example/sources",
            404,
            "unknown_domain",
        ),
        (
            "/api/v1/domains/nowhere.example/summary",
            404,
            "unknown_domain",
        ),
        (
            "/api/v1/domains/example.com/sources?limit=0",
            422,
            "bad_query",
        ),
        (
            "/api/v1/domains/example.com/sources?limit=1001",
            422,
            "bad_query",
        ),
        (
            "/api/v1/domains/example.com/sources?net=192.0.2.0%2F33",
            422,
            "bad_query",
        ),
        (
            "/api/v1/domains/example.com/sources?pass=maybe",
            422,
            "bad_query",
        ),
        (
            "/api/v1/domains/example.com/sources?sort=age",
            422,
            "bad_query",
        ),
        (
            "/api/v1/domains/example.com/sources?form=2024-01-01",
            422,
            "bad_query",
        ),
        (
            "/api/v1/domains/example.com/summary?from=2024-02-30",
            422,
            "bad_query",
        ),
        (
            "/api/v1/domains/example.com/summary?from=2024-02-02&to=2024-02-01",
            422,
            "bad_range",
        ),
        (
            "/api/v1/domains/example.com/summary?to=-9999-01-05",
            422,
            "bad_query",
        ),
        ("/api/v1/domains?cursor=nonsense", 422, "bad_cursor"),
        ("/api/v1/sources/300.0.0.1", 422, "bad_path"),
        ("/api/v1/reports/nonsense", 422, "bad_path"),
        (
            "/api/v1/reports/00000000-0000-0000-0000-000000000000",
            404,
            "unknown_report",
        ),
        (
            "/api/v1/reports/00000000-0000-0000-0000-000000000000/records",
            404,
            "unknown_report",
        ),
        (
            "/api/v1/deliveries/00000000-0000-0000-0000-000000000000",
            404,
            "unknown_delivery",
        ),
        ("/api/v1/deliveries?outcome=lost", 422, "bad_query"),
        ("/api/v1/deliveries?mail_dmarc_pass=yes", 422, "bad_query"),
        ("/api/v1/reports?mail_dmarc_pass=1", 422, "bad_query"),
        ("/api/v1/nothing", 404, "unknown_route"),
    ] {
        assert_eq!(
            service.request(Method::GET, path).await.problem(status),
            code,
            "{path}"
        );
    }
    assert_eq!(
        service
            .request(Method::PUT, "/api/v1/domains")
            .await
            .problem(405),
        "method_not_allowed"
    );
}
