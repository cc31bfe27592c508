//! The answers are what the reports say: domains, summaries, sources, reports, records.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use crate::{
    generated::{assert_true, imported, uploaded},
    harness::Service,
    reports::{DAY, FIRST_SECOND, Report, Source, Totals, Truth, day_of},
};

const ALL_DAYS: &str = "from=2020-01-01&to=2026-12-31";

#[tokio::test(flavor = "multi_thread")]
async fn uploaded_reports_are_counted_exactly() {
    let service = Service::start().await;

    let generated = uploaded(&service).await;

    assert_true(&service, Truth(&generated.reports)).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn imported_reports_are_counted_exactly() {
    let (generated, database) = imported().await;

    let service = Service::start_with(database, |_| {}).await;

    assert_true(&service, Truth(&generated.reports)).await;
    service.stop().await;
}

#[derive(Debug, PartialEq, Deserialize)]
struct Domain {
    domain: String,
    #[serde(flatten)]
    totals: Totals,
    report_count: usize,
    source_count: usize,
}

#[derive(Debug, Deserialize)]
struct SeriesDay {
    day: String,
    #[serde(flatten)]
    totals: Totals,
}

fn domain_truth(truth: Truth<'_>, domain: &str) -> Domain {
    Domain {
        domain: domain.into(),
        totals: truth.totals(domain),
        report_count: truth.reports(domain).count(),
        source_count: truth.sources(domain).len(),
    }
}

fn series_of(json: &Value) -> BTreeMap<String, Totals> {
    let days = json["series"].as_array().unwrap().iter();
    days.map(|day| SeriesDay::deserialize(day).unwrap())
        .map(|day| (day.day, day.totals))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn domains_and_their_daily_series_are_right() {
    let (generated, database) = imported().await;
    let truth = Truth(&generated.reports);
    let service = Service::start_with(database, |_| {}).await;

    let domains = service
        .list(&format!("/api/v1/domains?limit=2&{ALL_DAYS}"))
        .await;

    let expected: Vec<Domain> = truth
        .domains()
        .iter()
        .map(|domain| domain_truth(truth, domain))
        .collect();
    let domains: Vec<Domain> = domains
        .iter()
        .map(|domain| Domain::deserialize(domain).unwrap())
        .collect();
    assert_eq!(domains, expected);
    for domain in truth.domains() {
        let summary = service
            .get(&format!("/api/v1/domains/{domain}/summary?{ALL_DAYS}"))
            .await;
        assert_eq!(
            Domain::deserialize(&summary).unwrap(),
            domain_truth(truth, &domain)
        );
        assert_eq!(series_of(&summary), truth.series(&domain), "{domain}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_shown_over_all_domains() {
    let (generated, database) = imported().await;
    let truth = Truth(&generated.reports);
    let service = Service::start_with(database, |_| {}).await;
    let addresses: BTreeSet<_> = truth
        .domains()
        .iter()
        .flat_map(|domain| truth.sources(domain).into_keys())
        .collect();

    for ip in addresses {
        let path = format!("/api/v1/sources/{ip}?{ALL_DAYS}");
        let summary = service.get(&path).await;
        let items = service.list(&format!("{path}&limit=2")).await;

        let records = generated.reports.iter().flat_map(|report| &report.records);
        let totals = Totals::of(records.filter(|record| record.source_ip == ip));
        assert_eq!(Totals::deserialize(&summary).unwrap(), totals, "{ip}");
        let days = series_of(&summary);
        assert_eq!(
            days.values().map(|day| day.message_count).sum::<u64>(),
            totals.message_count
        );
        let mut of_domains = BTreeMap::new();
        for mut item in items {
            item["source_ip"] = ip.to_string().into();
            let domain: String = item["domain"].as_str().unwrap().into();
            of_domains.insert(domain, Source::deserialize(item).unwrap());
        }
        let sources = truth.domains().into_iter().filter_map(|domain| {
            let source = truth.sources(&domain).remove(&ip)?;
            Some((domain, source))
        });
        assert_eq!(of_domains, sources.collect(), "{ip}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_report_and_record_can_be_read_back() {
    let (generated, database) = imported().await;
    let service = Service::start_with(database, |_| {}).await;

    let listed = service.list("/api/v1/reports?limit=13").await;

    assert_eq!(listed.len(), generated.reports.len());
    let mut expected: BTreeMap<_, &Report> = generated
        .reports
        .iter()
        .map(|report| {
            (
                (
                    report.org_name.clone(),
                    report.report_id.clone(),
                    report.begin,
                ),
                report,
            )
        })
        .collect();
    for item in listed {
        let begin = format_begin(&item);
        let key = (
            item["org_name"].as_str().unwrap().into(),
            item["report_id"].as_str().unwrap().into(),
            begin,
        );
        let report = expected
            .remove(&key)
            .unwrap_or_else(|| panic!("listed twice or unknown: {item}"));
        assert_report(&service, &item, report).await;
    }
}

fn format_begin(item: &Value) -> i64 {
    let begin = item["begin_at"].as_str().unwrap();
    let format = time::format_description::well_known::Rfc3339;
    time::OffsetDateTime::parse(begin, &format)
        .unwrap()
        .unix_timestamp()
}

async fn assert_report(service: &Service, item: &Value, report: &Report) {
    let path = format!("/api/v1/reports/{}", item["report_uid"].as_str().unwrap());
    assert_eq!(
        &service.get(&path).await,
        item,
        "a report alone is what the list says"
    );
    assert_eq!(item["domain"], report.domain.to_lowercase());
    assert_eq!(item["day"], report.day().to_string());
    assert_eq!(item["message_count"], report.message_count());
    assert_eq!(item["dmarc_pass_count"], report.pass_count());
    assert_eq!(item["record_count"], report.records.len());
    let records = service.list(&format!("{path}/records?limit=5")).await;
    assert_eq!(records.len(), report.records.len());
    for ((position, record), stored) in report.records.iter().enumerate().zip(records) {
        assert_eq!(stored["position"], position);
        assert_eq!(stored["source_ip"], record.source_ip.to_string());
        assert_eq!(stored["message_count"], record.count);
        assert_eq!(
            stored["disposition"],
            record.disposition.map_or(Value::Null, Value::from)
        );
        assert_eq!(stored["dkim_aligned"], record.dkim);
        assert_eq!(stored["spf_aligned"], record.spf);
        assert_eq!(stored["header_from"], record.header_from.to_lowercase());
        assert_eq!(
            stored["dkim"][0]["result"],
            if record.dkim { "fail" } else { "pass" }
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_range_is_the_last_thirty_days_with_data() {
    let service = Service::start().await;
    let on = |day: i64| {
        let begin = FIRST_SECOND + day * DAY;
        let report =
            Report::new("example.com", &format!("day {day}")).period(begin, begin + DAY - 1);
        report.passing("192.0.2.1", 1 << day.min(40))
    };
    for day in [0, 1, 30] {
        service.store(on(day).xml()).await;
    }

    for path in [
        "domains/example.com/summary",
        "domains/example.com/sources",
        "domains",
        "sources/192.0.2.1",
    ] {
        let json = service.get(&format!("/api/v1/{path}")).await;

        assert_eq!(
            json["from"],
            day_of(FIRST_SECOND + DAY).to_string(),
            "{path}"
        );
        assert_eq!(
            json["to"],
            day_of(FIRST_SECOND + 30 * DAY).to_string(),
            "{path}"
        );
        let totals = if path.ends_with("sources") || path == "domains" {
            &json["items"][0]
        } else {
            &json
        };
        assert_eq!(
            totals["message_count"],
            2 + (1_u64 << 30),
            "{path}: the first day is one too early"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ends_of_a_range_belong_to_it() {
    let service = Service::start().await;
    for day in 0..5 {
        let begin = FIRST_SECOND + day * DAY;
        let report = Report::new("example.com", &day.to_string()).period(begin, begin + DAY - 1);
        service
            .store(report.passing("192.0.2.1", 10_u64.pow(day as u32)).xml())
            .await;
    }
    let count = async |range: &str| {
        service
            .get(&format!("/api/v1/domains/example.com/summary?{range}"))
            .await["message_count"]
            .clone()
    };

    assert_eq!(count("from=2024-03-02&to=2024-03-04").await, 1110);
    assert_eq!(count("from=2024-03-05&to=2024-03-05").await, 10000);
    assert_eq!(count("to=2024-03-02").await, 11);
    assert_eq!(count("from=2024-03-04").await, 11000);
    assert_eq!(count("from=2024-03-06&to=2024-03-07").await, 0);
}
