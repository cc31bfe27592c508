//! Lists as CSV and NDJSON: whole, harmless in a spreadsheet, and never cut off in silence.

use std::collections::HashMap;

use hyper::Method;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use crate::{
    generated::imported,
    harness::{Service, eventually, query, raw_exchange},
    reports::{Record, Report},
};

const DAYS: &str = "from=2020-01-01&to=2026-12-31";

/// Lines of CSV, each by the names of its columns.
fn table(body: &[u8]) -> Vec<HashMap<String, String>> {
    let mut reader = csv::Reader::from_reader(body);
    reader.deserialize().map(Result::unwrap).collect()
}

async fn export(service: &Service, path: &str, format: &str) -> Vec<u8> {
    let path = format!("{path}&format={format}");
    let answer = service.request(Method::GET, &path).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    let disposition = answer.header("content-disposition").unwrap();
    assert!(
        disposition.starts_with("attachment; filename=\""),
        "{disposition}"
    );
    assert!(
        disposition.ends_with(&format!(".{format}\"")),
        "{disposition}"
    );
    answer.body.to_vec()
}

fn lines(body: &[u8]) -> Vec<Value> {
    let lines = body.split_inclusive(|byte| *byte == b'\n');
    lines
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_is_exported_whole() {
    let (_, database) = imported().await;
    let service = Service::start_with(database, |_| {}).await;
    let report = &service.list("/api/v1/reports").await[0];
    let source = &service.list("/api/v1/domains/example.com/sources").await[0];
    for path in [
        format!("/api/v1/domains?{DAYS}"),
        format!("/api/v1/domains/example.com/sources?{DAYS}&sort=failures"),
        format!("/api/v1/domains/example.com/sources?{DAYS}&pass=false"),
        format!(
            "/api/v1/sources/{}?{DAYS}",
            source["source_ip"].as_str().unwrap()
        ),
        "/api/v1/reports?domain=example.com".into(),
        format!(
            "/api/v1/reports/{}/records?",
            report["report_uid"].as_str().unwrap()
        ),
        "/api/v1/deliveries?".into(),
        "/api/v1/deliveries?outcome=rejected".into(),
    ] {
        let items = service.list(&path).await;
        assert!(!items.is_empty(), "{path}");
        assert_eq!(
            lines(&export(&service, &path, "ndjson").await),
            items,
            "{path}"
        );
        let rows = table(&export(&service, &path, "csv").await);
        assert_eq!(rows.len(), items.len(), "{path}");
        for (row, item) in rows.iter().zip(&items) {
            assert_same(row, item, "");
        }
    }
}

/// Each value of an item stands in its cell.
#[track_caller]
fn assert_same(row: &HashMap<String, String>, item: &Value, prefix: &str) {
    for (key, value) in item.as_object().unwrap() {
        let column = format!("{prefix}{key}");
        let cell = row.get(&column).map(String::as_str);
        match value {
            Value::Null => assert!(matches!(cell, None | Some("")), "{column}: {cell:?}"),
            Value::Object(_) => assert_same(row, value, &format!("{column}_")),
            Value::Array(list) if list.is_empty() => assert_eq!(cell, Some(""), "{column}"),
            Value::String(text) => assert_eq!(cell, Some(text.as_str()), "{column}"),
            value => assert_eq!(cell, Some(value.to_string().as_str()), "{column}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_list_has_its_columns() {
    let service = Service::start().await;
    for path in [
        "/api/v1/mailboxes?",
        "/api/v1/reports?",
        "/api/v1/domains?",
        "/api/v1/deliveries?",
    ] {
        let body = String::from_utf8(export(&service, path, "csv").await).unwrap();
        assert!(
            body.ends_with("\r\n") && body.lines().count() == 1,
            "{path}: {body}"
        );
        assert!(body.contains(','), "{path}: {body}");
        assert!(export(&service, path, "ndjson").await.is_empty(), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_accept_asks_too() {
    let service = Service::start().await;
    service
        .store(
            Report::new("example.com", "1")
                .passing("192.0.2.1", 5)
                .xml(),
        )
        .await;
    let get = async |path: &str, version: &str, accept: &str| {
        let host = service.address;
        let request = format!(
            "GET {path} HTTP/{version}\r\nHost: {host}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
        );
        raw_exchange(host, request.as_bytes()).await
    };

    let answer = get("/api/v1/reports", "1.1", "text/csv").await;
    assert!(
        answer.contains("content-type: text/csv; charset=utf-8; header=present\r\n"),
        "{answer}"
    );
    assert!(answer.contains("vary: accept\r\n"), "{answer}");
    assert!(answer.contains("content-length: "), "{answer}");
    let answer = get("/api/v1/reports", "1.0", "application/x-ndjson").await;
    assert!(
        answer.contains("content-type: application/x-ndjson\r\n"),
        "{answer}"
    );
    let answer = get("/api/v1/reports?format=json", "1.1", "text/csv").await;
    assert!(
        answer.contains("content-type: application/json\r\n"),
        "{answer}"
    );
    let answer = get("/api/v1/domains/example.com/summary", "1.1", "text/csv").await;
    assert!(
        answer.contains("content-type: application/json\r\n"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_are_text_in_a_spreadsheet() {
    let service = Service::start().await;
    let names = [
        "=HYPERLINK(\"http://example.org\",\"x\")",
        "+1",
        "-2+3",
        "@SUM(A1)",
        "\" =1+1\"",
        "\u{ff1d}1+1",
        "\u{200b}=1",
        "a,b;\"c\"",
        "<script>alert(1)</script>",
    ];
    for (number, name) in names.iter().enumerate() {
        let mut report = Report::new("example.com", &format!("-{number}")).passing("192.0.2.1", 1);
        report.org_name = (*name).into();
        service.store(report.xml()).await;
    }

    let rows = table(&export(&service, "/api/v1/reports?", "csv").await);

    let mut cells: Vec<&str> = rows.iter().map(|row| row["org_name"].as_str()).collect();
    cells.sort_unstable();
    let mut expected: Vec<String> = names.iter().map(|name| format!("'{name}")).collect();
    let texts = expected.len() - 2..;
    for text in &mut expected[texts] {
        text.remove(0);
    }
    expected.sort_unstable();
    assert_eq!(cells, expected);
    assert!(
        rows.iter().all(|row| row["report_id"].starts_with("'-")),
        "{rows:?}"
    );
    assert!(
        rows.iter().all(|row| row["message_count"] == "1"),
        "{rows:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_goes_on_from_a_cursor_and_ends_at_a_limit() {
    let (_, database) = imported().await;
    let service = Service::start_with(database, |_| {}).await;
    let items = service.list("/api/v1/reports").await;
    let next = service.get("/api/v1/reports?limit=3").await["next"].clone();
    let next = query(next.as_str().unwrap());

    let rest = export(
        &service,
        &format!("/api/v1/reports?cursor={next}"),
        "ndjson",
    )
    .await;
    assert_eq!(lines(&rest), items[3..]);
    let path = format!("/api/v1/reports?format=ndjson&limit=2&cursor={next}");
    let two = service.request(Method::GET, &path).await;
    assert_eq!(lines(&two.body), items[3..5]);
    let link = two.header("link").unwrap();
    let path = link
        .strip_prefix('<')
        .and_then(|link| link.split_once('>'))
        .unwrap()
        .0;
    let path = format!("/api/v1/reports{path}");
    assert_eq!(lines(&export(&service, &path, "ndjson").await), items[5..7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused() {
    let service = Service::start().await;
    for (path, code) in [
        ("/api/v1/reports?format=xml", "bad_query"),
        ("/api/v1/reports?format=csv&format=json", "bad_query"),
        ("/api/v1/reports?format=csv&limit=0", "bad_query"),
        ("/api/v1/reports?format=csv&limit=1001", "bad_query"),
        ("/api/v1/reports?format=csv&cursor=x", "bad_cursor"),
        ("/api/v1/reports?format=csv&unheard=of", "bad_query"),
    ] {
        let answer = service.request(Method::GET, path).await;
        assert_eq!(answer.problem(422), code, "{path}");
    }
    let answer = service.request(
        Method::GET,
        "/api/v1/domains/example.net/sources?format=csv",
    );
    assert_eq!(answer.await.problem(404), "unknown_domain");
}

/// A service with one report of more records than fit into the buffers of a connection.
async fn with_long_report() -> (Service, String, usize) {
    const RECORDS: usize = 30_000;
    let service = Service::start().await;
    let mut report = Report::new("example.com", "long");
    report.records = (0..RECORDS as u32)
        .map(|number| {
            let source_ip = std::net::Ipv4Addr::from(0x0a00_0000 + number);
            Record::new(
                &source_ip.to_string(),
                1,
                &format!("{}.example.com", "x".repeat(60)),
            )
        })
        .collect();
    let stored = service.store(report.xml()).await;
    let uid = stored["reports"][0]["report_uid"]
        .as_str()
        .unwrap()
        .to_owned();
    (
        service,
        format!("/api/v1/reports/{uid}/records?format=ndjson"),
        RECORDS,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_long_report_is_all_that_is_read() {
    let (service, path, _) = with_long_report().await;
    let path = path.replace("format=ndjson", "limit=1");
    let read = "select coalesce(sum(idx_tup_fetch + seq_tup_read), 0)::bigint from pg_stat_user_tables \
        where schemaname = current_schema and relname like 'record_blocks%'";
    // Of a table that it knows nothing about, the server reads all and sorts it.
    service.database.execute("analyze record_blocks").await;
    assert_eq!(service.database.value::<i64>(read).await, 0);

    service.get(&path).await;

    let mut blocks = 0;
    eventually("the server says what it read", async || {
        blocks = service.database.value::<i64>(read).await;
        blocks > 0
    })
    .await;
    assert!(blocks < 10, "{blocks} of 30");
}

/// Asks, and leaves the answer in the connection, of which little fits into the buffer of the client.
async fn ask_slowly(service: &Service, path: &str, version: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(32 * 1024).unwrap();
    let mut stream = socket.connect(service.address).await.unwrap();
    let host = service.address;
    let request = format!("GET {path} HTTP/{version}\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.readable().await.unwrap();
    stream
}

async fn rest_of(mut stream: TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    _ = stream.read_to_end(&mut answer).await;
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_holds_no_connection_to_the_database() {
    let (service, path, records) = with_long_report().await;
    let mut slow = Vec::new();
    // More of them than the store has connections.
    for _ in 0..25 {
        slow.push(ask_slowly(&service, &path, "1.1").await);
    }

    eventually("idle connections", async || {
        let busy = "select count(*) from pg_stat_activity where datname = current_database() \
                    and pid <> pg_backend_pid() and state <> 'idle'";
        service.database.value::<i64>(busy).await == 0
    })
    .await;
    assert_eq!(
        service.get("/api/v1/reports").await["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );

    let answer = rest_of(slow.pop().unwrap()).await;
    assert!(answer.ends_with(b"\r\n0\r\n\r\n"), "the export is complete");
    let lines = answer
        .windows(12)
        .filter(|bytes| bytes == b"{\"position\":");
    assert_eq!(lines.count(), records);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_breaks_off_does_not_look_complete() {
    let (service, path, _) = with_long_report().await;
    let slow = ask_slowly(&service, &path, "1.1").await;

    service
        .database
        .execute("alter table record_blocks rename to gone")
        .await;
    let answer = rest_of(slow).await;

    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert!(!answer.ends_with(b"0\r\n\r\n"), "there is no last chunk");
    service
        .database
        .execute("alter table gone rename to record_blocks")
        .await;
    let old = rest_of(ask_slowly(&service, &path, "1.0").await).await;
    let old = String::from_utf8_lossy(&old).into_owned();
    assert!(
        old.contains(" 505 ") && old.contains("\"code\":\"old_http\""),
        "{old}"
    );
}
