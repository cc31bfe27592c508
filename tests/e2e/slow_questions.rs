//! Questions that take the database too long.

use futures_util::future::join_all;
use hyper::Method;
use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::{
    harness::{Database, Service, eventually},
    reports::Report,
};

/// Keeps everybody from what is merged, as a long query or a broken disk would. Only questions read that; what comes in
/// is appended to another table.
async fn block_questions(database: &Database) -> PgConnection {
    let options = database.connect_options();
    let mut connection = PgConnection::connect_with(&options).await.unwrap();
    connection
        .execute("begin; lock table source_day_blocks in access exclusive mode")
        .await
        .unwrap();
    connection
}

async fn serve_quick() -> Service {
    let database = Database::fresh().await;
    Service::start_with(database, |config| {
        config.database.statement_timeout_secs = 1;
        config.database.acquire_timeout_secs = 60;
    })
    .await
}

fn report(number: u64) -> Vec<u8> {
    Report::new("example.com", &number.to_string())
        .passing("192.0.2.1", number)
        .xml()
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_ended_and_keep_no_report_from_being_stored() {
    let service = serve_quick().await;
    service.store(report(1)).await;
    let blocker = block_questions(&service.database).await;

    // More than there are connections.
    let questions = (0..20).map(|_| service.request(Method::GET, "/api/v1/domains"));
    let uploads = async {
        for number in 2..=20 {
            service.store(report(number)).await;
        }
    };
    let (answers, ()) = tokio::join!(join_all(questions), uploads);

    for answer in &answers {
        assert_eq!(answer.problem(503), "too_slow");
        assert_eq!(answer.header("retry-after"), Some("30"));
    }
    drop(blocker);
    eventually("questions are answered again", async || {
        let answer = service.request(Method::GET, "/api/v1/domains").await;
        answer.status == 200
    })
    .await;
    assert_eq!(service.totals("example.com").await.message_count, 210);
    assert_eq!(service.database.mismatches().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_go_away_leave_no_connection_waiting() {
    let service = serve_quick().await;
    service.store(report(1)).await;
    let _blocker = block_questions(&service.database).await;
    let waiting = "select count(*) from pg_stat_activity \
        where datname = current_database() and wait_event_type = 'Lock' and query like '%source_day_totals%'";

    let questions = join_all((0..6).map(|_| service.request(Method::GET, "/api/v1/domains")));
    tokio::select! {
        _ = questions => panic!("they are answered"),
        () = eventually("all wait", async || service.database.value::<i64>(waiting).await == 6) => {}
    }

    eventually("none waits any more", async || {
        service.database.value::<i64>(waiting).await == 0
    })
    .await;
    // Of `reports` alone.
    assert_eq!(service.list("/api/v1/reports").await.len(), 1);
}
