//! Months are made ahead of need, or late, with what waited for them.

use serde_json::Value;
use sqlx::Connection as _;
use store::{Compacted, Store};
use time::{
    Date,
    macros::{date, datetime},
};

use super::{MARCH, months, open_transaction, records, report, store};
use crate::harness::{Database, Service, eventually};

async fn prepare(store: &Store, day: Date) -> bool {
    let now = datetime!(2024-03-10 12:00 UTC).replace_date(day);
    store.prepare_months(now).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn months_are_made_ahead() {
    let database = Database::fresh().await;
    let store = database.store();

    assert!(prepare(&store, date!(2024 - 01 - 31)).await);

    for parent in [
        "reports",
        "record_blocks",
        "source_day_blocks",
        "source_blocks",
    ] {
        assert_eq!(months(&database, parent).await, 3, "{parent}");
    }
    let march: bool = database
        .value("select to_regclass('reports_2024_03') is not null")
        .await;
    assert!(march);
    let (one, other) = tokio::join!(
        prepare(&store, date!(2024 - 12 - 01)),
        prepare(&store, date!(2024 - 12 - 01))
    );
    assert!(one || other);
    assert_eq!(months(&database, "reports").await, 4, "and two of 2025");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_plausible_days_make_a_month() {
    let service = Service::start().await;
    let first_day = |day: Date| (day - date!(2024 - 03 - 01)).whole_days();
    for (number, day) in [
        date!(1970 - 01 - 02),
        date!(2011 - 12 - 31),
        date!(2999 - 01 - 01),
        date!(9999 - 12 - 31),
    ]
    .into_iter()
    .enumerate()
    {
        store(&service, &report(&number.to_string(), first_day(day))).await;
    }
    assert_eq!(months(&service.database, "record_blocks").await, 0);

    store(&service, &report("old", first_day(date!(2013 - 05 - 05)))).await;
    store(&service, &report("too", first_day(date!(2013 - 05 - 31)))).await;

    for parent in ["reports", "record_blocks"] {
        assert_eq!(months(&service.database, parent).await, 1, "{parent}");
    }
    assert_eq!(service.database.mismatches().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_that_cannot_be_made_now_is_made_later() {
    let service = Service::start().await;
    let reader = open_transaction(&service.database, "select count(*) from records").await;

    let stored = store(&service, &report("1", MARCH)).await;

    assert_eq!(months(&service.database, "record_blocks").await, 0);
    assert_eq!(records(&service, &stored).await, (200, 2.into()));
    reader.close().await.unwrap();
    let store = service.database.store();
    assert!(prepare(&store, date!(2024 - 05 - 01)).await);
    store.close().await;
    assert_eq!(months(&service.database, "record_blocks").await, 4);
    let left = "select (select count(*) from reports_default) + (select count(*) from record_blocks_default)";
    assert_eq!(service.database.value::<i64>(left).await, 0);
    assert_eq!(records(&service, &stored).await, (200, 2.into()));
    assert_eq!(service.database.mismatches().await, []);
    assert_eq!(service.upload(report("1", MARCH).xml()).await.status, 200);
}

/// How many messages each kind of answer counts. No range is asked for twice: the answer would be remembered.
async fn message_counts(service: &Service, report_uid: &str, day: Date) -> [i64; 4] {
    let sum = |list: &Value| {
        let counts = list["items"].as_array().unwrap().iter();
        counts
            .map(|item| item["message_count"].as_i64().unwrap())
            .sum()
    };
    let range = format!("from=2024-01-01&to={day}");
    let get = async |path: String| service.get(&format!("/api/v1/{path}")).await;
    let (reports, records, summary, source) = tokio::join!(
        get("reports".into()),
        get(format!("reports/{report_uid}/records")),
        get(format!("domains/example.com/summary?{range}")),
        get(format!("sources/192.0.2.1?{range}")),
    );
    [
        sum(&reports),
        sum(&records),
        summary["message_count"].as_i64().unwrap(),
        source["message_count"].as_i64().unwrap(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_while_a_month_moves_to_its_partition_misses_nothing() {
    let service = Service::start().await;
    let reader = open_transaction(&service.database, "select count(*) from reports, records").await;
    let stored = store(&service, &report("1", MARCH)).await;
    let store = service.database.store();
    while let Compacted::Moved(_) = store
        .compact(datetime!(2024-04-01 12:00 UTC))
        .await
        .unwrap()
    {}
    store.close().await;
    reader.close().await.unwrap();

    for (parent, day) in [
        ("reports", date!(2024 - 05 - 01)),
        ("record_blocks", date!(2024 - 05 - 02)),
        ("source_day_blocks", date!(2024 - 05 - 03)),
        ("source_blocks", date!(2024 - 05 - 04)),
    ] {
        let late = format!("select count(*) from {parent}_default");
        assert!(
            service.database.value::<i64>(&late).await > 0,
            "{parent} has nothing to move"
        );
        let adds = format!("select add_month('{parent}', '2024-03-01')");
        let mut mover = open_transaction(&service.database, &adds).await;
        let moves = async {
            eventually("a reader waits for the month", async || {
                let waiting = "select count(*) > 0 from pg_locks where not granted \
                    and database = (select oid from pg_database where datname = current_database())";
                service.database.value::<bool>(waiting).await
            })
            .await;
            sqlx::query("commit").execute(&mut mover).await.unwrap();
        };

        let (counts, ()) = tokio::join!(message_counts(&service, &stored, day), moves);

        assert_eq!(counts, [30, 30, 30, 10], "{parent}");
        assert_eq!(months(&service.database, parent).await, 1, "{parent}");
    }
    assert_eq!(service.database.mismatches().await, []);
}
