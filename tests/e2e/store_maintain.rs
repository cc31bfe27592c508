//! The store alone: what is checked, and what is forgotten.

use store::{Mismatch, Prune};
use time::{Duration, macros::datetime};

use crate::{
    harness::{Database, Service},
    reports::{DAY, FIRST_SECOND, Report},
};

/// A database with reports of one day and of several, all right.
async fn filled() -> Database {
    let service = Service::start().await;
    for number in 0..5 {
        let begin = FIRST_SECOND + number * DAY;
        let report = Report::new("example.com", &number.to_string())
            .period(begin, begin + DAY * (1 + number % 2 * 2) - 1);
        service
            .store(
                report
                    .passing("192.0.2.1", 10)
                    .failing("192.0.2.2", 20)
                    .xml(),
            )
            .await;
    }
    let database = service.stop().await;
    assert_eq!(database.mismatches().await, []);
    database
}

async fn checks_after(tampering: &str) -> Vec<String> {
    let database = filled().await;
    assert!(database.execute(tampering).await > 0, "{tampering}");
    let mut checks: Vec<String> = database
        .mismatches()
        .await
        .into_iter()
        .map(|mismatch: Mismatch| mismatch.check)
        .collect();
    checks.dedup();
    checks
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_says_other_totals_is_found() {
    for column in [
        "record_count",
        "skipped_count",
        "message_count",
        "dmarc_pass_count",
    ] {
        let tampering = format!("update reports set {column} = {column} + 1 where report_id = '2'");
        assert_eq!(
            checks_after(&tampering).await,
            ["records_of_report"],
            "{column}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_and_invented_records_are_found() {
    let both = ["records_of_report", "source_days"];
    assert_eq!(
        checks_after(
            "delete from record_blocks where report_uid = (select min(report_uid::text)::uuid from reports)"
        )
        .await,
        both
    );
    assert_eq!(
        checks_after("update record_blocks set message_counts[2] = message_counts[2] + 1").await,
        both
    );
    let doubled = "insert into record_blocks select * from record_blocks";
    assert_eq!(checks_after(doubled).await, both);
    let orphaned = "delete from reports where report_id = '1'";
    assert_eq!(checks_after(orphaned).await, ["source_days"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollup_that_differs_is_found() {
    let totals = ["source_day_totals"];
    let sums = ["source_days"];
    let both = ["source_days", "source_day_totals"];
    for (tampering, checks) in [
        ("delete from source_day_arrivals", &sums[..]),
        (
            "insert into source_day_arrivals select * from source_day_arrivals",
            &sums,
        ),
        ("update source_day_arrivals set day = day + 1", &sums),
        (
            "update source_day_arrivals set report_counts = array[7, 7]",
            &sums,
        ),
        (
            "update source_day_arrivals set source_report_counts = array[7, 7]",
            &both,
        ),
        (
            "update source_day_arrivals set message_counts[1] = message_counts[1] + 1",
            &both,
        ),
        (
            "update source_day_arrivals set source_ips[1] = '192.0.2.9'",
            &both,
        ),
        (
            r#"update source_day_arrivals set keys = replace(keys::text, 'example.com', 'example.org')::json"#,
            &sums,
        ),
        (
            r#"update source_day_arrivals set keys = replace(keys::text, '"none"', '"reject"')::json"#,
            &both,
        ),
        (
            r#"update source_day_arrivals set keys = replace(keys::text, 'true', 'false')::json"#,
            &both,
        ),
        (
            "update source_day_arrivals set dmarc_pass_count = dmarc_pass_count + 1",
            &totals,
        ),
        (
            "update source_day_arrivals set sum_count = sum_count + 1",
            &totals,
        ),
        (
            "update source_day_arrivals set last_source = '255.255.255.255'",
            &totals,
        ),
    ] {
        assert_eq!(checks_after(tampering).await, checks, "{tampering}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_without_its_delivery_is_found() {
    assert_eq!(
        checks_after("delete from deliveries").await,
        ["delivery_of_report"]
    );
}

/// A quarantine of five deliveries of 100 bytes, kept one, two, ... days ago.
async fn quarantined() -> Database {
    let service = Service::start().await;
    for _ in 0..5 {
        assert_eq!(service.upload(vec![b'x'; 100]).await.status, 422);
    }
    let database = service.stop().await;
    let aging = "update quarantine set kept_at = timestamptz '2024-03-10 12:00Z' - n * interval '1 day' \
        from (select delivery_id, row_number() over (order by delivery_id desc) as n from quarantine) aged \
        where aged.delivery_id = quarantine.delivery_id";
    assert_eq!(database.execute(aging).await, 5);
    database
}

async fn pruned(kept_days: i64, total_bytes_max: u64) -> (u64, i64, String) {
    let database = quarantined().await;
    let store = database.store();
    let kept_before = datetime!(2024-03-10 12:00 UTC) - Duration::days(kept_days);
    let dropped = store
        .prune_quarantine(Prune {
            kept_before,
            total_bytes_max,
        })
        .await
        .unwrap();
    let oldest = "select coalesce(to_char(min(kept_at) at time zone 'utc', 'YYYY-MM-DD'), 'none') from quarantine";
    let oldest = database.value(oldest).await;
    assert_eq!(
        database
            .value::<i64>("select count(*) from deliveries")
            .await,
        5,
        "the ledger keeps its rows"
    );
    let left = database.value("select count(*) from quarantine").await;
    store.close().await;
    (dropped, left, oldest)
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_kept_for_a_time_and_within_a_size() {
    assert_eq!(pruned(30, 1_000).await, (0, 5, "2024-03-05".into()));
    assert_eq!(
        pruned(3, 1_000).await,
        (2, 3, "2024-03-07".into()),
        "what is exactly as old stays"
    );
    assert_eq!(pruned(30, 500).await, (0, 5, "2024-03-05".into()));
    assert_eq!(
        pruned(30, 499).await,
        (1, 4, "2024-03-06".into()),
        "the oldest goes first"
    );
    assert_eq!(pruned(30, 99).await, (5, 0, "none".into()));
    assert_eq!(pruned(3, 200).await, (3, 2, "2024-03-08".into()));
}
