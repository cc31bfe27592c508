//! Mail is taken out of a mailbox and acknowledged as configured, with a real Dovecot.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde_json::Value;
use server::{Config, Secret, mailbox};

use crate::{
    harness::{Database, Dovecot, Mail, Mailbox, PASSWORD, Program, Scripted, Service, eventually},
    reports::{Options, generate},
};

/// How ruad gets at a user's mail. Quick in everything, so that tests are.
pub(crate) fn config(dovecot: &Dovecot, user: &str) -> mailbox::Config {
    mailbox::Config {
        host: "localhost".into(),
        port: dovecot.imaps_port,
        ca_file: Some(dovecot.certificates.ca_file.clone()),
        user: user.into(),
        password: Secret::from(PASSWORD),
        retry_max_secs: 1,
        lease_secs: 3,
        ..mailbox::Config::default()
    }
}

/// The same for a program, in its environment, and what is to be different.
pub(crate) fn in_environment(
    mut program: Program,
    dovecot: &Dovecot,
    settings: &[(&str, &str)],
) -> Program {
    let port = dovecot.imaps_port.to_string();
    let usual = [
        ("HOST", "localhost"),
        ("PORT", &port),
        ("CA_FILE", dovecot.certificates.ca_file.to_str().unwrap()),
        ("USER", "dmarc"),
        ("PASSWORD", PASSWORD),
    ];
    for (key, value) in usual.iter().chain(settings) {
        program = program.env(&format!("RUAD_MAILBOXES__DMARC__{key}"), value);
    }
    program
}

/// The same for the scripted server, which has no TLS.
pub(crate) fn plain_config(server: &Scripted) -> mailbox::Config {
    mailbox::Config {
        host: "127.0.0.1".into(),
        port: server.port,
        security: mailbox::Security::Plain,
        user: "dmarc".into(),
        password: Secret::from(PASSWORD),
        timeout_secs: 2,
        retry_max_secs: 1,
        lease_secs: 3,
        ..mailbox::Config::default()
    }
}

/// `ruad serve` with a database and one mailbox.
pub(crate) async fn serve(settings: mailbox::Config) -> Service {
    Service::start_with(Database::fresh().await, with_mailbox(settings)).await
}

pub(crate) fn with_mailbox(settings: mailbox::Config) -> impl FnOnce(&mut Config) {
    move |config| {
        config.mailboxes = BTreeMap::from([("dmarc".into(), settings)]);
    }
}

/// A mail with a report in it, as reporters send it.
pub(crate) fn mail(id: &str, body: &[u8]) -> Bytes {
    let encoded = BASE64_STANDARD.encode(body);
    let lines: Vec<&str> = encoded
        .as_bytes()
        .chunks(76)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    Bytes::from(format!(
        "Message-ID: <{id}>\r\nSubject: Report\r\nFrom: reports@example.net\r\nMIME-Version: 1.0\r\n\
         Content-Type: application/gzip\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n",
        lines.join("\r\n")
    ))
}

/// Waits until a mailbox is in a state and returns what the API says of it.
pub(crate) async fn becomes(service: &Service, state: &str) -> Value {
    let mut last = Value::Null;
    eventually(&format!("the mailbox is {state}"), async || {
        let list = service.get("/api/v1/mailboxes").await;
        last = list["items"][0].clone();
        last["state"] == state
    })
    .await;
    last
}

/// Waits until a mailbox fails for a reason and returns what the API says about it.
pub(crate) async fn fails(service: &Service, code: &str) -> String {
    let mut last = Value::Null;
    eventually(&format!("the mailbox fails: {code}"), async || {
        let list = service.get("/api/v1/mailboxes").await;
        last = list["items"][0].clone();
        last["state"] == "failed" && last["last_error"]["code"] == code
    })
    .await;
    last["last_error"]["detail"].as_str().unwrap().to_owned()
}

/// Mails with a report in each, all different.
pub(crate) fn reports(count: usize) -> Vec<Bytes> {
    let options = Options {
        seed: 3,
        reports: count,
        records_max: 2,
        duplicates: 0,
        malformed: 0,
    };
    let reports = generate(options).reports.into_iter().zip(1..);
    reports
        .map(|(report, number)| mail(&format!("{number}@example.net"), &report.xml()))
        .collect()
}

/// Waits until all mails of a number are in the ledger.
pub(crate) async fn settles(service: &Service, count: usize) -> Vec<Value> {
    let mut deliveries = Vec::new();
    eventually("all mails are in the ledger", async || {
        deliveries = service.list("/api/v1/deliveries?limit=1000").await;
        deliveries.len() >= count
    })
    .await;
    assert_eq!(deliveries.len(), count);
    deliveries
}

fn outcomes(deliveries: &[Value]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for delivery in deliveries {
        *counts
            .entry(delivery["outcome"].as_str().unwrap())
            .or_default() += 1;
    }
    counts
}

/// Three mails: a report, the same again, and nonsense.
async fn deliver_three(mailbox: &Mailbox) {
    let report = generate(Options {
        seed: 1,
        reports: 1,
        records_max: 3,
        duplicates: 0,
        malformed: 0,
    });
    let (_, body) = &report.deliveries[0];
    let mails = vec![
        mail("one@example.net", body),
        mail("two@example.net", body),
        mail("three@example.net", b"<feedback><oops>"),
    ];
    mailbox.deliver_all("INBOX", mails).await;
}

fn ids(mails: &[Mail]) -> Vec<&str> {
    mails.iter().map(|mail| mail.message_id.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_is_marked_as_seen_and_what_is_rejected_has_a_keyword() {
    let dovecot = Dovecot::start().await;
    let mailbox = dovecot.mailbox("dmarc").await;
    deliver_three(&mailbox).await;
    let settings = config(&dovecot, "dmarc");
    let service = Service::start_with(Database::fresh().await, with_mailbox(settings)).await;

    let deliveries = settles(&service, 3).await;
    assert_eq!(
        outcomes(&deliveries),
        BTreeMap::from([("stored", 1), ("duplicate", 1), ("rejected", 1)])
    );
    assert!(deliveries.iter().all(|one| one["origin"] == "imap:dmarc"));
    let state = becomes(&service, "waiting").await;
    assert_eq!(
        (&state["backlog"], &state["last_error"]),
        (&0.into(), &Value::Null)
    );
    let inbox = mailbox.folder("INBOX").await;
    assert!(inbox.iter().all(|mail| mail.has("\\Seen")));
    let rejected: Vec<_> = inbox
        .iter()
        .filter(|mail| mail.has("$RuadRejected"))
        .collect();
    assert_eq!(rejected.len(), 1);
    assert_eq!(rejected[0].message_id, "<three@example.net>");

    // New mail is told of by the server.
    mailbox
        .deliver(&mail("four@example.net", b"<feedback><oops>"))
        .await;
    settles(&service, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_is_moved_to_folders_that_are_made() {
    let dovecot = Dovecot::start().await;
    let mailbox = dovecot.mailbox("dmarc").await;
    deliver_three(&mailbox).await;
    let settings = mailbox::Config {
        after: mailbox::After::Move,
        done_folder: "Erledigt/für immer & ewig".into(),
        rejected_folder: "Ärger".into(),
        ..config(&dovecot, "dmarc")
    };
    let service = Service::start_with(Database::fresh().await, with_mailbox(settings)).await;

    settles(&service, 3).await;
    becomes(&service, "waiting").await;
    assert_eq!(mailbox.folder("INBOX").await, []);
    assert_eq!(
        ids(&mailbox.folder("Erledigt/für immer & ewig").await),
        ["<one@example.net>", "<two@example.net>"]
    );
    assert_eq!(ids(&mailbox.folder("Ärger").await), ["<three@example.net>"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_is_deleted_but_never_what_is_rejected() {
    let dovecot = Dovecot::start().await;
    let mailbox = dovecot.mailbox("dmarc").await;
    deliver_three(&mailbox).await;
    let settings = mailbox::Config {
        after: mailbox::After::Delete,
        ..config(&dovecot, "dmarc")
    };
    let service = Service::start_with(Database::fresh().await, with_mailbox(settings)).await;

    settles(&service, 3).await;
    becomes(&service, "waiting").await;
    let inbox = mailbox.folder("INBOX").await;
    assert_eq!(ids(&inbox), ["<three@example.net>"]);
    assert!(inbox[0].has("$RuadRejected"));
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_that_is_left_is_read_once() {
    let dovecot = Dovecot::start().await;
    let mailbox = dovecot.mailbox("dmarc").await;
    deliver_three(&mailbox).await;
    mailbox.restrict("INBOX", "lr");
    let settings = mailbox::Config {
        after: mailbox::After::Leave,
        ..config(&dovecot, "dmarc")
    };
    let adjust = with_mailbox(settings.clone());
    let service = Service::start_with(Database::fresh().await, adjust).await;
    settles(&service, 3).await;
    becomes(&service, "waiting").await;
    let database = service.stop().await;
    assert_eq!(
        database
            .value::<i64>("select next_uid from mailboxes")
            .await,
        4
    );

    mailbox
        .deliver(&mail("four@example.net", b"<feedback><oops>"))
        .await;
    let service = Service::start_with(database, with_mailbox(settings)).await;
    settles(&service, 4).await;
    becomes(&service, "waiting").await;
    let inbox = mailbox.folder("INBOX").await;
    assert_eq!(inbox.len(), 4);
    assert!(inbox.iter().all(|mail| !mail.has("\\Seen")), "{inbox:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_over_the_limit_is_recorded_without_being_fetched() {
    let dovecot = Dovecot::start().await;
    let mailbox = dovecot.mailbox("dmarc").await;
    let large = mail("large@example.net", &vec![b'x'; 200_000]);
    mailbox
        .deliver_all(
            "INBOX",
            vec![large.clone(), mail("small@example.net", b"<feedback>")],
        )
        .await;
    let settings = config(&dovecot, "dmarc");
    let service = Service::start_with(Database::fresh().await, |config| {
        with_mailbox(settings)(config);
        config.limits.message_bytes = 100_000;
    })
    .await;

    let deliveries = settles(&service, 2).await;
    let refused = deliveries
        .iter()
        .find(|delivery| delivery["documents"][0]["code"] == "too_large")
        .unwrap();
    assert_eq!(refused["size_bytes"], large.len());
    assert_eq!(refused["sha256"], Value::Null);
    assert_eq!(refused["raw_kept"], false);
    becomes(&service, "waiting").await;
    let inbox = mailbox.folder("INBOX").await;
    assert!(
        inbox
            .iter()
            .all(|mail| mail.has("\\Seen") && mail.has("$RuadRejected"))
    );
}
