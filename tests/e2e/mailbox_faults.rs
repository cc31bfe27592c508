//! A real server fails, or the database does: nothing is lost, nothing is stored twice, and it goes on by itself.

use std::{collections::BTreeSet, time::Duration};

use server::{Config, mailbox};

use crate::{
    harness::{Cluster, Dovecot, Mailbox, Service, eventually},
    mailbox::{becomes, config, fails, reports, serve, settles, with_mailbox},
};

/// With this many mails for the user.
async fn server(mail_count: usize) -> (Dovecot, Mailbox) {
    let dovecot = Dovecot::start().await;
    let mailbox = dovecot.mailbox("dmarc").await;
    mailbox.deliver_all("INBOX", reports(mail_count)).await;
    (dovecot, mailbox)
}

/// Impatient, so that a server that stalls is noticed soon.
fn impatient(dovecot: &Dovecot) -> mailbox::Config {
    mailbox::Config {
        timeout_secs: 1,
        idle_renew_secs: 1,
        ..config(dovecot, "dmarc")
    }
}

/// All mails have one row, and are marked as dealt with.
async fn all_is_well(service: &Service, mailbox: &Mailbox, mail_count: usize) {
    settles(service, mail_count).await;
    becomes(service, "waiting").await;
    eventually("all mails are seen", async || {
        let inbox = mailbox.folder("INBOX").await;
        inbox.len() == mail_count && inbox.iter().all(|mail| mail.has("\\Seen"))
    })
    .await;
    settles(service, mail_count).await;
    assert_eq!(service.database.report_count().await, mail_count as i64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_stopped_is_waited_for() {
    let (mut dovecot, mailbox) = server(2).await;
    let service = serve(config(&dovecot, "dmarc")).await;
    all_is_well(&service, &mailbox, 2).await;
    dovecot.stop().await;
    let detail = fails(&service, "unreachable").await;
    assert!(
        detail.contains("localhost") && detail.contains("check host, port"),
        "{detail}"
    );
    mailbox.deliver(&reports(3)[2]).await;
    dovecot.start_again().await;
    all_is_well(&service, &mailbox, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_server_ends_is_made_anew() {
    let (dovecot, mailbox) = server(1).await;
    let service = serve(config(&dovecot, "dmarc")).await;
    all_is_well(&service, &mailbox, 1).await;
    mailbox.disconnect().await;
    mailbox.deliver(&reports(2)[1]).await;
    all_is_well(&service, &mailbox, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_while_it_is_waited_for_or_read_from_loses_nothing() {
    const MAILS: usize = 600;
    let (mut dovecot, mailbox) = server(MAILS).await;
    let service = serve(mailbox::Config {
        after: mailbox::After::Move,
        ..config(&dovecot, "dmarc")
    })
    .await;
    for _ in 0..3 {
        let before = service.database.report_count().await;
        eventually("it goes on", async || {
            let now = service.database.report_count().await;
            now > before || now == MAILS as i64
        })
        .await;
        dovecot.kill().await;
        dovecot.start_again().await;
    }
    settles_all(&service, MAILS).await;
    eventually("all mails are moved", async || {
        mailbox.folder("INBOX").await.is_empty()
    })
    .await;
    becomes(&service, "waiting").await;
    dovecot.kill().await;
    fails(&service, "unreachable").await;
    mailbox.deliver(&reports(MAILS + 1)[MAILS]).await;
    dovecot.start_again().await;
    settles_all(&service, MAILS + 1).await;
    eventually("every mail is in the folder it belongs in", async || {
        let moved = mailbox.folder("ruad-done").await;
        let ids: BTreeSet<_> = moved.into_iter().map(|mail| mail.message_id).collect();
        ids.len() == MAILS + 1 && mailbox.folder("INBOX").await.is_empty()
    })
    .await;
}

async fn settles_all(service: &Service, count: usize) {
    settles(service, count).await;
    assert_eq!(service.database.report_count().await, count as i64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stalls_is_left_and_tried_again() {
    let (dovecot, mailbox) = server(1).await;
    let service = serve(impatient(&dovecot)).await;
    all_is_well(&service, &mailbox, 1).await;
    dovecot.pause();
    let detail = fails(&service, "stalled").await;
    assert!(detail.contains("timeout_secs"), "{detail}");
    mailbox.deliver(&reports(2)[1]).await;
    dovecot.go_on();
    all_is_well(&service, &mailbox, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn renumbered_mails_are_read_anew() {
    let (dovecot, mailbox) = server(3).await;
    let settings = mailbox::Config {
        after: mailbox::After::Leave,
        ..config(&dovecot, "dmarc")
    };
    let service = serve(settings.clone()).await;
    settles(&service, 3).await;
    becomes(&service, "waiting").await;
    let database = service.stop().await;
    mailbox.change_uid_validity("INBOX").await;
    mailbox.deliver(&reports(4)[3]).await;
    let service = Service::start_with(database, with_mailbox(settings)).await;
    let deliveries = settles(&service, 7).await;
    becomes(&service, "waiting").await;
    let duplicates = deliveries
        .iter()
        .filter(|one| one["outcome"] == "duplicate");
    assert_eq!(duplicates.count(), 3, "what was there is known");
    assert_eq!(service.database.report_count().await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_nothing_is_acknowledged() {
    let (dovecot, mailbox) = server(300).await;
    let mut cluster = Cluster::start().await;
    let settings = config(&dovecot, "dmarc");
    let quick = |config: &mut Config| {
        with_mailbox(settings)(config);
        config.database.acquire_timeout_secs = 1;
    };
    let service = Service::start_with(cluster.database(), quick).await;
    eventually("it has begun", async || {
        service.database.report_count().await > 0
    })
    .await;
    cluster.stop().await;
    // Lease and batch at hand end.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let seen = mailbox.folder("INBOX").await;
    let seen = seen.iter().filter(|mail| mail.has("\\Seen")).count();
    cluster.restart().await;
    let stored = service.database.report_count().await;
    assert!(
        seen as i64 <= stored,
        "{seen} are acknowledged, {stored} stored"
    );
    all_is_well(&service, &mailbox, 300).await;
    service.stop().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_at_the_start_is_waited_for() {
    let (dovecot, mailbox) = server(2).await;
    let mut cluster = Cluster::start().await;
    cluster.stop().await;
    let settings = config(&dovecot, "dmarc");
    let service = Service::begin(cluster.database(), with_mailbox(settings)).await;
    cluster.restart().await;
    service.becomes_ready().await;
    all_is_well(&service, &mailbox, 2).await;
    service.stop().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_that_others_remove_while_they_are_read_are_no_fault() {
    const MAILS: usize = 500;
    let (dovecot, mailbox) = server(MAILS).await;
    let service = serve(config(&dovecot, "dmarc")).await;
    for uid in (10..=MAILS as u32).rev().step_by(20) {
        mailbox.expunge("INBOX", uid).await;
    }
    becomes(&service, "waiting").await;
    mailbox.deliver(&reports(MAILS + 1)[MAILS]).await;
    eventually("all that is left is seen", async || {
        let inbox = mailbox.folder("INBOX").await;
        inbox.iter().all(|mail| mail.has("\\Seen"))
    })
    .await;
    let state = becomes(&service, "waiting").await;
    let deliveries = service.list("/api/v1/deliveries?limit=1000").await;
    let count = deliveries.len();
    assert!(
        (MAILS - 24..=MAILS + 1).contains(&count),
        "{count}: {state}"
    );
    assert_eq!(state["last_error"], serde_json::Value::Null);
}
