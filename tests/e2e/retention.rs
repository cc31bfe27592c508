//! What is kept for a time only: months are dropped when they are too old.

mod months;

use std::time::Instant;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use store::{Forget, Forgot};
use time::{
    Date, Duration,
    macros::{date, datetime},
};

use crate::{
    harness::{Database, Program, Service, eventually},
    reports::{DAY, FIRST_SECOND, Report},
};

/// 2024-01-01, -02-01 and -03-01, in days from the first day of made-up reports.
const JANUARY: i64 = -60;
const FEBRUARY: i64 = -29;
const MARCH: i64 = 0;

/// Keeps records from March on.
const RECORDS_FROM_MARCH: Forget = Forget {
    records_before: Some(date!(2024 - 03 - 15)),
    days_before: None,
};
/// Keeps everything from March on.
const DAYS_FROM_MARCH: Forget = Forget {
    records_before: None,
    days_before: Some(date!(2024 - 03 - 15)),
};
const ALL_DAYS: &str = "from=2023-01-01&to=2026-12-31";

fn report(report_id: &str, first_day: i64) -> Report {
    let begin = FIRST_SECOND + first_day * DAY;
    Report::new("example.com", report_id)
        .period(begin, begin + DAY - 1)
        .passing("192.0.2.1", 10)
        .failing("192.0.2.2", 20)
}

async fn store(service: &Service, report: &Report) -> String {
    let told = service.store(report.xml()).await;
    told["reports"][0]["report_uid"].as_str().unwrap().into()
}

/// A report of the first and the last day of each of three months, and of two days that have no month. Returns the ids of
/// the first ones.
async fn three_months(service: &Service) -> [String; 3] {
    for (number, day) in [-30, -1, 30].into_iter().enumerate() {
        store(service, &report(&format!("last {number}"), day)).await;
    }
    let day_of_1971 = 366 - FIRST_SECOND / DAY;
    store(service, &report("1971", day_of_1971)).await;
    store(service, &report("2999", 356_000)).await;
    [
        store(service, &report("first 0", JANUARY)).await,
        store(service, &report("first 1", FEBRUARY)).await,
        store(service, &report("first 2", MARCH)).await,
    ]
}

async fn forget(database: &Database, forget: Forget) -> Forgot {
    let store = database.store();
    let forgot = store.forget(forget).await.unwrap();
    store.close().await;
    forgot
}

/// Everything that is answered without records.
async fn answers(service: &Service) -> Vec<Value> {
    let mut answers = service.list(&format!("/api/v1/domains?{ALL_DAYS}")).await;
    for path in [
        "domains/example.com/summary",
        "domains/example.com/sources",
        "sources/192.0.2.1",
    ] {
        answers.push(service.get(&format!("/api/v1/{path}?{ALL_DAYS}")).await);
    }
    answers.push(service.list("/api/v1/reports").await.into());
    answers
}

/// The status of a report's records, with the code or the number of them.
async fn records(service: &Service, report_uid: &str) -> (u16, Value) {
    let path = format!("/api/v1/reports/{report_uid}/records");
    let answer = service.request(hyper::Method::GET, &path).await;
    let json = answer.json();
    let told = match json["items"].as_array() {
        Some(items) => items.len().into(),
        None => json["code"].clone(),
    };
    (answer.status, told)
}

fn expired() -> (u16, Value) {
    (410, "records_expired".into())
}

async fn months(database: &Database, parent: &str) -> i64 {
    let partitions = format!(
        "select count(*) from pg_inherits where inhparent = '{parent}'::regclass \
         and inhrelid::regclass::text ~ '_(197|201|2024|2999)\\d*_'"
    );
    database.value(&partitions).await
}

/// A transaction that has run this statement and stays open.
async fn open_transaction(database: &Database, statement: &str) -> PgConnection {
    let mut connection = PgConnection::connect_with(&database.connect_options())
        .await
        .unwrap();
    for sql in ["begin isolation level repeatable read", statement] {
        sqlx::query(AssertSqlSafe(sql.to_owned()))
            .execute(&mut connection)
            .await
            .unwrap();
    }
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_old_months_are_dropped_and_nothing_else() {
    let service = Service::start().await;
    let [january, february, march] = three_months(&service).await;
    let before = answers(&service).await;

    let forgot = forget(&service.database, RECORDS_FROM_MARCH).await;

    let expected = Forgot {
        partition_count: 2,
        row_count: 1,
        is_complete: true,
    };
    assert_eq!(forgot, expected, "two months, and the day of 1971");
    assert_eq!(answers(&service).await, before);
    for report_uid in [&january, &february] {
        assert_eq!(records(&service, report_uid).await, expired());
        let report = service.get(&format!("/api/v1/reports/{report_uid}")).await;
        assert_eq!(report["message_count"], 30, "the report itself is kept");
    }
    assert_eq!(records(&service, &march).await, (200, 2.into()));
    assert_eq!(service.database.mismatches().await, []);
    let again = forget(&service.database, RECORDS_FROM_MARCH).await;
    assert_eq!((again.partition_count, again.row_count), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_stays_while_one_of_its_days_does() {
    let service = Service::start().await;
    let [january, february, _] = three_months(&service).await;
    let records_before = Some(date!(2024 - 02 - 29));

    let forgot = forget(
        &service.database,
        Forget {
            records_before,
            days_before: None,
        },
    )
    .await;

    assert_eq!(forgot.partition_count, 1);
    assert_eq!(records(&service, &january).await, expired());
    assert_eq!(records(&service, &february).await, (200, 2.into()));
    let forgot = forget(&service.database, Forget::default()).await;
    assert_eq!((forgot.partition_count, forgot.is_complete), (0, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forgotten_is_told_from_what_is_lost() {
    let service = Service::start().await;
    let [_, _, march] = three_months(&service).await;
    let empty = store(
        &service,
        &Report::new("example.com", "no records").period(0, 1),
    )
    .await;
    forget(&service.database, RECORDS_FROM_MARCH).await;

    service
        .database
        .execute("delete from record_blocks where day = '2024-03-01'")
        .await;

    assert_eq!(records(&service, &march).await, (200, 0.into()));
    assert_eq!(records(&service, &empty).await, (200, 0.into()));
    let checks: Vec<String> = (service.database.mismatches().await.into_iter())
        .map(|mismatch| format!("{} {}", mismatch.check, mismatch.place))
        .collect();
    let lost = [
        format!("records_of_report {march}"),
        "source_days 2024-03-01 192.0.2.1".into(),
        "source_days 2024-03-01 192.0.2.2".into(),
    ];
    assert_eq!(checks, lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuilt_rollup_keeps_what_has_no_records_any_more() {
    let service = Service::start().await;
    three_months(&service).await;
    // From 2024-02-20 to 2024-03-04, so that the records go with February, and the days are of March too.
    let begin = FIRST_SECOND - 10 * DAY;
    let long = report("long", 0).period(begin, begin + 14 * DAY - 1);
    store(&service, &long).await;
    let april = store(&service, &report("april", 40)).await;
    let before = answers(&service).await;
    forget(&service.database, RECORDS_FROM_MARCH).await;
    assert_eq!(service.database.mismatches().await, []);
    let database = service.stop().await;
    let tampering = "update source_day_arrivals set message_counts = array_fill(7::bigint, array[cardinality(message_counts)]) \
        where day = '2024-04-10'";
    assert_eq!(database.execute(tampering).await, 1);
    let found = database.mismatches().await;
    assert_eq!(found.len(), 3, "two sums and their total: {found:?}");

    let rebuilt = Program::new(["rebuild"]).on(&database).run().await;

    rebuilt.succeeded();
    assert_eq!(database.mismatches().await, []);
    let service = Service::start_with(database, |_| {}).await;
    assert_eq!(answers(&service).await, before);
    assert_eq!(records(&service, &april).await, (200, 2.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_report_counts_and_loses_its_records_with_the_next_run() {
    let service = Service::start().await;
    let [january, ..] = three_months(&service).await;
    forget(&service.database, RECORDS_FROM_MARCH).await;

    let late = store(&service, &report("late", JANUARY)).await;

    assert_eq!(records(&service, &late).await, (200, 2.into()));
    assert_eq!(records(&service, &january).await, expired());
    assert_eq!(service.totals("example.com").await.message_count, 7 * 30);
    assert_eq!(service.database.mismatches().await, []);
    let forgot = forget(&service.database, RECORDS_FROM_MARCH).await;
    assert_eq!(forgot.partition_count + forgot.row_count, 1);
    assert_eq!(records(&service, &late).await, expired());
    assert_eq!(service.totals("example.com").await.message_count, 7 * 30);
    assert_eq!(service.database.mismatches().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn days_go_with_their_reports_and_records() {
    let service = Service::start().await;
    let [january, ..] = three_months(&service).await;

    let forgot = forget(&service.database, DAYS_FROM_MARCH).await;

    assert!(forgot.is_complete, "{forgot:?}");
    assert_eq!(service.totals("example.com").await.message_count, 2 * 30);
    assert_eq!(service.sources("example.com").await.len(), 2);
    assert_eq!(
        service.database.report_count().await,
        3,
        "two and that of 2999"
    );
    let path = format!("/api/v1/reports/{january}");
    let gone = service.request(hyper::Method::GET, &path).await;
    assert_eq!(gone.status, 404);
    for parent in ["reports", "record_blocks"] {
        assert_eq!(months(&service.database, parent).await, 1, "{parent}");
    }
    assert_eq!(service.database.mismatches().await, []);

    // What comes again is stored again, and forgotten again.
    assert_eq!(store(&service, &report("first 0", JANUARY)).await, january);
    assert_eq!(service.totals("example.com").await.message_count, 3 * 30);
    assert_eq!(service.database.mismatches().await, []);
    forget(&service.database, DAYS_FROM_MARCH).await;
    assert_eq!(service.totals("example.com").await.message_count, 2 * 30);
    assert_eq!(service.database.mismatches().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn merged_days_are_dropped_by_the_month() {
    let service = Service::start().await;
    three_months(&service).await;
    let store = service.database.store();
    eventually("everything is merged", async || {
        store
            .compact(datetime!(2024-03-10 12:00 UTC))
            .await
            .unwrap();
        store.arrived_sum_count().await.unwrap() == 0
    })
    .await;
    assert_eq!(months(&service.database, "source_day_blocks").await, 3);

    let forgot = forget(&service.database, DAYS_FROM_MARCH).await;

    assert_eq!(forgot.partition_count, 4 * 2);
    assert_eq!(
        forgot.row_count, 5,
        "of 1971: records, days, two buckets of sources and the report"
    );
    assert_eq!(months(&service.database, "source_day_blocks").await, 1);
    assert_eq!(service.totals("example.com").await.message_count, 2 * 30);
    assert_eq!(service.database.mismatches().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_use_is_dropped_later_and_keeps_nobody_waiting() {
    let service = Service::start().await;
    let [january, ..] = three_months(&service).await;
    let reader = open_transaction(&service.database, "select count(*) from records").await;
    let uploads = async {
        for number in 0..20 {
            let begun = Instant::now();
            store(&service, &report(&format!("new {number}"), MARCH)).await;
            assert_eq!(records(&service, &january).await, (200, 2.into()));
            assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
        }
    };

    let (forgot, ()) = tokio::join!(forget(&service.database, RECORDS_FROM_MARCH), uploads);

    assert_eq!((forgot.partition_count, forgot.is_complete), (0, false));
    assert_eq!(service.database.mismatches().await, []);
    reader.close().await.unwrap();
    let forgot = forget(&service.database, RECORDS_FROM_MARCH).await;
    assert_eq!((forgot.partition_count, forgot.is_complete), (2, true));
    assert_eq!(service.database.mismatches().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_arrive_and_all_is_compared_while_months_are_dropped() {
    let service = Service::start().await;
    three_months(&service).await;
    let uploads = async {
        for number in 0..60 {
            let day = [JANUARY, FEBRUARY, MARCH][number % 3];
            store(&service, &report(&format!("new {number}"), day)).await;
        }
    };
    let drops = async {
        for _ in 0..10 {
            forget(&service.database, RECORDS_FROM_MARCH).await;
        }
    };
    let checks = async {
        for _ in 0..10 {
            assert_eq!(service.database.mismatches().await, []);
        }
    };
    let rebuild = Program::new(["rebuild"]).on(&service.database).run();

    let ((), (), (), rebuilt) = tokio::join!(uploads, drops, checks, rebuild);

    rebuilt.succeeded();
    assert_eq!(service.totals("example.com").await.message_count, 66 * 30);
    assert_eq!(service.database.mismatches().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_processes_each_month_is_dropped_by_one() {
    let service = Service::start().await;
    three_months(&service).await;

    let (one, other) = tokio::join!(
        forget(&service.database, RECORDS_FROM_MARCH),
        forget(&service.database, RECORDS_FROM_MARCH)
    );

    assert!(one.is_complete && other.is_complete, "{one:?}, {other:?}");
    assert_eq!(one.partition_count + other.partition_count, 2);
    assert_eq!(one.row_count + other.row_count, 1);
    assert_eq!(service.database.mismatches().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn ruad_serve_drops_what_is_too_old() {
    let service = Service::start().await;
    let [january, ..] = three_months(&service).await;
    let database = service.stop().await;
    note_changes(&database, 2, "now() - interval '31 days'").await;
    note_changes(&database, 3, "now() - interval '29 days'").await;

    let service = Service::start_with(database, |config| {
        config.retention.records = 400;
        config.retention.audit = 30;
    })
    .await;

    eventually("the records are dropped", async || {
        records(&service, &january).await == expired()
    })
    .await;
    eventually("the old changes are forgotten", async || {
        changes(&service.database).await == 3
    })
    .await;
    assert_eq!(service.totals("example.com").await.message_count, 6 * 30);
    let database = service.stop().await;
    assert_eq!(database.mismatches().await, []);
}

/// Rows of the audit from this time.
async fn note_changes(database: &Database, number: u64, at: &str) {
    let rows = format!(
        "insert into audit (at, actor, action) select {at}, 'cli', 'rebuilt' from generate_series(1, {number})"
    );
    assert_eq!(database.execute(&rows).await, number);
}

async fn changes(database: &Database) -> i64 {
    database.value("select count(*) from audit").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_is_forgotten_some_rows_at_a_time() {
    let database = Database::fresh().await;
    let before = datetime!(2024-03-10 12:00 UTC);
    note_changes(&database, 2, "timestamptz '2024-03-10 12:00Z'").await;
    note_changes(&database, 2_500, "timestamptz '2024-03-10 11:59Z'").await;
    note_changes(&database, 2, "timestamptz '2024-03-11 12:00Z'").await;
    let store = database.store();
    // Somebody keeps one of them, and nobody waits for that.
    let keep = "select 1 from audit where audit_id = 1000 for update";
    let mut other = open_transaction(&database, keep).await;

    let (one, two) = tokio::join!(store.forget_audit(before), store.forget_audit(before));

    assert_eq!(one.unwrap() + two.unwrap(), 2_499);
    assert_eq!(changes(&database).await, 5);
    sqlx::query("rollback").execute(&mut other).await.unwrap();
    assert_eq!(store.forget_audit(before).await.unwrap(), 1);
    assert_eq!(store.forget_audit(before).await.unwrap(), 0);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_old_days_are_forgotten_in_steps() {
    let database = Database::fresh().await;
    let fill = "insert into source_day_arrivals select 1, day::date, '::1', '::1', 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, \
        '{::1}', '{1}', '{1}', null, null, '[{}]' \
        from generate_series('1970-01-01'::timestamp, '1974-12-31', '1 day') day, generate_series(1, 3)";
    let filled = database.execute(fill).await;
    let store = database.store();
    let days_before = Some(date!(1974 - 12 - 01) + Duration::days(5));

    let forgot = store
        .forget(Forget {
            records_before: None,
            days_before,
        })
        .await
        .unwrap();

    assert_eq!(forgot.row_count, filled - 31 * 3, "all but December");
    let first = "select min(day) from source_day_arrivals";
    assert_eq!(database.value::<Date>(first).await, date!(1974 - 12 - 01));
    store.close().await;
}
