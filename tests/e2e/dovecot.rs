//! The mail server that tests of mailboxes stand on: that it does what they assume.

use std::time::{Duration, Instant};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use tokio::net::TcpStream;

use crate::harness::{
    Dovecot, DovecotOptions, Failure, Identity, Imap, Mail, Mailbox, PASSWORD, Response, Tokens,
    eventually, form_post, query, tls_connector,
};

fn mail(number: usize) -> Bytes {
    Bytes::from(format!(
        "Message-ID: <{number}@example.net>\r\nSubject: report {number}\r\n\r\nbody\r\n"
    ))
}

fn subjects(mails: &[Mail]) -> Vec<&str> {
    mails.iter().map(|mail| mail.subject.as_str()).collect()
}

/// Logged in with the password.
async fn logged_in(dovecot: &Dovecot, mailbox: &Mailbox) -> Imap<TcpStream> {
    let mut imap = Imap::connect(dovecot.imap_port).await;
    let answer = login(&mut imap, mailbox, PASSWORD).await;
    assert!(answer.contains(" OK "), "{answer}");
    imap
}

async fn login(imap: &mut Imap<TcpStream>, mailbox: &Mailbox, password: &str) -> String {
    imap.ask(&format!("LOGIN {} \"{password}\"", mailbox.user))
        .await
}

#[tokio::test]
async fn mail_that_is_delivered_can_be_read_flagged_and_moved() {
    let dovecot = Dovecot::start().await;
    let mailbox = dovecot.mailbox("dmarc").await;
    mailbox.deliver(&mail(1)).await;
    mailbox.deliver(&mail(2)).await;
    mailbox.create_folder("done").await;
    let mut imap = logged_in(&dovecot, &mailbox).await;
    imap.ask("SELECT INBOX").await;
    let fetched = imap.ask("UID FETCH 2 BODY.PEEK[]").await;
    assert!(fetched.contains("Subject: report 2"), "{fetched}");
    imap.ask("UID STORE 2 +FLAGS (\\Seen $RuadRejected)").await;
    imap.ask("UID MOVE 1 done").await;
    let inbox = mailbox.folder("INBOX").await;
    assert_eq!(subjects(&inbox), ["report 2"]);
    assert_eq!(
        (inbox[0].uid, inbox[0].message_id.as_str()),
        (2, "<2@example.net>")
    );
    assert!(inbox[0].has("\\Seen") && inbox[0].has("$RuadRejected"));
    assert_eq!(subjects(&mailbox.folder("done").await), ["report 1"]);
    assert_eq!(mailbox.folder("missing").await, []);
}

#[tokio::test]
async fn thousands_of_mails_are_there_at_once() {
    let dovecot = Dovecot::start_with(DovecotOptions {
        fsync: "never",
        ..DovecotOptions::default()
    })
    .await;
    let mailbox = dovecot.mailbox("dmarc").await;
    let start = Instant::now();
    mailbox
        .deliver_all("INBOX", (0..5000).map(mail).collect())
        .await;
    let inbox = mailbox.folder("INBOX").await;
    assert!(start.elapsed() < Duration::from_secs(30), "it is quick");
    let expected: Vec<String> = (0..5000).map(|number| format!("report {number}")).collect();
    assert_eq!(subjects(&inbox), expected);
}

#[tokio::test]
async fn tls_shows_the_certificate_that_was_asked_for() {
    for (identity, trusted) in [
        (Identity::Trusted, true),
        (Identity::UnknownAuthority, false),
        (Identity::SelfSigned, false),
        (Identity::OtherName, false),
        (Identity::Expired, false),
    ] {
        let dovecot = Dovecot::start_with(DovecotOptions {
            identity,
            ..DovecotOptions::default()
        })
        .await;
        let connector = tls_connector(&dovecot.certificates.ca_file);
        let imaps = Imap::connect(dovecot.imaps_port).await;
        assert_eq!(
            imaps.over_tls(&connector).await.is_ok(),
            trusted,
            "{identity:?}"
        );
        let mut plain = Imap::connect(dovecot.imap_port).await;
        let agreed = plain.ask("STARTTLS").await;
        assert!(agreed.contains("t1 OK"), "{agreed}");
        assert_eq!(
            plain.over_tls(&connector).await.is_ok(),
            trusted,
            "{identity:?}"
        );
        assert_eq!(dovecot.certificates.sha256.len(), 64);
    }
}

#[tokio::test]
async fn password_can_be_changed_and_wrong_ones_are_refused_without_delay() {
    let dovecot = Dovecot::start().await;
    let mailbox = dovecot.mailbox("dmarc").await;
    logged_in(&dovecot, &mailbox).await;
    mailbox.change_password("battery staple").await;
    let mut imap = Imap::connect(dovecot.imap_port).await;
    let start = Instant::now();
    for _ in 0..3 {
        let refused = login(&mut imap, &mailbox, PASSWORD).await;
        assert!(refused.contains("NO [AUTHENTICATIONFAILED]"), "{refused}");
    }
    let taken = login(&mut imap, &mailbox, "battery staple").await;
    assert!(taken.contains("t4 OK"), "{taken}");
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "nobody had to wait"
    );
    assert!(!dovecot.log().contains("battery staple"));
}

#[tokio::test]
async fn server_restarts_and_survives_kill_on_its_ports() {
    let mut dovecot = Dovecot::start().await;
    let mailbox = dovecot.mailbox("dmarc").await;
    mailbox.deliver(&mail(1)).await;
    let mut imap = logged_in(&dovecot, &mailbox).await;
    dovecot.restart().await;
    assert!(
        imap.hear("nothing").await.contains("* BYE"),
        "it says goodbye"
    );
    let mut imap = logged_in(&dovecot, &mailbox).await;
    dovecot.kill().await;
    assert_eq!(imap.hear("nothing").await, "", "it is dead at once");
    assert_eq!(subjects(&mailbox.folder("INBOX").await), ["report 1"]);
    dovecot.start_again().await;
    logged_in(&dovecot, &mailbox).await;
    dovecot.stop().await;
    assert!(
        TcpStream::connect(("127.0.0.1", dovecot.imap_port))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn paused_server_says_nothing_until_it_goes_on() {
    let dovecot = Dovecot::start().await;
    let mailbox = dovecot.mailbox("dmarc").await;
    let mut imap = logged_in(&dovecot, &mailbox).await;
    dovecot.pause();
    let tag = imap.say("NOOP").await;
    let silence = tokio::time::timeout(Duration::from_millis(200), imap.hear(&tag)).await;
    assert!(silence.is_err(), "{silence:?}");
    mailbox.deliver(&mail(1)).await;
    assert_eq!(
        mailbox.folder("INBOX").await.len(),
        1,
        "the test still sees"
    );
    dovecot.go_on();
    assert!(imap.hear(&tag).await.contains("OK"));
}

#[tokio::test]
async fn nothing_is_left_of_a_server_that_is_dropped() {
    let dovecot = Dovecot::start().await;
    let mailbox = dovecot.mailbox("dmarc").await;
    let mut imap = logged_in(&dovecot, &mailbox).await;
    let (port, file) = (dovecot.imap_port, dovecot.certificates.ca_file.clone());
    assert!(file.exists());
    dovecot.pause();
    drop(dovecot);
    assert!(!file.exists());
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
    assert_eq!(imap.hear("nothing").await, "");
}

#[tokio::test]
async fn folders_change_behind_a_clients_back() {
    let dovecot = Dovecot::start().await;
    let mailbox = dovecot.mailbox("dmarc").await;
    mailbox.create_folder("reports").await;
    mailbox
        .deliver_all("reports", (1..=3).map(mail).collect())
        .await;
    mailbox.expunge("reports", 2).await;
    mailbox.add_flags("reports", 3, "\\Flagged $Mine").await;
    let mails = mailbox.folder("reports").await;
    assert_eq!(subjects(&mails), ["report 1", "report 3"]);
    assert!(mails[1].has("\\Flagged") && mails[1].has("$Mine"));
    let before = mailbox.status("reports").await;
    assert_eq!((before.mail_count, before.next_uid), (2, 4));
    mailbox.change_uid_validity("reports").await;
    let after = mailbox.status("reports").await;
    assert_ne!(before.uid_validity, after.uid_validity);
    assert_eq!(mailbox.folder("reports").await, mails);
    mailbox.rename_folder("reports", "old").await;
    assert_eq!(mailbox.folders().await, ["INBOX", "old"]);
    mailbox.delete_folder("old").await;
    mailbox.create_folder("old").await;
    let recreated = mailbox.status("old").await;
    assert_eq!((recreated.mail_count, recreated.next_uid), (0, 1));
    assert_ne!(recreated.uid_validity, after.uid_validity);
}

#[tokio::test]
async fn rights_capabilities_and_room_can_be_taken_away() {
    let dovecot = Dovecot::start_with(DovecotOptions {
        without: &["MOVE", "IDLE"],
        mails_max: Some(3),
        ..DovecotOptions::default()
    })
    .await;
    let mailbox = dovecot.mailbox("dmarc").await;
    mailbox
        .deliver_all("INBOX", (1..=3).map(mail).collect())
        .await;
    mailbox.create_folder("done").await;
    let mut imap = logged_in(&dovecot, &mailbox).await;
    let offered = imap.ask("CAPABILITY").await;
    assert!(offered.contains(" UIDPLUS"), "{offered}");
    assert!(
        !offered.contains(" MOVE") && !offered.contains(" IDLE"),
        "{offered}"
    );
    imap.ask("SELECT INBOX").await;
    let full = imap.ask("UID COPY 1 done").await;
    assert!(full.contains("NO [OVERQUOTA]"), "{full}");

    mailbox.restrict("INBOX", "lrst");
    let selected = logged_in(&dovecot, &mailbox)
        .await
        .ask("SELECT INBOX")
        .await;
    assert!(
        selected.contains("[PERMANENTFLAGS (\\Deleted \\Seen)]"),
        "no keywords: {selected}"
    );
    mailbox.restrict("INBOX", "lr");
    let selected = logged_in(&dovecot, &mailbox)
        .await
        .ask("SELECT INBOX")
        .await;
    assert!(selected.contains("[READ-ONLY]"), "{selected}");
}

#[tokio::test]
async fn idle_hears_of_mail_and_sessions_can_be_ended() {
    let dovecot = Dovecot::start().await;
    let mailbox = dovecot.mailbox("dmarc").await;
    let other = dovecot.mailbox("other").await;
    let mut imap = logged_in(&dovecot, &mailbox).await;
    imap.ask("SELECT INBOX").await;
    imap.say("IDLE").await;
    imap.hear("+ ").await;
    mailbox.deliver(&mail(1)).await;
    assert!(imap.hear("* 1 EXISTS").await.contains("1 EXISTS"));
    eventually("the session is counted", async || {
        mailbox.session_count().await == 1
    })
    .await;
    assert_eq!(other.session_count().await, 0);
    mailbox.disconnect().await;
    assert!(imap.hear("* BYE").await.contains("* BYE"));
    eventually("the session is gone", async || {
        mailbox.session_count().await == 0
    })
    .await;
}

/// The answer to a request for a token.
async fn ask_for_token(tokens: &Tokens, fields: &[(&str, &str)]) -> Response {
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", query(value)))
        .collect();
    form_post(&tokens.url(), fields.join("&")).await.unwrap()
}

async fn refreshed(tokens: &Tokens, refresh_token: &str) -> Response {
    ask_for_token(
        tokens,
        &[
            ("grant_type", "refresh_token"),
            ("client_id", "ruad"),
            ("client_secret", "s&cret"),
            ("refresh_token", refresh_token),
        ],
    )
    .await
}

/// Logs in with an access token; what the server says to it.
async fn authenticate(dovecot: &Dovecot, mechanism: &str, user: &str, token: &str) -> String {
    let response = match mechanism {
        "XOAUTH2" => format!("user={user}\x01auth=Bearer {token}\x01\x01"),
        _ => format!("n,a={user},\x01auth=Bearer {token}\x01\x01"),
    };
    let response = BASE64_STANDARD.encode(response);
    let mut imap = Imap::connect(dovecot.imap_port).await;
    let tag = imap
        .say(&format!("AUTHENTICATE {mechanism} {response}"))
        .await;
    // A failure is told in a challenge, which has to be answered before the refusal comes.
    imap.write("").await;
    imap.hear(&format!("{tag} ")).await
}

#[tokio::test]
async fn tokens_of_the_endpoint_open_the_mailbox() {
    let tokens = Tokens::start().await;
    let dovecot = Dovecot::start_with(DovecotOptions {
        introspection_url: tokens.introspection_url(),
        ..DovecotOptions::default()
    })
    .await;
    let mailbox = dovecot.mailbox("dmarc").await;
    tokens.allow_client("ruad", "s&cret", &mailbox.user);
    let first = refreshed(&tokens, &tokens.refresh_token(&mailbox.user))
        .await
        .json();
    assert_eq!(first["expires_in"], 3600);
    let token = first["access_token"].as_str().unwrap();
    for mechanism in ["XOAUTH2", "OAUTHBEARER"] {
        let answer = authenticate(&dovecot, mechanism, &mailbox.user, token).await;
        assert!(answer.contains("t1 OK"), "{mechanism}: {answer}");
        let answer = authenticate(&dovecot, mechanism, "somebody", token).await;
        assert!(answer.contains("t1 NO"), "{mechanism}: {answer}");
    }
    assert!(tokens.introspection_count() >= 4);
    tokens.revoke_access();
    let answer = authenticate(&dovecot, "XOAUTH2", &mailbox.user, token).await;
    assert!(
        answer.contains("+ ") && answer.contains("t1 NO"),
        "{answer}"
    );
    logged_in(&dovecot, &mailbox).await;
}

#[tokio::test]
async fn tokens_end_and_refresh_tokens_rotate() {
    let tokens = Tokens::start().await;
    let dovecot = Dovecot::start_with(DovecotOptions {
        introspection_url: tokens.introspection_url(),
        ..DovecotOptions::default()
    })
    .await;
    tokens.allow_client("ruad", "s&cret", "dmarc");
    tokens.set_lifetime(Duration::from_millis(300));
    tokens.rotate();
    let consent = tokens.refresh_token("dmarc");
    let first = refreshed(&tokens, &consent).await.json();
    let token = first["access_token"].as_str().unwrap();
    eventually("the token ends", async || {
        authenticate(&dovecot, "XOAUTH2", "dmarc", token)
            .await
            .contains("t1 NO")
    })
    .await;
    let again = refreshed(&tokens, &consent).await;
    assert_eq!(
        (again.status, again.json()["error"].as_str()),
        (400, Some("invalid_grant"))
    );
    let next = first["refresh_token"].as_str().unwrap();
    assert_eq!(refreshed(&tokens, next).await.status, 200);
}

#[tokio::test]
async fn endpoint_fails_as_told_and_records_what_it_is_asked() {
    let tokens = Tokens::start().await;
    tokens.allow_client("ruad", "s&cret", "dmarc");
    let own = [
        ("grant_type", "client_credentials"),
        ("client_id", "ruad"),
        ("client_secret", "s&cret"),
        ("scope", "https://mail.example/.default"),
    ];
    assert_eq!(ask_for_token(&tokens, &own).await.status, 200);
    let mut wrong = own;
    wrong[2].1 = "guessed";
    assert_eq!(ask_for_token(&tokens, &wrong).await.status, 401);
    for (failure, status) in [(Failure::InvalidGrant, 400), (Failure::Down, 500)] {
        tokens.fail(Some(failure));
        assert_eq!(ask_for_token(&tokens, &own).await.status, status);
    }
    tokens.fail(Some(Failure::Stall));
    let asking = ask_for_token(&tokens, &own);
    let silence = tokio::time::timeout(Duration::from_millis(200), asking).await;
    assert!(silence.is_err(), "{silence:?}");
    tokens.fail(None);
    assert_eq!(ask_for_token(&tokens, &own).await.status, 200);

    let requests = tokens.requests();
    let statuses: Vec<u16> = requests.iter().map(|request| request.status).collect();
    assert_eq!(statuses, [200, 401, 400, 500, 0, 200]);
    assert_eq!(
        (
            requests[1].grant_type.as_str(),
            requests[1].client_secret.as_str()
        ),
        ("client_credentials", "guessed")
    );
    assert_eq!(requests[0].scope, "https://mail.example/.default");
    assert_eq!(
        (
            requests[0].client_id.as_str(),
            requests[0].refresh_token.as_str()
        ),
        ("ruad", "")
    );
}
