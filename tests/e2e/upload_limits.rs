//! What clients must not be able to do.

use std::net::SocketAddr;

use bytes::Bytes;
use hyper::Method;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    harness::{Database, Service, eventually, raw_exchange},
    reports::Report,
};

fn report(number: u64) -> Vec<u8> {
    Report::new("example.com", &number.to_string())
        .passing("192.0.2.1", number)
        .xml()
}

/// The head of an upload that announces `length` bytes.
fn head(address: SocketAddr, length: u64) -> String {
    format!(
        "POST /api/v1/reports HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    )
}

async fn begin_upload(service: &Service) -> TcpStream {
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    stream
        .write_all(head(service.address, 1000).as_bytes())
        .await
        .unwrap();
    stream
}

async fn in_progress(service: &Service) -> u64 {
    let metrics = service.request(Method::GET, "/metrics").await;
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix("ruad_uploads_in_progress "));
    value.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_beyond_the_limit_is_refused_by_its_announced_length() {
    let service = Service::start_with(Database::fresh().await, |config| {
        config.http.body_bytes_max = 2000
    })
    .await;

    assert_eq!(
        service.upload(vec![b' '; 2001]).await.problem(413),
        "too_large"
    );
    let announced = raw_exchange(
        service.address,
        head(service.address, u64::MAX / 2).as_bytes(),
    )
    .await;

    assert!(announced.starts_with("HTTP/1.1 413"), "{announced}");
    assert_eq!(
        service.upload(report(1)).await.status,
        201,
        "smaller ones are taken in"
    );
    assert_eq!(service.list("/api/v1/deliveries").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_unknown_length_is_refused_while_it_is_read() {
    let service = Service::start_with(Database::fresh().await, |config| {
        config.http.body_bytes_max = 100_000
    })
    .await;
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    let head = format!(
        "POST /api/v1/reports HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
        service.address
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut chunk = b"1000\r\n".to_vec();
    chunk.extend([b' '; 0x1000]);
    chunk.extend(b"\r\n");

    // The body never ends, so only what was read so far can have been too much.
    for _ in 0..30 {
        stream.write_all(&chunk).await.unwrap();
    }
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();

    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_upload_too_many_is_told_to_try_again() {
    let service = Service::start_with(Database::fresh().await, |config| {
        config.http.uploads_max = 2
    })
    .await;
    let begun = [begin_upload(&service).await, begin_upload(&service).await];
    eventually("two uploads are in progress", async || {
        in_progress(&service).await == 2
    })
    .await;

    let answer = service.upload(report(1)).await;

    assert_eq!(answer.problem(503), "busy");
    assert!(
        answer
            .header("retry-after")
            .unwrap()
            .parse::<u64>()
            .unwrap()
            > 0
    );
    assert_eq!(
        service.request(Method::GET, "/api/v1/domains").await.status,
        200,
        "questions are answered all the same"
    );
    let unknown = "/api/v1/deliveries/00000000-0000-0000-0000-000000000000/retry";
    let retried = service.request(Method::POST, unknown).await;
    assert_eq!(retried.problem(404), "unknown_delivery");
    drop(begun);
    eventually("the uploads are given up", async || {
        in_progress(&service).await == 0
    })
    .await;
    assert_eq!(service.upload(report(1)).await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_uploads_at_a_time_are_stored_or_told_to_try_again() {
    let service = Service::start_with(Database::fresh().await, |config| {
        config.http.uploads_max = 4
    })
    .await;
    let uploads = (1..=100).map(|number| service.upload(report(number)));

    let answers = futures_util::future::join_all(uploads).await;

    let stored: u64 = (1..=100)
        .zip(&answers)
        .filter(|(_, answer)| answer.status == 201)
        .map(|(number, _)| number)
        .sum();
    assert!(
        answers
            .iter()
            .all(|answer| answer.status == 201 || answer.problem(503) == "busy")
    );
    assert!(answers.iter().any(|answer| answer.status == 201));
    assert_eq!(service.totals("example.com").await.message_count, stored);
    assert_eq!(service.database.mismatches().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_is_given_up() {
    let service = Service::start_with(Database::fresh().await, |config| {
        config.http.idle_timeout_secs = 1;
        config.http.header_timeout_secs = 1;
    })
    .await;

    // Each waits for the server's end of the connection; neither says anything more.
    let body = head(service.address, 1000);
    let body = raw_exchange(service.address, body.as_bytes());
    let header = raw_exchange(
        service.address,
        b"POST /api/v1/reports HTTP/1.1\r\nHost: loc",
    );
    let (body, header) = tokio::join!(body, header);

    assert!(body.starts_with("HTTP/1.1 408"), "{body}");
    assert!(body.contains("\"timeout\""), "{body}");
    assert!(
        header.is_empty() || header.starts_with("HTTP/1.1 408"),
        "{header}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_trickles_in_is_given_up() {
    let service = Service::start_with(Database::fresh().await, |config| {
        config.http.upload_timeout_secs = 1
    })
    .await;
    let stream = begin_upload(&service).await;
    let (mut reading, mut writing) = stream.into_split();

    let trickle = async {
        while writing.write_all(b" ").await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let mut answer = [0; 12];
    tokio::select! {
        read = reading.read_exact(&mut answer) => assert!(read.is_ok(), "{read:?}"),
        () = trickle => panic!("closed without an answer"),
    }

    assert_eq!(&answer, b"HTTP/1.1 408");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_and_pages_that_are_not_ours_are_refused() {
    let service = Service::start().await;
    let ask = async |head: &str| {
        raw_exchange(
            service.address,
            format!("{head}\r\nConnection: close\r\n\r\n").as_bytes(),
        )
        .await
    };
    let own = format!("Host: {}", service.address);

    for head in [
        "GET /api/v1/domains HTTP/1.1\r\nHost: attacker.example".into(),
        "GET /api/v1/domains HTTP/1.1\r\nHost: 127.0.0.1.attacker.example".into(),
        format!(
            "POST /api/v1/reports HTTP/1.1\r\n{own}\r\nOrigin: https://attacker.example\r\nContent-Length: 0"
        ),
        format!(
            "DELETE /api/v1/deliveries/00000000-0000-0000-0000-000000000000 HTTP/1.1\r\n{own}\r\nOrigin: null"
        ),
    ] {
        assert!(ask(&head).await.starts_with("HTTP/1.1 403"), "{head}");
    }
    assert!(
        ask(&format!("GET /api/v1/domains HTTP/1.1\r\n{own}"))
            .await
            .starts_with("HTTP/1.1 200")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_is_refused_and_harms_nobody() {
    let service = Service::start().await;
    let long = format!(
        "GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "a".repeat(1 << 20)
    );
    let many = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
        "a: b\r\n".repeat(10_000)
    );
    let both = "POST /api/v1/reports HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\nContent-Length: 7\r\n\r\nabcdefg";
    let odd_name = "POST /api/v1/reports HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: multipart/form-data; boundary=\"\0\"\r\nContent-Length: 0\r\n\r\n";

    for request in [
        long.as_str(),
        &many,
        both,
        odd_name,
        "\x16\x03\x01\0\0",
        "GET / HTTP/9.9\r\n\r\n",
    ] {
        let answer = raw_exchange(service.address, request.as_bytes()).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{:?}: {answer}",
            &request[..30.min(request.len())]
        );
    }
    assert_eq!(service.upload(Bytes::from(report(1))).await.status, 201);
}
