//! PostgreSQL goes away and comes back.

use bytes::Bytes;
use futures_util::future::join_all;
use hyper::Method;

use crate::{
    generated::assert_true,
    harness::{Cluster, Database, Program, Running, Service, eventually},
    reports::{Generated, Options, Report, Truth, generate},
};

fn reports(seed: u64, reports: usize) -> Generated {
    generate(Options {
        seed,
        reports,
        records_max: 4,
        duplicates: 0,
        malformed: 0,
    })
}

async fn has_reports(database: &Database, count: i64) -> bool {
    let stored = database
        .try_value::<i64>("select count(*) from reports")
        .await;
    stored.is_ok_and(|stored| stored >= count)
}

async fn assert_nothing_rejected(database: &Database) {
    let other = "select count(*) from deliveries where outcome not in ('stored', 'duplicate')";
    assert_eq!(database.value::<i64>(other).await, 0);
    assert_eq!(
        database
            .value::<i64>("select count(*) from quarantine")
            .await,
        0
    );
}

/// Imports into a server that `outage` takes away in the middle. There are more reports than an import holds at a time.
async fn import_through(outage: impl AsyncFnOnce(&mut Cluster, &mut Running)) {
    let generated = reports(21, 2500);
    let folder = tempfile::tempdir().unwrap();
    generated.write_to(folder.path());
    let mut cluster = Cluster::start().await;
    let database = cluster.database();
    let mut importing = Program::new(["import", "--format", "json"])
        .arg(folder.path())
        .on(&database)
        .spawn();
    eventually("some reports are stored", async || {
        has_reports(&database, 50).await
    })
    .await;

    outage(&mut cluster, &mut importing).await;
    let ended = importing.end().await;

    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.json()["deliveries"], 2500);
    assert_eq!(
        ended.json()["reports"]["stored"],
        2500,
        "also those whose first answer was lost"
    );
    assert_nothing_rejected(&database).await;
    let service = Service::start_with(database, |_| {}).await;
    assert_true(&service, Truth(&generated.reports)).await;
    service.stop().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_waits_for_the_database_and_goes_on() {
    import_through(async |cluster, importing| {
        cluster.stop().await;
        eventually("the import says that it waits", async || {
            importing.said().contains("waiting for the database")
        })
        .await;
        assert!(importing.is_running());
        cluster.restart().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_goes_on_after_a_crash_of_the_database() {
    // What watches the server starts it again.
    import_through(async |cluster, _| assert!(cluster.kill())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_are_told_to_try_again_and_questions_too() {
    let mut cluster = Cluster::start().await;
    // Long enough to connect anew on a busy machine.
    let quick = |config: &mut server::Config| config.database.acquire_timeout_secs = 3;
    let service = Service::start_with(cluster.database(), quick).await;
    let report = |number: u64| {
        Report::new("example.com", &number.to_string())
            .passing("192.0.2.1", number)
            .xml()
    };
    service.store(report(1)).await;

    cluster.stop().await;
    for answer in [
        service.upload(report(2)).await,
        service.request(Method::GET, "/api/v1/domains").await,
    ] {
        assert_eq!(answer.problem(503), "unavailable");
        assert!(
            answer
                .header("retry-after")
                .unwrap()
                .parse::<u64>()
                .unwrap()
                > 0
        );
    }
    assert_eq!(
        service.upload("broken").await.problem(503),
        "unavailable",
        "a rejection is not final before it is recorded"
    );
    assert_eq!(service.request(Method::GET, "/healthz").await.status, 200);
    // What was found a moment ago is answered again.
    eventually("the service is not ready", async || {
        service.request(Method::GET, "/readyz").await.status == 503
    })
    .await;
    cluster.restart().await;

    service.becomes_ready().await;
    assert_eq!(service.upload(report(2)).await.status, 201);
    assert_eq!(service.totals("example.com").await.message_count, 3);
    assert_nothing_rejected(&service.database).await;
    service.stop().await;
    cluster.stop().await;
}

/// Uploads each delivery until it is taken in; returns how often it was told to try again.
async fn upload_patiently(service: &Service, deliveries: &[(String, Vec<u8>)]) -> usize {
    let mut refused = 0;
    for (name, bytes) in deliveries {
        let bytes = Bytes::copy_from_slice(bytes);
        eventually("the upload is taken in", async || {
            let answer = service.upload(bytes.clone()).await;
            refused += usize::from(answer.status == 503);
            assert!(
                [200, 201, 503].contains(&answer.status),
                "{name}: {answer:?}"
            );
            answer.status < 300
        })
        .await;
    }
    refused
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_are_tried_again_are_counted_once() {
    let generated = reports(22, 400);
    let mut cluster = Cluster::start().await;
    let quick = |config: &mut server::Config| config.database.acquire_timeout_secs = 1;
    let service = Service::start_with(cluster.database(), quick).await;

    let uploads = join_all(
        generated
            .deliveries
            .chunks(100)
            .map(|part| upload_patiently(&service, part)),
    );
    let outage = async {
        eventually("some reports are stored", async || {
            has_reports(&service.database, 50).await
        })
        .await;
        cluster.stop().await;
        eventually("it is noticed", async || {
            service.request(Method::GET, "/readyz").await.status == 503
        })
        .await;
        cluster.restart().await;
    };
    let (refused, ()) = tokio::join!(uploads, outage);

    assert!(refused.iter().sum::<usize>() > 0, "the outage was noticed");
    assert_nothing_rejected(&service.database).await;
    assert_true(&service, Truth(&generated.reports)).await;
    service.stop().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_server_that_dies_is_started_again() {
    let cluster = Cluster::empty();
    let service = Service::start_with(cluster.database(), |config| {
        config.database = Default::default();
        config.data = cluster.data();
    })
    .await;
    let report = |number: u64| {
        Report::new("example.com", &number.to_string())
            .passing("192.0.2.1", number)
            .xml()
    };
    service.store(report(1)).await;

    assert!(cluster.kill());
    eventually("uploads are taken in again", async || {
        let answer = service.upload(report(2)).await;
        assert!([200, 201, 503].contains(&answer.status), "{answer:?}");
        answer.status < 300
    })
    .await;

    assert_eq!(
        service.totals("example.com").await.message_count,
        3,
        "what was acknowledged is there"
    );
    assert_nothing_rejected(&service.database).await;
    service.stop().await;
    assert!(!cluster.is_running(), "the service stops its server");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_started_before_its_database_waits_for_it() {
    let mut cluster = Cluster::start().await;
    cluster.stop().await;
    let quick = |config: &mut server::Config| config.database.acquire_timeout_secs = 1;
    let service = Service::begin(cluster.database(), quick).await;
    assert_eq!(service.request(Method::GET, "/readyz").await.status, 503);

    cluster.restart().await;
    service.becomes_ready().await;

    service
        .store(
            Report::new("example.com", "1")
                .passing("192.0.2.1", 1)
                .xml(),
        )
        .await;
    service.stop().await;
    cluster.stop().await;
}
