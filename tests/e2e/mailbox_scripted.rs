//! Faults that a real server cannot be made to show when they are wanted.

use futures_util::future::join_all;
use server::mailbox::{self, After};

use crate::{
    harness::{Fault, Folders, Scripted, Service, eventually},
    mailbox::{becomes, fails, plain_config, reports, serve, settles},
};

/// With this many mails in INBOX.
async fn server(mail_count: usize) -> Scripted {
    let server = Scripted::start().await;
    for mail in reports(mail_count) {
        server.deliver("INBOX", mail);
    }
    server
}

/// All mails of a folder that began with so many have one row and are marked as dealt with.
async fn all_is_well(service: &Service, server: &Scripted, mail_count: usize) {
    settles(service, mail_count).await;
    becomes(service, "waiting").await;
    let inbox = server.folder("INBOX");
    assert!(inbox.iter().all(|mail| mail.has("\\Seen")), "{inbox:?}");
    assert_eq!(service.database.report_count().await, mail_count as i64);
}

/// The commands that begin like this, without that.
fn commands(server: &Scripted, start: &str) -> Vec<String> {
    let commands = server.commands().into_iter();
    commands
        .filter_map(|command| command.strip_prefix(start).map(str::to_owned))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_breaks_anywhere_is_carried_on() {
    const BODIES: &str = "UID FETCH 1:3 (UID BODY";
    let cases = [
        ("GREETING", Fault::Bye("too many connections"), "bye"),
        ("GREETING", Fault::Close, "connection_lost"),
        ("GREETING", Fault::Stall, "stalled"),
        (
            "GREETING",
            Fault::Insert("SSH-2.0-OpenSSH_9.2\r\n"),
            "protocol",
        ),
        ("CAPABILITY", Fault::Close, "connection_lost"),
        ("AUTHENTICATE", Fault::Close, "connection_lost"),
        ("AUTHENTICATE", Fault::Stall, "stalled"),
        ("SELECT", Fault::Bye("shutting down"), "bye"),
        ("SELECT", Fault::Answer("NO [UNAVAILABLE] in use"), "folder"),
        ("UID SEARCH", Fault::Stall, "stalled"),
        (
            "UID SEARCH",
            Fault::Answer("NO [SERVERBUG] oops"),
            "refused",
        ),
        (BODIES, Fault::Bye("shutting down"), "bye"),
        (BODIES, Fault::Close, "connection_lost"),
        (BODIES, Fault::Stall, "stalled"),
        (BODIES, Fault::CloseInLiteral, "connection_lost"),
        (BODIES, Fault::StallInLiteral, "stalled"),
        (BODIES, Fault::LoseAnswer, "connection_lost"),
        (BODIES, Fault::Insert("* (((\r\n"), "protocol"),
        (
            // The library panics at it.
            "UID FETCH 1:3 (UID INTERNALDATE",
            Fault::Insert("* 1 FETCH (INTERNALDATE NIL)\r\n"),
            "internal",
        ),
        ("UID STORE", Fault::Close, "connection_lost"),
        ("UID STORE", Fault::LoseAnswer, "connection_lost"),
        ("UID STORE", Fault::Answer("NO [LIMIT] too fast"), "mark"),
        ("IDLE", Fault::Close, "connection_lost"),
        ("DONE", Fault::Close, "connection_lost"),
        ("DONE", Fault::Stall, "stalled"),
    ];
    join_all(cases.map(async |(command, fault, code)| {
        let server = server(3).await;
        server.on(command, 1, fault);
        let service = serve(mailbox::Config {
            idle_renew_secs: 1,
            timeout_secs: 1,
            // So many at once are slow, and whoever loses the lease forgets the fault with the session.
            lease_secs: 30,
            ..plain_config(&server)
        })
        .await;
        let last_error = error(&service).await;
        assert_eq!(last_error, code, "{command}");
        all_is_well(&service, &server, 3).await;
        service.stop().await;
    }))
    .await;
}

/// The code of the first error.
async fn error(service: &Service) -> String {
    let mut code = None;
    eventually("an error is shown", async || {
        let mailbox = service.get("/api/v1/mailboxes").await["items"][0].clone();
        code = mailbox["last_error"]["code"].as_str().map(str::to_owned);
        code.is_some()
    })
    .await;
    code.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_whose_answer_is_lost_are_not_made_twice() {
    for (after, command) in [
        (After::Move, "UID MOVE"),
        (After::Delete, "UID EXPUNGE"),
        (After::MarkSeen, "UID STORE"),
    ] {
        let server = server(3).await;
        server.change(|folders| folders.create("ruad-done"));
        server.on(command, 1, Fault::LoseAnswer);
        let service = serve(mailbox::Config {
            after,
            ..plain_config(&server)
        })
        .await;
        assert_eq!(error(&service).await, "connection_lost");
        all_is_well(&service, &server, 3).await;
        let left = usize::from(after == After::MarkSeen) * 3;
        assert_eq!(server.folder("INBOX").len(), left);
        let moved = usize::from(after == After::Move) * 3;
        assert_eq!(server.folder("ruad-done").len(), moved);
        assert_eq!(commands(&server, "UID FETCH 1:3 (UID BODY").len(), 1);
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_that_others_remove_in_the_middle_are_no_fault() {
    for after in [After::MarkSeen, After::Move, After::Leave] {
        for (command, uid) in [
            ("UID FETCH 1:5 (UID INTERNALDATE", 2),
            ("UID FETCH 1:5 (UID BODY", 3),
            ("UID FETCH 1:5 (UID BODY", 5),
        ] {
            let server = server(5).await;
            let expunge = move |folders: &mut Folders| folders.expunge("INBOX", uid);
            server.on(command, 1, Fault::Meanwhile(Box::new(expunge)));
            let service = serve(mailbox::Config {
                after,
                ..plain_config(&server)
            })
            .await;
            settles(&service, 4).await;
            let state = becomes(&service, "waiting").await;
            assert_eq!(state["last_error"], serde_json::Value::Null, "{command}");
            server.deliver("INBOX", reports(6).remove(5));
            settles(&service, 5).await;
            service.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_mail_may_vanish_before_it_is_looked_for() {
    for after in [After::MarkSeen, After::Leave] {
        let server = server(1).await;
        let service = serve(mailbox::Config {
            after,
            ..plain_config(&server)
        })
        .await;
        settles(&service, 1).await;
        becomes(&service, "waiting").await;
        // It is told of, and gone.
        let expunge = |folders: &mut Folders| folders.expunge("INBOX", 2);
        server.on("UID FETCH *", 1, Fault::Meanwhile(Box::new(expunge)));
        server.deliver("INBOX", reports(2).remove(1));
        eventually("it is gone", async || server.folder("INBOX").len() == 1).await;
        server.deliver("INBOX", reports(3).remove(2));
        settles(&service, 2).await;
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_the_server_does_not_hand_out_keeps_no_other() {
    for what in ["BODY", "INTERNALDATE"] {
        let server = server(5).await;
        for uids in ["1:5", "3"] {
            let command: &str = format!("UID FETCH {uids} (UID {what}").leak();
            let refusal = Fault::Answer("NO [SERVERBUG] the mail is damaged");
            server.on(command, 1, refusal);
        }
        let service = serve(plain_config(&server)).await;
        let detail = fails(&service, "fetch").await;
        assert!(
            detail.contains("has UID 3") && detail.contains("damaged"),
            "{detail}"
        );
        // Its turn comes again.
        all_is_well(&service, &server, 5).await;
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_without_an_answer_is_not_taken_for_removed() {
    let server = server(3).await;
    for uids in ["1:3", "2"] {
        let command: &str = format!("UID FETCH {uids} (UID BODY").leak();
        server.on(command, 1, Fault::Answer("OK done"));
    }
    let service = serve(mailbox::Config {
        after: After::Leave,
        ..plain_config(&server)
    })
    .await;
    let detail = fails(&service, "fetch").await;
    assert!(detail.contains("says nothing about it"), "{detail}");
    settles(&service, 3).await;
    becomes(&service, "waiting").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_for_a_while_is_not_asked_for_each_mail() {
    let server = server(3).await;
    let busy = "NO [UNAVAILABLE] too many commands";
    server.on("UID FETCH 1:3 (UID BODY", 1, Fault::Answer(busy));
    let service = serve(plain_config(&server)).await;
    assert_eq!(error(&service).await, "refused");
    all_is_well(&service, &server, 3).await;
    assert_eq!(commands(&server, "UID FETCH 1 "), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_at_which_the_server_hangs_up_keeps_no_other() {
    let server = server(5).await;
    server.on("UID FETCH 1:5 (UID BODY", 1, Fault::CloseInLiteral);
    for _ in 0..100 {
        server.on("UID FETCH 2 (UID BODY", 1, Fault::Close);
    }
    let service = serve(plain_config(&server)).await;
    let detail = fails(&service, "fetch").await;
    assert!(
        detail.contains("has UID 2") && detail.contains("broke"),
        "{detail}"
    );
    settles(&service, 4).await;
    // Others come, and are taken; it is tried now and then.
    server.deliver("INBOX", reports(6).remove(5));
    settles(&service, 5).await;
    server.recover();
    all_is_well(&service, &server, 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_that_are_renumbered_in_a_session_are_read_anew() {
    let server = server(3).await;
    let service = serve(plain_config(&server)).await;
    all_is_well(&service, &server, 3).await;
    server.on(
        "UID FETCH",
        1,
        Fault::Insert("* OK [UIDVALIDITY 77] renumbered\r\n"),
    );
    server.deliver("INBOX", reports(4).remove(3));
    assert_eq!(error(&service).await, "uid_validity");
    all_is_well(&service, &server, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_is_larger_than_it_was_said_to_be_is_held_to_the_limit() {
    let server = server(2).await;
    server.change(|folders| folders.state_size("INBOX", 1, 10));
    let large = crate::mailbox::mail("large@example.net", &vec![b'x'; 200_000]);
    let uid = server.deliver("INBOX", large);
    server.change(|folders| folders.state_size("INBOX", uid, 100));
    let service = Service::start_with(crate::harness::Database::fresh().await, |config| {
        crate::mailbox::with_mailbox(plain_config(&server))(config);
        config.limits.message_bytes = 100_000;
    })
    .await;
    let deliveries = settles(&service, 3).await;
    let rejected = deliveries.iter().filter(|one| one["outcome"] == "rejected");
    let codes: Vec<_> = rejected
        .map(|one| one["documents"][0]["code"].clone())
        .collect();
    assert_eq!(codes, ["too_large"]);
    becomes(&service, "waiting").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_without_extensions_are_worked_with() {
    for after in [After::MarkSeen, After::Move, After::Delete, After::Leave] {
        let server = server(3).await;
        for capability in ["MOVE", "UIDPLUS", "IDLE"] {
            server.without(capability);
        }
        server.change(|folders| folders.takes_keywords = false);
        server.deliver(
            "INBOX",
            crate::mailbox::mail("bad@example.net", b"<feedback><oops>"),
        );
        let service = serve(mailbox::Config {
            after,
            poll_interval_secs: 1,
            ..plain_config(&server)
        })
        .await;
        settles(&service, 4).await;
        becomes(&service, "waiting").await;
        server.deliver("INBOX", reports(4).remove(3));
        settles(&service, 5).await;
        becomes(&service, "waiting").await;
        let inbox = server.folder("INBOX");
        let flag = match after {
            After::MarkSeen => "\\Seen",
            After::Move | After::Delete => "\\Deleted",
            After::Leave => "",
        };
        let marked = inbox.iter().filter(|mail| mail.has(flag)).count();
        let expected = match after {
            After::MarkSeen => 5,
            After::Move | After::Delete => 4,
            After::Leave => 0,
        };
        assert_eq!((inbox.len(), marked), (5, expected), "{inbox:?}");
        let moved = usize::from(after == After::Move) * 4;
        assert_eq!(server.folder("ruad-done").len(), moved);
        service.stop().await;
    }
}
