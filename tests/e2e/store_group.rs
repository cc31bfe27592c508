//! The store alone: what is submitted, in groups and one by one.

use std::sync::Arc;

use futures_util::future::join_all;
use report::{Body, Content, Limits, Parser, Record, unpack};
use sqlx::types::Uuid;
use store::{Delivery, Outcome, OutcomeRow, Pending, Store, Submission};
use time::macros::datetime;

use crate::{
    harness::{Database, Service},
    reports::Report,
};

/// A delivery with these reports, read as `ingest` does.
fn submission(reports: &[Report]) -> Submission {
    submission_as(Uuid::now_v7(), reports)
}

fn submission_as(delivery_id: Uuid, reports: &[Report]) -> Submission {
    let body = Body::Memory(reports.iter().flat_map(Report::xml).collect());
    Submission {
        delivery: Delivery {
            delivery_id,
            origin: "http".into(),
            name: None,
            received_at: datetime!(2024-03-02 12:00 UTC),
            size_bytes: reports.iter().map(|report| report.xml().len() as u64).sum(),
            sha256: Some([7; 32]),
            body,
            authenticity: None,
        },
        documents: reports.iter().map(pending).collect(),
    }
}

fn pending(report: &Report) -> Pending {
    let limits = Limits::default();
    let documents = unpack(&Body::Memory(report.xml().into()), &limits).unwrap();
    let Content::Xml(xml) = &documents[0].content else {
        panic!("no XML")
    };
    let mut parser = Parser::open(xml, &limits).unwrap();
    let mut records = Vec::new();
    while parser.read_records(&mut records, 1000).unwrap() {}
    Pending::Report {
        path: String::new(),
        summary: Box::new(parser.finish()),
        records,
    }
}

fn report(id: &str, count: u64) -> Report {
    Report::new("example.com", id).passing("192.0.2.1", count)
}

async fn submit(store: &Store, submission: Submission) -> Vec<OutcomeRow> {
    let room = store.reserve(&submission.documents).await.unwrap();
    store.submit(submission, room).await.unwrap()
}

/// Submits all at once, in this order, so that they are grouped.
async fn submit_all(store: &Store, submissions: Vec<Submission>) -> Vec<Outcome> {
    let submitted = submissions
        .into_iter()
        .map(|submission| submit(store, submission));
    let rows = join_all(submitted).await;
    rows.into_iter().flatten().map(|row| row.outcome).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_group_the_first_of_an_identity_is_kept() {
    let database = Database::fresh().await;
    let store = database.store();
    let submissions =
        (0..300).map(|number| submission(&[report(&(number % 3).to_string(), 1 + number % 6)]));

    let outcomes = submit_all(&store, submissions.collect()).await;

    assert_eq!(outcomes[..3], [Outcome::Stored; 3]);
    for (number, outcome) in outcomes.iter().enumerate().skip(3) {
        let same = number % 6 == number % 3;
        assert_eq!(
            *outcome,
            if same {
                Outcome::Duplicate
            } else {
                Outcome::Conflict
            },
            "{number}"
        );
    }
    assert_eq!(
        database
            .value::<i64>("select sum(message_count)::bigint from reports")
            .await,
        1 + 2 + 3
    );
    assert_eq!(
        database
            .value::<i64>("select count(*) from deliveries")
            .await,
        300
    );
    assert_eq!(database.mismatches().await, []);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_deliveries_share_a_commit() {
    let database = Database::fresh().await;
    let store = database.store();
    let submissions = (0..200)
        .map(|number| submission(&[report(&number.to_string(), 1)]))
        .collect();

    let outcomes = submit_all(&store, submissions).await;

    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Stored));
    let commits = "select count(distinct xmin::text) from deliveries";
    let commits: i64 = database.value(commits).await;
    assert!(commits <= 20, "{commits} commits for 200 deliveries");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_twice_in_one_delivery_is_stored_once() {
    let database = Database::fresh().await;
    let store = database.store();
    let documents = [
        report("1", 5),
        report("1", 5),
        report("1", 6),
        report("2", 7),
    ];

    let outcomes = submit_all(&store, vec![submission(&documents)]).await;

    assert_eq!(
        outcomes,
        [
            Outcome::Stored,
            Outcome::Duplicate,
            Outcome::Conflict,
            Outcome::Stored
        ]
    );
    assert_eq!(
        database
            .value::<String>("select outcome from deliveries")
            .await,
        "conflict"
    );
    assert_eq!(
        database
            .value::<i64>("select sum(message_count)::bigint from source_days")
            .await,
        12
    );
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_tried_again_is_answered_as_before() {
    let database = Database::fresh().await;
    let store = database.store();
    let delivery_id = Uuid::now_v7();
    let documents = [report("1", 5), report("2", 6), report("1", 5)];
    let first = submit(&store, submission_as(delivery_id, &documents)).await;

    let again = submit(&store, submission_as(delivery_id, &documents)).await;

    assert_eq!(again, first);
    assert_eq!(
        first.iter().map(|row| row.outcome).collect::<Vec<_>>(),
        [Outcome::Stored, Outcome::Stored, Outcome::Duplicate]
    );
    assert_eq!(
        database
            .value::<i64>("select count(*) from deliveries")
            .await,
        1
    );
    assert_eq!(
        database
            .value::<i64>("select sum(message_count)::bigint from records")
            .await,
        11
    );
    store.close().await;
}

/// Two processes may have the same mail in hand when its mailbox passes from one to the other.
#[tokio::test]
async fn deliveries_tried_again_beside_their_duplicates_are_answered_as_before() {
    let database = Database::fresh().await;
    let store = database.store();
    let [one, other] = [Uuid::now_v7(), Uuid::now_v7()];
    let submissions = |order: [Uuid; 2]| {
        let submissions = order.map(|id| submission_as(id, &[report("1", 5)]));
        submissions.into_iter().collect::<Vec<_>>()
    };
    let first = submit_all(&store, submissions([one, other])).await;

    let again = submit_all(&store, submissions([other, one])).await;

    assert_eq!(first, [Outcome::Stored, Outcome::Duplicate]);
    assert_eq!(again, [Outcome::Duplicate, Outcome::Stored]);
    let commits = "select count(distinct xmin::text) from deliveries";
    assert_eq!(database.value::<i64>(commits).await, 1);
    store.close().await;
}

/// What a coordinator may leave that crashes after a node has committed and before itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_lost_from_the_ledger_is_back_when_it_is_tried_again() {
    let database = Database::fresh().await;
    let store = database.store();
    let delivery_id = Uuid::now_v7();
    let documents = [report("1", 5), report("2", 6)];
    let first = submit(&store, submission_as(delivery_id, &documents)).await;
    assert_eq!(database.execute("delete from deliveries").await, 1);

    let again = submit(&store, submission_as(delivery_id, &documents)).await;

    assert_eq!(again, first);
    assert_eq!(database.mismatches().await, []);
    let other = submit_all(&store, vec![submission(&documents)]).await;
    assert_eq!(other, [Outcome::Duplicate; 2]);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_report_tried_again_is_answered_as_before() {
    let database = Database::fresh().await;
    let store = database.store();
    let mut submission = submission(&[report("1", 5)]);
    let Some(Pending::Report {
        summary, records, ..
    }) = submission.documents.pop()
    else {
        panic!("no report")
    };
    let mut outcomes = Vec::new();

    for _ in 0..2 {
        let mut stream = store
            .stream(&submission.delivery, &summary.header)
            .await
            .unwrap();
        stream.records(&records).await.unwrap();
        outcomes.push(
            stream
                .finish(String::new(), &summary, &[])
                .await
                .unwrap()
                .outcome,
        );
    }
    // Given up half way: nothing of it may be seen.
    let mut other = pending(&report("2", 6));
    let Pending::Report {
        summary, records, ..
    } = &mut other
    else {
        panic!("no report")
    };
    let mut stream = store
        .stream(&submission.delivery, &summary.header)
        .await
        .unwrap();
    stream.records(records).await.unwrap();
    drop(stream);

    assert_eq!(outcomes, [Outcome::Stored, Outcome::Stored]);
    assert_eq!(database.report_count().await, 1);
    assert_eq!(
        database.value::<i64>("select count(*) from records").await,
        1
    );
    assert_eq!(database.mismatches().await, []);
    store.close().await;
}

/// Ten deliveries, one of which has something that the database refuses.
async fn assert_only_one_is_rejected(
    spoil: impl Fn(&mut report::ReportMetadata, &mut Vec<Record>),
) {
    let database = Database::fresh().await;
    let store = database.store();
    let mut submissions: Vec<Submission> = (0..10)
        .map(|number| submission(&[report(&number.to_string(), 1)]))
        .collect();
    let Pending::Report {
        summary, records, ..
    } = &mut submissions[4].documents[0]
    else {
        panic!("no report")
    };
    spoil(&mut summary.header.report_metadata, records);

    let outcomes = submit_all(&store, submissions).await;

    let expected: Vec<Outcome> = (0..10)
        .map(|number| {
            if number == 4 {
                Outcome::Rejected
            } else {
                Outcome::Stored
            }
        })
        .collect();
    assert_eq!(outcomes, expected);
    assert_eq!(database.report_count().await, 9);
    assert_eq!(
        database
            .value::<i64>("select count(*) from deliveries where outcome = 'rejected'")
            .await,
        1
    );
    assert_eq!(
        database
            .value::<i64>("select count(*) from quarantine")
            .await,
        1,
        "kept for a better ruad"
    );
    assert_eq!(database.mismatches().await, []);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_refuses_is_rejected_alone() {
    assert_only_one_is_rejected(|metadata, _| metadata.generator = Some("zero\0byte".into())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_the_database_refuses_is_rejected_with_its_report() {
    // Few records are inserted, many copied.
    for record_count in [1, 1_000] {
        assert_only_one_is_rejected(|_, records| {
            records.resize(record_count, records[0].clone());
            records[0].envelope_from = Some("zero\0byte".into());
        })
        .await;
        assert_only_one_is_rejected(|_, records| {
            records.resize(record_count, records[0].clone());
            records[0].header_from = Some("zero\0byte".into());
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_report_that_the_database_refuses_is_rejected() {
    let service = Service::start().await;
    // Stands for whatever a later schema may refuse.
    service
        .database
        .execute("alter table record_blocks add constraint record_blocks_check check (first_position < 5000)")
        .await;
    let large = (0..6_000).fold(Report::new("example.com", "large"), |report, _| {
        report.passing("192.0.2.1", 1)
    });
    let answer = service.upload(large.xml()).await;

    assert_eq!(answer.status, 422, "{answer:?}");
    let json = answer.json();
    assert_eq!(json["reports"][0]["code"], "not_storable");
    assert_eq!(json["reports"][0]["report_id"], "large");
    assert_eq!(service.database.report_count().await, 0);
    let rows = "select count(*) from quarantine";
    assert_eq!(service.database.value::<i64>(rows).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_ledger_refuses_is_rejected_alone() {
    assert_only_one_is_rejected(|metadata, _| metadata.org_name = "zero\0byte".into()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_delivery_of_a_group_keeps_its_own_bytes() {
    let database = Database::fresh().await;
    let store = database.store();
    submit(&store, submission(&[report("1", 1)])).await;
    let conflict = |number: u64| {
        let mut conflict = submission(&[report("1", 2 + number)]);
        // Some small, some large.
        let body = format!("{number} ").repeat(100 * (1 + number as usize));
        conflict.delivery.size_bytes = body.len() as u64;
        conflict.delivery.body = Body::Memory(body.into());
        conflict
    };
    let conflicts: Vec<Submission> = (0..150).map(conflict).collect();
    let deliveries: Vec<Delivery> = conflicts.iter().map(|one| one.delivery.clone()).collect();

    let outcomes = submit_all(&store, conflicts).await;

    assert_eq!(outcomes, [Outcome::Conflict; 150]);
    for delivery in deliveries {
        let Body::Memory(body) = delivery.body else {
            panic!("no bytes in memory")
        };
        let kept = store.raw_piece(delivery.delivery_id, 0).await.unwrap();
        assert_eq!(kept, Some(body));
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outcome_stands_though_the_file_was_cut_meanwhile() {
    let database = Database::fresh().await;
    let store = database.store();
    submit(&store, submission(&[report("1", 5)])).await;
    for size_bytes in [100, 1_000_000] {
        let mut conflict = submission(&[report("1", 6)]);
        conflict.delivery.body = Body::File(Arc::new(tempfile::tempfile().unwrap()));
        conflict.delivery.size_bytes = size_bytes;

        let outcomes = submit_all(&store, vec![conflict]).await;

        assert_eq!(outcomes, [Outcome::Conflict]);
    }

    let count = async |table: &str| -> i64 {
        database
            .value(&format!("select count(*) from {table}"))
            .await
    };
    assert_eq!(count("deliveries").await, 3);
    assert_eq!(count("quarantine").await, 0);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_store_writes_what_waits_and_takes_nothing_more() {
    let database = Database::fresh().await;
    let store = database.store();
    let waiting = tokio::spawn({
        let store = store.clone();
        async move {
            submit_all(
                &store,
                (0..50)
                    .map(|number| submission(&[report(&number.to_string(), 1)]))
                    .collect(),
            )
            .await
        }
    });
    crate::harness::eventually("the first is stored", async || {
        database.report_count().await > 0
    })
    .await;

    store.close().await;

    assert_eq!(waiting.await.unwrap(), [Outcome::Stored; 50]);
    assert_eq!(database.report_count().await, 50);
    assert!(store.report(Uuid::now_v7()).await.is_err());
}
