//! Folders that are full, read-only, renamed or not to be made.

use server::mailbox::{self, After};

use crate::{
    harness::{Dovecot, DovecotOptions, Fault, Folders, Mailbox, Scripted, eventually},
    mailbox::{becomes, config, fails, mail, plain_config, reports, serve, settles},
};

async fn server(options: DovecotOptions, mail_count: usize) -> (Dovecot, Mailbox) {
    let dovecot = Dovecot::start_with(options).await;
    let mailbox = dovecot.mailbox("dmarc").await;
    mailbox.deliver_all("INBOX", reports(mail_count)).await;
    (dovecot, mailbox)
}

fn moving(settings: mailbox::Config) -> mailbox::Config {
    mailbox::Config {
        after: After::Move,
        ..settings
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_marked_is_stored_once_and_new_mail_is_taken() {
    for after in [After::MarkSeen, After::Move] {
        let (dovecot, mailbox) = server(DovecotOptions::default(), 2).await;
        mailbox.restrict("INBOX", "lr");
        let service = serve(mailbox::Config {
            after,
            ..config(&dovecot, "dmarc")
        })
        .await;
        let detail = fails(&service, "read_only").await;
        assert!(detail.contains("after = \"leave\""), "{detail}");
        settles(&service, 2).await;
        mailbox.deliver(&reports(3)[2]).await;
        settles(&service, 3).await;
        mailbox.restrict("INBOX", "lrwstie");
        becomes(&service, "waiting").await;
        settles(&service, 3).await;
        let unseen = mailbox.folder("INBOX").await;
        assert!(unseen.iter().all(|mail| mail.has("\\Seen")), "{unseen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_folder_keeps_no_mail_from_being_taken() {
    let full = DovecotOptions {
        without: &["MOVE"],
        mails_max: Some(4),
        ..DovecotOptions::default()
    };
    let (dovecot, mailbox) = server(full, 3).await;
    let service = serve(moving(config(&dovecot, "dmarc"))).await;
    let detail = fails(&service, "quota").await;
    assert!(detail.contains("make room"), "{detail}");
    mailbox.deliver(&reports(4)[3]).await;
    settles(&service, 4).await;
    assert_eq!(mailbox.folder("INBOX").await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn room_that_is_made_is_used() {
    let server = Scripted::start().await;
    for mail in reports(3) {
        server.deliver("INBOX", mail);
    }
    server.change(|folders| folders.create("ruad-done"));
    server.on(
        "UID MOVE",
        1,
        Fault::Answer("NO [OVERQUOTA] the folder is full"),
    );
    let service = serve(moving(plain_config(&server))).await;
    fails(&service, "quota").await;
    settles(&service, 3).await;
    becomes(&service, "waiting").await;
    assert_eq!(server.folder("ruad-done").len(), 3);
    let fetches = server.commands().into_iter();
    let fetches = fetches.filter(|command| command.contains("BODY.PEEK"));
    assert_eq!(fetches.count(), 1, "what is stored is not fetched again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_may_not_be_made_is_named() {
    let server = Scripted::start().await;
    for mail in reports(2) {
        server.deliver("INBOX", mail);
    }
    server.on("CREATE", 1, Fault::Answer("NO [NOPERM] not here"));
    let service = serve(moving(plain_config(&server))).await;
    let detail = fails(&service, "target_folder").await;
    assert!(
        detail.contains("INBOX.ruad-done") && detail.contains("not here"),
        "{detail}"
    );
    becomes(&service, "waiting").await;
    settles(&service, 2).await;
    assert_eq!(server.folder("ruad-done").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_somebody_else_makes_is_used() {
    let server = Scripted::start().await;
    server.deliver("INBOX", reports(1).remove(0));
    let make = |folders: &mut Folders| folders.create("ruad-done");
    server.on("CREATE", 1, Fault::Meanwhile(Box::new(make)));
    let service = serve(moving(plain_config(&server))).await;
    settles(&service, 1).await;
    let state = becomes(&service, "waiting").await;
    assert_eq!(state["last_error"], serde_json::Value::Null);
    assert_eq!(server.folder("ruad-done").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_done_folder_that_is_gone_is_made_again() {
    let (dovecot, mailbox) = server(DovecotOptions::default(), 1).await;
    let service = serve(moving(config(&dovecot, "dmarc"))).await;
    let more = reports(3);
    settles(&service, 1).await;
    eventually("it is moved", async || {
        mailbox.folder("ruad-done").await.len() == 1
    })
    .await;
    mailbox.rename_folder("ruad-done", "archive").await;
    mailbox.deliver(&more[1]).await;
    eventually("it is moved", async || {
        mailbox.folder("ruad-done").await.len() == 1
    })
    .await;
    mailbox.delete_folder("ruad-done").await;
    mailbox.deliver(&more[2]).await;
    eventually("it is moved", async || {
        mailbox.folder("ruad-done").await.len() == 1
    })
    .await;
    becomes(&service, "waiting").await;
    settles(&service, 3).await;
    assert_eq!(mailbox.folder("archive").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_renamed_is_waited_for() {
    let (dovecot, mailbox) = server(DovecotOptions::default(), 0).await;
    mailbox.create_folder("reports").await;
    mailbox.deliver_all("reports", reports(2)).await;
    let service = serve(mailbox::Config {
        folder: "reports".into(),
        idle_renew_secs: 1,
        timeout_secs: 2,
        ..config(&dovecot, "dmarc")
    })
    .await;
    settles(&service, 2).await;
    becomes(&service, "waiting").await;
    mailbox.rename_folder("reports", "elsewhere").await;
    let detail = fails(&service, "folder").await;
    assert!(
        detail.contains("\"reports\"") && detail.contains("check folder"),
        "{detail}"
    );
    mailbox.rename_folder("elsewhere", "reports").await;
    mailbox
        .deliver_all("reports", vec![reports(3).remove(2)])
        .await;
    settles(&service, 3).await;
    becomes(&service, "waiting").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dovecot_without_extensions_is_worked_with() {
    let without = DovecotOptions {
        without: &["MOVE", "UIDPLUS", "IDLE"],
        ..DovecotOptions::default()
    };
    let (dovecot, mailbox) = server(without, 2).await;
    let bad = mail("bad@example.net", b"<feedback><oops>");
    mailbox.deliver(&bad).await;
    mailbox.restrict("INBOX", "lrste");
    let service = serve(mailbox::Config {
        poll_interval_secs: 1,
        ..moving(config(&dovecot, "dmarc"))
    })
    .await;
    settles(&service, 3).await;
    mailbox.deliver(&reports(3)[2]).await;
    settles(&service, 4).await;
    becomes(&service, "waiting").await;
    assert_eq!(mailbox.folder("ruad-done").await.len(), 3);
    let inbox = mailbox.folder("INBOX").await;
    let deleted = inbox.iter().filter(|mail| mail.has("\\Deleted"));
    assert_eq!((inbox.len(), deleted.count()), (4, 3), "{inbox:?}");
    let rejected = inbox.iter().find(|mail| !mail.has("\\Deleted")).unwrap();
    assert!(rejected.has("\\Seen") && !rejected.has("$RuadRejected"));
}
