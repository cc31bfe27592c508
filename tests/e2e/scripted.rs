//! The scripted IMAP server: that it is a server, and that its faults are faults.

use std::time::Duration;

use tokio::net::TcpStream;

use crate::harness::{Fault, Imap, Mail, Scripted, eventually};

const MAIL: &str = "Message-ID: <1@example.net>\r\nSubject: report\r\n\r\n0123456789\r\n";

fn uids(mails: &[Mail]) -> Vec<u32> {
    mails.iter().map(|mail| mail.uid).collect()
}

/// A connection that has selected INBOX.
async fn selected(server: &Scripted) -> Imap<TcpStream> {
    let mut imap = Imap::connect(server.port).await;
    imap.hear("* OK").await;
    assert!(
        imap.ask("LOGIN {5+}\r\ndmarc secret")
            .await
            .contains("t1 OK")
    );
    assert!(
        imap.ask("SELECT \"INBOX\"")
            .await
            .contains("t2 OK [READ-WRITE]")
    );
    imap
}

/// With three mails in INBOX.
async fn with_mails() -> Scripted {
    let server = Scripted::start().await;
    for uid in 1..=3 {
        assert_eq!(server.deliver("INBOX", MAIL), uid);
    }
    server
}

#[tokio::test]
async fn mails_are_found_fetched_and_flagged() {
    let server = with_mails().await;
    let mut imap = selected(&server).await;
    assert!(
        imap.ask("UID STORE 2 +FLAGS.SILENT (\\Seen $Done)")
            .await
            .starts_with("t3 OK")
    );
    for (keys, found) in [
        ("UNSEEN UID 1:*", "* SEARCH 1 3\r\n"),
        ("UID 7:* UNDELETED", "* SEARCH 3\r\n"),
        ("KEYWORD $Done", "* SEARCH 2\r\n"),
        ("NOT (UNKEYWORD $done)", "* SEARCH 2\r\n"),
        ("LARGER 100000", "* SEARCH\r\n"),
    ] {
        let answer = imap.ask(&format!("UID SEARCH {keys}")).await;
        assert!(answer.starts_with(found), "{keys}: {answer}");
    }
    let fetched = imap
        .ask("UID FETCH 2:3 (FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[]<53.4>)")
        .await;
    let flags = "* 2 FETCH (UID 2 FLAGS ($Done \\Seen) INTERNALDATE \"";
    assert!(fetched.starts_with(flags), "{fetched}");
    assert!(
        fetched.contains("RFC822.SIZE 60 BODY[]<53> {4}\r\n5678)\r\n"),
        "{fetched}"
    );
    let unseen = &server.folder("INBOX")[2];
    assert!(!unseen.has("\\Seen"), "PEEK sets no flag: {unseen:?}");
    imap.ask("UID FETCH 3 BODY[HEADER]").await;
    assert!(
        server.folder("INBOX")[2].has("\\Seen"),
        "without PEEK it does"
    );
}

#[tokio::test]
async fn mails_are_copied_moved_and_expunged() {
    let server = with_mails().await;
    let mut imap = selected(&server).await;
    assert!(imap.ask("UID COPY 1 done").await.contains("NO [TRYCREATE]"));
    assert!(imap.ask("CREATE done").await.contains("OK"));
    assert!(imap.ask("LIST \"\" \"*\"").await.contains("\"done\""));
    assert!(
        imap.ask("UID COPY 1 done")
            .await
            .contains("OK [COPYUID 1001 1 1]")
    );
    let moved = imap.ask("UID MOVE 2 done").await;
    assert!(moved.starts_with("* OK [COPYUID 1001 2 2]"), "{moved}");
    assert!(moved.contains("* 2 EXPUNGE\r\n"), "{moved}");
    imap.ask("UID STORE 1,3 +FLAGS (\\Deleted)").await;
    assert!(imap.ask("UID EXPUNGE 3").await.contains("* 2 EXPUNGE"));
    assert_eq!(uids(&server.folder("INBOX")), [1]);
    assert_eq!(uids(&server.folder("done")), [1, 2]);
    assert!(imap.ask("EXPUNGE").await.contains("* 1 EXPUNGE"));
    assert!(
        imap.ask("STATUS done (MESSAGES)")
            .await
            .contains("MESSAGES 2 UIDNEXT 3")
    );
    let gone = imap.ask("LOGOUT").await;
    assert!(gone.starts_with("* BYE"), "{gone}");
    eventually("the connection is closed", async || {
        server.connections_open() == 0
    })
    .await;
    assert_eq!(server.connections_made(), 1);
}

#[tokio::test]
async fn server_can_do_without_capabilities_keywords_and_rights() {
    let server = with_mails().await;
    for capability in ["MOVE", "UIDPLUS", "IDLE"] {
        server.without(capability);
    }
    server.change(|folders| folders.takes_keywords = false);
    let mut imap = selected(&server).await;
    let offered = imap.ask("CAPABILITY").await;
    assert!(
        offered.contains("* CAPABILITY IMAP4rev1 LITERAL+ SASL-IR AUTH=PLAIN AUTH=XOAUTH2\r\n"),
        "{offered}"
    );
    for command in ["UID MOVE 1 INBOX", "UID EXPUNGE 1", "IDLE", "NONSENSE"] {
        let answer = imap.ask(command).await;
        assert!(answer.contains(" BAD "), "{command}: {answer}");
    }
    imap.ask("UID STORE 1 +FLAGS (\\Seen $Done)").await;
    assert!(!server.folder("INBOX")[0].has("$Done"));
    server.change(|folders| folders.make_read_only("INBOX"));
    assert!(imap.ask("SELECT INBOX").await.contains("OK [READ-ONLY]"));
    assert!(
        imap.ask("UID STORE 1 -FLAGS (\\Seen)")
            .await
            .contains("NO [READ-ONLY]")
    );
}

#[tokio::test]
async fn idle_hears_of_mail_and_of_the_end() {
    let server = Scripted::start().await;
    let mut imap = selected(&server).await;
    imap.say("IDLE").await;
    imap.hear("+ ").await;
    server.deliver("INBOX", MAIL);
    assert!(imap.hear("* 1 EXISTS").await.contains("1 EXISTS"));
    imap.write("DONE").await;
    assert!(imap.hear("t3 OK").await.contains("t3 OK"));
    imap.say("IDLE").await;
    imap.hear("+ ").await;
    server.hang_up("maintenance");
    assert_eq!(imap.hear("nothing").await, "* BYE maintenance\r\n");
    let mut imap = selected(&server).await;
    server.hang_up("");
    assert_eq!(imap.hear("nothing").await, "", "no word this time");
}

#[tokio::test]
async fn faults_happen_once_and_when_they_are_due() {
    let server = with_mails().await;
    let fetch = "UID FETCH 1 (RFC822.SIZE BODY.PEEK[])";
    server.on("UID FETCH", 2, Fault::Answer("NO [SERVERBUG] not today"));
    server.on("NOOP", 1, Fault::Insert("this is no IMAP\r\n"));
    let mut imap = selected(&server).await;
    assert!(imap.ask(fetch).await.contains("t3 OK"));
    assert_eq!(imap.ask(fetch).await, "t4 NO [SERVERBUG] not today\r\n");
    assert!(imap.ask(fetch).await.contains("t5 OK"));
    assert!(
        imap.ask("NOOP")
            .await
            .starts_with("this is no IMAP\r\nt6 OK")
    );

    let meanwhile = |folders: &mut crate::harness::Folders| {
        folders.expunge("INBOX", 1);
        folders.state_size("INBOX", 2, 7);
    };
    server.on("UID FETCH", 1, Fault::Meanwhile(Box::new(meanwhile)));
    let fetched = imap.ask("UID FETCH 1:2 RFC822.SIZE").await;
    assert!(
        fetched.starts_with("* 2 FETCH (UID 2 RFC822.SIZE 7)\r\n* 1 EXPUNGE"),
        "{fetched}"
    );
    server.change(|folders| folders.change_uid_validity("INBOX"));
    assert!(
        imap.ask("EXAMINE INBOX")
            .await
            .contains("[UIDVALIDITY 1001]")
    );
    assert_eq!(
        server.commands()[..2],
        ["GREETING", "LOGIN \"dmarc\" secret"]
    );
}

#[tokio::test]
async fn connections_end_and_stall_in_every_way() {
    let server = with_mails().await;
    let fetch = "UID FETCH 1 BODY.PEEK[]";
    let half = "* 1 FETCH (UID 1 BODY[] {60}\r\nMessage-ID: <1@example.net>\r\nS";
    for (fault, heard) in [
        (Fault::Bye("too busy"), "* BYE too busy\r\n"),
        (Fault::Close, ""),
        (Fault::LoseAnswer, ""),
        (Fault::CloseInLiteral, half),
    ] {
        let mut imap = selected(&server).await;
        server.on("UID FETCH", 1, fault);
        assert_eq!(imap.ask(fetch).await, heard);
    }
    for (fault, heard) in [(Fault::Stall, ""), (Fault::StallInLiteral, half)] {
        let mut imap = selected(&server).await;
        server.on("UID FETCH", 1, fault);
        let asking = tokio::time::timeout(Duration::from_millis(200), imap.ask(fetch));
        assert!(asking.await.is_err(), "it stalls");
        server.hang_up("");
        assert_eq!(imap.hear("nothing").await, heard);
    }
    server.on("GREETING", 1, Fault::Bye("no more connections"));
    let mut imap = Imap::connect(server.port).await;
    assert_eq!(imap.hear("nothing").await, "* BYE no more connections\r\n");
    let mut imap = selected(&server).await;
    server.on("UID STORE", 1, Fault::LoseAnswer);
    imap.ask("UID STORE 1 +FLAGS (\\Seen)").await;
    assert!(
        server.folder("INBOX")[0].has("\\Seen"),
        "only the answer is lost"
    );
}
