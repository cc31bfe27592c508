//! A stop in the middle of the work: over within ten seconds, nothing stored by halves, and nothing acknowledged that is not
//! stored.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::process::Signal;
use sqlx::{Connection as _, PgConnection};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::{
    harness::{Database, Ended, Program, Serving, eventually, upload_to},
    reports::{Record, Report},
};

/// Whoever stops containers kills after this.
const STOP_MAX: Duration = Duration::from_secs(10);

async fn serve(database: &Database) -> Serving {
    let serving = Serving::start(Program::new(["serve"]).on(database)).await;
    serving.ready().await;
    serving
}

/// Tells it to stop, and asserts that it does in time.
async fn stops_in_time(serving: Serving) -> Ended {
    let begin = Instant::now();
    serving.process.signal(Signal::TERM);
    let ended = serving.process.end().await;
    let took = begin.elapsed();
    assert!(took < STOP_MAX, "{took:?}: {ended:?}");
    ended.succeeded()
}

/// A report that is too large to be held, so that it streams into a transaction of its own.
fn large_report() -> Bytes {
    let mut report = Report::new("example.com", "large");
    report.records = (0..20_000_u32)
        .map(|number| {
            let source_ip = std::net::Ipv4Addr::from(0x0a00_0000 + number);
            Record::new(&source_ip.to_string(), 1, "example.com")
        })
        .collect();
    report.xml().into()
}

async fn nothing_is_stored(database: &Database) {
    let verified = Program::new(["verify"]).on(database).run().await;
    verified.succeeded();
    for table in ["reports", "records", "deliveries"] {
        let count: i64 = database
            .value(&format!("select count(*) from {table}"))
            .await;
        assert_eq!(count, 0, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_end_its_upload_holds_nobody() {
    let database = Database::fresh().await;
    let serving = serve(&database).await;
    let host = serving.address;
    let mut slow = TcpStream::connect(host).await.unwrap();
    let begun = format!(
        "POST /api/v1/reports HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000\r\n\r\n<feedback>"
    );
    slow.write_all(begun.as_bytes()).await.unwrap();
    eventually("the upload is in progress", async || {
        let metrics = serving.get("/metrics").await.unwrap();
        let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
        metrics.contains("ruad_uploads_in_progress 1\n")
    })
    .await;

    stops_in_time(serving).await;

    nothing_is_stored(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_upload_that_is_being_stored_is_rolled_back() {
    let database = Database::fresh().await;
    let serving = serve(&database).await;
    // It has written all its records when it comes to this table, and waits there.
    let mut holder = PgConnection::connect(&database.url).await.unwrap();
    let lock = "begin; lock table source_day_arrivals in exclusive mode";
    sqlx::raw_sql(lock).execute(&mut holder).await.unwrap();
    let address = serving.address;
    let report = large_report();
    let body = report.clone();
    let upload = tokio::spawn(async move { upload_to(address, &body).await });
    let waiting = "select count(*) from pg_locks where not granted and mode = 'RowExclusiveLock'";
    eventually("the upload waits for the table", async || {
        database.value::<i64>(waiting).await > 0
    })
    .await;

    stops_in_time(serving).await;

    let answer = upload.await.unwrap();
    assert!(answer.is_none_or(|answer| answer.status == 503));
    holder.close().await.unwrap();
    eventually("the server has noticed", async || {
        let others = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
        database.value::<i64>(others).await == 0
    })
    .await;
    nothing_is_stored(&database).await;
    let again = serve(&database).await;
    assert_eq!(again.upload(&report).await.unwrap().status, 201);
    assert_eq!(database.mismatches().await, []);
}
