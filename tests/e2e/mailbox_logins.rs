//! Passwords: how they are given, and what happens when they are refused.

use std::fs;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use server::{Secret, mailbox};

use crate::{
    harness::{Database, Dovecot, Fault, PASSWORD, Program, Scripted, Serving, eventually},
    mailbox::{becomes, config, fails, in_environment, plain_config, reports, serve, settles},
};

fn failed_logins(dovecot: &Dovecot) -> usize {
    let log = dovecot.log();
    log.lines()
        .filter(|line| line.contains("auth failed") || line.contains("Password mismatch"))
        .filter(|line| line.contains("imap-login"))
        .count()
}

/// With a mail for the user.
async fn server() -> (Dovecot, crate::harness::Mailbox) {
    let dovecot = Dovecot::start().await;
    let mailbox = dovecot.mailbox("dmarc").await;
    mailbox.deliver(&reports(1)[0]).await;
    (dovecot, mailbox)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_tried_once_and_a_new_file_at_once() {
    let (dovecot, _mailbox) = server().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    fs::write(&file, "wrong\n").unwrap();
    let service = serve(mailbox::Config {
        password: Secret::from("wrong"),
        password_file: Some(file.clone()),
        ..config(&dovecot, "dmarc")
    })
    .await;
    let detail = fails(&service, "credentials").await;
    assert!(
        detail.contains("dmarc") && detail.contains("app password"),
        "{detail}"
    );
    // Longer than any other fault would pause.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    eventually("the log is written", async || failed_logins(&dovecot) > 0).await;
    assert_eq!(failed_logins(&dovecot), 1, "{}", dovecot.log());

    fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    settles(&service, 1).await;
    becomes(&service, "waiting").await;
    assert_eq!(failed_logins(&dovecot), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_set_right_on_the_server_is_tried_again() {
    let (dovecot, mailbox) = server().await;
    let password = r#"q"uo\te ' {5} Gr\u00fc\u00dfe é日本"#;
    let service = serve(mailbox::Config {
        password: Secret::from(password),
        credentials_retry_secs: 1,
        ..config(&dovecot, "dmarc")
    })
    .await;
    fails(&service, "credentials").await;
    mailbox.change_password(password).await;
    settles(&service, 1).await;
    becomes(&service, "waiting").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn login_is_used_where_plain_is_not_offered() {
    let server = Scripted::start().await;
    server.deliver("INBOX", reports(1).remove(0));
    server.without("AUTH=PLAIN");
    let service = serve(mailbox::Config {
        password: Secret::from("with \"quotes\" and \\"),
        ..plain_config(&server)
    })
    .await;
    settles(&service, 1).await;
    let commands = server.commands();
    let login = commands.iter().find(|command| command.starts_with("LOGIN"));
    assert_eq!(
        login.unwrap(),
        "LOGIN \"dmarc\" \"with \\\"quotes\\\" and \\\\\""
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_not_said_to_a_server_that_does_not_want_it() {
    let server = Scripted::start().await;
    server.without("AUTH=PLAIN");
    server.with("LOGINDISABLED");
    let service = serve(plain_config(&server)).await;
    let detail = fails(&service, "no_mechanism").await;
    assert!(detail.contains("it offers XOAUTH2"), "{detail}");
    let commands = server.commands();
    assert!(!commands.iter().any(|command| command.contains("LOGIN")));
}

#[tokio::test(flavor = "multi_thread")]
async fn troubles_of_the_server_are_no_wrong_password() {
    let server = Scripted::start().await;
    server.deliver("INBOX", reports(1).remove(0));
    let busy = "NO [UNAVAILABLE] temporary authentication failure";
    server.on("AUTHENTICATE", 1, Fault::Answer(busy));
    let service = serve(mailbox::Config {
        credentials_retry_secs: 600,
        ..plain_config(&server)
    })
    .await;
    settles(&service, 1).await;
    let state = becomes(&service, "waiting").await;
    assert_eq!(state["last_error"]["code"], "bye");
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_neither_logged_nor_shown() {
    let (dovecot, mailbox) = server().await;
    let database = Database::fresh().await;
    for (password, count) in [("not the right one", 0), (PASSWORD, 1)] {
        let program = Program::new(["serve"]).on(&database);
        let program = in_environment(program, &dovecot, &[("PASSWORD", password)]);
        let serving = Serving::start(program.env("RUAD_LOG__LEVEL", "trace")).await;
        eventually("the mailbox is tried", async || {
            let found: i64 = database.value("select count(*) from deliveries").await;
            let failed = "select count(*) from mailboxes where state = 'failed'";
            let failed: i64 = database.value(failed).await;
            found == count && failed == 1 - count
        })
        .await;
        let log = serving.process.said();
        assert!(log.contains("TRACE") || log.contains("DEBUG"), "{log}");
        let encoded = BASE64_STANDARD.encode(format!("\0{}\0{password}", mailbox.user));
        assert!(!log.contains(password) && !log.contains(&encoded));
        let shown: String = database
            .value("select mailboxes::text from mailboxes")
            .await;
        assert!(!shown.contains(password), "{shown}");
        serving.process.kill().await;
        database
            .execute("update mailboxes set lease_until = now() - interval '1 hour'")
            .await;
    }
}
