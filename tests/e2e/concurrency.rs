//! The same reports from many sides at once are stored once.

use bytes::Bytes;
use futures_util::future::join_all;

use crate::{
    generated::assert_true,
    harness::{Database, Program, Service, Serving},
    reports::{Generated, Options, Random, Truth, generate},
};

fn five_hundred() -> Generated {
    generate(Options {
        seed: 5,
        reports: 500,
        records_max: 6,
        duplicates: 0,
        malformed: 0,
    })
}

/// Uploads everything in an order of its own and returns how often each outcome was answered.
async fn upload_all(serving: &Serving, generated: &Generated, seed: u64) -> (usize, usize) {
    let mut order: Vec<&(String, Vec<u8>)> = generated.deliveries.iter().collect();
    Random(seed).shuffle(&mut order);
    let (mut stored, mut duplicate) = (0, 0);
    for (name, bytes) in order {
        let answer = serving
            .upload(&Bytes::copy_from_slice(bytes))
            .await
            .unwrap();
        match answer.status {
            201 => stored += 1,
            200 => duplicate += 1,
            _ => panic!("{name}: {answer:?}"),
        }
    }
    (stored, duplicate)
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_uploaders_to_two_processes_store_every_report_once() {
    let generated = five_hundred();
    let database = Database::fresh().await;
    let serve = || {
        Program::new(["serve"])
            .on(&database)
            .env("RUAD_DATABASE__WRITERS", "4")
    };
    let (one, two) = tokio::join!(Serving::start(serve()), Serving::start(serve()));

    let uploaders =
        (0..8).map(|seed| upload_all(if seed % 2 == 0 { &one } else { &two }, &generated, seed));
    let outcomes = join_all(uploaders).await;

    let stored: usize = outcomes.iter().map(|(stored, _)| stored).sum();
    let duplicate: usize = outcomes.iter().map(|(_, duplicate)| duplicate).sum();
    assert_eq!((stored, duplicate), (500, 7 * 500));
    assert_ledger(&database, 8 * 500).await;
    let service = Service::start_with(database, |_| {}).await;
    assert_true(&service, Truth(&generated.reports)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_imports_at_once_store_every_report_once() {
    let generated = five_hundred();
    let database = Database::fresh().await;
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let imports = (1..).zip(&folders).map(|(seed, folder)| {
        let mut order: Vec<_> = generated.deliveries.iter().collect();
        Random(seed).shuffle(&mut order);
        for (place, (name, bytes)) in order.into_iter().enumerate() {
            std::fs::write(folder.path().join(format!("{place:04} {name}")), bytes).unwrap();
        }
        let import = Program::new(["import", "--format", "json"])
            .arg(folder.path())
            .on(&database);
        import.env("RUAD_DATABASE__WRITERS", "4").run()
    });

    let ended = join_all(imports).await;

    let count = |outcome: &str| -> u64 {
        ended
            .iter()
            .map(|ended| ended.json()["reports"][outcome].as_u64().unwrap())
            .sum()
    };
    assert!(ended.iter().all(|ended| ended.code == Some(0)), "{ended:?}");
    assert_eq!(
        (
            count("stored"),
            count("duplicate"),
            count("conflict"),
            count("rejected")
        ),
        (500, 500, 0, 0)
    );
    assert_ledger(&database, 2 * 500).await;
    let service = Service::start_with(database, |_| {}).await;
    assert_true(&service, Truth(&generated.reports)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_conflicting_reports_delivered_at_once_exactly_one_is_stored() {
    let service = Service::start().await;
    let report = |number: u64| {
        crate::reports::Report::new("example.com", "1")
            .passing("192.0.2.1", number)
            .xml()
    };

    let answers = join_all((1..=20).map(|number| service.upload(report(number)))).await;

    let stored: Vec<u64> = (1..=20)
        .zip(&answers)
        .filter(|(_, answer)| answer.status == 201)
        .map(|(number, _)| number)
        .collect();
    assert_eq!(stored.len(), 1, "{stored:?}");
    assert_eq!(
        answers
            .iter()
            .filter(|answer| answer.outcomes() == ["conflict"])
            .count(),
        19
    );
    assert_eq!(service.totals("example.com").await.message_count, stored[0]);
    assert_eq!(
        service
            .database
            .value::<i64>("select count(*) from quarantine")
            .await,
        19
    );
    assert_eq!(service.database.mismatches().await, []);
}

/// One row for each delivery, no report without one, none that brought two.
async fn assert_ledger(database: &Database, deliveries: i64) {
    assert_eq!(
        database
            .value::<i64>("select count(*) from deliveries")
            .await,
        deliveries
    );
    assert_eq!(
        database
            .value::<i64>("select count(*) from deliveries where outcome = 'stored'")
            .await,
        500
    );
    let bringing = "select count(distinct delivery_id) from reports join deliveries using (delivery_id) where outcome = 'stored'";
    assert_eq!(database.value::<i64>(bringing).await, 500);
}
