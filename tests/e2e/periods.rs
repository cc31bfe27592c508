//! Long, empty and impossible periods.

use std::collections::BTreeMap;

use crate::{
    harness::Service,
    reports::{DAY, FIRST_SECOND, Report, day_of},
};

const ALL_DAYS: &str = "from=2023-01-01&to=2026-12-31";

/// Messages by day, by largest remainder over the seconds of the period in each day.
fn apportioned(count: u64, begin: i64, end: i64) -> BTreeMap<String, u64> {
    let total = (end - begin) as u128;
    let mut shares = Vec::new();
    let mut first = begin;
    while first < end {
        let next = ((first / DAY + 1) * DAY).min(end);
        let weight = u128::from(count) * (next - first) as u128;
        shares.push((
            day_of(first).to_string(),
            (weight / total) as u64,
            weight % total,
        ));
        first = next;
    }
    let mut left = count - shares.iter().map(|(_, share, _)| share).sum::<u64>();
    let mut by_remainder: Vec<usize> = (0..shares.len()).collect();
    by_remainder.sort_by_key(|&place| (std::cmp::Reverse(shares[place].2), place));
    for place in by_remainder {
        shares[place].1 += left.min(1);
        left -= left.min(1);
    }
    shares
        .into_iter()
        .map(|(day, share, _)| (day, share))
        .filter(|(_, share)| *share > 0)
        .collect()
}

async fn days(service: &Service, path: &str) -> BTreeMap<String, u64> {
    let summary = service.get(&format!("/api/v1/{path}?{ALL_DAYS}")).await;
    let days = summary["series"].as_array().unwrap().iter();
    days.map(|day| {
        (
            day["day"].as_str().unwrap().into(),
            day["message_count"].as_u64().unwrap(),
        )
    })
    .filter(|(_, count)| *count > 0)
    .collect()
}

async fn check(begin: i64, end: i64, counts: &[u64]) {
    let service = Service::start().await;
    let mut report = Report::new("example.com", "1").period(begin, end);
    for (number, &count) in counts.iter().enumerate() {
        report = report.passing(&format!("192.0.2.{number}"), count);
    }

    service.store(report.xml()).await;

    let mut sum: BTreeMap<String, u64> = BTreeMap::new();
    for (number, &count) in counts.iter().enumerate() {
        let expected = apportioned(count, begin, end);
        assert_eq!(expected.values().sum::<u64>(), count);
        assert_eq!(
            days(&service, &format!("sources/192.0.2.{number}")).await,
            expected,
            "{count} messages"
        );
        expected
            .into_iter()
            .for_each(|(day, share)| *sum.entry(day).or_default() += share);
    }
    assert_eq!(days(&service, "domains/example.com/summary").await, sum);
    assert_eq!(
        service.totals("example.com").await.message_count,
        counts.iter().sum::<u64>()
    );
    let sources = service.sources("example.com").await;
    assert!(
        sources.values().all(|source| source.report_count == 1),
        "one report, however many days"
    );
    assert_eq!(service.database.mismatches().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_days_are_apportioned() {
    check(
        FIRST_SECOND,
        FIRST_SECOND + 3 * DAY,
        &[1, 2, 3, 100, 1_000_003],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn days_of_different_length_are_apportioned() {
    check(
        FIRST_SECOND + 64_321,
        FIRST_SECOND + 2 * DAY + 12_345,
        &[1, 7, 100, 999_999_999_999],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_and_one_days_are_apportioned() {
    check(
        FIRST_SECOND - 100 * DAY + 3600,
        FIRST_SECOND + 101 * DAY - 1,
        &[5, 201, 1_234_567],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_27_hours_is_one_day() {
    let service = Service::start().await;
    let report = Report::new("example.com", "1")
        .period(FIRST_SECOND, FIRST_SECOND + 27 * 3600)
        .passing("192.0.2.1", 100);

    service.store(report.xml()).await;

    let expected = BTreeMap::from([("2024-03-01".to_owned(), 100)]);
    assert_eq!(
        days(&service, "domains/example.com/summary").await,
        expected
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_report_is_found_by_any_of_its_days() {
    let service = Service::start().await;
    let report = Report::new("example.com", "1")
        .period(FIRST_SECOND, FIRST_SECOND + 10 * DAY)
        .passing("192.0.2.1", 100);
    service.store(report.xml()).await;

    let summary = service
        .get("/api/v1/domains/example.com/summary?from=2024-03-02&to=2024-03-03")
        .await;
    let sources = service
        .get("/api/v1/domains/example.com/sources?from=2024-03-01&to=2024-03-02")
        .await;

    assert_eq!(summary["message_count"], 20);
    assert_eq!(sources["items"][0]["message_count"], 20);
    assert_eq!(sources["items"][0]["report_count"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_without_records_is_stored() {
    let service = Service::start().await;

    let told = service.store(Report::new("example.com", "1").xml()).await;

    assert_eq!(told["reports"][0]["record_count"], 0);
    let summary = service.get("/api/v1/domains/example.com/summary").await;
    assert_eq!(
        (&summary["report_count"], &summary["message_count"]),
        (&1.into(), &0.into())
    );
    assert_eq!(service.sources("example.com").await.len(), 0);
    assert_eq!(service.database.mismatches().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_no_messages_are_stored() {
    let service = Service::start().await;

    service
        .store(
            Report::new("example.com", "1")
                .passing("192.0.2.1", 0)
                .xml(),
        )
        .await;

    let source = &service.sources("example.com").await[&"192.0.2.1".parse().unwrap()];
    assert_eq!((source.report_count, source.totals.message_count), (1, 0));
    assert_eq!(service.database.mismatches().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn impossible_days_make_no_partition_and_do_not_move_the_default_range() {
    let service = Service::start().await;
    let partitions =
        "select count(*) from pg_inherits where inhrelid::regclass::text ~ '_(1975|2999|9999)_'";
    service
        .store(
            Report::new("example.com", "now")
                .passing("192.0.2.1", 1)
                .xml(),
        )
        .await;
    for (number, year_begin) in [
        ("1975", 157_766_400),
        ("2999", 32_472_144_000),
        ("9999", 253_370_764_800),
    ] {
        let report = Report::new("example.com", number).period(year_begin, year_begin + DAY - 1);
        service.store(report.passing("192.0.2.1", 10).xml()).await;
    }

    let summary = service.get("/api/v1/domains/example.com/summary").await;
    let old = service
        .get("/api/v1/domains/example.com/summary?from=1975-01-01&to=1975-01-01")
        .await;

    assert_eq!(
        (&summary["to"], &summary["message_count"]),
        (&"2024-03-01".into(), &1.into())
    );
    assert_eq!(old["message_count"], 10, "they are stored all the same");
    assert_eq!(service.database.value::<i64>(partitions).await, 0);
    assert_eq!(
        service
            .database
            .value::<i64>("select count(*) from record_blocks_default")
            .await,
        3
    );
    assert_eq!(service.get("/api/v1/domains").await["to"], "2024-03-01");
    assert_eq!(
        service.get("/api/v1/sources/192.0.2.1").await["to"],
        "2024-03-01"
    );
    assert_eq!(service.database.mismatches().await, []);
}
