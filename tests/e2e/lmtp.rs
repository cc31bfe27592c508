//! A mail server hands mail over and is told the truth.

mod client;
mod faults;

use std::{path::PathBuf, time::Duration};

use serde_json::json;
use sha2::{Digest as _, Sha256};
use sqlx::{Connection as _, PgConnection};

use crate::{
    harness::{Cluster, Database, Service, eventually},
    reports::{Report, mail},
};
pub(crate) use client::{Client, RECIPIENT, assert_code, stuffed};

/// A service with a door for mail.
struct Post {
    service: Service,
    socket: PathBuf,
    _folder: tempfile::TempDir,
}

impl Post {
    async fn start() -> Self {
        Self::start_with(Database::fresh().await, |_| {}).await
    }

    async fn start_with(database: Database, adjust: impl FnOnce(&mut server::Config)) -> Self {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        let socket = folder.path().join("lmtp.sock");
        let service = Service::start_with(database, |config| {
            config.lmtp = serde_json::from_value(json!({
                "listen": format!("unix:{}", socket.display()),
                "recipients": [RECIPIENT],
                "authenticity": "off",
            }))
            .unwrap();
            adjust(config);
        })
        .await;
        Self {
            service,
            socket,
            _folder: folder,
        }
    }

    async fn client(&self) -> Client {
        Client::greeted(&self.socket).await
    }

    async fn delivery_count(&self) -> i64 {
        let database = &self.service.database;
        database.value("select count(*) from deliveries").await
    }
}

fn report_mail(report_id: &str) -> Vec<u8> {
    let report = Report::new("example.com", report_id).passing("192.0.2.1", 3);
    mail(&report.xml())
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_is_taken_whatever_is_in_it() {
    let post = Post::start().await;
    let mut client = post.client().await;
    let stored = client.deliver(&report_mail("1")).await;
    assert_code(&stored, "250 2.0.0 stored as delivery ");
    assert_code(
        &client.deliver(&report_mail("1")).await,
        "250 2.0.0 duplicate",
    );
    assert_code(
        &client.deliver(&mail(b"<feedback><x/></feedback>")).await,
        "250 2.0.0 rejected",
    );
    assert_code(
        &client.deliver(b"Subject: hello\r\n\r\nhello\r\n").await,
        "250 2.0.0 not_aggregate",
    );
    assert_code(&client.deliver(b"").await, "250 2.0.0 ");
    assert_code(&client.say("QUIT").await, "221 2.0.0");
    assert!(client.is_closed().await);

    assert_eq!(post.delivery_count().await, 5);
    let id = stored.rsplit(' ').next().unwrap();
    let delivery = post.service.get(&format!("/api/v1/deliveries/{id}")).await;
    assert_eq!(delivery["origin"], "lmtp", "{delivery}");
    assert_eq!(delivery["name"], "Report Domain: example.com", "{delivery}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_before_the_commit() {
    let post = Post::start().await;
    let mut client = post.client().await;
    let database = &post.service.database;
    let mut other = PgConnection::connect_with(&database.connect_options())
        .await
        .unwrap();
    let mut lock = other.begin().await.unwrap();
    sqlx::query("lock table deliveries in exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();

    client.begin(&[RECIPIENT]).await;
    client.send(&stuffed(&report_mail("1"))).await;
    let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
    eventually("the commit waits", async || {
        database.value::<i64>(waiting).await > 0
    })
    .await;
    assert_eq!(client.try_answer(Duration::from_millis(200)).await, None);

    lock.rollback().await.unwrap();
    assert_code(&client.answer().await, "250 2.0.0 stored");
    assert_eq!(database.report_count().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_mail_is_to_come_again() {
    let mut cluster = Cluster::start().await;
    let post = Post::start_with(cluster.database(), |config| {
        config.database.acquire_timeout_secs = 1;
        config.limits.message_bytes = 100_000;
    })
    .await;
    let mut client = post.client().await;
    assert_code(&client.deliver(&report_mail("1")).await, "250");
    cluster.stop().await;
    assert_code(&client.deliver(&report_mail("2")).await, "451 4.3.0");
    assert_code(
        &client.deliver(b"Subject: hello\r\n\r\n").await,
        "451 4.3.0",
    );
    let too_large = format!("Subject: x\r\n\r\n{}", "text\r\n".repeat(50_000));
    assert_code(&client.deliver(too_large.as_bytes()).await, "451 4.3.0");
    cluster.restart().await;
    eventually("mail is taken again", async || {
        client.deliver(&report_mail("2")).await.starts_with("250")
    })
    .await;
    assert_eq!(post.service.database.report_count().await, 2);
    assert_eq!(post.delivery_count().await, 2);
    post.service.stop().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recipient_has_an_answer_and_strangers_have_none() {
    let post = Post::start().await;
    let mut client = post.client().await;
    assert_code(
        &client.say("MAIL FROM:<> BODY=8BITMIME SMTPUTF8").await,
        "250",
    );
    for (recipient, code) in [
        ("DMARC@Example.COM", "250 2.1.5"),
        ("somebody@example.com", "550 5.1.1"),
        ("dmarc@example.org", "550 5.1.1"),
        ("postmaster", "550 5.1.1"),
        ("dmarc+2026@example.com", "250 2.1.5"),
    ] {
        assert_code(&client.say(&format!("RCPT TO:<{recipient}>")).await, code);
    }
    assert_code(&client.say("DATA").await, "354");
    client.send(&stuffed(&report_mail("1"))).await;
    let answers = [client.answer().await, client.answer().await];
    assert_code(&answers[0], "250 2.0.0 stored");
    assert_eq!(answers[0], answers[1]);
    assert_eq!(post.delivery_count().await, 1);

    assert_code(&client.say("MAIL FROM:<>").await, "250");
    assert_code(&client.say("RCPT TO:<x@example.com>").await, "550 5.1.1");
    assert_code(&client.say("DATA").await, "503 5.5.1");
    assert_code(&client.say("RSET").await, "250");
    assert_code(&client.say("MAIL FROM:<>").await, "250");
    for _ in 0..100 {
        assert_code(&client.say("RCPT TO:<dmarc@example.com>").await, "250");
    }
    assert_code(
        &client.say("RCPT TO:<dmarc@example.com>").await,
        "452 4.5.3",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_over_the_limit_is_refused_and_the_next_one_taken() {
    let post = Post::start_with(Database::fresh().await, |config| {
        config.limits.message_bytes = 600_000;
    })
    .await;
    let mut client = post.client().await;
    let offered = client.say("LHLO x").await;
    assert!(offered.contains("SIZE 600000"), "{offered}");
    assert_code(&client.say("MAIL FROM:<> SIZE=600001").await, "552 5.3.4");
    assert_code(&client.say("MAIL FROM:<> SIZE=600000").await, "250");
    assert_code(&client.say("RSET").await, "250");

    let line = format!("{}\r\n", "x".repeat(998));
    let of_lines = |lines| format!("Subject: x\r\n\r\n{}", line.repeat(lines)).into_bytes();
    assert_code(&client.deliver(&of_lines(700)).await, "552 5.3.4");
    // This one does not fit into memory and still is within the limit.
    assert_code(
        &client.deliver(&of_lines(590)).await,
        "250 2.0.0 not_aggregate",
    );
    assert_code(&client.deliver(&report_mail("1")).await, "250 2.0.0 stored");
    assert_eq!(post.delivery_count().await, 3);

    let rejected = "/api/v1/deliveries?outcome=rejected";
    let rejected = post.service.list(rejected).await;
    assert_eq!(rejected.len(), 1, "{rejected:?}");
    assert_eq!(rejected[0]["name"], "x");
    assert_eq!(rejected[0]["size_bytes"], 700_014);
    assert_eq!(rejected[0]["documents"][0]["code"], "too_large");
    let kept = "select count(sha256) + (select count(*) from quarantine) from deliveries where outcome = 'rejected'";
    assert_eq!(post.service.database.value::<i64>(kept).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_message_without_an_end_not_everything_is_read() {
    let post = Post::start_with(Database::fresh().await, |config| {
        config.limits.message_bytes = 100_000;
    })
    .await;
    let mut client = post.client().await;
    client.begin(&[RECIPIENT, RECIPIENT]).await;
    let line = format!("{}\r\n", "x".repeat(998));
    client.send(line.repeat(450).as_bytes()).await;
    for _ in 0..2 {
        assert_code(&client.answer().await, "552 5.3.4");
    }
    assert!(client.is_closed().await);
    assert_eq!(post.delivery_count().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_kept_as_it_was_sent() {
    let post = Post::start().await;
    let mut client = post.client().await;
    let smuggled =
        "MAIL FROM:<x@example.com>\r\nRCPT TO:<dmarc@example.com>\r\nDATA\r\nSubject: smuggled\r\n";
    for end in [
        "\n.\n",
        "\n.\r\n",
        "\r.\r",
        "\r\n.\n",
        "\r.\r\n",
        "\r\n.\r\r\n",
        "\n.\r",
    ] {
        let message = format!("Subject: dots\r\n\r\n.\r\n..\r\n.a\r\nb{end}{smuggled}{end}\r\n");
        let answer = client.deliver(message.as_bytes()).await;
        assert_code(&answer, "250 2.0.0 not_aggregate");
        let expected: Vec<u8> = Sha256::digest(message.as_bytes()).to_vec();
        let kept = "select sha256 from deliveries order by delivery_id desc limit 1";
        let kept: Vec<u8> = post.service.database.value(kept).await;
        assert_eq!(kept, expected, "{end:?}");
    }
    assert_eq!(post.delivery_count().await, 7);
    assert_code(&client.say("NOOP").await, "250");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_may_come_all_at_once() {
    let post = Post::start().await;
    let mut client = Client::connect(&post.socket).await.unwrap();
    client
        .send(
            b"lhlo x\r\nNOOP\r\nVRFY dmarc\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<no@example.com>\r\n\
              RCPT TO:<dmarc@example.com>\r\nDATA\r\n",
        )
        .await;
    for code in ["220", "250", "250", "252", "250", "550", "250", "354"] {
        assert_code(&client.answer().await, code);
    }
    let mut rest = stuffed(&report_mail("1"));
    rest.extend_from_slice(b"MAIL FROM:<>\r\nRCPT TO:<dmarc@example.com>\r\nQUIT\r\n");
    client.send(&rest).await;
    for code in ["250 2.0.0 stored", "250 2.1.0", "250 2.1.5", "221"] {
        assert_code(&client.answer().await, code);
    }
    assert!(client.is_closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_out_of_order_or_malformed_are_refused() {
    let post = Post::start().await;
    let mut client = Client::connect(&post.socket).await.unwrap();
    client.answer().await;
    for (command, code) in [
        ("MAIL FROM:<>", "503 5.5.1"),
        ("EHLO x", "500 5.5.1"),
        ("HELO x", "500 5.5.1"),
        ("LHLO", "501 5.5.4"),
        ("LHLO x", "250"),
        ("RCPT TO:<dmarc@example.com>", "503 5.5.1"),
        ("DATA", "503 5.5.1"),
        ("MAIL FROM:x", "501 5.5.4"),
        ("MAIL FROM:<> X=1", "555 5.5.4"),
        ("MAIL FROM:<> BODY=BINARYMIME", "555 5.5.4"),
        ("MAIL FROM:<>", "250"),
        ("MAIL FROM:<>", "503 5.5.1"),
        ("RCPT TO:<>", "550 5.1.1"),
        ("STARTTLS", "502 5.5.1"),
        ("WHAT", "500 5.5.1"),
        ("NOOP\rx", "500 5.5.2"),
        ("NO\0OP", "500 5.5.2"),
        (&"x".repeat(5000), "500 5.5.2"),
        ("RCPT TO:<dmarc@example.com>", "250"),
    ] {
        assert_code(&client.say(command).await, code);
    }
    client.send(b"NOOP\n").await;
    assert_code(&client.answer().await, "500 5.5.2");
    while !client.say("WHAT").await.is_empty() {}
    assert!(client.is_closed().await, "too many mistakes end it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_a_web_page_is_not_obeyed() {
    let post = Post::start().await;
    for first in ["POST / HTTP/1.1", "LHLO x\r\nBDAT 1000 LAST"] {
        let mut client = Client::connect(&post.socket).await.unwrap();
        let rest = "MAIL FROM:<>\r\nRCPT TO:<dmarc@example.com>\r\nDATA\r\nSubject: x\r\n\r\n.\r\n";
        let request = format!("{first}\r\nHost: x\r\n\r\nLHLO x\r\n{rest}");
        client.send(request.as_bytes()).await;
        loop {
            let answer = client.answer().await;
            assert!(!answer.starts_with("354"), "{answer}");
            if answer.is_empty() {
                break;
            }
        }
    }
    assert_eq!(post.delivery_count().await, 0);
}
