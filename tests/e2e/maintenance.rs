//! `ruad verify` and `ruad rebuild`.

use serde_json::Value;

use crate::{
    generated::{assert_true, imported},
    harness::{Database, Program, Service},
    reports::{DAY, FIRST_SECOND, Report, Truth},
};

async fn verify(database: &Database) -> (Option<i32>, String) {
    let ended = Program::new(["verify"]).on(database).run().await;
    (ended.code, ended.stdout)
}

async fn answers(service: &Service) -> Vec<Value> {
    let mut answers = service
        .list("/api/v1/domains?from=2020-01-01&to=2026-12-31")
        .await;
    for path in ["summary", "sources"] {
        answers.push(
            service
                .get(&format!(
                    "/api/v1/domains/example.com/{path}?from=2020-01-01&to=2026-12-31"
                ))
                .await,
        );
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuilt_rollup_answers_as_before() {
    let (generated, database) = imported().await;
    let mut service = Service::start_with(database, |_| {}).await;
    let long = Report::new("example.com", "long")
        .period(FIRST_SECOND, FIRST_SECOND + 7 * DAY - 1000)
        .passing("192.0.2.1", 1234);
    service.store(long.xml()).await;
    let before = answers(&service).await;
    let database = service.stop().await;

    let rebuilt = Program::new(["rebuild"])
        .on(&database)
        .run()
        .await
        .succeeded();

    assert!(rebuilt.stdout.contains("rebuilt the rollup"), "{rebuilt:?}");
    assert_eq!(verify(&database).await.0, Some(0));
    service = Service::start_with(database, |_| {}).await;
    assert_eq!(answers(&service).await, before);
    let deleted = "with long as (delete from reports where report_id = 'long' returning report_uid) \
        delete from record_blocks where report_uid in (select report_uid from long)";
    service.database.execute(deleted).await;
    let database = service.stop().await;
    Program::new(["rebuild"])
        .on(&database)
        .run()
        .await
        .succeeded();
    let service = Service::start_with(database, |_| {}).await;
    assert_true(&service, Truth(&generated.reports)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tampered_rollup_is_found_and_repaired() {
    let (generated, database) = imported().await;
    let tamper = "update source_day_arrivals \
        set message_counts[1] = message_counts[1] + 1, message_count = message_count + 1 \
        where ctid = (select max(ctid) from source_day_arrivals)";
    assert_eq!(database.execute(tamper).await, 1);

    let (code, found) = verify(&database).await;
    assert_eq!(code, Some(1));
    assert_eq!(found.lines().count(), 2, "{found}");
    assert!(found.contains("source_day_totals: "), "{found}");
    assert!(
        found.starts_with("source_days: ") && found.contains("1 messages"),
        "{found}"
    );
    Program::new(["rebuild"])
        .on(&database)
        .run()
        .await
        .succeeded();

    assert_eq!(
        verify(&database).await,
        (Some(0), "all totals reconcile\n".into())
    );
    let service = Service::start_with(database, |_| {}).await;
    assert_true(&service, Truth(&generated.reports)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_may_arrive_while_the_rollup_is_rebuilt() {
    let (_, database) = imported().await;
    let service = Service::start_with(database, |_| {}).await;
    let uploads = async {
        for number in 0..100 {
            let report =
                Report::new("example.com", &format!("late {number}")).passing("192.0.2.1", 1);
            service.store(report.xml()).await;
        }
    };
    let rebuilds = async {
        for _ in 0..3 {
            Program::new(["rebuild"])
                .on(&service.database)
                .run()
                .await
                .succeeded();
        }
    };

    tokio::join!(uploads, rebuilds);

    assert_eq!(service.database.mismatches().await, []);
}
