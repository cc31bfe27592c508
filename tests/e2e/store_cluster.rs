//! The store where it shares a database with others, and on a cluster.

use std::collections::BTreeSet;

use store::{Actor, Error};

use crate::{
    harness::{DISTRIBUTED, Database, Program, Service, requires_citus},
    reports::Report,
};

/// Tables that stay on the coordinator of a cluster.
const LOCAL: [&str; 9] = [
    "_sqlx_migrations",
    "audit",
    "deliveries",
    "forgotten",
    "mailboxes",
    "quarantine",
    "reader_domains",
    "sessions",
    "tokens",
];

#[tokio::test(flavor = "multi_thread")]
async fn schemas_of_one_database_do_not_see_each_other() {
    // One after the other: a cluster may find those that make tables at once in each other's way.
    let (here, there) = (Database::in_schema().await, Database::in_schema().await);
    let (here, there) = tokio::join!(
        Service::start_with(here, |_| {}),
        Service::start_with(there, |_| {})
    );
    let report = |count| Report::new("example.com", "1").passing("192.0.2.1", count);

    // The same report with other content: a conflict if it were one database.
    let (one, two) = tokio::join!(here.store(report(1).xml()), there.store(report(2).xml()));

    assert_eq!(one["record_count"], two["record_count"]);
    let (here, there) = tokio::join!(here.stop(), there.stop());
    for (database, messages) in [(here, 1), (there, 2)] {
        let total = "select sum(message_count)::bigint from source_days";
        assert_eq!(database.value::<i64>(total).await, messages);
        assert_eq!(database.mismatches().await, []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_is_spread_or_stays() {
    let database = Database::in_schema().await;
    let tables = "select array_agg(relname::text) from pg_class \
        where relnamespace = current_schema::regnamespace and relkind in ('r', 'p') and not relispartition";
    let tables: BTreeSet<String> = BTreeSet::from_iter(database.value::<Vec<String>>(tables).await);

    let known = DISTRIBUTED.into_iter().chain(LOCAL).map(String::from);
    assert_eq!(
        tables,
        known.collect(),
        "a new table belongs to one of the lists"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_spread_once_stays_so() {
    let database = Database::in_schema().await;
    let store = database.store();

    let again = store.distribute(&Actor::cli()).await;

    match requires_citus() {
        true => assert!(again.unwrap().is_empty()),
        false => assert!(matches!(again, Err(Error::NoCluster)), "{again:?}"),
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filled_database_is_spread_with_what_is_in_it() {
    if !requires_citus() {
        return crate::harness::skip("spreading a filled database needs a cluster");
    }
    let database = Database::in_empty_schema().await;
    let service = Service::start_with(database, |_| {}).await;
    for domain in ["one.example", "two.example", "three.example"] {
        let report = Report::new(domain, "1");
        service
            .store(report.passing("192.0.2.1", 5).failing("192.0.2.2", 6).xml())
            .await;
    }
    let database = service.stop().await;

    let store = database.store();
    assert_eq!(store.distribute(&Actor::cli()).await.unwrap(), DISTRIBUTED);
    store.close().await;

    assert_eq!(database.report_count().await, 3);
    let total = "select sum(message_count)::bigint from source_days";
    assert_eq!(database.value::<i64>(total).await, 33);
    assert_eq!(database.mismatches().await, []);
    // And goes on as before.
    let service = Service::start_with(database, |_| {}).await;
    service
        .store(
            Report::new("four.example", "1")
                .passing("192.0.2.1", 5)
                .xml(),
        )
        .await;
    assert_eq!(service.stop().await.mismatches().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_is_no_cluster() {
    if requires_citus() {
        return;
    }
    let database = Database::in_empty_schema().await;

    let ended = Program::new(["migrate", "--distribute"])
        .on(&database)
        .run()
        .await;

    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("no extension citus"), "{ended:?}");
    let tables = "select count(*) from pg_class where relnamespace = current_schema::regnamespace";
    assert_eq!(database.value::<i64>(tables).await, 0);
    let migrated = Program::new(["migrate"]).on(&database).run().await;
    assert_eq!(migrated.succeeded().stdout, "the schema is up to date\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_private_database_is_no_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");

    let ended = Program::new(["migrate", "--distribute"])
        .env("RUAD_DATA", &data)
        .run()
        .await;

    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("database.url"), "{ended:?}");
    assert!(!data.exists());
}
